//! AUC of one user, from a row of scores that is read piece by piece.
//!
//! The share of the pairs (truth item, other candidate) in which the truth item scores higher; a tie counts half. Instead
//! of ranking all candidates (Hanley and McNeil, Radiology 1982), each is compared with the L scores of the truth items,
//! which are known beforehand: [`Scorer::pairs`](crate::Scorer::pairs). Counts are integers, so the result is exact up to
//! its last division, and no order of reading can change it.

#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::blocks::Piece;
use crate::pending::Pending;
use crate::{Margin, Scorer};
use pulp::{Arch, NullaryFnOnce};

/// Truth scores that are compared with a score at once: what fits a vector, with room for what is above all.
const TABLE: usize = 15;

/// Estimates that are compared before those that are left open are looked at.
const PART: usize = 1024;

/// Measures the AUC of one row after another.
#[derive(Default)]
pub(crate) struct Auc {
    /// Scores of the truth items, ascending.
    truth: Vec<f32>,
    /// Whether two truth items have the same score.
    repeated: bool,
    /// Over the scores read so far: truth scores below, plus truth scores not above.
    lost: u64,
    /// Candidates that have not been compared: their estimates are too close to a truth score.
    pending: Pending,
}

impl Auc {
    /// Begins a new row with `relevant` truth items, whose scores `fill` writes in any order.
    pub(crate) fn start(&mut self, relevant: usize, fill: impl FnOnce(&mut [f32])) {
        self.lost = 0;
        self.pending.clear();
        self.truth.clear();
        self.truth.resize(relevant, 0.0);
        fill(&mut self.truth);
        self.truth.sort_unstable_by(f32::total_cmp);
        self.repeated = self.truth.array_windows().any(|[a, b]| a == b);
    }

    /// Reads scores of candidates (finite) and of items that are none (minus infinity), the truth items among them; or
    /// estimates of them, whose scores `scorer` has.
    pub(crate) fn read(&mut self, piece: Piece<'_>, scorer: &dyn Scorer) {
        let Some(Margin { radius, weights }) = piece.margin else { return self.read_scores(piece.scores) };
        let (parts, weights) = (piece.scores.chunks(PART), weights.chunks(PART));
        for ((estimates, weights), first) in parts.zip(weights).zip((piece.first..).step_by(PART)) {
            let margin = Margin { radius, weights };
            let (mut open, mut near) = ([0u16; PART / 16], [0; PART / 16]);
            for truth in self.truth.chunks(TABLE) {
                self.lost += compare_estimates(truth, estimates, margin, &mut near);
                open.iter_mut().zip(near).for_each(|(open, near)| *open |= near);
            }
            for (at, bits) in open.as_chunks::<4>().0.iter().enumerate() {
                let mut bits = bits.iter().rev().fold(0, |bits, &part| bits << 16 | u64::from(part));
                while bits != 0 {
                    let at = at * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    // It has been compared nevertheless, which is taken back.
                    self.lost -= 2 * below(estimates[at], &self.truth);
                    self.pending.push((first + at) as u32);
                }
            }
        }
        let Self { truth, lost, pending, .. } = self;
        pending.settle_many(scorer, piece.user, |_, score| *lost += lost_to(score, truth));
    }

    fn read_scores(&mut self, scores: &[f32]) {
        #[cfg(target_arch = "x86_64")]
        if let (Arch::V4(simd), false) = (Arch::new(), self.repeated) {
            self.lost += avx512::lost(simd, &self.truth, scores);
            return;
        }
        self.lost += Arch::new().dispatch(CompareAll { truth: &self.truth, scores });
    }

    /// Over the scores read so far: truth scores below, plus truth scores not above. `scorer` and `user` are those of all
    /// pieces.
    pub(crate) fn lost(&mut self, scorer: &dyn Scorer, user: u32) -> u64 {
        let Self { truth, lost, pending, .. } = self;
        pending.settle(scorer, user, |_, score| *lost += lost_to(score, truth));
        self.lost
    }
}

/// The AUC of `relevant` truth items among `candidates` candidates, of which `lost` counts the truth scores below, plus the
/// truth scores not above; `None` where there is no truth item or no other candidate.
pub(crate) fn auc(relevant: usize, candidates: usize, lost: u64) -> Option<f64> {
    let (relevant, candidates) = (relevant as u64, candidates as u64);
    if relevant == 0 || relevant >= candidates {
        return None;
    }
    // Twice the pairs won (a tie is one) by truth items against all candidates, less those among themselves: in L^2
    // ordered pairs every win has its loss.
    // (Saturating, for a scorer whose pairs are not those of its rows.)
    let won = (2 * relevant * candidates).saturating_sub(lost.saturating_add(relevant * relevant));
    Some(won as f64 / (2 * relevant * (candidates - relevant)) as f64)
}

/// Truth scores below `score`, plus those not above.
fn lost_to(score: f32, truth: &[f32]) -> u64 {
    Arch::new().dispatch(Count { truth, which: |truth| u32::from(truth < score) + u32::from(truth <= score) })
}

/// Truth scores below `score`.
fn below(score: f32, truth: &[f32]) -> u64 {
    Arch::new().dispatch(Count { truth, which: |truth| u32::from(truth < score) })
}

/// Adds up what each truth score counts. Without a branch, as a search would have.
struct Count<'a, F> {
    truth: &'a [f32],
    which: F,
}

impl<F: Fn(f32) -> u32> NullaryFnOnce for Count<'_, F> {
    type Output = u64;

    #[inline(always)]
    fn call(self) -> u64 {
        self.truth.iter().map(|&truth| (self.which)(truth)).sum::<u32>().into()
    }
}

/// Twice the sum over `estimates` of the truth scores below; `truth` is ascending and at most [`TABLE`]. Writes into `open`, a
/// bit for each and sixteen to a number, which estimates have a truth score within their margin, which may be on either side.
fn compare_estimates(truth: &[f32], estimates: &[f32], margin: Margin<'_>, open: &mut [u16]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if let Arch::V4(simd) = Arch::new() {
        return avx512::compare_estimates(simd, truth, estimates, margin, open);
    }
    compare_all_estimates(truth, estimates, margin, open)
}

fn compare_all_estimates(truth: &[f32], estimates: &[f32], margin: Margin<'_>, open: &mut [u16]) -> u64 {
    let mut sum = 0;
    open.fill(0);
    for (at, &estimate) in estimates.iter().enumerate() {
        let (low, high) = margin.bounds(at, estimate);
        sum += 2 * below(estimate, truth);
        let within = truth.iter().any(|&truth| low <= truth && truth <= high);
        open[at / 16] |= u16::from(within) << (at % 16);
    }
    sum
}

/// Sum over `scores` of the truth scores below plus those not above, by comparing every pair. Minus infinity adds nothing.
struct CompareAll<'a> {
    truth: &'a [f32],
    scores: &'a [f32],
}

impl NullaryFnOnce for CompareAll<'_> {
    type Output = u64;

    #[inline(always)]
    fn call(self) -> u64 {
        // Chunks stay in the nearest cache from one truth score to the next, and a 32-bit count of one cannot overflow.
        let count = |chunk: &[f32], truth: f32| -> u32 {
            chunk.iter().map(|&score| u32::from(score > truth) + u32::from(score >= truth)).sum()
        };
        let in_chunk = |chunk| self.truth.iter().map(|&truth| u64::from(count(chunk, truth))).sum::<u64>();
        self.scores.chunks(4096).map(in_chunk).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scores;
    use proptest::prelude::*;

    const SEEN: f32 = f32::NEG_INFINITY;

    fn measured(scores: &[f32], truth: &[f32], piece: usize) -> Option<f64> {
        let mut row = Auc::default();
        row.start(truth.len(), |out| out.copy_from_slice(truth));
        scores.chunks(piece).for_each(|scores| row.read_scores(scores));
        auc(truth.len(), scores.iter().filter(|&&score| score != SEEN).count(), row.lost)
    }

    /// One win, one tie, one loss, and a seen item that must not count.
    #[test]
    fn by_hand() {
        let scores = [0.5, SEEN, 0.1, 0.5, 0.9];
        assert_eq!(measured(&scores, &[0.5], 9), Some(0.5));
        assert_eq!(measured(&[0.0, -0.0], &[0.0], 9), Some(0.5));
        assert_eq!(measured(&[0.0, -0.0], &[-0.0], 1), Some(0.5));
        assert_eq!(measured(&scores, &[0.5, 0.1, 0.5, 0.9], 9), None);
        assert_eq!(measured(&scores, &[], 9), None);
    }

    /// Scores with or without many ties, and for each item: truth, seen, or neither.
    fn labelled() -> impl Strategy<Value = Vec<(f32, u8)>> {
        let coarse = prop_oneof![(-3i32..3).prop_map(|score| score as f32), Just(-0.0f32), -1.0f32..1.0];
        let item = |score| (score, prop_oneof![Just(0u8), Just(1), 2u8..12]);
        prop_oneof![
            prop::collection::vec(item(coarse.boxed()), 1..300),
            prop::collection::vec(item((-1.0f32..1.0).boxed()), 1..300),
        ]
    }

    fn split(items: &[(f32, u8)], sign: f32) -> (Vec<f32>, Vec<f32>) {
        let scores = items.iter().map(|&(score, label)| if label == 1 { SEEN } else { sign * score }).collect();
        let truth = items.iter().filter(|item| item.1 == 0).map(|item| sign * item.0).collect();
        (scores, truth)
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    proptest! {
        /// By all pairs; and by the rank sum with averaged ties.
        #[test]
        fn equals_its_definitions(items in labelled(), piece in 1usize..400) {
            let (scores, truth) = split(&items, 1.0);
            let others: Vec<f32> = items.iter().filter(|item| item.1 > 1).map(|item| item.0).collect();
            let found = measured(&scores, &truth, piece);
            prop_assert_eq!(found.is_none(), truth.is_empty() || others.is_empty());
            if let Some(found) = found {
                let (l, o) = (truth.len() as f64, others.len() as f64);
                let half = |a: f32, b: f32| if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 };
                let pairs: f64 = truth.iter().flat_map(|&t| others.iter().map(move |&o| half(t, o))).sum();
                prop_assert!(close(found, pairs / (l * o)));
                let all: Vec<f32> = truth.iter().chain(&others).copied().collect();
                // Mean rank of a score: those below it, and half of its equals with itself in their middle.
                let rank = |s: f32| all.iter().map(|&a| half(s, a)).sum::<f64>() + 0.5;
                let ranks: f64 = truth.iter().map(|&t| rank(t)).sum();
                prop_assert!(close(found, (ranks - l * (l + 1.0) / 2.0) / (l * o)));
            }
        }

        /// T38.
        #[test]
        fn of_reversed_and_of_constant_scores(items in labelled()) {
            let (scores, truth) = split(&items, 1.0);
            let (reversed, reversed_truth) = split(&items, -1.0);
            let found = measured(&scores, &truth, 64);
            let opposite = measured(&reversed, &reversed_truth, 64);
            prop_assert!(found.is_none() || close(found.unwrap() + opposite.unwrap(), 1.0));
            let (constant, constant_truth) = split(&items, 0.0);
            prop_assert!(measured(&constant, &constant_truth, 64).is_none_or(|auc| auc == 0.5));
        }

        /// What runs without AVX-512 counts the same.
        #[test]
        fn both_ways_to_count_agree(items in labelled()) {
            let (scores, mut truth) = split(&items, 1.0);
            truth.sort_unstable_by(f32::total_cmp);
            truth.dedup();
            let mut auc = Auc::default();
            auc.start(truth.len(), |out| out.copy_from_slice(&truth));
            auc.read_scores(&scores);
            let compared = CompareAll { truth: &truth, scores: &scores }.call();
            prop_assert_eq!(auc.lost, compared);
        }

        /// Whatever the estimates are within their margins, the counts are those of the scores.
        #[test]
        fn estimates_leave_no_trace(
            items in labelled(),
            shares in prop::collection::vec((-0.99f32..0.99, prop_oneof![Just(0.0f32), 0.0f32..1.0]), 300),
            radius in prop_oneof![Just(0.0f32), 0.001f32..2.0],
            piece in 1usize..400,
        ) {
            let (scores, truth) = split(&items, 1.0);
            let scorer = Scores { table: scores.clone(), items: scores.len() };
            let weights: Vec<f32> = shares.iter().map(|share| share.1).collect();
            let estimates: Vec<f32> =
                scores.iter().zip(&shares).map(|(score, (share, weight))| score + share * radius * weight).collect();
            let mut auc = Auc::default();
            auc.start(truth.len(), |out| out.copy_from_slice(&truth));
            for (scores, first) in estimates.chunks(piece).zip((0..).step_by(piece)) {
                let margin = Some(Margin { radius, weights: &weights[first..][..scores.len()] });
                auc.read(Piece { user: 0, first, scores, margin }, &scorer);
            }
            let counts = auc.lost(&scorer, 0);
            auc.start(truth.len(), |out| out.copy_from_slice(&truth));
            auc.read_scores(&scores);
            prop_assert_eq!(counts, auc.lost(&scorer, 0));

            // Both ways to compare agree about what is open, too.
            auc.truth.truncate(TABLE);
            let margin = Margin { radius, weights: &weights[..scores.len()] };
            let mut open = [[0; 300 / 16 + 1]; 2];
            let sums = [
                compare_estimates(&auc.truth, &estimates, margin, &mut open[0]),
                compare_all_estimates(&auc.truth, &estimates, margin, &mut open[1]),
            ];
            prop_assert_eq!((sums[0], open[0]), (sums[1], open[1]));
        }
    }
}
