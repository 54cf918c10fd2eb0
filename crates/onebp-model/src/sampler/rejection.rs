//! Negatives a user does not own, from any [`Proposal`].
//!
//! Rejection: draw an item, reject training items and repeats; what is left has the proposal's distribution on the
//! complement, without repetition. Where that would take long (a user owns nearly everything likely, or S is large), items
//! are drawn from the listed complement instead, by their weights: after [`TRIES`] rejected draws in a row, or from the
//! start. Items of weight 0 come in, all alike, where no other is left. A user with fewer than S items left gets all of
//! them, in turn, as often as it takes; a user with none gets no negatives and weight 0.

use super::Proposal;
use onebp_data::{
    Csr, Membership,
    random::{Purpose, Random, Words},
};

/// Rejected draws in a row before the complement is listed.
const TRIES: u32 = 100;

/// Draws S negatives a row, whatever the state of the model.
#[derive(Clone, Debug)]
pub struct Static<'a> {
    owned: Membership<'a>,
    pub(super) proposal: Proposal<'a>,
    negatives: usize,
    /// Share of false negatives.
    pub(super) planted: f64,
    pub(super) random: Random,
}

impl<'a> Static<'a> {
    /// A sampler of `negatives` (S) items per row that its user does not own in `train`.
    pub fn new(train: &'a Csr, proposal: Proposal<'a>, negatives: usize, seed: u64) -> Self {
        let random = Random::new(seed, Purpose::Negatives);
        Self { owned: Membership::new(train), proposal, negatives, planted: 0.0, random }
    }

    /// The same with a share of negatives that their user owns, see [`Planted`](super::Planted).
    pub fn planting(self, share: f64) -> Self {
        Self { planted: share, ..self }
    }

    /// Negatives per row, S.
    pub fn negatives(&self) -> usize {
        self.negatives
    }

    /// Fills `out` `[S]` for the row of `user` at `position` of `epoch`. Returns whether there was any item to draw;
    /// without one, `out` is left alone.
    pub fn draw(&self, user: u32, epoch: u32, position: u64, out: &mut [u32]) -> bool {
        let owned = self.owned.of(user);
        let left = self.owned.rows().columns() - owned.len();
        if left == 0 {
            return false;
        }
        let mut words = self.random.words(epoch, position);
        self.fill(left, |item| !owned.contains(item), &mut words, out);
        if self.planted > 0.0 {
            self.plant(user, &mut words, out);
        }
        true
    }

    /// Fills `out` with items of the whole catalogue, whoever owns them.
    pub(super) fn draw_all(&self, words: &mut Words, out: &mut [u32]) {
        self.fill(self.owned.rows().columns(), |_| true, words, out);
    }

    /// Who owns what.
    pub(super) fn owned(&self) -> &Membership<'a> {
        &self.owned
    }

    /// Fills `out` from the items that are `free`, `left` of them.
    #[inline]
    fn fill(&self, left: usize, free: impl Fn(u32) -> bool, words: &mut Words, out: &mut [u32]) {
        let items = self.owned.rows().columns();
        let mut filled = 0;
        if rejects(items, left, out.len()) {
            while filled < out.len() {
                let (drawn, rest) = out.split_at_mut(filled);
                let accepts = |item: &u32| free(*item) && !drawn.contains(item);
                let Some(item) = (0..TRIES).map(|_| self.proposal.draw(words)).find(accepts) else { break };
                rest[0] = item;
                filled += 1;
            }
        }
        if filled < out.len() {
            let (drawn, rest) = out.split_at_mut(filled);
            let accepts = |item: &u32| free(*item) && !drawn.contains(item);
            self.draw_from((0..items as u32).filter(accepts), words, rest);
        }
    }

    /// Fills `out` from the items `left`, by their weights.
    ///
    /// Without repetition: the largest of the keys ln(x) / weight, x uniform (Efraimidis and Spirakis, 2006).
    fn draw_from(&self, left: impl Iterator<Item = u32>, words: &mut Words, out: &mut [u32]) {
        let key = |item: u32, words: &mut Words| {
            let weight = self.proposal.weight(item);
            // Items of weight 0 come after all others, in random order.
            let (x, likely) = (words.unit(), weight > 0.0);
            (likely, if likely { x.ln() / weight } else { x }, item)
        };
        let mut keys: Vec<_> = left.map(|item| key(item, words)).collect();
        let before = |a: &(bool, f64, u32), b: &(bool, f64, u32)| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1));
        if out.len() < keys.len() {
            keys.select_nth_unstable_by(out.len(), before);
            keys.truncate(out.len());
        }
        keys.sort_unstable_by(before);
        // Fewer than needed: once more from the start, as often as it takes.
        out.iter_mut().zip(keys.iter().cycle()).for_each(|(slot, &(.., item))| *slot = item);
    }
}

/// Whether `negatives` items are drawn by rejection where `left` of a catalogue of `items` are free: it looks through the
/// negatives so far at every draw, and past this, listing the complement is cheaper.
#[inline]
pub(super) fn rejects(items: usize, left: usize, negatives: usize) -> bool {
    left >= 2 * negatives && negatives * negatives <= 4 * items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::{Alias, Interactions};
    use proptest::prelude::*;

    /// Interactions of user 0, who owns `owned`, and of others, who own the items `others` once for each time they occur.
    fn train(items: usize, owned: &[u32], others: &[u32]) -> Csr {
        let mine = owned.iter().map(|&item| (0, item));
        let theirs = (1..).zip(others).map(|(user, &item)| (user, item));
        Csr::from_pairs(1 + others.len(), items, &Vec::from_iter(mine.chain(theirs))).unwrap()
    }

    fn proposals(train: &Csr) -> [Proposal<'_>; 4] {
        let alias = |exponent| Proposal::Alias(Alias::new(train, exponent).unwrap());
        let items = train.columns() as u32;
        [Proposal::Uniform(items), Proposal::Interactions(Interactions::new(train)), alias(0.75), alias(0.0)]
    }

    fn sampler<'a>(train: &'a Csr, proposal: Proposal<'a>, negatives: usize) -> Static<'a> {
        Static::new(train, proposal, negatives, 77)
    }

    proptest! {
        /// T26: no training item, no repetition, right shape, whatever the distribution.
        #[test]
        fn contract(
            owned in prop::collection::btree_set(0u32..30, 1..25),
            others in prop::collection::vec(0u32..30, 0..60),
            position in 0u64..1000,
        ) {
            let owned: Vec<u32> = owned.into_iter().collect();
            let train = train(30, &owned, &others);
            for proposal in proposals(&train) {
                let mut out = [u32::MAX; 5];
                prop_assert!(sampler(&train, proposal, 5).draw(0, 3, position, &mut out));
                for (k, item) in out.iter().enumerate() {
                    prop_assert!(*item < 30 && !owned.contains(item));
                    prop_assert!(!out[..k].contains(item));
                }
            }
        }
    }

    /// Chi-square of single draws for user 0 against `weights`.
    fn chi_square(sampler: &Static, weights: &[f64]) -> f64 {
        let mut counts = vec![0f64; weights.len()];
        let draws = 100_000;
        for position in 0..draws {
            let mut out = [0];
            sampler.draw(0, 0, position, &mut out);
            counts[out[0] as usize] += 1.0;
        }
        let total: f64 = weights.iter().sum();
        let of_item = |(count, weight): (&f64, &f64)| {
            let expected = draws as f64 * weight / total;
            assert!(*weight > 0.0 || *count == 0.0, "an item of weight 0 was drawn");
            if *weight > 0.0 { (count - expected).powi(2) / expected } else { 0.0 }
        };
        counts.iter().zip(weights).map(of_item).sum()
    }

    /// T27, T28: uniform, or by powers of the counts, on the complement; an item that nobody owns is not drawn by
    /// popularity, but with a = 0. 10 items are left: 33.7 is the 0.9999 quantile for 9 degrees of freedom.
    #[test]
    fn distributions_on_the_complement() {
        let others: Vec<u32> =
            (0..13).flat_map(|item| std::iter::repeat_n(item, if item == 5 { 0 } else { 1 + item as usize })).collect();
        let train = train(13, &[1, 4, 7], &others);
        let left = |item: usize| if [1, 4, 7].contains(&item) { 0.0 } else { 1.0 };
        let counts = train.item_counts();
        let powers =
            |a: f64| -> Vec<f64> { (0..13).map(|item| left(item) * f64::from(counts[item]).powf(a)).collect() };
        for (proposal, a) in proposals(&train).into_iter().zip([0.0, 1.0, 0.75, 0.0]) {
            let chi = chi_square(&sampler(&train, proposal, 1), &powers(a));
            assert!(chi < 33.7, "a = {a}: chi-square {chi}");
        }
        let alias = Proposal::Alias(Alias::new(&train, 1.0).unwrap());
        assert!(chi_square(&sampler(&train, alias, 1), &powers(1.0)) < 33.7, "the table and the interactions agree");
    }

    /// The listed complement has the same distribution: here most draws are rejected a hundred times in a row.
    #[test]
    fn distribution_of_the_listed_complement() {
        let mut others: Vec<u32> = (0..4).flat_map(|item| std::iter::repeat_n(item, 1 + item as usize)).collect();
        others.extend(std::iter::repeat_n(4, 5000));
        let train = train(5, &[4], &others);
        let weights = [1.0, 2.0, 3.0, 4.0, 0.0];
        let by_popularity = Proposal::Interactions(Interactions::new(&train));
        // 21.1 is the 0.9999 quantile for 3 degrees of freedom.
        assert!(chi_square(&sampler(&train, by_popularity, 1), &weights) < 21.1);
    }

    /// T32: the edges end and keep their rule.
    #[test]
    fn users_with_few_or_no_negatives() {
        let nearly: Vec<u32> = (0..10_000).filter(|&item| item != 4321 && item != 17).collect();
        let (nearly, all) = (train(10_000, &nearly, &[17]), train(10_000, &Vec::from_iter(0..10_000), &[]));
        let one = train(10_000, &[3], &[]);
        for which in 0..4 {
            let draw = |train: &Csr, out: &mut [u32]| {
                sampler(train, proposals(train)[which].clone(), out.len()).draw(0, 0, 0, out)
            };
            let mut out = [0; 2];
            assert!(draw(&nearly, &mut out));
            out.sort_unstable();
            assert_eq!(out, [17, 4321], "exactly two left: both, through the complement");

            let mut out = [0; 3];
            assert!(draw(&nearly, &mut out));
            assert!(out.contains(&17) && out.contains(&4321), "fewer than S: with repetition");
            assert!(!draw(&all, &mut out), "none left");

            let mut out = vec![0; 9_000];
            assert!(draw(&one, &mut out));
            assert_eq!(out.iter().collect::<std::collections::HashSet<_>>().len(), 9_000, "many: still distinct");
            assert!(!out.contains(&3));
        }
        // Nobody owns anything that the user does not: popularity has nothing to go by.
        let mut out = [0; 2];
        let train = train(6, &[0, 1, 2], &[]);
        assert!(sampler(&train, Proposal::Interactions(Interactions::new(&train)), 2).draw(0, 0, 0, &mut out));
        assert!(out.iter().all(|item| *item >= 3) && out[0] != out[1]);
    }
}
