//! Both tables of an engine that works on rows.

use super::{
    State,
    state::{ITEMS, USERS},
};
use crate::{Batch, Error, Hyperparameters, Method, Tables};
use burn::tensor::Device;
use onebp_table::{Embedding, Ranked, Ranking, hardest::Chosen};

/// The user table and the item table, on a device.
pub(super) struct Towers<E: Embedding> {
    pub users: E,
    pub items: E,
}

impl<E: Embedding> Towers<E> {
    /// For `method`, starting from `tables`: a table that follows has no optimizer.
    pub fn new(method: Method, hyper: &Hyperparameters, tables: &Tables, device: &Device) -> Result<Self, Error> {
        let update = method.update(hyper);
        let optimizer = |learns: bool| learns.then(|| hyper.optimizer());
        Ok(Self {
            users: E::new(&tables.users, optimizer(update.trains_users()).as_ref(), device)?,
            items: E::new(&tables.items, optimizer(update.trains_items()).as_ref(), device)?,
        })
    }

    pub fn view(&self) -> Result<Tables, Error> {
        Ok(Tables { users: self.users.view()?, items: self.items.view()? })
    }

    pub fn rank(&mut self, ranking: &Ranking<'_>) -> Result<Option<Ranked>, Error> {
        Ok(self.items.rank(&self.users, ranking)?)
    }

    /// `batch`, or what is left of it where it says which negatives to keep.
    pub fn choose<'a>(&mut self, batch: &'a Batch, chosen: &'a mut Chosen) -> Result<&'a Batch, Error> {
        let Some(keep) = batch.keep else { return Ok(batch) };
        let keys = self.items.keys(&mut self.users, batch, keep.hardness)?;
        Ok(chosen.of(batch, keep, &keys))
    }

    pub fn store(&self, state: &mut State) -> Result<(), Error> {
        state.store(USERS, self.users.state()?);
        state.store(ITEMS, self.items.state()?);
        Ok(())
    }

    pub fn restore(&mut self, state: &State) -> Result<(), Error> {
        self.users.restore(&state.table(USERS)?).map_err(|error| Error::of_table(USERS, error))?;
        self.items.restore(&state.table(ITEMS)?).map_err(|error| Error::of_table(ITEMS, error))
    }
}
