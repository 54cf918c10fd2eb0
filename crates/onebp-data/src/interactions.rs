//! What a file says, before any preparation: one row per interaction, over dense ids.

use crate::IdMap;

/// Interactions as they were read. Row `r` says that `user[r]` chose `item[r]`; pairs may repeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interactions {
    /// Raw user ids by dense id.
    pub users: IdMap,
    /// Raw item ids by dense id.
    pub items: IdMap,
    /// Dense user of every row.
    pub user: Vec<u32>,
    /// Dense item of every row.
    pub item: Vec<u32>,
    /// Finite rating of every row, where the source has ratings.
    pub rating: Option<Vec<f32>>,
    /// Time of every row in the source's own unit, where the source has times.
    pub time: Option<Vec<i64>>,
}
