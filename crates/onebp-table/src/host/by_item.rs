//! Scores item by item, where users do not learn and items lie in the caches.
//!
//! User by user, every core reads items that another one has just moved, and the core that moves them next has to take them
//! back. Item by item, both passes cut the items alike: as a rule the core that reads an item moves it as well, step after
//! step, in the order of memory, and only users and scores cross over. The bytes are the same.

use super::{
    scores::{Outlet, Scores},
    state::Open,
    table::RowWork,
};
use pulp::Simd;
use std::ops::Range;

/// Scores of distinct items with the users at their places. Items may be late: they are settled first.
pub struct ItemScores<'a, O> {
    pub scores: &'a Scores<'a, O>,
    /// The optimizer of items that learn.
    pub state: Option<&'a Open<'a>>,
}

impl<O: Outlet> RowWork for ItemScores<'_, O> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        let Scores { batch, users, items, factors, dim, sharpness, .. } = self.scores;
        let (width, touched) = (batch.width(), &batch.touched_items);
        for q in range {
            let row = touched.rows[q] as usize;
            // SAFETY: rows are distinct.
            let item = unsafe { items.row(row) };
            if let Some(state) = self.state {
                // SAFETY: rows are distinct.
                unsafe { state.settle(simd, row, item, scratch) };
            }
            for &place in touched.places(q) {
                let (row, column) = (place as usize / width, place as usize % width);
                let user = batch.users[row] as usize;
                let score = self.scores.score_of(simd, &users[user * dim..][..*dim], item);
                // SAFETY: a place belongs to one item.
                unsafe { factors.set(row, column, score * sharpness) };
            }
        }
    }
}

/// The factors of rows of the batch, which hold their scores.
pub struct RowFactors<'a, O>(pub &'a Scores<'a, O>);

impl<O: Outlet> RowWork for RowFactors<'_, O> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, _: &mut [f32]) {
        for row in range {
            // SAFETY: rows are distinct.
            unsafe {
                self.0.chosen.row(row).fill(self.0.batch.users[row]);
                self.0.weigh(simd, row, self.0.factors.row(row));
            }
        }
    }
}
