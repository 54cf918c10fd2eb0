//! The rows engine: autodiff over the rows of a batch.
//!
//! The rows that a loss sees are the leaves of the graph, so `backward` yields row gradients `[R, d]`, never a dense `[N,
//! d]`; from there an [`Encoding`] takes them back to the tables, and to the same row optimizers as those of the fused
//! engine. Any loss of rows fits in.

use super::{
    Engine, Start, State,
    encoding::{self, Encoding, Sides},
    losses::Losses,
    towers::Towers,
    whole_users::WholeUsers,
};
use crate::{
    Batch, Error, Hyperparameters, Method, Tables,
    loss::{Loss, LossRows, LossSetting, Value},
    update::{Cut, Order, Update},
};
use burn::tensor::{Device, Tensor, TensorData};
use onebp_table::{Embedding, Ranked, Ranking, hardest::Chosen};

/// Two tables, an encoding, and a loss of their rows.
pub struct Rows<E: Embedding> {
    towers: Towers<E>,
    encoding: Box<dyn Encoding<E>>,
    loss: Loss,
    setting: LossSetting,
    update: Update,
    device: Device,
    chosen: Chosen,
    whole_users: WholeUsers,
    losses: Losses,
}

impl<E: Embedding + Send + 'static> Rows<E>
where
    E::Sparse: 'static,
{
    /// An engine for `method`, on `device`.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device refuses the tables.
    pub fn new(method: Method, hyper: &Hyperparameters, start: &Start<'_>, device: &Device) -> Result<Self, Error> {
        let device = device.clone().without_autodiff();
        let items = start.tables.items.rows;
        Ok(Self {
            towers: Towers::new(method, hyper, &start.tables, &device)?,
            encoding: encoding::of(&method, hyper, start, &device)?,
            loss: method.loss,
            setting: LossSetting { temperature: hyper.temperature, items },
            update: method.update(hyper),
            chosen: Chosen::new(items),
            whole_users: WholeUsers::new([items, start.tables.items.dim], &device),
            device,
            losses: Losses::default(),
        })
    }
}

/// A column `[B, 1]` on a device.
pub(super) fn column(values: Vec<f32>, device: &Device) -> Tensor<2> {
    let rows = values.len();
    Tensor::from_data(TensorData::new(values, [rows, 1]), device)
}

/// Shares of a batch's rows in the mean loss, `[B, 1]`.
pub(super) fn shares(batch: &Batch, device: &Device) -> Tensor<2> {
    column(batch.shares().collect(), device)
}

/// Shares of a batch's rows in a mean over its distinct users, `[B, 1]`.
pub(super) fn user_shares(batch: &Batch, device: &Device) -> Tensor<2> {
    let touched = &batch.touched_users;
    let share = |&slot: &u32| 1.0 / (touched.places(slot as usize).len() * touched.len()) as f32;
    column(touched.slots.iter().map(share).collect(), device)
}

impl<E: Embedding + Send> Engine for Rows<E> {
    fn step(&mut self, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        if let Some(loss) = self.loss.catalogue() {
            let loss = self.whole_users.step(loss, &mut self.towers, batch)?;
            self.losses.add(&[loss as f32], &[]);
            return Ok(());
        }
        if self.update.order() == Order::Pre {
            self.towers.follow(self.update.follow(), batch)?;
        }
        self.encoding.begin(&mut self.towers)?;
        let batch = match batch.keep {
            None => batch,
            Some(keep) => {
                let keys = self.encoding.keys(&mut self.towers, batch, keep.hardness)?;
                self.chosen.of(batch, keep, &keys)
            }
        };
        let rows = self.encoding.rows(&mut self.towers, batch)?;
        // The one line that makes it OneBP: a tower that follows is a constant of the loss.
        let tracked = self.encoding.tracked(&self.update);
        let leaf = |rows: Tensor<2>, tracked: bool| {
            let rows = Tensor::from_inner(rows);
            if tracked { rows.require_grad() } else { rows }
        };
        let (users, items) = (leaf(rows.users, tracked.users), leaf(rows.items, tracked.items));
        let [_, dim] = items.dims();
        let rows = LossRows {
            users: users.clone(),
            items: items.clone().reshape([batch.len(), batch.width(), dim]),
            shares: Tensor::from_inner(shares(batch, &self.device)),
            user_shares: Tensor::from_inner(user_shares(batch, &self.device)),
            chosen: None,
        };
        let Value { loss, counted } = self.loss.forward(self.setting, rows);
        let gradients = loss.backward();
        let gradient = |rows: Tensor<2>, tracked: bool| {
            let missing = || Error::Execution("no gradient reached a trained table".into());
            tracked.then(|| rows.grad(&gradients).ok_or_else(missing)).transpose()
        };
        let gradients = Sides { users: gradient(users, tracked.users)?, items: gradient(items, tracked.items)? };
        self.encoding.learn(&mut self.towers, batch, gradients)?;
        if self.update.order() == Order::Post {
            self.towers.follow(self.update.follow(), batch)?;
        }
        self.losses.push(loss.inner(), counted.map(Tensor::inner))
    }

    fn take_loss(&mut self) -> Result<f64, Error> {
        self.losses.take()
    }

    fn take_counted(&mut self) -> Result<Option<f64>, Error> {
        self.losses.take_counted()
    }

    fn tables(&self) -> Result<Tables, Error> {
        self.encoding.embed(self.towers.view()?)
    }

    fn rank(&mut self, ranking: &Ranking<'_>) -> Result<Option<Ranked>, Error> {
        self.encoding.rank(&mut self.towers, ranking)
    }

    fn state(&mut self) -> Result<State, Error> {
        let mut state = State::default();
        self.losses.store(&mut state)?;
        self.towers.store(&mut state)?;
        self.encoding.store(&mut state)?;
        Ok(state)
    }

    fn restore(&mut self, state: &State) -> Result<(), Error> {
        self.towers.restore(state)?;
        self.encoding.restore(state)?;
        self.losses = Losses::restore(state);
        Ok(())
    }
}

impl Update {
    /// Whether the rows of a side are tracked where what they were made of may be passed through: all but those that are cut
    /// off.
    pub(super) fn passes(&self) -> Sides<bool> {
        let passes = |learns: bool| learns || self.cut() == Cut::Input;
        Sides { users: passes(self.trains_users()), items: passes(self.trains_items()) }
    }
}
