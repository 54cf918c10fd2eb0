//! Uniform negatives (RNS; Rendle et al., "BPR", UAI 2009): S distinct items a user has not chosen in training, each set
//! of S equally likely.
//!
//! Rejection: draw from the whole catalogue, reject training items and repeats. Where that would take long (a user owns
//! nearly everything, or S is large), items are drawn from the listed complement instead: after [`TRIES`] rejected draws in
//! a row, or from the start. A user with fewer than S items left gets them with repetition; a user with none gets no
//! negatives and weight 0.

use onebp_data::{
    Csr, Membership,
    random::{Purpose, Random},
};

/// Rejected draws in a row before the complement is listed.
const TRIES: u32 = 100;

/// Draws S negatives a row.
#[derive(Clone, Debug)]
pub struct Uniform<'a> {
    owned: Membership<'a>,
    negatives: usize,
    random: Random,
}

impl<'a> Uniform<'a> {
    /// A sampler of `negatives` (S) items per row that its user does not own in `train`.
    pub fn new(train: &'a Csr, negatives: usize, seed: u64) -> Self {
        Self { owned: Membership::new(train), negatives, random: Random::new(seed, Purpose::Negatives) }
    }

    /// Negatives per row, S.
    pub fn negatives(&self) -> usize {
        self.negatives
    }

    /// Tells that a row of `user` will be drawn soon.
    #[inline]
    pub fn announce(&self, user: u32) {
        self.owned.prefetch(user);
    }

    /// Fills `out` `[S]` for the row of `user` at `position` of `epoch`. Returns whether there was any item to draw;
    /// without one, `out` is left alone.
    pub fn draw(&self, user: u32, epoch: u32, position: u64, out: &mut [u32]) -> bool {
        let items = self.owned.rows().columns();
        let left = items - self.owned.rows().row(user).len();
        if left == 0 {
            return false;
        }
        let mut words = self.random.words(epoch, position);
        let mut filled = 0;
        // Rejection looks through the negatives so far at every draw; past this, listing the complement is cheaper.
        if left >= 2 * out.len() && out.len() * out.len() <= 4 * items {
            while filled < out.len() {
                let (drawn, free) = out.split_at_mut(filled);
                let accepts = |item: &u32| !self.owned.contains(user, *item) && !drawn.contains(item);
                let Some(item) = (0..TRIES).map(|_| words.below(items as u32)).find(accepts) else { break };
                free[0] = item;
                filled += 1;
            }
        }
        if filled < out.len() {
            let (drawn, free) = out.split_at_mut(filled);
            let accepts = |item: &u32| !self.owned.contains(user, *item) && !drawn.contains(item);
            let mut complement: Vec<u32> = (0..items as u32).filter(accepts).collect();
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

    /// One user who owns `owned` of `items` items.
    fn user(items: usize, owned: &[u32]) -> Csr {
        let pairs: Vec<_> = owned.iter().map(|&item| (0, item)).collect();
        Csr::from_pairs(1, items, &pairs).unwrap()
    }

    proptest! {
        /// T26: no training item, no repetition, right shape.
        #[test]
        fn contract(owned in prop::collection::btree_set(0u32..30, 0..25), seed in 0u64..1000, position in 0u64..1000) {
            let owned: Vec<u32> = owned.into_iter().collect();
            let train = user(30, &owned);
            let sampler = Uniform::new(&train, 5, seed);
            let mut out = [u32::MAX; 5];
            prop_assert!(sampler.draw(0, 3, position, &mut out));
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
        let train = user(13, &owned);
        let sampler = Uniform::new(&train, 1, 77);
        let mut counts = [0f64; 13];
        let draws = 100_000;
        for position in 0..draws {
            let mut out = [0];
            sampler.draw(0, 0, position, &mut out);
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
        let (nearly, all, one) = (user(10_000, &nearly), user(10_000, &Vec::from_iter(0..10_000)), user(10_000, &[3]));
        let draw = |train: &Csr, out: &mut [u32]| Uniform::new(train, out.len(), 5).draw(0, 0, 0, out);
        let mut out = [0; 2];
        assert!(draw(&nearly, &mut out));
        out.sort_unstable();
        assert_eq!(out, [17, 4321], "exactly two left: both, through the complement");

        let mut out = [0; 3];
        assert!(draw(&nearly, &mut out));
        assert!(out.iter().all(|item| [17, 4321].contains(item)), "fewer than S: with repetition");
        assert!(!draw(&all, &mut out), "none left");

        let mut out = vec![0; 9_000];
        assert!(draw(&one, &mut out));
        assert_eq!(out.iter().collect::<std::collections::HashSet<_>>().len(), 9_000, "many: still distinct");
        assert!(!out.contains(&3));
    }
}
