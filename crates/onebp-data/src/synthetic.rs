//! A built-in data set.

use crate::Interactions;
use serde::{Deserialize, Serialize};

/// Size and shape of the synthetic data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// Number of users.
    pub users: u32,
    /// Number of items.
    pub items: u32,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self { users: 1000, items: 1700 }
    }
}

/// Generates interactions.
pub fn synthetic(_config: &SyntheticConfig, _seed: u64) -> Interactions {
    todo!()
}
