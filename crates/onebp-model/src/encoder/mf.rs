//! Table lookup, the encoder of matrix factorisation (Koren, Bell, Volinsky, 2009): an embedding is its row.
//!
//! A user may have several vectors, of which the best one for an item counts (DPCML; Bao et al., NeurIPS 2022).

use crate::{Error, error::within};
use serde::{Deserialize, Serialize};

/// Parameters of `mf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mf {
    /// Vectors of a user, C. Default 1.
    pub vectors: usize,
}

impl Default for Mf {
    fn default() -> Self {
        Self { vectors: 1 }
    }
}

impl Mf {
    pub(super) fn check(&self) -> Result<(), Error> {
        within((1..=64).contains(&self.vectors), "vectors", &self.vectors, "between 1 and 64")
    }
}
