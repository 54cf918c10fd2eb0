//! The best k of a row of scores, without sorting the row and without having all of it at once.
//!
//! Order: score descending, then item id ascending; -0.0 and +0.0 are equal. Candidates are read in ascending id, so one
//! that ties with the k-th best so far comes after it and need not be kept: whatever is not above that threshold is
//! skipped, 64 scores at a time. The others gather in a buffer of 2k; when it is full, a linear-time selection halves it
//! and raises the threshold. For one user O(N + k log k) time and O(k) memory.
//!
//! The inner loops run over arrays of fixed length and have no branches, so that the compiler makes vector instructions of
//! them, for the processor at hand.

use pulp::{Arch, NullaryFnOnce};

/// Score of an item that must not be recommended. Every finite score ranks above it.
pub(crate) const EXCLUDED: f32 = f32::NEG_INFINITY;

/// Scores that share one branch.
const CHUNK: usize = 64;

/// Selects the best items of one row after another, reusing its buffer.
pub(crate) struct Selection {
    k: usize,
    /// One number for a candidate, smaller for better: see [`key`]. Less than 2k of them.
    kept: Vec<u64>,
    /// Only what is above it is kept: k candidates so far are, or are equal to it and kept already.
    threshold: f32,
}

impl Selection {
    /// For the best `k` of each row, `k` at least 1.
    pub(crate) fn new(k: usize) -> Self {
        Self { k, kept: Vec::with_capacity(2 * k), threshold: EXCLUDED }
    }

    /// Bytes that a selection of `k` allocates.
    pub(crate) fn bytes(k: usize) -> usize {
        2 * k * size_of::<u64>()
    }

    /// Begins a new row.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.threshold = EXCLUDED;
    }

    /// Reads the scores (finite or [`EXCLUDED`]) of the items `first..first + scores.len()`, which come after all items
    /// read before.
    pub(crate) fn read(&mut self, first: usize, scores: &[f32]) {
        Arch::new().dispatch(Read { selection: self, first: first as u32, scores });
    }

    /// The best items of the row and their scores (+0.0 for both zeros), best first: `k`, or all candidates where there
    /// are fewer.
    pub(crate) fn best(&mut self) -> impl Iterator<Item = (u32, f32)> + '_ {
        let kept = &mut self.kept;
        kept.sort_unstable();
        kept.iter().take(self.k).map(|&key| (key as u32, score(key)))
    }

    /// A threshold for the beginning of a row, where nearly every score would be above the best so far. The largest score
    /// of each of 64 classes is that of a different item, so k items are not below the k-th largest of these.
    #[inline(always)]
    fn first_threshold(&self, chunks: &[[f32; CHUNK]]) -> f32 {
        if self.k > CHUNK {
            return EXCLUDED;
        }
        let mut largest = [EXCLUDED; CHUNK];
        for chunk in chunks {
            for (largest, &score) in largest.iter_mut().zip(chunk) {
                *largest = if score > *largest { score } else { *largest };
            }
        }
        let (_, &mut kth, _) = largest.select_nth_unstable_by(self.k - 1, |a, b| b.total_cmp(a));
        // Items that tie with it are candidates.
        kth.next_down()
    }

    /// Keeps what is above the threshold.
    #[inline(always)]
    fn keep(&mut self, chunk: &[f32; CHUNK], first: u32) {
        let mut above = above(chunk, self.threshold);
        while above != 0 {
            let at = above.trailing_zeros();
            above &= above - 1;
            self.kept.push(key(chunk[at as usize % CHUNK], first + at));
            if self.kept.len() == 2 * self.k {
                self.halve();
            }
        }
    }

    #[inline(never)]
    fn halve(&mut self) {
        let (_, &mut last, _) = self.kept.select_nth_unstable(self.k - 1);
        self.threshold = score(last);
        self.kept.truncate(self.k);
    }
}

/// One piece of a row.
struct Read<'a> {
    selection: &'a mut Selection,
    first: u32,
    scores: &'a [f32],
}

impl NullaryFnOnce for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { selection, first, scores } = self;
        let (chunks, rest) = scores.as_chunks::<CHUNK>();
        if selection.kept.is_empty() && selection.threshold == EXCLUDED {
            selection.threshold = selection.first_threshold(chunks);
        }
        for (chunk, first) in chunks.iter().zip((first..).step_by(CHUNK)) {
            if any_above(chunk, selection.threshold) {
                selection.keep(chunk, first);
            }
        }
        if !rest.is_empty() {
            let mut chunk = [EXCLUDED; CHUNK];
            chunk[..rest.len()].copy_from_slice(rest);
            selection.keep(&chunk, first + (scores.len() - rest.len()) as u32);
        }
    }
}

#[inline(always)]
fn any_above(scores: &[f32; CHUNK], threshold: f32) -> bool {
    scores.iter().fold(false, |any, &score| any | (score > threshold))
}

/// One bit for each score.
#[inline(always)]
fn above(scores: &[f32; CHUNK], threshold: f32) -> u64 {
    let bytes = scores.map(|score| u8::from(score > threshold));
    let mut mask = 0;
    for (word, at) in bytes.as_chunks::<8>().0.iter().zip((0..).step_by(8)) {
        // The multiplication moves the lowest bits of eight bytes side by side into the highest byte.
        mask |= (u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56) << at;
    }
    mask
}

/// Orders candidates as one integer: high half the score, reversed; low half the item.
#[inline(always)]
fn key(score: f32, item: u32) -> u64 {
    u64::from(descending(score)) << 32 | u64::from(item)
}

/// The larger the score, the smaller the number; equal for both zeros.
#[inline(always)]
fn descending(score: f32) -> u32 {
    // Adding +0.0 turns -0.0 into +0.0. With all bits of a negative number flipped, and the sign bit of a positive one,
    // floats order like unsigned integers.
    let bits = (score + 0.0).to_bits();
    !(bits ^ (((bits as i32 >> 31) as u32) | 0x8000_0000))
}

/// The score of a [`key`].
fn score(key: u64) -> f32 {
    let ascending = !((key >> 32) as u32);
    f32::from_bits(ascending ^ ((!(ascending as i32 >> 31) as u32) | 0x8000_0000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::full_sort;
    use proptest::prelude::*;

    fn best(selection: &mut Selection, scores: &[f32], piece: usize) -> Vec<u32> {
        selection.clear();
        for (scores, first) in scores.chunks(piece).zip((0..).step_by(piece)) {
            selection.read(first, scores);
        }
        selection.best().map(|(item, _)| item).collect()
    }

    /// T36.
    #[test]
    fn ties_go_to_the_smaller_id_and_zeros_are_equal() {
        let mut selection = Selection::new(3);
        for piece in [1, 2, 100] {
            assert_eq!(best(&mut selection, &[0.0, -0.0, 1.0, 0.0, 1.0], piece), [2, 4, 0]);
            assert_eq!(best(&mut selection, &[-0.0, 0.0, -1.0, f32::MIN, 0.0], piece), [0, 1, 4]);
            assert_eq!(best(&mut selection, &[f32::MIN, EXCLUDED, f32::MAX, EXCLUDED], piece), [2, 0]);
            assert!(best(&mut selection, &[EXCLUDED; 400], piece).is_empty());
            assert!(best(&mut selection, &[], piece).is_empty());
            assert_eq!(best(&mut selection, &[f32::MIN; 400], piece), [0, 1, 2]);
            assert_eq!(best(&mut selection, &[-0.0; 400], piece), [0, 1, 2]);
        }
    }

    #[test]
    fn scores_come_back() {
        let mut selection = Selection::new(5);
        let scores = [1.5, -0.0, f32::MAX, f32::MIN, -f32::MIN_POSITIVE / 4.0];
        selection.read(7, &scores);
        let bits: Vec<_> = selection.best().map(|(item, score)| (item, score.to_bits())).collect();
        let expected = [(9, f32::MAX), (7, 1.5), (8, 0.0), (11, -f32::MIN_POSITIVE / 4.0), (10, f32::MIN)];
        assert_eq!(bits, expected.map(|(item, score)| (item, score.to_bits())));
    }

    fn score() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => (-3i32..3).prop_map(|score| score as f32),
            4 => -1.0f32..1.0,
            1 => Just(-0.0),
            1 => Just(f32::MIN_POSITIVE / 2.0),
            2 => Just(EXCLUDED),
        ]
    }

    proptest! {
        #[test]
        fn equals_a_full_sort(
            rows in prop::collection::vec(prop::collection::vec(score(), 0..500), 1..3),
            k in 1usize..100,
            piece in 1usize..600,
        ) {
            let mut selection = Selection::new(k);
            for row in rows {
                prop_assert_eq!(best(&mut selection, &row, piece), full_sort(&row, k));
            }
        }
    }
}
