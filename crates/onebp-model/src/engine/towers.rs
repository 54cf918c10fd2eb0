//! Both tables of an engine that works on rows.

use super::{
    State,
    state::{ITEMS, USERS},
};
use crate::{Batch, Error, Hyperparameters, Method, Tables};
use burn::tensor::Device;
use onebp_table::{Embedding, Follow, Grouping, Ranked, Ranking, Score, Touched};

/// The user table and the item table, on a device.
pub(super) struct Towers<E: Embedding> {
    pub users: E,
    pub items: E,
    score: Score,
    /// Groups the chosen items, where items follow.
    positives: (Grouping, Touched),
}

impl<E: Embedding> Towers<E> {
    /// For `method`, starting from `tables`: a table that follows has no optimizer.
    pub fn new(method: Method, hyper: &Hyperparameters, tables: &Tables, device: &Device) -> Result<Self, Error> {
        let update = method.update(hyper);
        let [of_users, of_items] = method.projections();
        let optimizer = |learns: bool, projection| learns.then(|| hyper.optimizer(projection));
        Ok(Self {
            users: E::new(&tables.users, optimizer(update.trains_users(), of_users).as_ref(), device)?,
            items: E::new(&tables.items, optimizer(update.trains_items(), of_items).as_ref(), device)?,
            score: tables.score,
            positives: (Grouping::new(tables.items.rows), Touched::default()),
        })
    }

    pub fn view(&self) -> Result<Tables, Error> {
        Ok(Tables { users: self.users.view()?, items: self.items.view()?, score: self.score })
    }

    pub fn rank(&mut self, ranking: &Ranking<'_>) -> Result<Option<Ranked>, Error> {
        // A device ranks by products of rows as they are.
        let ranks = self.score == Score::Product;
        Ok(if ranks { self.items.rank(&self.users, ranking)? } else { None })
    }

    /// Lets a tower follow the other one over the pairs of a batch.
    pub fn follow(&mut self, follow: Follow, batch: &Batch) -> Result<(), Error> {
        match follow {
            Follow::Neither => Ok(()),
            Follow::Users(aggregation) => {
                Ok(self.users.aggregate(&batch.touched_users, &aggregation, &mut self.items, &batch.positives)?)
            }
            Follow::Items(aggregation) => {
                let (grouping, touched) = &mut self.positives;
                grouping.group(&batch.positives, touched);
                Ok(self.items.aggregate(touched, &aggregation, &mut self.users, &batch.users)?)
            }
        }
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
