//! One pool for all rows of a batch, of which each row chooses at random, by weights that the model gives: the two-stage
//! sampler as it was published (Tran et al., "Improving Collaborative Metric Learning with Efficient Negative Sampling",
//! SIGIR 2019; spec 6.5).
//!
//! 1. Ahead of the step: C items, drawn without replacement by popularity f_j^a. No more of them than ever come up.
//! 2. In the step: S of those that the user does not own, without replacement, with probability proportional to a weight w,
//!    which is [`Hardness::Similarity`](onebp_table::Hardness): the nearer to the row's own positive the likelier. If all
//!    weights are 0, or fewer than S are not, the rest is drawn from the items without weight, all alike.
//!
//! The second stage is the Gumbel top-k: the S largest of log w + g, with g = -ln(-ln x) and x uniform for each place, are a
//! draw without replacement by w (Kool et al., ICML 2019). So the randomness can be drawn ahead, and the step adds it.
//!
//! Where it differs from the authors' program: weights are those of the tables right before the step instead of a copy that
//! is renewed every 100 batches; items that the user owns are left out from the start, where theirs draws again, ten times
//! at most, and may then keep an item it already has or one the user owns; a user who owns nearly the whole pool gets one
//! of their own. Theirs trains CML with S = 1 and a further term in the loss; this is a sampler for any loss.
//!
//! A step looks at B (Mp + C) places: on the CPU in the tables themselves, elsewhere as that many rows in the device's memory.

use super::{Popularity, Proposal, Static};
use onebp_data::random::{Purpose, Random};
use serde::{Deserialize, Serialize};

/// Parameters of `two-stage-2019`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct TwoStage2019 {
    /// C, items that the rows of a batch share. Default 300; 2000 in the published run.
    pub pool: usize,
    /// a of the popularity f_j^a by which they are drawn. Default 1.
    pub exponent: f64,
}

impl Default for TwoStage2019 {
    fn default() -> Self {
        Self { pool: 300, exponent: Popularity::default().exponent }
    }
}

impl TwoStage2019 {
    pub(super) fn popularity(&self) -> Popularity {
        Popularity { exponent: self.exponent }
    }
}

/// Draws the pools, and the noise by which rows choose from them.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'a> {
    rows: &'a Static<'a>,
    /// Negatives that a row chooses, S.
    negatives: usize,
    pools: Random,
    choices: Random,
}

impl<'a> Shared<'a> {
    /// Of pools that hold as many items as `rows` draws, of which a row keeps `negatives` (S).
    pub fn new(rows: &'a Static<'a>, negatives: usize, seed: u64) -> Self {
        let [pools, choices] = [Purpose::Pool, Purpose::Choice].map(|purpose| Random::new(seed, purpose));
        Self { rows, negatives, pools, choices }
    }

    /// How many of `size` items a pool can hold: no more than the items, of which there are N in the catalogue, that come up
    /// at all, but at least S.
    pub fn size(proposal: &Proposal<'_>, items: usize, size: usize, negatives: usize) -> usize {
        let likely = (0..items as u32).filter(|&item| proposal.weight(item) > 0.0).count();
        size.min(likely).max(negatives)
    }

    /// C items that the batch whose first row is at `position` of `epoch` shares.
    pub fn pool(&self, epoch: u32, position: u64) -> Vec<u32> {
        let mut pool = vec![0; self.rows.negatives()];
        self.rows.draw_all(&mut self.pools.words(epoch, position), &mut pool);
        pool
    }

    /// Fills `items` `[C]` with the pool of the row of `user` at `position` of `epoch`, and `noise` `[C]` with what is added
    /// to its log weights. The pool is the `shared` one, whose items that the user owns are marked by a noise of minus
    /// infinity; or where that has fewer than S others, one of the user's own. Returns whether there was any item to draw;
    /// without one, `items` are left alone.
    pub fn draw(
        &self,
        shared: &[u32],
        (user, epoch, position): (u32, u32, u64),
        items: &mut [u32],
        noise: &mut [f32],
    ) -> bool {
        let owned = self.rows.owned().of(user);
        for (noise, &item) in noise.iter_mut().zip(shared) {
            *noise = if owned.contains(item) { f32::NEG_INFINITY } else { 0.0 };
        }
        if noise.iter().filter(|noise| noise.is_finite()).count() >= self.negatives {
            items.copy_from_slice(shared);
        } else if self.rows.draw(user, epoch, position, items) {
            noise.fill(0.0);
        } else {
            noise.fill(f32::NEG_INFINITY);
            return false;
        }
        let mut words = self.choices.words(epoch, position);
        for noise in noise {
            // In the middle of its interval, x is neither 0 nor 1.
            let x = (f64::from(words.word()) + 0.5) / 4_294_967_296.0;
            if noise.is_finite() {
                *noise = -(-x.ln()).ln() as f32;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{device::ndarray, sampler::Sampler};
    use burn::tensor::{Tensor, TensorData};
    use onebp_data::Csr;
    use onebp_table::{
        Batch, Hardness, Keep,
        hardest::{Chosen, keys},
    };
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// Draws pools of `size` by popularity to the power of `exponent`, of which rows keep `negatives`.
    fn rows(train: &Csr, size: usize, exponent: f64, negatives: usize) -> Static<'_> {
        let named = Sampler::TwoStage2019(TwoStage2019 { pool: size, exponent });
        let proposal = named.proposal(train).unwrap();
        let drawn = Shared::size(&proposal, train.columns(), size, negatives);
        Static::new(train, proposal, drawn, 77)
    }

    /// Whether there was any item, the items, and the noise of a row of `user`.
    fn draw(shared: &Shared, user: u32, position: u64) -> (bool, Vec<u32>, Vec<f32>) {
        let pool = shared.pool(2, position / 4 * 4);
        let (mut items, mut noise) = (vec![u32::MAX; pool.len()], vec![0.0; pool.len()]);
        (shared.draw(&pool, (user, 2, position), &mut items, &mut noise), items, noise)
    }

    proptest! {
        /// T26: no repetition; at least S items that may be kept, none of which the user owns, as long as there are S.
        #[test]
        fn contract(
            pairs in prop::collection::btree_set((0u32..6, 0u32..20), 1..100),
            (size, exponent) in (3usize..30, prop::sample::select(vec![0.0, 0.75, 1.0])),
            (user, position) in (0u32..6, 0u64..100),
        ) {
            let train = Csr::from_pairs(6, 20, &Vec::from_iter(pairs)).unwrap();
            let left = 20 - train.row(user).len();
            let (found, items, noise) = draw(&Shared::new(&rows(&train, size, exponent, 3), 3, 77), user, position);
            prop_assert_eq!(found, left > 0);
            let places = items.iter().zip(&noise).filter(|(_, noise)| noise.is_finite());
            let kept: Vec<u32> = places.map(|(&item, _)| item).collect();
            prop_assert!(kept.iter().all(|&item| !train.contains(user, item)));
            let distinct = kept.iter().collect::<HashSet<_>>().len();
            prop_assert!(distinct >= left.min(3));
            prop_assert!(distinct == kept.len() || distinct == left, "repeated before all were there");
        }
    }

    /// Chi-square of `counts` against shares proportional to `weights`, and its degrees of freedom.
    fn chi_square(counts: &[f64], weights: &[f64]) -> (f64, usize) {
        let (draws, total) = (counts.iter().sum::<f64>(), weights.iter().sum::<f64>());
        let likely = || counts.iter().zip(weights).filter(|(_, weight)| **weight > 0.0);
        assert_eq!(likely().map(|(count, _)| count).sum::<f64>(), draws, "an item of weight 0 was drawn");
        let square = |(count, weight): (&f64, &f64)| {
            let expected = draws * weight / total;
            (count - expected).powi(2) / expected
        };
        (likely().map(square).sum(), likely().count() - 1)
    }

    /// Items 0 to 9, of which 0 to 3 are owned by 4 to 1 users, all of them others than user 0, who owns item 8.
    fn train() -> Csr {
        let others = (0..4u32).flat_map(|item| (1..5 - item).map(move |user| (user, item)));
        Csr::from_pairs(5, 10, &others.chain([(0, 8)]).collect::<Vec<_>>()).unwrap()
    }

    /// Pools are by popularity; with a = 0 uniform over the catalogue, also over items that nobody owns.
    #[test]
    fn pools_by_popularity() {
        let train = train();
        for (exponent, limit) in [(1.0, 23.5), (0.0, 33.7)] {
            // The 0.9999 quantiles for 4 and 9 degrees of freedom.
            let rows = rows(&train, 1, exponent, 1);
            let shared = Shared::new(&rows, 1, 77);
            let mut counts = [0.0; 10];
            (0..100_000).for_each(|position| counts[shared.pool(0, position)[0] as usize] += 1.0);
            let weights = train.item_counts().iter().map(|&count| f64::from(count).powf(exponent)).collect::<Vec<_>>();
            let (chi, degrees) = chi_square(&counts, &weights);
            assert_eq!(degrees, if exponent == 0.0 { 9 } else { 4 });
            assert!(chi < limit, "a = {exponent}: chi-square {chi}");
        }
        let sorted = |exponent| {
            let mut pool = Shared::new(&rows(&train, 300, exponent, 2), 2, 77).pool(0, 0);
            pool.sort_unstable();
            pool
        };
        assert_eq!(sorted(1.0), [0, 1, 2, 3, 8], "no more than come up");
        assert_eq!(sorted(0.0), Vec::from_iter(0..10));
    }

    /// T31: the S = 1 item that is kept has probability w / sum of w among the items that the user does not own; where none
    /// has a weight, all are alike.
    #[test]
    fn choices_follow_the_weights() {
        const ROWS: usize = 1000;
        let train = train();
        let rows = rows(&train, 10, 0.0, 1);
        let shared = Shared::new(&rows, 1, 77);
        // Angles to item 8, which is the positive and the user's own: items 4 to 7 and 9 have no weight.
        let (dim, device) = (6, ndarray());
        let angle = |item: u32| if item == 8 { 0.0 } else { (10.0 + 25.0 * f64::from(item)).to_radians() };
        let row = |&item: &u32| {
            let length = 0.5 + f64::from(item);
            [length * angle(item).cos(), length * angle(item).sin(), 0.0, 0.0, 0.0, 0.0].map(|x| x as f32)
        };
        let weight = |item: u32| match angle(item).cos() {
            x if x > 0.0 && item != 8 => (1.0 - x * x + 1e-8).powf(1.0 - (dim as f64 - 1.0) / 2.0),
            _ => 0.0,
        };
        let count = |weightless: bool| {
            let (mut counts, mut chosen) = ([0.0; 10], Chosen::new(10));
            for first in (0..100).map(|batch| batch * ROWS as u64) {
                let (mut items, mut noise) = (Vec::new(), Vec::new());
                for position in first..first + ROWS as u64 {
                    let (found, pool, of_row) = draw(&shared, 0, position);
                    assert!(found);
                    items.extend(std::iter::once(8).chain(pool));
                    noise.extend(std::iter::once(0.0).chain(of_row));
                }
                let values: Vec<f32> = items.iter().flat_map(row).collect();
                let values = Tensor::from_data(TensorData::new(values, [ROWS, 11, dim]), &device);
                let mut keys = keys(Tensor::zeros([ROWS, dim], &device), values, Hardness::Similarity).unwrap();
                if weightless {
                    keys.fill(f32::NEG_INFINITY);
                }
                let batch = Batch { noise, ..Batch::new(vec![0; ROWS], items, vec![1.0; ROWS], (5, 10)) };
                let keep = Keep { positives: 1, negatives: 1, hardness: Hardness::Similarity };
                chosen.of(&batch, keep, &keys).items.chunks(2).for_each(|row| counts[row[1] as usize] += 1.0);
            }
            counts
        };
        // The 0.9999 quantiles for 3 and 8 degrees of freedom.
        let (chi, degrees) = chi_square(&count(false), &(0..10).map(weight).collect::<Vec<_>>());
        assert!(chi < 21.1 && degrees == 3, "chi-square {chi}");
        let alike: Vec<f64> = (0..10).map(|item| if item == 8 { 0.0 } else { 1.0 }).collect();
        let (chi, degrees) = chi_square(&count(true), &alike);
        assert!(chi < 31.8 && degrees == 8, "without weights: chi-square {chi}");
    }

    /// T32: who owns nearly the whole pool gets one of their own; who owns nearly everything, what is left, in turn; who
    /// owns everything, nothing.
    #[test]
    fn users_with_few_or_no_negatives() {
        let popular = (0..30u32).flat_map(|user| (0..20).map(move |item| (user, item)));
        let others = [(30, 40), (31, 41), (31, 42)];
        let nearly = (0..50).filter(|item| ![17, 21].contains(item)).map(|item| (40, item));
        let all = (0..50).map(|item| (41, item));
        let pairs: Vec<_> = popular.chain(others).chain(nearly).chain(all).collect();
        let train = Csr::from_pairs(42, 50, &pairs).unwrap();
        let rows = rows(&train, 10, 4.0, 5);
        let shared = Shared::new(&rows, 5, 77);
        let (found, items, noise) = draw(&shared, 0, 0);
        assert!(found && noise.iter().all(|noise| noise.is_finite()), "a pool of their own");
        assert!(items.iter().all(|&item| item >= 20));
        assert_eq!(items.iter().collect::<HashSet<_>>().len(), 10);

        let (found, items, _) = draw(&shared, 40, 1);
        assert!(found && items.chunks(2).all(|pair| pair == &items[..2]), "{items:?}");
        assert_eq!(HashSet::from_iter(items), HashSet::from([17, 21]));
        assert!(!draw(&shared, 41, 2).0);
    }
}
