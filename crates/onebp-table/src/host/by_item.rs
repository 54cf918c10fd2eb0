//! Scores item by item, where users do not learn and items lie in the caches.
//!
//! User by user, every core reads items that another one has just moved, and the core that moves them next has to take them
//! back. Item by item, both passes cut the items alike: as a rule the core that reads an item moves it as well, step after
//! step, in the order of memory, and only users and scores cross over. The bytes are the same.

use super::{
    crew::RowWork,
    narrow::{dot, narrow, vectors},
    scores::{Chosen, Outlet, Scores},
    state::Open,
};
use crate::Score;
use pulp::Simd;
use std::ops::Range;

/// Scores of distinct items with the users at their places, who must be there. Items may be late: they are settled first.
pub struct ItemScores<'a, O> {
    pub scores: &'a Scores<'a, O>,
    /// The optimizer of items that learn.
    pub state: Option<&'a Open<'a>>,
}

impl<O: Outlet> RowWork for ItemScores<'_, O> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        let Scores { batch, users, items, factors, sharpness, .. } = self.scores;
        let touched = &batch.touched_items;
        let chosen = Chosen::only(batch);
        if self.scores.score == Score::Product {
            narrow!(S, self.scores.dim, self.run_narrow(simd, range, scratch));
        }
        for q in range {
            let row = touched.rows[q] as usize;
            // SAFETY: rows are distinct.
            let item = unsafe { items.row(row) };
            if let Some(state) = self.state {
                // SAFETY: rows are distinct.
                unsafe { state.settle(simd, row, item, scratch) };
            }
            for &place in touched.places(q) {
                let user = chosen.of(place);
                // SAFETY: in this pass nobody writes users.
                let score = self.scores.score_of(simd, unsafe { users.read(user) }, item);
                // SAFETY: a place belongs to one item.
                unsafe { factors.set(place as usize, score * sharpness) };
            }
        }
    }
}

impl<O: Outlet> ItemScores<'_, O> {
    /// [`ItemScores::run`] of products of V vectors.
    #[inline(always)]
    fn run_narrow<S: Simd, const V: usize>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        let Scores { batch, users, items, factors, sharpness, .. } = self.scores;
        let touched = &batch.touched_items;
        let rows = &touched.rows[range.clone()];
        if let Some(state) = self.state {
            for &row in rows {
                // SAFETY: rows are distinct.
                unsafe { state.settle(simd, row as usize, items.row(row as usize), scratch) };
            }
        }
        let (owners, row_of) = (&batch.users[..], batch.row_of_place());
        for (&row, bounds) in rows.iter().zip(touched.starts[range.start..=range.end].windows(2)) {
            // SAFETY: from here on nobody writes these items in this pass.
            let item = unsafe { vectors::<S, V>(items.read(row as usize)) };
            for &place in &touched.places[bounds[0] as usize..bounds[1] as usize] {
                let user = owners[row_of.of(place)] as usize;
                // SAFETY: in this pass nobody writes users, who are as wide; a place belongs to one item.
                unsafe {
                    let score = dot(simd, vectors::<S, V>(users.read(user)), item);
                    factors.set(place as usize, score * sharpness);
                }
            }
        }
    }
}

/// The factors of rows of the batch, which hold their scores.
pub struct RowFactors<'a, O>(pub &'a Scores<'a, O>);

impl<O: Outlet> RowWork for RowFactors<'_, O> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        let mut row = range.start;
        // SAFETY: rows are distinct.
        unsafe {
            while row + S::F32_LANES <= range.end && self.0.loss.is_none() {
                self.0.weigh_together(simd, row, scratch);
                row += S::F32_LANES;
            }
            for row in row..range.end {
                self.0.weigh(simd, row, self.0.factors.row(row));
            }
        }
    }
}
