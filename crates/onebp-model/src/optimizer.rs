//! Adam over a whole table (Kingma and Ba, 2015), Burn's own, with the constants of the paper's code: beta1 0.9, beta2
//! 0.999, epsilon 1e-8 (Burn's default of 1e-5 changes the results), weight decay added to the gradient before the moments
//! (coupled L2). Every row moves at every step, touched by the batch or not.

use crate::{
    Error,
    engine::{Counters, Tensors},
    two_tower::Table,
};
use burn::optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, Optimizer as _, decay::WeightDecayConfig};
use burn::tensor::{Device, Tensor};

/// The optimizer of one table and its state; without a step there is no state.
pub(crate) struct Optimizer {
    adam: Adam,
    learning_rate: f64,
    state: Option<AdamState<2>>,
}

impl Optimizer {
    pub fn new(learning_rate: f64, weight_decay: f64) -> Self {
        let decay = (weight_decay > 0.0).then_some(WeightDecayConfig { penalty: weight_decay as f32 });
        let adam = AdamConfig::new().with_epsilon(1e-8).with_weight_decay(decay).build();
        Self { adam, learning_rate, state: None }
    }

    /// One step on `table` `[rows, d]` along `gradient` of the same shape.
    pub fn step(&mut self, table: Tensor<2>, gradient: Option<Tensor<2>>) -> Result<Tensor<2>, Error> {
        let gradient = gradient.ok_or_else(|| Error::Execution("no gradient reached a trained table".into()))?;
        let (table, state) = self.adam.step(self.learning_rate, table, gradient, self.state.take());
        self.state = state;
        Ok(table)
    }

    /// Adds the moments and the step count under `name` to a stored state.
    pub fn store(&self, name: &str, tensors: &mut Tensors, counters: &mut Counters) -> Result<(), Error> {
        if let Some(AdamState { momentum }) = &self.state {
            tensors.insert(format!("{name}.moment_1"), Table::read(momentum.moment_1.clone())?);
            tensors.insert(format!("{name}.moment_2"), Table::read(momentum.moment_2.clone())?);
            counters.insert(format!("{name}.step"), momentum.time as u64);
        }
        Ok(())
    }

    /// Takes back what [`Optimizer::store`] stored; nothing stored means no step yet.
    ///
    /// # Errors
    /// [`Error::State`] where only a part of it is there.
    pub fn restore(
        &mut self,
        name: &str,
        tensors: &Tensors,
        counters: &Counters,
        device: &Device,
    ) -> Result<(), Error> {
        let moment = |which: &str| tensors.get(&format!("{name}.{which}"));
        let time = counters.get(&format!("{name}.step"));
        self.state = match (moment("moment_1"), moment("moment_2"), time) {
            (Some(first), Some(second), Some(&time)) => Some(AdamState::new(AdaptiveMomentumState::new(
                time as usize,
                Tensor::from_data(first.to_data(), device),
                Tensor::from_data(second.to_data(), device),
            ))),
            (None, None, None) => None,
            _ => return Err(Error::State(format!("a part of the optimizer's state of {name} is missing"))),
        };
        Ok(())
    }
}
