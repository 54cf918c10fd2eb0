//! The fused engine: table lookup with InfoNCE, without autodiff.

use super::{
    Engine, State,
    state::{ITEMS, Losses, USERS},
};
use crate::{Batch, Error, Hyperparameters, Method, Tables};
use burn::tensor::Device;
use onebp_table::{Embedding, FusedInfoNce};
use std::time::Duration;

/// Two tables and their fused step.
pub struct Fused<F: FusedInfoNce> {
    users: F::Table,
    items: F::Table,
    step: F,
    losses: Losses,
}

impl<F: FusedInfoNce> Fused<F> {
    /// An engine for `method` starting from `tables`, on `device`.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device refuses the tables.
    pub fn new(method: Method, hyper: &Hyperparameters, tables: &Tables, device: &Device) -> Result<Self, Error> {
        let update = method.update(hyper);
        let optimizer = |learns: bool| learns.then(|| hyper.optimizer());
        Ok(Self {
            users: F::Table::new(&tables.users, optimizer(update.trains_users()).as_ref(), device)?,
            items: F::Table::new(&tables.items, optimizer(update.trains_items()).as_ref(), device)?,
            step: F::new(hyper.temperature, update.follow()),
            losses: Losses::default(),
        })
    }

    fn collect(&mut self) -> Result<(), Error> {
        self.losses.add(&self.step.take_losses()?);
        Ok(())
    }
}

impl<F: FusedInfoNce + Send> Engine for Fused<F>
where
    F::Table: Send,
{
    fn step(&mut self, batch: &Batch) -> Result<(), Error> {
        Ok(self.step.step(&mut self.users, &mut self.items, batch)?)
    }

    fn take_loss(&mut self) -> Result<f64, Error> {
        self.collect()?;
        Ok(self.losses.take())
    }

    fn tables(&self) -> Result<Tables, Error> {
        Ok(Tables { users: self.users.view()?, items: self.items.view()? })
    }

    fn state(&mut self) -> Result<State, Error> {
        self.collect()?;
        let mut state = State::default();
        self.losses.store(&mut state);
        state.store(USERS, self.users.state()?);
        state.store(ITEMS, self.items.state()?);
        Ok(state)
    }

    fn restore(&mut self, state: &State) -> Result<(), Error> {
        self.users.restore(&state.table(USERS)?).map_err(|error| Error::of_table(USERS, error))?;
        self.items.restore(&state.table(ITEMS)?).map_err(|error| Error::of_table(ITEMS, error))?;
        self.losses = Losses::restore(state);
        Ok(())
    }

    fn take_passes(&mut self) -> Vec<(&'static str, Duration)> {
        self.step.take_passes()
    }
}
