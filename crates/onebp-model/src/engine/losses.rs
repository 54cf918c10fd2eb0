//! The losses of an engine since they were last taken.

use super::State;
use crate::Error;
use burn::tensor::Tensor;

/// Losses waiting on the device before they are read; bounds memory, not accuracy.
const PENDING: usize = 1024;

/// Names of the losses in a stored state: the bits of their sum, and their number.
const LOSS_SUM: &str = "loss.sum.bits";
const LOSS_STEPS: &str = "loss.steps";

/// Losses that have arrived, and those that still wait on the device.
#[derive(Debug, Default)]
pub(super) struct Losses {
    sum: f64,
    steps: u64,
    pending: Vec<Tensor<1>>,
}

impl Losses {
    /// Adds losses, one by one, so that the sum does not depend on when they arrive.
    pub fn add(&mut self, losses: &[f32]) {
        self.steps += losses.len() as u64;
        self.sum = losses.iter().fold(self.sum, |sum, &loss| sum + f64::from(loss));
    }

    /// Adds a loss that is still on its device.
    pub fn push(&mut self, loss: Tensor<1>) -> Result<(), Error> {
        self.pending.push(loss);
        if self.pending.len() == PENDING { self.drain() } else { Ok(()) }
    }

    /// Their mean; waits for the device and starts anew.
    pub fn take(&mut self) -> Result<f64, Error> {
        self.drain()?;
        let Self { sum, steps, .. } = std::mem::take(self);
        Ok(sum / steps as f64)
    }

    /// Adds them to a stored state; waits for the device.
    pub fn store(&mut self, state: &mut State) -> Result<(), Error> {
        self.drain()?;
        state.counters.insert(LOSS_SUM.into(), self.sum.to_bits());
        state.counters.insert(LOSS_STEPS.into(), self.steps);
        Ok(())
    }

    /// Those of a stored state.
    pub fn restore(state: &State) -> Self {
        let counter = |name: &str| state.counters.get(name).copied().unwrap_or(0);
        Self { sum: f64::from_bits(counter(LOSS_SUM)), steps: counter(LOSS_STEPS), pending: Vec::new() }
    }

    fn drain(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let failed = |error: String| Error::Execution(error);
        let waiting = Tensor::cat(std::mem::take(&mut self.pending), 0);
        let data = waiting.try_into_data().map_err(|error| failed(format!("{error:?}")))?;
        let losses: Vec<f32> = data.try_to_vec().map_err(|error| failed(format!("{error:?}")))?;
        self.add(&losses);
        Ok(())
    }
}
