//! The best k of a row of scores, without sorting the row.
//!
//! Order: score descending, then item id ascending; -0.0 and +0.0 are equal. Candidates are read in ascending id, so one
//! that ties with the k-th best so far comes after it and need not be kept: whatever is not above that threshold is
//! skipped, sixteen scores at a time. The others gather in a buffer of 2k; when it is full, a linear-time selection
//! halves it and raises the threshold. For one user O(N + k log k) time and O(k) memory.

/// Score of an item that must not be recommended. Every finite score ranks above it.
pub(crate) const EXCLUDED: f32 = f32::NEG_INFINITY;

/// Selects the best items of one row after another, reusing its buffer.
pub(crate) struct Selection {
    k: usize,
    /// One number for a candidate, smaller for better: see [`key`].
    kept: Vec<u64>,
}

impl Selection {
    /// For the best `k` of each row, `k` at least 1.
    pub(crate) fn new(k: usize) -> Self {
        Self { k, kept: Vec::with_capacity(2 * k) }
    }

    /// The best items of `scores` (finite or [`EXCLUDED`], `[N]`), best first: `k`, or all candidates where there are
    /// fewer.
    pub(crate) fn best(&mut self, scores: &[f32]) -> impl Iterator<Item = u32> + '_ {
        self.kept.clear();
        let mut threshold = EXCLUDED;
        for (chunk, start) in scores.chunks(16).zip((0u32..).step_by(16)) {
            // Without a branch inside, so that the compiler compares a whole chunk at once.
            if !chunk.iter().fold(false, |any, &score| any | (score > threshold)) {
                continue;
            }
            for (&score, item) in chunk.iter().zip(start..) {
                if score > threshold {
                    self.kept.push(key(score, item));
                    if self.kept.len() == 2 * self.k {
                        let (_, &mut last, _) = self.kept.select_nth_unstable(self.k - 1);
                        self.kept.truncate(self.k);
                        threshold = scores[last as u32 as usize];
                    }
                }
            }
        }
        self.kept.sort_unstable();
        self.kept.truncate(self.k);
        self.kept.iter().map(|&key| key as u32)
    }
}

/// Orders candidates as one integer: high half the score, reversed; low half the item.
#[inline]
fn key(score: f32, item: u32) -> u64 {
    // Adding +0.0 turns -0.0 into +0.0. With all bits of a negative number flipped, and the sign bit of a positive one,
    // floats order like unsigned integers.
    let bits = (score + 0.0).to_bits();
    let ascending = bits ^ (((bits as i32 >> 31) as u32) | 0x8000_0000);
    u64::from(!ascending) << 32 | u64::from(item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::full_sort;
    use proptest::prelude::*;

    #[test]
    fn ties_go_to_the_smaller_id_and_zeros_are_equal() {
        let mut selection = Selection::new(3);
        assert!(selection.best(&[0.0, -0.0, 1.0, 0.0, 1.0]).eq([2, 4, 0]));
        assert!(selection.best(&[-0.0, 0.0, -1.0, f32::MIN, 0.0]).eq([0, 1, 4]));
        assert!(selection.best(&[f32::MIN, EXCLUDED, f32::MAX, EXCLUDED]).eq([2, 0]));
        assert!(selection.best(&[EXCLUDED; 40]).next().is_none());
        assert!(selection.best(&[]).next().is_none());
    }

    fn score() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => (-3i32..3).prop_map(|score| score as f32),
            2 => -1.0f32..1.0,
            1 => Just(-0.0),
            1 => Just(f32::MIN_POSITIVE / 2.0),
            2 => Just(EXCLUDED),
        ]
    }

    proptest! {
        #[test]
        fn equals_a_full_sort(rows in prop::collection::vec(prop::collection::vec(score(), 0..90), 1..3), k in 1usize..100) {
            let mut selection = Selection::new(k);
            for row in rows {
                let found: Vec<u32> = selection.best(&row).collect();
                prop_assert_eq!(found, full_sort(&row, k));
            }
        }
    }
}
