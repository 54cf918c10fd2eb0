//! Uniform negatives (RNS; Rendle et al., "BPR", UAI 2009): S distinct items a user has not chosen in training, each set
//! of S equally likely.
//!
//! Rejection: draw from the whole catalogue, reject training items and repeats. Where that would take long (a user owns
//! nearly everything, or S is large), items are drawn from the listed complement instead: after [`TRIES`] rejected draws in
//! a row, or from the start. A user with fewer than S items left gets them with repetition; a user with none gets no
//! negatives and weight 0.

use onebp_data::random::{Purpose, Random};

/// Rejected draws in a row before the complement is listed.
const TRIES: u32 = 100;

/// Draws S negatives a row.
#[derive(Clone, Debug)]
pub struct Uniform {
    items: usize,
    negatives: usize,
    random: Random,
}

impl Uniform {
    /// A sampler over a catalogue of `items` items with `negatives` (S) per row.
    pub fn new(items: usize, negatives: usize, seed: u64) -> Self {
        Self { items, negatives, random: Random::new(seed, Purpose::Negatives) }
    }

    /// Negatives per row, S.
    pub fn negatives(&self) -> usize {
        self.negatives
    }

    /// Fills `out` `[S]` for the row at `position` of `epoch`, whose user owns `owned` (ascending). Returns whether there
    /// was any item to draw; without one, `out` is left alone.
    pub fn draw(&self, owned: &[u32], epoch: u32, position: u64, out: &mut [u32]) -> bool {
        let left = self.items - owned.len();
        if left == 0 {
            return false;
        }
        let mut words = self.random.words(epoch, position);
        let mut filled = 0;
        // Rejection looks through the negatives so far at every draw; past this, listing the complement is cheaper.
        if left >= 2 * out.len() && out.len() * out.len() <= 4 * self.items {
            while filled < out.len() {
                let (drawn, free) = out.split_at_mut(filled);
                let accepts = |item: &u32| owned.binary_search(item).is_err() && !drawn.contains(item);
                let Some(item) = (0..TRIES).map(|_| words.below(self.items as u32)).find(accepts) else { break };
                free[0] = item;
                filled += 1;
            }
        }
        if filled < out.len() {
            let (drawn, free) = out.split_at_mut(filled);
            let accepts = |item: &u32| owned.binary_search(item).is_err() && !drawn.contains(item);
            let mut complement: Vec<u32> = (0..self.items as u32).filter(accepts).collect();
            let distinct = complement.len() >= free.len();
            for slot in free {
                let choice = words.below(complement.len() as u32) as usize;
                *slot = if distinct { complement.swap_remove(choice) } else { complement[choice] };
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// T26: no training item, no repetition, right shape.
        #[test]
        fn contract(owned in prop::collection::btree_set(0u32..30, 0..25), seed in 0u64..1000, position in 0u64..1000) {
            let owned: Vec<u32> = owned.into_iter().collect();
            let sampler = Uniform::new(30, 5, seed);
            let mut out = [u32::MAX; 5];
            prop_assert!(sampler.draw(&owned, 3, position, &mut out));
            for (k, item) in out.iter().enumerate() {
                prop_assert!(*item < 30 && !owned.contains(item));
                prop_assert!(!out[..k].contains(item));
            }
        }
    }

    /// T27: uniform on the complement. Chi-square with 9 degrees of freedom: 33.7 is its 0.9999 quantile.
    #[test]
    fn uniform_on_the_complement() {
        let owned = [1, 4, 7];
        let sampler = Uniform::new(13, 1, 77);
        let mut counts = [0f64; 13];
        let draws = 100_000;
        for position in 0..draws {
            let mut out = [0];
            sampler.draw(&owned, 0, position, &mut out);
            counts[out[0] as usize] += 1.0;
        }
        let expected = draws as f64 / 10.0;
        let chi: f64 = (0..13)
            .filter(|item| !owned.contains(item))
            .map(|item| (counts[item as usize] - expected).powi(2) / expected)
            .sum();
        assert!(chi < 33.7, "chi-square {chi}");
    }

    /// T32: the edges end and keep their rule.
    #[test]
    fn users_with_few_or_no_negatives() {
        let nearly: Vec<u32> = (0..10_000).filter(|&item| item != 4321 && item != 17).collect();
        let sampler = Uniform::new(10_000, 2, 5);
        let mut out = [0; 2];
        assert!(sampler.draw(&nearly, 0, 0, &mut out));
        out.sort_unstable();
        assert_eq!(out, [17, 4321], "exactly two left: both, through the complement");

        let sampler = Uniform::new(10_000, 3, 5);
        let mut out = [0; 3];
        assert!(sampler.draw(&nearly, 0, 0, &mut out));
        assert!(out.iter().all(|item| [17, 4321].contains(item)), "fewer than S: with repetition");

        let all: Vec<u32> = (0..10_000).collect();
        assert!(!sampler.draw(&all, 0, 0, &mut out), "none left");

        let sampler = Uniform::new(10_000, 9_000, 5);
        let mut out = vec![0; 9_000];
        assert!(sampler.draw(&[3], 0, 0, &mut out));
        assert_eq!(out.iter().collect::<std::collections::HashSet<_>>().len(), 9_000, "many: still distinct");
        assert!(!out.contains(&3));
    }
}
