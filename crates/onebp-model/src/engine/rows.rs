//! The rows engine: autodiff over the rows of a batch.
//!
//! The gathered rows are the leaves of the graph, so `backward` yields row gradients `[R, d]`, never a dense `[N, d]`; they
//! go to the same row optimizers as those of the fused engine. Any loss of gathered rows fits in.

use super::{Engine, State, losses::Losses, towers::Towers};
use crate::{
    Batch, Error, Hyperparameters, Method, Tables,
    loss::Loss,
    update::{Follow, Update},
};
use burn::tensor::{Device, Tensor, TensorData};
use onebp_table::{Embedding, Grouping, Ranked, Ranking, Touched, hardest::Chosen};

/// Two tables and a loss of their rows.
pub struct Rows<E: Embedding> {
    towers: Towers<E>,
    loss: Loss,
    temperature: f64,
    update: Update,
    device: Device,
    chosen: Chosen,
    losses: Losses,
    /// Groups the chosen items, where items follow.
    positives: (Grouping, Touched),
}

impl<E: Embedding> Rows<E> {
    /// An engine for `method` starting from `tables`, on `device`.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device refuses the tables.
    pub fn new(method: Method, hyper: &Hyperparameters, tables: &Tables, device: &Device) -> Result<Self, Error> {
        let device = device.clone().without_autodiff();
        Ok(Self {
            towers: Towers::new(method, hyper, tables, &device)?,
            loss: method.loss,
            temperature: hyper.temperature,
            update: method.update(hyper),
            device,
            chosen: Chosen::new(tables.items.rows),
            losses: Losses::default(),
            positives: (Grouping::new(tables.items.rows), Touched::default()),
        })
    }
}

/// Shares of a batch's rows in the mean loss, `[B, 1]`.
pub(super) fn shares(batch: &Batch, device: &Device) -> Tensor<2> {
    let shares: Vec<f32> = batch.weights.iter().map(|weight| weight * batch.share()).collect();
    Tensor::from_data(TensorData::new(shares, [batch.len(), 1]), device)
}

impl<E: Embedding + Send> Engine for Rows<E> {
    fn step(&mut self, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let batch = self.towers.choose(batch, &mut self.chosen)?;
        let Towers { users: user_table, items: item_table } = &mut self.towers;
        let leaf = |rows: Tensor<2>, learns: bool| {
            let rows = Tensor::from_inner(rows);
            // The one line that makes it OneBP: a tower that follows is a constant of the loss.
            if learns { rows.require_grad() } else { rows }
        };
        let users = leaf(user_table.gather(&batch.touched_users, &batch.users)?, self.update.trains_users());
        let items = leaf(item_table.gather(&batch.touched_items, &batch.items)?, self.update.trains_items());
        let [_, dim] = users.dims();
        let shares = Tensor::from_inner(shares(batch, &self.device));
        let columns = items.clone().reshape([batch.len(), batch.width(), dim]);
        let loss = self.loss.forward(self.temperature, users.clone(), columns, shares);
        let gradients = loss.backward();
        let missing = || Error::Execution("no gradient reached a trained table".into());
        if self.update.trains_users() {
            user_table.update(&batch.touched_users, users.grad(&gradients).ok_or_else(missing)?)?;
        }
        if self.update.trains_items() {
            item_table.update(&batch.touched_items, items.grad(&gradients).ok_or_else(missing)?)?;
        }
        match self.update.follow() {
            Follow::Neither => {}
            Follow::Users(aggregation) => {
                let positives: Vec<u32> = batch.positives().collect();
                user_table.aggregate(&batch.touched_users, &aggregation, item_table, &positives)?;
            }
            Follow::Items(aggregation) => {
                let positives: Vec<u32> = batch.positives().collect();
                let (grouping, touched) = &mut self.positives;
                grouping.group(&positives, touched);
                item_table.aggregate(touched, &aggregation, user_table, &batch.users)?;
            }
        }
        self.losses.push(loss.inner())
    }

    fn take_loss(&mut self) -> Result<f64, Error> {
        self.losses.take()
    }

    fn tables(&self) -> Result<Tables, Error> {
        self.towers.view()
    }

    fn rank(&mut self, ranking: &Ranking<'_>) -> Result<Option<Ranked>, Error> {
        self.towers.rank(ranking)
    }

    fn state(&mut self) -> Result<State, Error> {
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
}
