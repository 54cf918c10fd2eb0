//! Which interactions are held out.

use crate::{Csr, Error};
use serde::{Deserialize, Serialize};

/// Rule by which interactions go to test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitRule {
    /// `round(ratio n_u)` random items of every user.
    #[default]
    Ratio,
    /// `n_u - floor((1 - ratio) n_u) - 1` random items of every user.
    #[serde(rename = "floor-minus-one")]
    RatioFloorMinusOne,
    /// One item of every user: the latest where there are times, else a random one.
    LeaveOneOut,
    /// The latest `ratio` of all interactions.
    Time,
}

impl std::str::FromStr for SplitRule {
    type Err = Error;
    fn from_str(_: &str) -> Result<Self, Error> {
        todo!()
    }
}

impl std::fmt::Display for SplitRule {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// Moves a part of every user's training items to validation.
///
/// # Errors
/// [`Error::Preparation`] where `ratio` is not between 0 and 1.
pub fn hold_out_validation(_train: &Csr, _ratio: f64, _seed: u64) -> Result<(Csr, Csr), Error> {
    todo!()
}
