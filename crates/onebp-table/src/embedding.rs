//! What every implementation of a table can do.

use crate::{
    Aggregation, Batch, Error, Hardness, Optimizer, Ranked, Ranking, Score, SparseProduct, Table, Touched,
    hardest::keys,
};
use burn::tensor::{Device, Tensor};
use std::{collections::BTreeMap, time::Duration};

/// A table as it is stored: rows may stand at different steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableState {
    /// The rows, `[rows, d]`.
    pub weights: Table,
    /// The optimizer's matrices by name, `[rows, d]` or `[rows, 1]`.
    pub matrices: BTreeMap<String, Table>,
    /// The step at which each row stands, `[rows]`, for optimizers whose untouched rows move; else empty.
    pub time: Vec<u32>,
    /// Steps done.
    pub step: u64,
}

/// An embedding table on a device, and what may happen to its rows.
///
/// A step with gradients is [`Embedding::gather`], a loss of the gathered rows, [`Embedding::update`]. All
/// implementations agree to float rounding.
pub trait Embedding: Sized {
    /// How a sparse matrix is multiplied with tensors where these tables are.
    type Sparse: SparseProduct;

    /// `table` on `device`, its rows moved by `optimizer`, or by aggregation alone where there is none.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is none of this implementation's, or too small; [`Error::Optimizer`] where rows
    /// of this width cannot be projected as the optimizer says.
    fn new(table: &Table, optimizer: Option<&Optimizer>, device: &Device) -> Result<Self, Error>;

    /// The rows of the next step's batch, `[R, d]`: `rows` `[R]`, whose distinct ones are `touched`, as they are before
    /// that step.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn gather(&mut self, touched: &Touched, rows: &[u32]) -> Result<Tensor<2>, Error>;

    /// All rows as they are before the next step, `[rows, d]`; `all` touches each at the place of its own number. Where it
    /// shares the table's memory it must be gone before the table is written.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn whole(&mut self, all: &Touched) -> Result<Tensor<2>, Error> {
        self.gather(all, &all.rows)
    }

    /// Brings distinct rows to the last step, over the silent steps since they were last moved: what a gather does before it
    /// reads.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn settle(&mut self, touched: &Touched) -> Result<(), Error>;

    /// One step of the optimizer: each distinct row moves along the sum of the gradients of its places, `[R, d]`, added up
    /// in the order of the places, and is projected where the optimizer says so. The rows must have been gathered for this
    /// step.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails, or where the table has no optimizer.
    fn update(&mut self, touched: &Touched, gradients: Tensor<2>) -> Result<(), Error>;

    /// Moves every distinct row towards the rows of `other` at its places: place p towards row `towards[p]`, `[R]`.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn aggregate(
        &mut self,
        touched: &Touched,
        aggregation: &Aggregation,
        other: &mut Self,
        towards: &[u32],
    ) -> Result<(), Error>;

    /// All rows as they are after the last step, on the host. Nothing is written back.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn view(&self) -> Result<Table, Error>;

    /// Ranks the rows of this table, the items, for rows of `users` by their products, as both are after the last step.
    /// Nothing where that is left to the host: by tables that are there already, and also by others where lists are very
    /// long or a score is not finite.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is too small, [`Error::Execution`] where it fails or the ranking does not fit the
    /// tables.
    fn rank(&mut self, users: &Self, ranking: &Ranking<'_>) -> Result<Option<Ranked>, Error> {
        let _ = (users, ranking);
        Ok(None)
    }

    /// Hardness of every item of the next step's batch, `[B, W]`, this being the table of items, as both tables are before
    /// that step.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn keys(&mut self, users: &mut Self, batch: &Batch, hardness: Hardness) -> Result<Vec<f32>, Error> {
        let users = users.gather(&batch.touched_users, &batch.users)?;
        let items = self.gather(&batch.touched_items, &batch.items)?;
        let [_, dim] = items.dims();
        keys(users, items.reshape([batch.len(), batch.width(), dim]), hardness)
    }

    /// One step of both tables, this being that of items, along all pairs of the users of a batch, under a loss of all
    /// items; its value. Nothing where tables have no such step of their own.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails, or a table has no optimizer.
    fn step_whole_users(
        &mut self,
        users: &mut Self,
        batch: &Batch,
        loss: &dyn CatalogueLoss,
    ) -> Result<Option<f64>, Error> {
        let _ = (users, batch, loss);
        Ok(None)
    }

    /// Everything that is needed to continue with the same bytes.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn state(&self) -> Result<TableState, Error>;

    /// Continues from a stored state.
    ///
    /// # Errors
    /// [`Error::State`] where it is of another shape or another optimizer.
    fn restore(&mut self, state: &TableState) -> Result<(), Error>;
}

/// Which tower follows the other one by moving aggregation instead of learning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Follow {
    /// None: both learn.
    Neither,
    /// Users follow the items they chose (OneBP).
    Users(Aggregation),
    /// Items follow the users who chose them.
    Items(Aggregation),
}

/// What a row of a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The loss of the row.
    pub loss: f32,
    /// Whether the row is one of those that the loss counts, such as those at its floor.
    pub counted: bool,
}

/// A loss of a row's scores, with its gradient in closed form.
pub trait RowLoss: Send + Sync {
    /// Turns the scores of a row over T, positives first, `[Mp + S]`, into the loss's slopes there.
    fn slopes(&self, scores: &mut [f32]) -> Outcome;

    /// What is scored.
    fn score(&self) -> Score {
        Score::Product
    }

    /// How far apart the vectors of a user shall be, for losses that care.
    fn spread(&self) -> Option<Spread> {
        None
    }
}

/// What a user's scores with all items add up to.
#[derive(Clone, Copy, Debug)]
pub struct AllItems {
    /// Sum of the scores.
    pub sum: f64,
    /// Sum of their squares.
    pub squares: f64,
    /// Number of items, N.
    pub items: usize,
    /// Users of the batch who count: those who have not chosen everything; at least 1.
    pub counted: usize,
}

/// What a user comes to under a loss of all items: its slope at the score s_j of item j is share (s_j - mean).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OfUser {
    /// The user's part of the mean loss.
    pub loss: f64,
    /// See above.
    pub share: f64,
    /// See above.
    pub mean: f64,
}

/// A loss of whole users against all items, of scores 2 <u, v>, whose slopes at all items but the user's own are alike.
pub trait CatalogueLoss: Sync {
    /// What a user comes to. The scores of the user's own items become what their slopes are more than the share says.
    fn of_user(&self, all: AllItems, scores: &mut [f64]) -> OfUser;
}

/// A penalty on users whose C vectors are too close to each other or too far apart, the diversity control regularisation
/// of DPCML (Bao et al., NeurIPS 2022).
///
/// With delta = sum_c |g_c - mean|^2 / (C - 1), the mean squared distance of two vectors over 2, a user costs weight
/// (max(0, low - delta) + max(0, delta - high)); the mean over the distinct users of a batch is added to its loss. Nothing
/// where C = 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Weight of the penalty.
    pub weight: f32,
    /// Smallest delta without one.
    pub low: f32,
    /// Largest delta without one.
    pub high: f32,
}

impl Spread {
    /// Penalty at `delta`, without its weight, and its slope there.
    #[inline]
    pub fn of(&self, delta: f32) -> (f32, f32) {
        if delta < self.low {
            (self.low - delta, -1.0)
        } else if delta > self.high {
            (delta - self.high, 1.0)
        } else {
            // What is not a number shows.
            (0.0 * delta, 0.0)
        }
    }
}

/// The step of table lookup with InfoNCE, whose gradient has a closed form (spec section 3): scores, softmax, gradients,
/// optimizer and aggregation without autodiff.
///
/// With p = softmax of a row's scores over T and share w: dL/dv_j = w (p_j - [j = +]) u / T, dL/du = w sum_j (p_j - [j = +])
/// v_j / T.
pub trait FusedStep: Sized {
    /// The tables it works on.
    type Table: Embedding;

    /// For scores divided by `temperature`.
    fn new(temperature: f64, follow: Follow) -> Self;

    /// One step on both tables.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn step(&mut self, users: &mut Self::Table, items: &mut Self::Table, batch: &Batch) -> Result<(), Error>;

    /// Losses of the steps since the last call, in order; waits for the device.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn take_losses(&mut self) -> Result<Vec<f32>, Error>;

    /// Share of the rows of each of these steps that the loss counts, see [`Outcome`]; nothing where it counts none.
    fn take_counted(&mut self) -> Vec<f32> {
        Vec::new()
    }

    /// Where the time of the steps since the last call went, by pass; nothing where steps only queue work for a device.
    fn take_passes(&mut self) -> Vec<(&'static str, Duration)> {
        Vec::new()
    }
}

impl TableState {
    /// Checks that this is the state of a table of this shape and optimizer.
    ///
    /// # Errors
    /// [`Error::State`] names what does not fit.
    pub fn check(&self, [rows, dim]: [usize; 2], optimizer: Option<&Optimizer>) -> Result<(), Error> {
        let fits = |name: &str, table: &Table, expected: [usize; 2]| {
            let found = [table.rows, table.dim];
            if found == expected {
                Ok(())
            } else {
                Err(Error::State(format!("{name} is {found:?}, the model expects {expected:?}")))
            }
        };
        fits("weights", &self.weights, [rows, dim])?;
        let expected = optimizer.map_or(&[][..], |optimizer| optimizer.rule.state());
        for &(name, whole) in expected {
            let missing = || Error::State(format!("a part of the optimizer's state is missing: {name}"));
            fits(name, self.matrices.get(name).ok_or_else(missing)?, [rows, if whole { dim } else { 1 }])?;
        }
        if let Some(name) = self.matrices.keys().find(|name| expected.iter().all(|(known, _)| known != name)) {
            return Err(Error::State(format!("{name} belongs to another optimizer")));
        }
        let times = if optimizer.is_some_and(|optimizer| optimizer.rule == crate::Rule::Adam) { rows } else { 0 };
        if self.time.len() != times {
            return Err(Error::State(format!("{} rows have a time, the model expects {times}", self.time.len())));
        }
        let ahead = optimizer.map_or(0, |optimizer| optimizer.ahead(Touched::MOST_REST));
        let latest = self.step.saturating_add(u64::from(ahead));
        if let Some(time) = self.time.iter().find(|&&time| u64::from(time) > latest) {
            return Err(Error::State(format!("a row stands at step {time}, the table at {}", self.step)));
        }
        if u32::try_from(self.step).is_err() {
            return Err(Error::State(format!("step {} is beyond 2^32", self.step)));
        }
        Ok(())
    }
}
