//! Whether a user owns an item, answered fast where the answer is mostly no.
//!
//! Samplers of negatives ask this for every draw. A binary search in the user's row costs a dozen steps that wait for each
//! other. Thirty-two marks for each pair, set at hashed places, answer nearly all questions with one look; only where
//! the mark is set does the row decide. A user with so many items that a mark for every item of the catalogue costs no
//! more has those, and no search at all; all users have where that costs no more for all of them together. At most four bytes a
//! pair.

use crate::{Csr, prefetch};
use std::ops::Range;

/// Marks for each pair of a user.
const MARKS: usize = 32;

/// Bytes of marks that the caches have at hand anyway.
const NEAR: usize = 1 << 18;

/// The rows of a [`Csr`] with their marks.
#[derive(Clone, Debug)]
pub struct Membership<'a> {
    rows: &'a Csr,
    /// Those of one user after the other.
    marks: Vec<u8>,
    /// Whether all users have a mark for every item.
    whole: bool,
}

impl<'a> Membership<'a> {
    /// Marks the pairs of `rows`.
    pub fn new(rows: &'a Csr) -> Self {
        let all = rows.rows().saturating_mul(rows.columns().div_ceil(8));
        let hashed = MARKS / 8 * rows.len();
        let whole = all <= hashed;
        let mut membership = Self { rows, marks: vec![0; all.min(hashed)], whole };
        for user in 0..rows.rows() as u32 {
            let span = membership.span(user);
            let marks = &mut membership.marks[span];
            let exact = is_exact(marks, rows.columns());
            for &item in rows.row(user) {
                let place = if exact { item as usize } else { place(item, marks) };
                marks[place / 8] |= 1 << (place % 8);
            }
        }
        membership
    }

    /// Where the marks of `user` are.
    #[inline]
    fn span(&self, user: u32) -> Range<usize> {
        let all = self.rows.columns().div_ceil(8);
        if self.whole {
            return user as usize * all..(user as usize + 1) * all;
        }
        // From where those of the pairs before begin, which is known without a look.
        let pairs = self.rows.span(user);
        let start = MARKS / 8 * pairs.start;
        start..start + (MARKS / 8 * pairs.len()).min(all)
    }

    /// The pairs.
    pub fn rows(&self) -> &'a Csr {
        self.rows
    }

    /// What `user` owns.
    #[inline]
    pub fn of(&self, user: u32) -> Owned<'a, '_> {
        let marks = &self.marks[self.span(user)];
        Owned { row: self.rows.row(user), marks, exact: is_exact(marks, self.rows.columns()) }
    }

    /// Asks the cache for the marks of a user who will be asked about soon: users come in random order.
    #[inline]
    pub fn prefetch(&self, user: u32) {
        if self.marks.len() > NEAR {
            prefetch(&self.marks[self.span(user)]);
        }
    }
}

/// What a user owns.
pub struct Owned<'a, 'm> {
    row: &'a [u32],
    marks: &'m [u8],
    /// Whether a mark stands for one item.
    exact: bool,
}

impl Owned<'_, '_> {
    /// How many items it is.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.row.len()
    }

    /// Whether `item` is among it.
    #[inline]
    pub fn contains(&self, item: u32) -> bool {
        let marked = self.marked(&[item]);
        marked != 0 && (self.unsure(marked) == 0 || self.confirm(marked, &[item]) != 0)
    }

    /// Which of `items`, at most 32, have a mark, a bit for each from the lowest on: those that are among it, and few others. No
    /// answer needs a guess of the CPU.
    #[inline(always)]
    pub fn marked<const N: usize>(&self, items: &[u32; N]) -> u32 {
        let mut marked = 0;
        if self.exact {
            for (at, &item) in items.iter().enumerate() {
                marked |= self.mark(item as usize) << at;
            }
            return marked;
        }
        for (at, &item) in items.iter().enumerate() {
            marked |= self.mark(place(item, self.marks)) << at;
        }
        marked
    }

    /// Of what is `marked`, what is yet to be confirmed.
    #[inline(always)]
    pub fn unsure(&self, marked: u32) -> u32 {
        if self.exact { 0 } else { marked }
    }

    /// Which of the `unsure` ones of `items` are among it.
    #[inline(always)]
    pub fn confirm<const N: usize>(&self, unsure: u32, items: &[u32; N]) -> u32 {
        let (mut owned, mut left) = (unsure, unsure);
        while left != 0 {
            let lowest = left & left.wrapping_neg();
            if self.row.binary_search(&items[left.trailing_zeros() as usize]).is_err() {
                owned ^= lowest;
            }
            left ^= lowest;
        }
        owned
    }

    /// Asks the cache for what [`Owned::confirm`] needs.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch(self.row);
    }

    #[inline(always)]
    fn mark(&self, place: usize) -> u32 {
        self.marks.get(place / 8).map_or(0, |marks| u32::from(marks >> (place % 8) & 1))
    }
}

/// Whether `marks` are enough for one of every item of a catalogue.
#[inline]
fn is_exact(marks: &[u8], items: usize) -> bool {
    8 * marks.len() >= items
}

/// Which of `marks` stands for `item`, where there are not enough for all: multiplicative hashing by the golden ratio.
#[inline(always)]
fn place(item: u32, marks: &[u8]) -> usize {
    ((u64::from(item.wrapping_mul(0x9E37_79B9)) * 8 * marks.len() as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_a_search(
            pairs in prop::collection::vec((0u32..6, 0u32..50), 0..150),
            columns in prop::sample::select(vec![50, 5000]),
        ) {
            let rows = Csr::from_pairs(6, columns, &pairs).unwrap();
            let membership = Membership::new(&rows);
            for user in 0..6 {
                let owned = membership.of(user);
                for item in 0..50 {
                    prop_assert_eq!(owned.contains(item), pairs.contains(&(user, item)));
                }
                let items: [u32; 17] = std::array::from_fn(|at| 2 * at as u32 + user);
                let expected = items.iter().rev().fold(0, |bits, &item| bits << 1 | u32::from(owned.contains(item)));
                let marked = owned.marked(&items);
                let unsure = owned.unsure(marked);
                prop_assert_eq!(marked & !unsure | owned.confirm(unsure, &items), expected);
            }
        }
    }
}
