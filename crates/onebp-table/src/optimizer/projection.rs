//! Rows that are brought back to where their model wants them, after every step.
//!
//! A projection belongs to a table's optimizer, and follows its steps: a row that a step has moved is projected before
//! anything reads it. Under dense Adam every step moves every row, so all rows are projected, those that no batch touches
//! included, and a row that has not moved yet is projected at the first step; under the other rules rows that rest stay as
//! they are.
//!
//! - **Ball**: x <- x / max(1, |x|).
//! - **Sphere**: x <- x / |x|, but for the zero vector, which stays. A vector whose squares vanish in f32 counts as zero.
//!
//! Sources: the unit ball of Hsieh et al., "Collaborative Metric Learning", WWW 2017; the sphere of Bao et al., "Rethinking
//! Collaborative Metric Learning", TPAMI 2022, and "The Minority Matters", NeurIPS 2022, whose user rows hold several vectors.

use crate::Error;

/// Where vectors are brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Onto {
    /// Into the unit ball: a vector longer than 1 is shortened to 1 (CML).
    Ball,
    /// Onto the unit sphere: every vector but the zero vector gets length 1 (SFCML, DPCML).
    Sphere,
}

/// The projection of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Projection {
    /// Where to.
    pub onto: Onto,
    /// A row of width d consists of this many vectors of width d / vectors, each projected by itself; ordinarily 1.
    pub vectors: usize,
}

impl Projection {
    /// Width of the vectors of a row of width `dim`; at least 1.
    pub fn width(&self, dim: usize) -> usize {
        (dim / self.vectors.max(1)).max(1)
    }

    /// Checks that rows of width `dim` consist of whole vectors.
    ///
    /// # Errors
    /// [`Error::Optimizer`] where they do not.
    pub fn check(&self, dim: usize) -> Result<(), Error> {
        match self.vectors {
            vectors if vectors > 0 && dim.is_multiple_of(vectors) => Ok(()),
            vectors => Err(Error::Optimizer(format!("rows of width {dim} are not {vectors} vectors of one width"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_vectors() {
        let projection = |vectors| Projection { onto: Onto::Ball, vectors };
        assert_eq!((projection(3).check(12), projection(3).width(12)), (Ok(()), 4));
        assert_eq!(projection(1).check(7), Ok(()));
        assert!([0, 5, 24].into_iter().all(|vectors| projection(vectors).check(12).is_err()));
        assert!([0, 5, 24].into_iter().all(|vectors| projection(vectors).width(12) > 0));
    }
}
