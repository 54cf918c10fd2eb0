//! Numbers that describe a data set.

use crate::Dataset;
use serde::Serialize;

/// Minimum, median, mean and maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Smallest.
    pub min: u32,
    /// Middle, the mean of the two middle ones where their number is even.
    pub median: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Largest.
    pub max: u32,
}

/// What `onebp inspect` shows and the card of a prepared data set stores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// M.
    pub users: usize,
    /// N.
    pub items: usize,
    /// Training pairs.
    pub train: usize,
    /// Validation pairs.
    pub valid: usize,
    /// Test pairs.
    pub test: usize,
    /// All pairs over M N.
    pub density: f64,
    /// Pairs per user, all parts.
    pub per_user: Spread,
    /// Pairs per item, all parts.
    pub per_item: Spread,
    /// Gini coefficient of the pairs per item: 0 where all items are equally popular.
    pub item_gini: f64,
    /// Share of the catalogue, most popular first, that holds 80 % of the pairs.
    pub head_share: f64,
    /// Items without a training pair.
    pub items_without_train: usize,
    /// Users without a training pair.
    pub users_without_train: usize,
    /// Users without a test pair.
    pub users_without_test: usize,
    /// Test pairs whose item has no training pair.
    pub cold_test_pairs: usize,
}

impl Statistics {
    /// Counts `dataset`.
    pub fn of(_dataset: &Dataset) -> Self {
        todo!()
    }
}
