//! Rows that follow rows of another table, without gradient.

use super::{
    ahead::{Coming, prefetch},
    crew::RowWork,
    narrow::{narrow, vectors, vectors_mut},
    shared::Rows,
    simd::{Add, Elementwise, Mix, apply, apply_ahead},
};
use crate::{Aggregation, Touched};
use pulp::Simd;
use std::ops::Range;

/// Occurrences of a row in a batch for which its factors are worked out once: powers take longer than short rows.
const USUAL: usize = 8;

/// The moving aggregation of distinct rows.
pub struct Following<'a> {
    touched: &'a Touched,
    aggregation: &'a Aggregation,
    rows: Rows<'a>,
    leaders: &'a [f32],
    towards: &'a [u32],
    /// Whether rows come from beyond the caches, on either side.
    far: bool,
    /// Factors of the old row that occurs so many times, less one, and of its leaders.
    usual: [(f32, [f32; USUAL]); USUAL],
    dim: usize,
}

impl<'a> Following<'a> {
    /// Of the `touched` among `rows`, towards the row `towards` of `leaders` at each of their places; all are `dim` wide.
    pub fn new(
        (touched, rows): (&'a Touched, Rows<'a>),
        aggregation: &'a Aggregation,
        (leaders, towards): (&'a [f32], &'a [u32]),
        dim: usize,
        far: bool,
    ) -> Self {
        let usual = std::array::from_fn(|before| {
            let times = before + 1;
            let weight = |which| if which < times { aggregation.weight(which, times) } else { 0.0 };
            (aggregation.keep(times), std::array::from_fn(weight))
        });
        Self { touched, aggregation, rows, leaders, towards, far, usual, dim }
    }

    /// Whom the row at `place` follows there.
    #[inline(always)]
    fn leader(&self, place: u32) -> &[f32] {
        let row = self.towards[place as usize] as usize;
        &self.leaders[row * self.dim..(row + 1) * self.dim]
    }

    /// Factor of a row that occurs `times` times.
    #[inline(always)]
    fn keep(&self, times: usize) -> f32 {
        self.usual.get(times - 1).map_or_else(|| self.aggregation.keep(times), |(keep, _)| *keep)
    }

    /// Factor of its leader at occurrence `which`.
    #[inline(always)]
    fn weight(&self, which: usize, times: usize) -> f32 {
        match self.usual.get(times - 1) {
            Some((_, weights)) => weights[which],
            None => self.aggregation.weight(which, times),
        }
    }

    /// The row after the `q`-th one and whom it follows first, within `range`.
    #[inline(always)]
    fn coming(&self, q: usize, range: &Range<usize>) -> (usize, &[f32]) {
        let next = (q + 1).min(range.end - 1);
        (self.touched.rows[next] as usize, self.leader(self.touched.places(next)[0]))
    }

    /// [`Following::run`] of V vectors, in the caches.
    #[inline(always)]
    fn run_narrow<S: Simd, const V: usize>(&self, simd: S, range: Range<usize>) {
        for q in range.clone() {
            let (next, leader) = self.coming(q, &range);
            self.rows.prefetch(next);
            prefetch(leader);
            let places = self.touched.places(q);
            // SAFETY: rows are distinct, and as wide as leaders.
            let row = unsafe { vectors_mut::<S, V>(self.rows.row(self.touched.rows[q] as usize)) };
            let mut moved = *row;
            for (which, &place) in places.iter().enumerate() {
                // SAFETY: as above.
                let leader = unsafe { vectors::<S, V>(self.leader(place)) };
                let weight = self.weight(which, places.len());
                let mix = Mix(self.keep(places.len()), weight);
                for k in 0..V {
                    [moved[k]] = match which {
                        0 => mix.apply(simd, [moved[k]], [leader[k]]),
                        _ => Add(weight).apply(simd, [moved[k]], [leader[k]]),
                    };
                }
            }
            *row = moved;
        }
    }
}

impl RowWork for Following<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, _: &mut [f32]) {
        if !self.far {
            narrow!(S, self.dim, self.run_narrow(simd, range));
        }
        for q in range.clone() {
            let (next, leader) = self.coming(q, &range);
            let places = self.touched.places(q);
            // Else line by line, below.
            if !self.far || places.len() > 1 {
                self.rows.prefetch(next);
                prefetch(leader);
            }
            // SAFETY: rows are distinct.
            let row = unsafe { self.rows.row(self.touched.rows[q] as usize) };
            if let (true, &[place]) = (self.far, places) {
                let leader = Coming::row::<S>((leader.as_ptr(), leader.len()));
                let ahead = [Coming::row::<S>(self.rows.place(next)), leader];
                apply_ahead(simd, &Mix(self.keep(1), self.weight(0, 1)), [row], [self.leader(place)], ahead);
                continue;
            }
            for (which, &place) in places.iter().enumerate() {
                let (leader, weight) = (self.leader(place), self.weight(which, places.len()));
                match which {
                    0 => apply(simd, &Mix(self.keep(places.len()), weight), [&mut *row], [leader]),
                    _ => apply(simd, &Add(weight), [&mut *row], [leader]),
                }
            }
        }
    }
}
