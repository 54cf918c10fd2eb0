//! Ranking where the tables are: what is asked of a device, and what comes back.
//!
//! Scores stay on the device. What comes back is for each user the ids of the best items and, for AUC, how often the
//! truth items lose.

use crate::Error;

/// Items of users, as compressed sparse rows: those of user u are `items[offsets[u]..offsets[u + 1]]`, ascending.
#[derive(Clone, Copy, Debug)]
pub struct Lists<'a> {
    /// Where each user's items begin, `[M + 1]`.
    pub offsets: &'a [usize],
    /// All items.
    pub items: &'a [u32],
}

impl<'a> Lists<'a> {
    /// The items of `user`.
    ///
    /// # Errors
    /// [`Error::Execution`] where there are none, not in ascending order or not below `items`.
    pub(crate) fn of(&self, user: u32, items: usize) -> Result<&'a [u32], Error> {
        let ends = self.offsets.get(user as usize).zip(self.offsets.get(user as usize + 1));
        let row = ends.and_then(|(&start, &end)| self.items.get(start..end));
        let row = row.ok_or_else(|| Error::Execution(format!("no list of items is known of user {user}")))?;
        if !row.is_sorted() || row.last().is_some_and(|&item| item as usize >= items) {
            return Err(Error::Execution(format!("the items of user {user} are not ascending ids below {items}")));
        }
        Ok(row)
    }
}

/// What is asked: the best items of users by the products of rows, score descending, then id ascending.
#[derive(Clone, Copy, Debug)]
pub struct Ranking<'a> {
    /// The users, in any order.
    pub users: &'a [u32],
    /// Length of the lists, at least 1.
    pub k: usize,
    /// Items that are no candidates.
    pub seen: Lists<'a>,
    /// Items whose losses are counted.
    pub truth: Option<Lists<'a>>,
}

/// What comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranked {
    /// Item ids, best first, `[users, k]`; [`Ranked::NONE`] beyond a user's candidates.
    pub items: Vec<u32>,
    /// For each user the sum over truth items of the candidates that score above one plus those that do not score below
    /// it, `[users]`; empty without truth.
    pub lost: Vec<u64>,
}

impl Ranked {
    /// No item.
    pub const NONE: u32 = u32::MAX;
}
