//! Whether a user owns an item, answered fast where the answer is mostly no.
//!
//! Samplers of negatives ask this for every draw. A binary search in the user's row costs a dozen steps that wait for each
//! other. Thirty-two marks for each pair, set at hashed places, answer nearly all questions with one look; only where
//! the mark is set does the row decide. A user with so many items that a mark for every item of the catalogue costs no
//! more has those, and no search at all. At most four bytes a pair.

use crate::Csr;

/// Marks for each pair of a user.
const MARKS: usize = 32;

/// The rows of a [`Csr`] with their marks.
#[derive(Clone, Debug)]
pub struct Membership<'a> {
    rows: &'a Csr,
    marks: Vec<u8>,
    /// Where the marks of each user begin in `marks`, `[M + 1]`.
    starts: Vec<usize>,
}

impl<'a> Membership<'a> {
    /// Marks the pairs of `rows`.
    pub fn new(rows: &'a Csr) -> Self {
        let mut starts = vec![0];
        let mut end = 0;
        for user in 0..rows.rows() as u32 {
            end += (MARKS * rows.row(user).len()).min(rows.columns()).div_ceil(8);
            starts.push(end);
        }
        let mut membership = Self { rows, marks: vec![0; end], starts };
        for user in 0..rows.rows() as u32 {
            for &item in rows.row(user) {
                let (byte, bit, _) = membership.mark(user, item);
                membership.marks[byte] |= 1 << bit;
            }
        }
        membership
    }

    /// The pairs.
    pub fn rows(&self) -> &'a Csr {
        self.rows
    }

    /// Whether `user` owns `item`.
    #[inline]
    pub fn contains(&self, user: u32, item: u32) -> bool {
        let (byte, bit, exact) = self.mark(user, item);
        let marked = self.marks.get(byte).is_some_and(|marks| marks >> bit & 1 == 1);
        marked && (exact || self.rows.row(user).binary_search(&item).is_ok())
    }

    /// Asks the cache for the marks of a user who will be asked about soon: users come in random order.
    #[inline]
    pub fn prefetch(&self, user: u32) {
        const LINE: usize = 64;
        const LINES: usize = 8;
        let range = self.starts[user as usize]..self.starts[user as usize + 1];
        #[cfg(target_arch = "x86_64")]
        for byte in self.marks[range].iter().step_by(LINE).take(LINES) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint; any address is allowed.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (range, LINE, LINES);
    }

    /// The byte and bit that stand for `item` with `user`, and whether for no other item.
    #[inline]
    fn mark(&self, user: u32, item: u32) -> (usize, u32, bool) {
        let (start, end) = (self.starts[user as usize], self.starts[user as usize + 1]);
        let marks = 8 * (end - start);
        let exact = marks >= self.rows.columns();
        // Multiplicative hashing by the golden ratio.
        let hash = (u64::from(item.wrapping_mul(0x9E37_79B9)) * marks as u64) >> 32;
        let place = if exact { item as usize } else { hash as usize };
        (start + place / 8, place as u32 % 8, exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_a_search(pairs in prop::collection::vec((0u32..6, 0u32..50), 0..150)) {
            let rows = Csr::from_pairs(6, 50, &pairs).unwrap();
            let membership = Membership::new(&rows);
            for user in 0..6 {
                for item in 0..50 {
                    prop_assert_eq!(membership.contains(user, item), pairs.contains(&(user, item)));
                }
            }
        }
    }
}
