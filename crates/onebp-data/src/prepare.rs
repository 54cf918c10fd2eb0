//! Filters and splits interactions.

use crate::{Dataset, Error, Interactions, SplitRule};
use serde::{Deserialize, Serialize};

/// How interactions become a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preparation {
    /// Keep only interactions with at least this rating.
    pub min_rating: Option<f64>,
    /// Every user keeps at least this many distinct items.
    pub user_core: u32,
    /// Every item keeps at least this many distinct users.
    pub item_core: u32,
    /// Which interactions go to test.
    pub split: SplitRule,
    /// Share of the interactions that go to test.
    pub test_ratio: f64,
    /// Seed of the split.
    pub seed: u64,
}

impl Default for Preparation {
    fn default() -> Self {
        Self { min_rating: None, user_core: 1, item_core: 1, split: SplitRule::Ratio, test_ratio: 0.2, seed: 42 }
    }
}

/// Filters and splits `interactions` into the data set `name`.
///
/// # Errors
/// [`Error::Preparation`] where an option is out of range or leaves nothing.
pub fn prepare(_interactions: &Interactions, _name: &str, _preparation: &Preparation) -> Result<Dataset, Error> {
    todo!()
}
