//! Compressed sparse rows: for every user the ascending, duplicate-free list of their items.

use crate::Error;
use std::ops::Range;

/// A set of (user, item) pairs, stored row by row.
///
/// Memory: 4 bytes a pair and 8 bytes a user. Membership is a binary search in the user's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    offsets: Vec<usize>,
    items: Vec<u32>,
    columns: usize,
}

impl Csr {
    /// Builds the rows from pairs in any order; duplicates collapse.
    ///
    /// # Errors
    /// [`Error::IdOutOfRange`] where a user is not below `rows` or an item not below `columns`.
    pub fn from_pairs(rows: usize, columns: usize, pairs: &[(u32, u32)]) -> Result<Self, Error> {
        let mut offsets = vec![0usize; rows + 1];
        for &(user, item) in pairs {
            if user as usize >= rows || item as usize >= columns {
                return Err(Error::IdOutOfRange { user, item, users: rows, items: columns });
            }
            offsets[user as usize + 1] += 1;
        }
        for row in 0..rows {
            offsets[row + 1] += offsets[row];
        }
        let mut next = offsets.clone();
        let mut items = vec![0u32; pairs.len()];
        for &(user, item) in pairs {
            items[next[user as usize]] = item;
            next[user as usize] += 1;
        }
        // Sort each row, then close the gaps that duplicates leave.
        let mut length = 0;
        let mut start = 0;
        for row in 0..rows {
            let end = offsets[row + 1];
            items[start..end].sort_unstable();
            offsets[row] = length;
            for at in start..end {
                if length == offsets[row] || items[length - 1] != items[at] {
                    items[length] = items[at];
                    length += 1;
                }
            }
            start = end;
        }
        offsets[rows] = length;
        items.truncate(length);
        Ok(Self { offsets, items, columns })
    }

    /// Number of users.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of items in the catalogue.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no pair at all.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Where the pairs of `user` begin among all pairs.
    #[inline]
    pub fn start(&self, user: u32) -> usize {
        self.offsets[user as usize]
    }

    /// Where each user's pairs begin, and where the last user's end, `[rows + 1]`.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The items of all pairs by ascending user, then item.
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// The items of `user`, ascending.
    #[inline]
    pub fn row(&self, user: u32) -> &[u32] {
        &self.items[self.span(user)]
    }

    /// Where the items of `user` are among those of all users.
    #[inline]
    pub fn span(&self, user: u32) -> Range<usize> {
        self.offsets[user as usize]..self.offsets[user as usize + 1]
    }

    /// Whether (`user`, `item`) is in the set.
    #[inline]
    pub fn contains(&self, user: u32, item: u32) -> bool {
        self.row(user).binary_search(&item).is_ok()
    }

    /// All pairs by ascending user, then item.
    pub fn pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0..self.rows() as u32).flat_map(|user| self.row(user).iter().map(move |&item| (user, item)))
    }

    /// How many users chose each item, `[columns]`.
    pub fn item_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.columns];
        for &item in &self.items {
            counts[item as usize] += 1;
        }
        counts
    }

    /// The union of two sets of the same shape, such as train and validation.
    ///
    /// # Errors
    /// [`Error::IdOutOfRange`] where `other` is larger than `self`.
    pub fn union(&self, other: &Csr) -> Result<Csr, Error> {
        let pairs: Vec<_> = self.pairs().chain(other.pairs()).collect();
        Csr::from_pairs(self.rows(), self.columns, &pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_without_items_and_duplicates() {
        let csr = Csr::from_pairs(4, 5, &[(2, 4), (0, 3), (2, 1), (2, 4), (0, 0)]).unwrap();
        assert_eq!(csr.row(0), [0, 3]);
        assert_eq!(csr.row(1), [0u32; 0]);
        assert_eq!(csr.row(2), [1, 4]);
        assert_eq!(csr.row(3), [0u32; 0]);
        assert_eq!(csr.len(), 4);
        assert_eq!(csr.item_counts(), [1, 1, 0, 1, 1]);
        assert!(csr.contains(2, 4) && !csr.contains(2, 3));
    }

    #[test]
    fn ids_out_of_range_are_refused() {
        assert!(matches!(Csr::from_pairs(2, 2, &[(2, 0)]), Err(Error::IdOutOfRange { .. })));
        assert!(matches!(Csr::from_pairs(2, 2, &[(0, 2)]), Err(Error::IdOutOfRange { .. })));
    }

    proptest! {
        #[test]
        fn equals_a_set_of_pairs(pairs in prop::collection::vec((0u32..6, 0u32..9), 0..60)) {
            let csr = Csr::from_pairs(6, 9, &pairs).unwrap();
            let set: BTreeSet<_> = pairs.into_iter().collect();
            prop_assert_eq!(csr.pairs().collect::<Vec<_>>(), set.into_iter().collect::<Vec<_>>());
        }
    }
}
