//! What an engine observed since it was last asked: losses, and shares of rows that the loss counts.

use super::State;
use crate::Error;
use burn::tensor::Tensor;

/// Numbers waiting on the device before they are read; bounds memory, not accuracy.
const PENDING: usize = 1024;

/// Numbers of steps that have arrived, and those that still wait on the device.
#[derive(Debug, Default)]
struct Numbers {
    sum: f64,
    steps: u64,
    pending: Vec<Tensor<1>>,
}

/// Losses of steps, and shares of the rows that the loss counts.
#[derive(Debug, Default)]
pub(super) struct Losses {
    losses: Numbers,
    counted: Numbers,
}

/// Names in a stored state: the bits of a sum, and how many steps it is of.
const LOSSES: [&str; 2] = ["loss.sum.bits", "loss.steps"];
const COUNTED: [&str; 2] = ["counted.sum.bits", "counted.steps"];

impl Losses {
    /// Adds losses, and shares of counted rows where there are any.
    pub fn add(&mut self, losses: &[f32], counted: &[f32]) {
        self.losses.add(losses);
        self.counted.add(counted);
    }

    /// Adds a loss, and a share of counted rows, that are still on their device.
    pub fn push(&mut self, loss: Tensor<1>, counted: Option<Tensor<1>>) -> Result<(), Error> {
        self.losses.push(loss)?;
        counted.map_or(Ok(()), |counted| self.counted.push(counted))
    }

    /// The mean loss; waits for the device and starts anew. NaN without a step.
    pub fn take(&mut self) -> Result<f64, Error> {
        self.losses.take()
    }

    /// The mean share of counted rows, likewise; nothing where the loss counts none.
    pub fn take_counted(&mut self) -> Result<Option<f64>, Error> {
        let mean = self.counted.take()?;
        Ok((!mean.is_nan()).then_some(mean))
    }

    /// Adds them to a stored state; waits for the device.
    pub fn store(&mut self, state: &mut State) -> Result<(), Error> {
        self.losses.store(state, LOSSES)?;
        self.counted.store(state, COUNTED)
    }

    /// Those of a stored state.
    pub fn restore(state: &State) -> Self {
        Self { losses: Numbers::restore(state, LOSSES), counted: Numbers::restore(state, COUNTED) }
    }
}

impl Numbers {
    /// Adds numbers, one by one, so that the sum does not depend on when they arrive.
    fn add(&mut self, numbers: &[f32]) {
        self.steps += numbers.len() as u64;
        self.sum = numbers.iter().fold(self.sum, |sum, &number| sum + f64::from(number));
    }

    /// Adds a number that is still on its device.
    fn push(&mut self, number: Tensor<1>) -> Result<(), Error> {
        self.pending.push(number);
        if self.pending.len() == PENDING { self.drain() } else { Ok(()) }
    }

    /// Their mean; waits for the device and starts anew.
    fn take(&mut self) -> Result<f64, Error> {
        self.drain()?;
        let Self { sum, steps, .. } = std::mem::take(self);
        Ok(sum / steps as f64)
    }

    fn store(&mut self, state: &mut State, [sum, steps]: [&str; 2]) -> Result<(), Error> {
        self.drain()?;
        state.counters.insert(sum.into(), self.sum.to_bits());
        state.counters.insert(steps.into(), self.steps);
        Ok(())
    }

    fn restore(state: &State, [sum, steps]: [&str; 2]) -> Self {
        let counter = |name: &str| state.counters.get(name).copied().unwrap_or(0);
        Self { sum: f64::from_bits(counter(sum)), steps: counter(steps), pending: Vec::new() }
    }

    fn drain(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let failed = |error: String| Error::Execution(error);
        let waiting = Tensor::cat(std::mem::take(&mut self.pending), 0);
        let data = waiting.try_into_data().map_err(|error| failed(format!("{error:?}")))?;
        let numbers: Vec<f32> = data.try_to_vec().map_err(|error| failed(format!("{error:?}")))?;
        self.add(&numbers);
        Ok(())
    }
}
