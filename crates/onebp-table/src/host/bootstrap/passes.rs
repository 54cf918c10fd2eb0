//! The passes of BUIR's step, see [`super`].

use super::super::{
    HostTable,
    crew::RowWork,
    product::{BLOCK, product},
    shared::Rows,
    simd::{Add, Mix, apply, dot},
    state::Open,
    sum::{Gradients, sum},
};
use crate::{Batch, Error, Touched};
use pulp::Simd;
use std::ops::Range;

const SMALLEST_SQUARE: f32 = 1e-24;

/// A table that learns, opened.
pub fn opened(table: &mut HostTable) -> Result<(Rows<'_>, Open<'_>), Error> {
    match table.open() {
        (rows, Some(state)) => Ok((rows, state)),
        (_, None) => Err(Error::Execution("the table has no optimizer".into())),
    }
}

/// A table in a step, with its targets.
pub struct Side<'a> {
    /// Distinct rows.
    pub rows: &'a [u32],
    pub online: Rows<'a>,
    pub state: Open<'a>,
    pub targets: Rows<'a>,
    pub following: Rows<'a, u32>,
}

/// Both tables: distinct rows of users, then of items.
pub struct Sides<'a> {
    pub sides: [Side<'a>; 2],
    pub mix: Mix,
}

impl<'a> Sides<'a> {
    /// Both tables with these distinct rows, opened.
    pub fn open(
        online: [&'a mut HostTable; 2],
        [of_users, of_items]: [&'a [u32]; 2],
        [user_targets, item_targets]: &'a mut [HostTable; 2],
        [users_follow, items_follow]: &'a mut [Vec<u32>; 2],
        mix: Mix,
    ) -> Result<Self, Error> {
        let side = |rows, online: &'a mut HostTable, targets: &'a mut HostTable, following: &'a mut Vec<u32>| {
            let (online, state) = opened(online)?;
            let (targets, _) = targets.open();
            Ok::<_, Error>(Side { rows, online, state, targets, following: Rows::new(following, 1) })
        };
        let [users, items] = online;
        Ok(Self {
            sides: [
                side(of_users, users, user_targets, users_follow)?,
                side(of_items, items, item_targets, items_follow)?,
            ],
            mix,
        })
    }

    /// Number of distinct rows.
    pub fn len(&self) -> usize {
        self.sides.iter().map(|side| side.rows.len()).sum()
    }

    /// The side of a distinct row, and the row.
    #[inline(always)]
    fn at(&self, index: usize) -> (&Side<'a>, usize) {
        let [users, items] = &self.sides;
        match users.rows.get(index) {
            Some(&user) => (users, user as usize),
            None => (items, items.rows[index - users.rows.len()] as usize),
        }
    }

    /// Asks the caches for a distinct row.
    #[inline(always)]
    fn prefetch(&self, index: usize) {
        if index < self.len() {
            let (side, row) = self.at(index);
            side.online.prefetch(row);
            side.targets.prefetch(row);
            side.state.prefetch(row);
        }
    }
}

/// Pass 1.
pub struct CatchUp<'a> {
    pub both: &'a Sides<'a>,
    pub inverse: Rows<'a>,
}

impl RowWork for CatchUp<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, _: &mut [f32]) {
        for index in range {
            self.both.prefetch(index + 1);
            let (side, row) = self.both.at(index);
            // SAFETY: rows are distinct.
            unsafe {
                let (w, target, time) = (side.online.row(row), side.targets.row(row), side.following.row(row));
                side.state.settle_followed(simd, (row, time[0]), (w, &mut *target), &self.both.mix);
                time[0] = side.state.last_step();
                self.inverse.row(index)[0] = 1.0 / dot(simd, target, target).max(SMALLEST_SQUARE).sqrt();
            }
        }
    }
}

/// s t^ of the other rows of a side's pairs.
pub struct Towards<'a> {
    pub batch: &'a Batch,
    pub share: f32,
    pub other: &'a Touched,
    pub targets: &'a Rows<'a>,
    pub inverse: &'a [f32],
}

impl Gradients for Towards<'_> {
    #[inline(always)]
    fn of(&self, place: usize) -> (f32, &[f32]) {
        let slot = self.other.slots[place] as usize;
        // SAFETY: nobody writes targets in this pass.
        let target = unsafe { self.targets.read(self.other.rows[slot] as usize) };
        (self.batch.weights[place] * self.share * self.inverse[slot], target)
    }
}

/// Pass 2, over blocks of distinct rows: those of users, then of items.
pub struct Predictions<'a> {
    pub both: &'a Sides<'a>,
    pub touched: [&'a Touched; 2],
    pub towards: [Towards<'a>; 2],
    pub weights: &'a [Vec<f32>; 3],
    pub gradients: Rows<'a>,
    pub losses: Rows<'a>,
    /// `[d + 1, wide]` of each part.
    pub sums: Rows<'a>,
    /// Blocks of a part.
    pub grain: usize,
    pub dim: usize,
    pub wide: usize,
}

impl RowWork for Predictions<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        let (dim, wide) = (self.dim, self.wide);
        let (x, scratch) = scratch.split_at_mut(BLOCK * wide);
        let (y, back) = scratch.split_at_mut(BLOCK * wide);
        // SAFETY: parts are distinct.
        let sums = unsafe { self.sums.row(range.start / self.grain) };
        sums.fill(0.0);
        let (of_matrix, of_bias) = sums.split_at_mut(dim * wide);
        let [matrix, transposed, bias] = self.weights;
        let of_users = self.touched[0].len().div_ceil(BLOCK);
        for block in range {
            let (side, block, base) = match block.checked_sub(of_users) {
                None => (0, block, 0),
                Some(block) => (1, block, self.touched[0].len()),
            };
            let touched = self.touched[side];
            let distinct = block * BLOCK..touched.len().min((block + 1) * BLOCK);
            let shape = [distinct.len(), dim, wide];
            for ((x, y), q) in x.chunks_exact_mut(wide).zip(y.chunks_exact_mut(wide)).zip(distinct.clone()) {
                // SAFETY: nobody writes rows in this pass.
                x[..dim].copy_from_slice(unsafe { self.both.sides[side].online.read(touched.rows[q] as usize) });
                y.copy_from_slice(bias);
            }
            product(simd, (x, [wide, 1]), shape, matrix, y);
            for (y, q) in y.chunks_exact_mut(wide).zip(distinct.clone()) {
                let (y, towards, places) = (&mut y[..dim], &self.towards[side], touched.places(q));
                let a = &mut back[..dim];
                sum(simd, places, towards, a);
                let square = dot(simd, y, y);
                let norm = square.max(SMALLEST_SQUARE).sqrt();
                let along = dot(simd, a, y) / norm;
                let shares = places.iter().map(|&place| towards.batch.weights[place as usize] * towards.share);
                // SAFETY: rows are distinct.
                let loss = unsafe { self.losses.row(base + q) };
                loss[0] = 2.0 * (shares.sum::<f32>() - along);
                // A norm that is kept from 0 does not change with y.
                let own = if square > SMALLEST_SQUARE { 2.0 * along / square } else { 0.0 };
                apply(simd, &Mix(own, -2.0 / norm), [&mut *y], [&*a]);
                apply(simd, &Add(1.0), [&mut of_bias[..dim]], [&*y]);
            }
            back[..distinct.len() * wide].fill(0.0);
            product(simd, (y, [wide, 1]), shape, transposed, back);
            for (back, q) in back.chunks_exact(wide).zip(distinct.clone()) {
                // SAFETY: rows are distinct.
                unsafe { self.gradients.row(base + q) }.copy_from_slice(&back[..dim]);
            }
            // Columns of x times the rows of dL/dy.
            product(simd, (x, [1, wide]), [dim, distinct.len(), wide], y, of_matrix);
        }
    }
}

/// Pass 3, over distinct rows and behind them those of the predictor.
pub struct Moves<'a> {
    pub both: &'a Sides<'a>,
    pub gradients: Rows<'a>,
    pub predictor: [(Rows<'a>, Open<'a>); 2],
    /// `[parts, d + 1, wide]`.
    pub sums: &'a [f32],
    pub dim: usize,
    pub wide: usize,
}

impl RowWork for Moves<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        let (dim, wide, count) = (self.dim, self.wide, self.both.len());
        for index in range {
            let Some(line) = index.checked_sub(count) else {
                let (side, row) = self.both.at(index);
                // SAFETY: rows are distinct.
                unsafe {
                    let (w, target) = (side.online.row(row), side.targets.row(row));
                    side.state.advance_along_sum(simd, row, 0, w, self.gradients.row(index), []);
                    apply(simd, &self.both.mix, [target], [&*w]);
                    side.following.row(row)[0] = side.state.last_step() + 1;
                }
                continue;
            };
            let g = &mut scratch[..dim];
            g.fill(0.0);
            for part in self.sums.chunks_exact((dim + 1) * wide) {
                apply(simd, &Add(1.0), [&mut *g], [&part[line * wide..][..dim]]);
            }
            let ((rows, state), row) = if line < dim { (&self.predictor[0], line) } else { (&self.predictor[1], 0) };
            // SAFETY: rows are distinct.
            unsafe { state.advance_along_sum(simd, row, 0, rows.row(row), g, []) };
        }
    }
}
