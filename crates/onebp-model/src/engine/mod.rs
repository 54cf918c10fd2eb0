//! Engines carry out steps. All engines of a method agree to float rounding; they differ in speed.

mod autodiff;

pub use autodiff::Autodiff;

use crate::{Batch, Error, two_tower::Table, two_tower::Tables};
use std::collections::BTreeMap;

/// Named matrices of a stored state.
pub type Tensors = BTreeMap<String, Table>;
/// Named integers of a stored state.
pub type Counters = BTreeMap<String, u64>;

/// Everything a resumed run needs to continue with the same bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Tables and moments, as they are.
    pub tensors: Tensors,
    /// Step counts.
    pub counters: Counters,
}

impl Tables {
    /// Both tables of stored tensors, by their names `users` and `items`.
    ///
    /// # Errors
    /// [`Error::State`] names the one that is missing.
    pub fn from_tensors(tensors: &Tensors) -> Result<Self, Error> {
        let table = |name: &str| {
            tensors.get(name).cloned().ok_or_else(|| Error::State(format!("the table of {name} is missing")))
        };
        Ok(Self { users: table("users")?, items: table("items")? })
    }
}

/// Trains two tables batch by batch.
pub trait Engine {
    /// One step. The loss is kept on the device until [`Engine::take_loss`].
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn step(&mut self, batch: &Batch) -> Result<(), Error>;

    /// Mean loss of the steps since the last call; waits for the device. NaN without a step.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn take_loss(&mut self) -> Result<f64, Error>;

    /// Both tables as they would be evaluated now.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn tables(&self) -> Result<Tables, Error>;

    /// A copy of the whole state, the losses since the last [`Engine::take_loss`] included.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn state(&mut self) -> Result<State, Error>;

    /// Continues from a stored state.
    ///
    /// # Errors
    /// [`Error::State`] where tables are missing or have other shapes.
    fn restore(&mut self, state: &State) -> Result<(), Error>;
}
