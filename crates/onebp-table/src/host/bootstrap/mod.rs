//! The step of BUIR on the CPU: online rows whose predictions learn to point where targets do, and targets that follow them.
//!
//! With q(x) = x W + b, shares s of the pairs (u, i), and t^ = t / |t|:
//!
//! ```text
//! L = sum of s (2 - 2 cos(q(u), t_i)) + s (2 - 2 cos(q(i), t_u))
//! y = q(u);  a = sum over the pairs of u of s t^_i;  dL/dy = -(2 / |y|) (a - <a, y> y / |y|^2)
//! dL/du = dL/dy W^T;  dW = sum of u^T dL/dy;  db = sum of dL/dy;  and the same with users and items exchanged
//! t <- momentum t + (1 - momentum) w for every row, after every step
//! ```
//!
//! A user's prediction is the same in all of its pairs, so a step predicts from distinct rows. Three passes over them, of users
//! and items together:
//!
//! 1. **Catch-up**: under dense Adam every row moves at every step, and its target follows. Those that no batch touches wait
//!    until one does: then both are taken over the steps that they missed, one after another, so that the bytes are those of
//!    going along. A step costs the rows of its batch and not those of the tables.
//! 2. **Predictions**, block by block: products with W and with its transpose, whose blocks stay in the nearest caches.
//! 3. **Optimizer**: rows, targets, W and b.
//!
//! Source: Lee et al., SIGIR 2021 (spec section 7.6). Norms are kept above 1e-12.

mod passes;

use self::passes::{CatchUp, Moves, Predictions, Sides, Towards, opened};
use super::{
    HostTable,
    product::{BLOCK, padded, parts},
    shared::Rows,
    simd::{MOST_LANES, Mix},
};
use crate::{Batch, Embedding, Error, Table, Touched};
use burn::tensor::Device;
use std::time::{Duration, Instant};

/// Parts of the second pass, at most: their sums are read once more.
const PARTS: usize = 16;

/// Names of the passes.
const PASSES: [&str; 3] = ["catch-up", "predictions", "optimizer"];

/// Targets and predictor of two online tables, and their step.
pub struct HostBootstrap {
    momentum: f64,
    /// Of users and of items.
    targets: [HostTable; 2],
    /// The step at which each target stands.
    following: [Vec<u32>; 2],
    /// W `[d, d]` and b `[1, d]`.
    predictor: [HostTable; 2],
    /// W, its transpose and b, padded.
    weights: [Vec<f32>; 3],
    /// 1 / |t| of distinct rows, those of users in front.
    inverse: Vec<f32>,
    /// dL/dx of distinct rows.
    gradients: Vec<f32>,
    row_losses: Vec<f32>,
    /// Sums of dW and below it db, part by part.
    sums: Vec<f32>,
    losses: Vec<f32>,
    passes: [Duration; PASSES.len()],
}

/// All rows of a table.
fn all(table: &HostTable) -> Touched {
    Touched { rows: (0..table.rows() as u32).collect(), ..Touched::default() }
}

impl HostBootstrap {
    /// Targets that are copies of the tables `[M, d]` and `[N, d]` of `online`, which learn and are not projected; `predictor`,
    /// W `[d, d]` and b `[1, d]`, learns too.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is no CPU backend.
    pub fn new(
        momentum: f64,
        online: [&mut HostTable; 2],
        predictor: [HostTable; 2],
        device: &Device,
    ) -> Result<Self, Error> {
        let target = |table: &HostTable| -> Result<HostTable, Error> {
            let table: Table = table.view()?;
            HostTable::new(&table, None, device)
        };
        let targets = [target(online[0])?, target(online[1])?];
        let following = [&online[0], &online[1]].map(|table| vec![0; table.rows()]);
        online.into_iter().for_each(HostTable::replay);
        Ok(Self {
            momentum,
            targets,
            following,
            predictor,
            weights: Default::default(),
            inverse: Vec::new(),
            gradients: Vec::new(),
            row_losses: Vec::new(),
            sums: Vec::new(),
            losses: Vec::new(),
            passes: Default::default(),
        })
    }

    /// Targets of users and of items, W and b.
    pub fn parts(&self) -> [&HostTable; 4] {
        let ([users, items], [matrix, bias]) = (&self.targets, &self.predictor);
        [users, items, matrix, bias]
    }

    /// The same, to be restored; [`HostBootstrap::resume`] must follow.
    pub fn parts_mut(&mut self) -> [&mut HostTable; 4] {
        let ([users, items], [matrix, bias]) = (&mut self.targets, &mut self.predictor);
        [users, items, matrix, bias]
    }

    /// Goes on from restored tables, whose targets stand at the last step.
    ///
    /// # Errors
    /// As [`Embedding::settle`].
    pub fn resume(&mut self, online: [&mut HostTable; 2]) -> Result<(), Error> {
        for table in &mut self.predictor {
            table.settle(&all(table))?;
        }
        for (table, following) in online.into_iter().zip(&mut self.following) {
            table.settle(&all(table))?;
            following.fill(table.state.as_ref().map_or(0, |state| state.step));
        }
        Ok(())
    }

    /// Brings all rows and their targets to the last step: afterwards both may be stored.
    ///
    /// # Errors
    /// [`Error::Execution`] where a table has no optimizer.
    pub fn settle(&mut self, online: [&mut HostTable; 2]) -> Result<(), Error> {
        let (crew, dim) = (online[0].crew, online[0].dim());
        let rows = [&online[0], &online[1]].map(|table| all(table).rows);
        self.inverse.resize(rows[0].len() + rows[1].len(), 0.0);
        let mix = self.mix();
        let both = Sides::open(online, [&rows[0], &rows[1]], &mut self.targets, &mut self.following, mix)?;
        let work = CatchUp { both: &both, inverse: Rows::new(&mut self.inverse, 1) };
        crew.for_rows(both.len(), dim, 1, &work);
        Ok(())
    }

    /// One step on both tables along the pairs of `batch`, without negatives.
    ///
    /// # Errors
    /// [`Error::Execution`] where tables and batch do not fit.
    pub fn step(&mut self, online: [&mut HostTable; 2], batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        if batch.width() != 1 {
            return Err(Error::Execution("a step of pairs has no negatives".into()));
        }
        let (crew, dim) = (online[0].crew, online[0].dim());
        let wide = dim.next_multiple_of(MOST_LANES);
        let touched = [&batch.touched_users, &batch.touched_items];
        let count = touched[0].len() + touched[1].len();
        let blocks: usize = touched.iter().map(|touched| touched.len().div_ceil(BLOCK)).sum();
        let grain = blocks.div_ceil(parts((dim + 1) * wide).min(PARTS));
        self.inverse.resize(count, 0.0);
        self.row_losses.resize(count, 0.0);
        self.gradients.resize(count * dim, 0.0);
        self.sums.resize(blocks.div_ceil(grain) * (dim + 1) * wide, 0.0);
        let mix = self.mix();
        let mut clock = Instant::now();
        let mut lap = |pass: &mut Duration| {
            let now = Instant::now();
            *pass += now - std::mem::replace(&mut clock, now);
        };
        let [caught_up, predicted, moved] = &mut self.passes;

        let [users, items] = online;
        let rows = touched.map(|touched| &touched.rows[..]);
        let both = Sides::open([&mut *users, &mut *items], rows, &mut self.targets, &mut self.following, mix)?;
        let work = CatchUp { both: &both, inverse: Rows::new(&mut self.inverse, 1) };
        crew.for_rows(count, dim, 4, &work);
        lap(caught_up);

        let [matrix, transposed, bias] = &mut self.weights;
        let [of_matrix, of_bias] = &self.predictor;
        padded(of_matrix.weights.as_slice(), dim, false, matrix);
        padded(of_matrix.weights.as_slice(), dim, true, transposed);
        padded(of_bias.weights.as_slice(), dim, false, bias);
        let (of_users, of_items) = self.inverse.split_at(touched[0].len());
        let towards = |side: usize, inverse| {
            let targets = &both.sides[side].targets;
            Towards { batch, share: batch.share(), other: touched[side], targets, inverse }
        };
        let work = Predictions {
            both: &both,
            touched,
            towards: [towards(1, of_items), towards(0, of_users)],
            weights: &self.weights,
            gradients: Rows::new(&mut self.gradients, dim),
            losses: Rows::new(&mut self.row_losses, 1),
            sums: Rows::new(&mut self.sums, (dim + 1) * wide),
            grain,
            dim,
            wide,
        };
        crew.for_chunks((blocks, grain), 3 * BLOCK * wide, &work);
        self.losses.push(self.row_losses.iter().sum());
        lap(predicted);

        let [matrix, bias] = &mut self.predictor;
        let work = Moves {
            both: &both,
            gradients: Rows::new(&mut self.gradients, dim),
            predictor: [opened(matrix)?, opened(bias)?],
            sums: &self.sums,
            dim,
            wide,
        };
        crew.for_rows(count + dim + 1, dim, 4, &work);
        for table in [users, items].into_iter().chain(&mut self.predictor) {
            table.finish_step();
        }
        lap(moved);
        Ok(())
    }

    fn mix(&self) -> Mix {
        Mix(self.momentum as f32, (1.0 - self.momentum) as f32)
    }

    /// Losses of the steps since the last call, in order.
    pub fn take_losses(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.losses)
    }

    /// Where the time of the steps since the last call went, by pass.
    pub fn take_passes(&mut self) -> Vec<(&'static str, Duration)> {
        PASSES.into_iter().zip(std::mem::take(&mut self.passes)).collect()
    }
}
