//! The best k of a row of scores, without sorting the row and without having all of it at once.
//!
//! Order: score descending, then item id ascending; -0.0 and +0.0 are equal. Candidates are read in ascending id, so one
//! that ties with the k-th best so far comes after it and need not be kept: whatever is not above that threshold is
//! skipped, 64 scores at a time. The others gather in a buffer of 2k; when it is full, a linear-time selection leaves the
//! best k and raises the threshold. For one user O(N + k log k) time and O(k) memory.
//!
//! Where estimates are read, a score is known to lie between two numbers. What may be above the threshold is kept; a
//! candidate whose larger number ranks below the k-th best of the smaller ones is none of the best. The scores of the few
//! that remain are asked for at the end of the row, or when they take more than three quarters of the buffer.
//!
//! The inner loops run over arrays of fixed length and have no branches, so that the compiler makes vector instructions of
//! them, for the processor at hand.

use crate::blocks::Piece;
use crate::pending::Pending;
use crate::{Margin, Scorer};
use pulp::{Arch, NullaryFnOnce};

/// Score of an item that must not be recommended. Every finite score ranks above it.
pub(crate) const EXCLUDED: f32 = f32::NEG_INFINITY;

/// Scores that share one branch.
const CHUNK: usize = 64;

/// Selects the best items of one row after another, reusing its buffer.
pub(crate) struct Selection {
    k: usize,
    /// Less than 2k.
    kept: Vec<Candidate>,
    /// Only what may be above it is kept: k candidates, read or in the piece at hand, are not below it.
    threshold: f32,
    /// Empty but while scores are asked for.
    pending: Pending,
}

/// The [`key`]s of an item with the smallest score it may have and with the largest; equal where its score is known.
#[derive(Clone, Copy)]
struct Candidate {
    least: u64,
    most: u64,
}

impl Candidate {
    fn is_known(&self) -> bool {
        self.least == self.most
    }
}

impl Selection {
    /// For the best `k` of each row, `k` at least 1.
    pub(crate) fn new(k: usize) -> Self {
        let (kept, pending) = (Vec::with_capacity(2 * k), Pending::with_capacity(2 * k));
        Self { k, kept, threshold: EXCLUDED, pending }
    }

    /// Bytes that a selection of `k` allocates.
    pub(crate) fn bytes(k: usize) -> usize {
        2 * k * (size_of::<Candidate>() + size_of::<u32>())
    }

    /// Begins a new row.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.threshold = EXCLUDED;
    }

    /// Reads a piece of a row, which comes after all pieces read before. `scorer` has the scores of estimates.
    pub(crate) fn read(&mut self, piece: Piece<'_>, scorer: &dyn Scorer) {
        Arch::new().dispatch(Find { selection: self, piece, scorer });
    }

    /// The best items of the row and their scores (+0.0 for both zeros), best first: `k`, or all candidates where there
    /// are fewer. `scorer` and `user` are those of all pieces.
    pub(crate) fn best(&mut self, scorer: &dyn Scorer, user: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        if self.kept.len() > self.k {
            self.narrow();
        }
        self.settle(scorer, user);
        self.kept.sort_unstable_by_key(|candidate| candidate.least);
        self.kept.iter().take(self.k).map(|candidate| (candidate.least as u32, score(candidate.least)))
    }

    /// Makes room in a full buffer, and raises the threshold.
    #[inline(never)]
    fn make_room(&mut self, scorer: &dyn Scorer, user: u32) {
        self.narrow();
        if self.kept.len() > self.k + self.k / 2 {
            self.settle(scorer, user);
            self.narrow();
        }
    }

    /// Leaves those that may be among the best k of what is kept, which is at least so much.
    fn narrow(&mut self) {
        let (_, &mut last, _) = self.kept.select_nth_unstable_by_key(self.k - 1, |candidate| candidate.least);
        self.kept.retain(|candidate| candidate.most <= last.least);
        self.threshold = self.threshold.max(score(last.least));
    }

    /// Asks for the scores of what is kept and not known.
    fn settle(&mut self, scorer: &dyn Scorer, user: u32) {
        let Self { kept, pending, .. } = self;
        kept.iter().filter(|candidate| !candidate.is_known()).for_each(|open| pending.push(open.least as u32));
        let mut open = kept.iter_mut().filter(|candidate| !candidate.is_known());
        pending.settle(scorer, user, |item, score| {
            if let Some(candidate) = open.next() {
                candidate.least = key(score, item);
                candidate.most = candidate.least;
            }
        });
    }

    /// A threshold for the beginning of a row, where nearly every score would be above the best so far. The largest score
    /// of each class is that of a different item, so k items are not below the k-th largest of these. There are at least 2k
    /// classes, or one for each score.
    #[inline(always)]
    fn first_threshold(&self, piece: &Piece<'_>) -> f32 {
        let chunks = piece.scores.as_chunks().0;
        let classes = (2 * self.k).div_ceil(CHUNK).min(chunks.len());
        if self.k > classes * CHUNK {
            return EXCLUDED;
        }
        let mut largest = vec![[EXCLUDED; CHUNK]; classes];
        for (at, scores) in chunks.iter().enumerate() {
            let least = ends(scores, piece.margin, Side::Least, at);
            for (largest, score) in largest[at % classes].iter_mut().zip(least) {
                *largest = if score > *largest { score } else { *largest };
            }
        }
        let (_, &mut kth, _) = largest.as_flattened_mut().select_nth_unstable_by(self.k - 1, |a, b| b.total_cmp(a));
        // Items that tie with it are candidates.
        kth.next_down()
    }

    /// Takes what may be above the threshold from the chunk `at` of a piece.
    #[inline(always)]
    fn take(&mut self, scores: &[f32; CHUNK], piece: &Piece<'_>, at: usize, scorer: &dyn Scorer) {
        let mut above = above(&ends(scores, piece.margin, Side::Most, at), self.threshold);
        while above != 0 {
            let place = above.trailing_zeros() as usize % CHUNK;
            above &= above - 1;
            let (item, score) = ((piece.first + at * CHUNK + place) as u32, scores[place]);
            let (least, most) = match piece.margin {
                None => (score, score),
                Some(margin) => margin.bounds(at * CHUNK + place, score),
            };
            if most > self.threshold {
                self.kept.push(Candidate { least: key(least, item), most: key(most, item) });
                if self.kept.len() == 2 * self.k {
                    self.make_room(scorer, piece.user);
                }
            }
        }
    }
}

/// Keeps the items of a piece that are, or may be, above the threshold.
struct Find<'a> {
    selection: &'a mut Selection,
    piece: Piece<'a>,
    scorer: &'a dyn Scorer,
}

impl NullaryFnOnce for Find<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { selection, piece, scorer } = self;
        if selection.threshold == EXCLUDED && selection.kept.is_empty() {
            selection.threshold = selection.first_threshold(&piece);
        }
        let (chunks, rest) = piece.scores.as_chunks();
        for (part, first) in chunks.chunks(64).zip((0..).step_by(64)) {
            let mut hits = match piece.margin {
                None => any_above(part, selection.threshold),
                Some(Margin { radius, weights }) => {
                    any_may_be_above(part, radius, &weights.as_chunks().0[first..], selection.threshold)
                }
            };
            while hits != 0 {
                let at = hits.trailing_zeros() as usize;
                hits &= hits - 1;
                selection.take(&part[at], &piece, first + at, scorer);
            }
        }
        if !rest.is_empty() {
            let mut scores = [EXCLUDED; CHUNK];
            scores[..rest.len()].copy_from_slice(rest);
            selection.take(&scores, &piece, chunks.len(), scorer);
        }
    }
}

/// A side of a margin.
#[derive(Clone, Copy)]
enum Side {
    Least,
    Most,
}

/// What the scores of the chunk `at` of a piece are at least, or at most: these themselves where there is no margin.
#[inline(always)]
fn ends(scores: &[f32; CHUNK], margin: Option<Margin<'_>>, side: Side, at: usize) -> [f32; CHUNK] {
    let mut ends = *scores;
    if let Some(Margin { radius, weights }) = margin {
        let radius = match side {
            Side::Least => -radius,
            Side::Most => radius,
        };
        let weights = &weights[at * CHUNK..];
        let shift = |(score, &weight): (&mut f32, &f32)| *score = radius.mul_add(weight, *score);
        match weights.first_chunk::<CHUNK>() {
            // Of a length that the compiler knows.
            Some(weights) => ends.iter_mut().zip(weights).for_each(shift),
            None => ends.iter_mut().zip(weights).for_each(shift),
        }
    }
    ends
}

/// A bit for each of at most 64 chunks: whether a score is above the threshold.
#[inline(always)]
fn any_above(chunks: &[[f32; CHUNK]], threshold: f32) -> u64 {
    let any = |scores: &[f32; CHUNK]| scores.iter().fold(false, |any, &score| any | (score > threshold));
    (0..).zip(chunks).fold(0, |hits, (at, scores)| hits | u64::from(any(scores)) << at)
}

/// [`any_above`] of scores raised by their margins.
#[inline(always)]
fn any_may_be_above(chunks: &[[f32; CHUNK]], radius: f32, weights: &[[f32; CHUNK]], threshold: f32) -> u64 {
    let mut hits = 0;
    for (at, (scores, weights)) in chunks.iter().zip(weights).enumerate() {
        let raised = scores.iter().zip(weights).map(|(&score, &weight)| radius.mul_add(weight, score));
        hits |= u64::from(raised.fold(false, |any, score| any | (score > threshold))) << at;
    }
    hits
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
    use crate::testing::{Scores, Vague, full_sort};
    use proptest::prelude::*;
    use std::sync::atomic::Ordering::Relaxed;

    /// Reads `scores` in pieces; or estimates of them, each of its margin.
    fn read(
        selection: &mut Selection,
        scores: &[f32],
        piece: usize,
        estimates: Option<(&[f32], Margin<'_>)>,
    ) -> Vec<(u32, f32)> {
        let scorer = Scores { table: scores.to_vec(), items: scores.len() };
        selection.clear();
        let read = estimates.map_or(scores, |(estimates, _)| estimates);
        for (scores, first) in read.chunks(piece).zip((0..).step_by(piece)) {
            let margin = estimates
                .map(|(_, Margin { radius, weights })| Margin { radius, weights: &weights[first..][..scores.len()] });
            selection.read(Piece { user: 0, first, scores, margin }, &scorer);
        }
        selection.best(&scorer, 0).collect()
    }

    fn best(selection: &mut Selection, scores: &[f32], piece: usize) -> Vec<u32> {
        read(selection, scores, piece, None).into_iter().map(|(item, _)| item).collect()
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
        let scorer = Scores { table: scores.to_vec(), items: scores.len() };
        selection.read(Piece { user: 0, first: 7, scores: &scores, margin: None }, &scorer);
        let bits: Vec<_> = selection.best(&scorer, 0).map(|(item, score)| (item, score.to_bits())).collect();
        let expected = [(9, f32::MAX), (7, 1.5), (8, 0.0), (11, -f32::MIN_POSITIVE / 4.0), (10, f32::MIN)];
        assert_eq!(bits, expected.map(|(item, score)| (item, score.to_bits())));
    }

    /// What a running threshold lets in is many times k; only what may be among the best is asked for.
    #[test]
    fn few_scores_are_asked_for() {
        let scores: Vec<f32> = (0..20_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 8) as f32).collect();
        let weights = vec![1.0; scores.len()];
        let rows = Scores { table: scores.clone(), items: scores.len() };
        let scorer = Vague { scorer: &rows, radius: 0.0, refused: 0, pairs: 0.into(), rows: 0.into() };
        let mut selection = Selection::new(20);
        for (radius, most) in [(1.0, 20), (2e3, 30)] {
            scorer.pairs.store(0, Relaxed);
            selection.clear();
            for (scores, first) in scores.chunks(512).zip((0..).step_by(512)) {
                let margin = Some(Margin { radius, weights: &weights[..scores.len()] });
                selection.read(Piece { user: 0, first, scores, margin }, &scorer);
            }
            assert!(selection.best(&scorer, 0).map(|entry| entry.0).eq(full_sort(&scores, 20)));
            let asked = scorer.pairs.load(Relaxed);
            assert!((20..=most).contains(&asked), "{asked}");
        }
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

        /// Whatever the estimates are within their margins, the lists and scores are those of the scores.
        #[test]
        fn estimates_leave_no_trace(
            (row, shares, weights) in (1usize..700).prop_flat_map(|items| (
                prop::collection::vec(score(), items),
                prop::collection::vec(-0.99f32..0.99, items),
                prop::collection::vec(prop_oneof![Just(0.0f32), 0.0f32..1.0], items),
            )),
            radius in prop_oneof![Just(0.0f32), 0.001f32..3.0],
            k in 1usize..100,
            piece in 1usize..600,
        ) {
            let estimates: Vec<f32> = row.iter().zip(&shares).zip(&weights)
                .map(|((score, share), weight)| score + share * radius * weight).collect();
            let mut selection = Selection::new(k);
            let found = read(&mut selection, &row, piece, Some((&estimates, Margin { radius, weights: &weights })));
            prop_assert_eq!(found.iter().map(|entry| entry.0).collect::<Vec<_>>(), full_sort(&row, k));
            prop_assert!(found.iter().all(|&(item, score)| score == row[item as usize]));
        }
    }
}
