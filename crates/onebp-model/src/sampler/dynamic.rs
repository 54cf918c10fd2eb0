//! Negatives that are hard for the model as it is: of a pool of X items, drawn by a static distribution, the S hardest.
//!
//! | sampler | pool | hardest |
//! |---|---|---|
//! | `dns` | uniform | largest <u, v> (Zhang et al., SIGIR 2013; top of the pool instead of draws by rank) |
//! | `hars` | uniform | smallest \|u - v\|^2 (Hsieh et al., "CML", WWW 2017) |
//! | `two-stage` | by popularity | largest <u, v> (after Tran et al., SIGIR 2019; as published: [`super::TwoStage2019`]) |
//!
//! A pool of S items is kept whole: then `dns` is uniform sampling. Pools are drawn ahead of the steps; hardness is that of
//! the tables right before the step.

use super::Popularity;
use crate::{Error, error::within};
use onebp_table::Hardness;
use serde::{Deserialize, Serialize};

/// Parameters of `dns` and `hars`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Dynamic {
    /// X, items that are looked at for each row. Default 10.
    pub pool: usize,
}

impl Default for Dynamic {
    fn default() -> Self {
        Self { pool: 10 }
    }
}

/// Parameters of `two-stage`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct TwoStage {
    /// X, items that are looked at for each row. Default 10.
    pub pool: usize,
    /// a of the popularity f_j^a by which they are drawn. Default 1.
    pub exponent: f64,
}

impl Default for TwoStage {
    fn default() -> Self {
        Self { pool: Dynamic::default().pool, exponent: Popularity::default().exponent }
    }
}

impl TwoStage {
    pub(super) fn popularity(&self) -> Popularity {
        Popularity { exponent: self.exponent }
    }
}

/// Where negatives are chosen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// X.
    pub size: usize,
    /// Which are kept.
    pub hardness: Hardness,
}

impl Pool {
    pub(super) fn check(&self, negatives: usize) -> Result<(), Error> {
        within((negatives..=65_536).contains(&self.size), "pool", &self.size, "at least --negatives, at most 65536")
    }
}
