//! Weights of an encoder, with their optimizers.

use super::super::State;
use crate::{Error, Hyperparameters, encoder::Weight};
use burn::tensor::{Device, Tensor};
use onebp_table::{
    TableState,
    portable::{PortableOptimizer, to_device, to_host},
};

/// Matrices that an encoder learns; the optimizer is that of the tables.
pub(in crate::engine) struct Weights {
    weights: Vec<Weight>,
    /// Their values.
    pub values: Vec<Tensor<2>>,
    optimizers: Vec<PortableOptimizer>,
    device: Device,
}

impl Weights {
    /// Fresh ones.
    pub fn new(weights: Vec<Weight>, hyper: &Hyperparameters, seed: u64, device: &Device) -> Self {
        let values = weights.iter().enumerate().map(|(which, weight)| to_device(&weight.init(which, seed), device));
        let optimizer = |weight: &Weight| PortableOptimizer::new(&hyper.optimizer(None), weight.shape, device);
        Self {
            values: values.collect(),
            optimizers: weights.iter().map(optimizer).collect(),
            weights,
            device: device.clone(),
        }
    }

    /// One step along `gradients`, in the order of the weights.
    pub fn learn(&mut self, gradients: Vec<Tensor<2>>) {
        for ((value, optimizer), gradient) in self.values.iter_mut().zip(&mut self.optimizers).zip(gradients) {
            let rows: Vec<u32> = (0..value.dims()[0] as u32).collect();
            *value = optimizer.step(value.clone(), gradient, &rows);
        }
    }

    /// Adds them to a stored state.
    pub fn store(&self, state: &mut State) -> Result<(), Error> {
        for ((weight, value), optimizer) in self.weights.iter().zip(&self.values).zip(&self.optimizers) {
            let mut stored = TableState { weights: to_host(value.clone())?, ..TableState::default() };
            optimizer.store(&mut stored)?;
            state.store(&weight.name, stored);
        }
        Ok(())
    }

    /// Takes them back.
    pub fn restore(&mut self, state: &State) -> Result<(), Error> {
        for ((weight, value), optimizer) in self.weights.iter().zip(&mut self.values).zip(&mut self.optimizers) {
            let stored = state.table(&weight.name)?;
            let fits = |error| Error::of_table(&weight.name, error);
            stored.check(weight.shape, Some(optimizer.optimizer())).map_err(fits)?;
            optimizer.restore(&stored, &self.device).map_err(fits)?;
            *value = to_device(&stored.weights, &self.device);
        }
        Ok(())
    }
}
