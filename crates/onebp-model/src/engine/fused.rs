//! The fused engine: table lookup with a loss in closed form, without autodiff.

use super::{Engine, Start, State, losses::Losses, towers::Towers};
use crate::{Batch, Error, Hyperparameters, Method, Tables};
use burn::tensor::Device;
use onebp_table::{Embedding, FusedStep, Ranked, Ranking, hardest::Chosen};
use std::time::Duration;

/// Two tables and their fused step.
pub struct Fused<F: FusedStep> {
    towers: Towers<F::Table>,
    step: F,
    chosen: Chosen,
    losses: Losses,
}

impl<F: FusedStep> Fused<F> {
    /// An engine for `method` that carries out `step`, on `device`.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device refuses the tables.
    pub fn new(
        step: F,
        method: Method,
        hyper: &Hyperparameters,
        start: &Start<'_>,
        device: &Device,
    ) -> Result<Self, Error> {
        Ok(Self {
            towers: Towers::new(method, hyper, &start.tables, device)?,
            step,
            chosen: Chosen::new(start.tables.items.rows),
            losses: Losses::default(),
        })
    }

    fn collect(&mut self) -> Result<(), Error> {
        self.losses.add(&self.step.take_losses()?, &self.step.take_counted());
        Ok(())
    }
}

impl<F: FusedStep + Send> Engine for Fused<F>
where
    F::Table: Send,
{
    fn step(&mut self, batch: &Batch) -> Result<(), Error> {
        let Towers { users, items, .. } = &mut self.towers;
        let batch = match batch.keep {
            None => batch,
            Some(keep) => self.chosen.of(batch, keep, &items.keys(users, batch, keep.hardness)?),
        };
        Ok(self.step.step(users, items, batch)?)
    }

    fn take_loss(&mut self) -> Result<f64, Error> {
        self.collect()?;
        self.losses.take()
    }

    fn take_counted(&mut self) -> Result<Option<f64>, Error> {
        self.collect()?;
        self.losses.take_counted()
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
