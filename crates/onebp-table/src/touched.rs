//! The distinct rows of one table that a batch touches, and where.
//!
//! Row gradients of repeated rows must accumulate, in a fixed order. Grouping the places of a batch by row once
//! ([`Grouping`](crate::Grouping)), on the host, lets every implementation read and write each row once, and without atomics.

/// R places grouped by row: Q distinct rows in ascending order, so that memory is walked in one direction, each with its
/// places in ascending order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touched {
    /// Distinct rows, `[Q]`.
    pub rows: Vec<u32>,
    /// Row `q` occurs at `places[starts[q]..starts[q + 1]]`; `[Q + 1]`.
    pub starts: Vec<u32>,
    /// All places, `[R]`.
    pub places: Vec<u32>,
    /// For every place the index of its row in `rows`, `[R]`.
    pub slots: Vec<u32>,
    /// How many steps after this one the row is known to be touched by no batch, before one touches it again; `[Q]`. 0
    /// where that is not known, and at most [`Touched::MOST_REST`]. Optimizers whose untouched rows move carry the row over
    /// these steps at once, unless they project it after each.
    pub rest: Vec<u32>,
}

impl Touched {
    /// A row carried further ahead could not be brought back for a look at it: every step back enlarges the rounding of
    /// Adam's first moment by 1 / 0.9.
    pub const MOST_REST: u32 = 32;

    /// Number of distinct rows, Q.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is touched.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The places of the `q`-th distinct row.
    #[inline]
    pub fn places(&self, q: usize) -> &[u32] {
        &self.places[self.starts[q] as usize..self.starts[q + 1] as usize]
    }

    /// Whether the `q`-th distinct row occurs at one place only.
    #[inline]
    pub fn is_lone(&self, q: usize) -> bool {
        self.starts[q + 1] - self.starts[q] == 1
    }
}
