//! The fused engine: table lookup with InfoNCE, without autodiff.

use super::{Engine, State, losses::Losses, towers::Towers};
use crate::{Batch, Error, Hyperparameters, Method, Tables};
use burn::tensor::Device;
use onebp_table::{FusedStep, Ranked, Ranking, hardest::Chosen};
use std::time::Duration;

/// Two tables and their fused step.
pub struct Fused<F: FusedStep> {
    towers: Towers<F::Table>,
    step: F,
    chosen: Chosen,
    losses: Losses,
}

impl<F: FusedStep> Fused<F> {
    /// An engine for `method` that carries out `step`, starting from `tables`, on `device`.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device refuses the tables.
    pub fn new(
        step: F,
        method: Method,
        hyper: &Hyperparameters,
        tables: &Tables,
        device: &Device,
    ) -> Result<Self, Error> {
        Ok(Self {
            towers: Towers::new(method, hyper, tables, device)?,
            step,
            chosen: Chosen::new(tables.items.rows),
            losses: Losses::default(),
        })
    }

    fn collect(&mut self) -> Result<(), Error> {
        self.losses.add(&self.step.take_losses()?);
        Ok(())
    }
}

impl<F: FusedStep + Send> Engine for Fused<F>
where
    F::Table: Send,
{
    fn step(&mut self, batch: &Batch) -> Result<(), Error> {
        let batch = self.towers.choose(batch, &mut self.chosen)?;
        Ok(self.step.step(&mut self.towers.users, &mut self.towers.items, batch)?)
    }

    fn take_loss(&mut self) -> Result<f64, Error> {
        self.collect()?;
        self.losses.take()
    }

    fn tables(&self) -> Result<Tables, Error> {
        self.towers.view()
    }

    fn rank(&mut self, ranking: &Ranking<'_>) -> Result<Option<Ranked>, Error> {
        self.towers.rank(ranking)
    }

    fn state(&mut self) -> Result<State, Error> {
        self.collect()?;
        let mut state = State::default();
        self.losses.store(&mut state)?;
        self.towers.store(&mut state)?;
        Ok(state)
    }

    fn restore(&mut self, state: &State) -> Result<(), Error> {
        self.towers.restore(state)?;
        self.losses = Losses::restore(state);
        Ok(())
    }

    fn take_passes(&mut self) -> Vec<(&'static str, Duration)> {
        self.step.take_passes()
    }
}
