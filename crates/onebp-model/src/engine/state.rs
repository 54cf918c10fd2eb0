//! Everything a resumed run needs to continue with the same bytes.

use crate::{Error, Hyperparameters, Method, Tables, device::ndarray};
use onebp_data::Csr;
use onebp_table::{
    Embedding, Projection, Rule, Table, TableState,
    host::{self, HostTable},
};
use std::collections::BTreeMap;

/// Named matrices of a stored state.
pub type Tensors = BTreeMap<String, Table>;
/// Named integers of a stored state.
pub type Counters = BTreeMap<String, u64>;
/// For named tables the step at which each row stands, where rows differ.
pub type Times = BTreeMap<String, Vec<u32>>;

/// A stored state: rows are as they are, not caught up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Tables and the matrices of their optimizers.
    pub tensors: Tensors,
    /// Step counts, and the losses that were not taken yet.
    pub counters: Counters,
    /// Steps of rows.
    pub times: Times,
}

/// Names of the tables.
pub(super) const USERS: &str = "users";
pub(super) const ITEMS: &str = "items";
/// Names of the targets of a bootstrap encoder, of users and of items.
pub(super) const TARGETS: [&str; 2] = ["target_users", "target_items"];

impl State {
    /// Adds a table under `name`.
    pub(super) fn store(&mut self, name: &str, table: TableState) {
        let TableState { weights, matrices, time, step } = table;
        self.tensors.insert(name.into(), weights);
        for (matrix, values) in matrices {
            self.tensors.insert(format!("{name}.{matrix}"), values);
        }
        if !time.is_empty() {
            self.times.insert(name.into(), time);
        }
        self.counters.insert(format!("{name}.step"), step);
    }

    /// Takes back what [`State::store`] stored.
    ///
    /// # Errors
    /// [`Error::State`] where the table is missing.
    pub(super) fn table(&self, name: &str) -> Result<TableState, Error> {
        let weights = self.tensors.get(name).cloned();
        let weights = weights.ok_or_else(|| Error::State(format!("the table of {name} is missing")))?;
        let own = |key: &String| key.strip_prefix(name)?.strip_prefix('.').map(str::to_string);
        let matrices = self.tensors.iter().filter_map(|(key, values)| Some((own(key)?, values.clone()))).collect();
        let time = self.times.get(name).cloned().unwrap_or_default();
        let step = self.counters.get(&format!("{name}.step")).copied();
        let step = step.ok_or_else(|| Error::State(format!("the step of {name} is missing")))?;
        Ok(TableState { weights, matrices, time, step })
    }

    /// The embeddings as they would be evaluated: rows caught up, and encoded. `train` is what the model was fitted to.
    ///
    /// # Errors
    /// [`Error::State`] where a part is missing or does not fit.
    pub fn view(&self, method: Method, hyper: &Hyperparameters, train: &Csr) -> Result<Tables, Error> {
        let update = method.update(hyper);
        let view = |name: &str, learns: bool, width: usize, projection: Option<Projection>| {
            let optimizer = learns.then(|| hyper.optimizer(projection));
            let state = self.table(name)?;
            let error = |problem| Error::State(format!("{name}: {problem}"));
            state.check([state.weights.rows, width], optimizer.as_ref()).map_err(|e| error(e.to_string()))?;
            let table = match optimizer {
                Some(optimizer) if optimizer.rule == Rule::Adam => host::view_of(state, &optimizer),
                _ => state.weights,
            };
            Ok::<Table, Error>(table)
        };
        let ([of_users, of_items], vectors) = (method.projections(), method.encoder.vectors());
        let inputs = Tables {
            users: view(USERS, update.trains_users(), hyper.dim * vectors, of_users)?,
            items: view(ITEMS, update.trains_items(), hyper.dim, of_items)?,
            score: method.loss.score(),
        };
        if inputs.users.rows != train.rows() || inputs.items.rows != train.columns() {
            return Err(Error::State("the tables do not fit the data".into()));
        }
        method.encoder.embed::<<HostTable as Embedding>::Sparse>(inputs, &self.tensors, train, &ndarray())
    }
}
