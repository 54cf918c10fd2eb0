//! Uniform negatives, some of them false: with a given probability a negative is an item that its user owns.
//!
//! Sampling from what a user has not chosen hits items that they would choose, without telling which. Here the number of such
//! false negatives is known, so that methods can be compared in how much they suffer (section 4.3.2 of the paper claims that
//! OneBP suffers less). Nothing to train a recommender with.

use super::Static;
use crate::{Error, error::within};
use onebp_data::random::Words;
use serde::{Deserialize, Serialize};

/// Parameters of `planted`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Planted {
    /// Share of the negatives that are training items of their user, drawn alike. Default .1.
    pub share: f64,
}

impl Default for Planted {
    fn default() -> Self {
        Self { share: 0.1 }
    }
}

impl Planted {
    pub(super) fn check(&self) -> Result<(), Error> {
        within((0.0..=1.0).contains(&self.share), "share", &self.share, "between 0 and 1")
    }
}

impl Static<'_> {
    /// Puts items of `user` into the places of some `negatives`.
    pub(super) fn plant(&self, user: u32, words: &mut Words, negatives: &mut [u32]) {
        let own = self.owned().rows().row(user);
        for negative in negatives {
            if words.unit() < self.planted && !own.is_empty() {
                *negative = own[words.below(own.len() as u32) as usize];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Proposal;
    use onebp_data::Csr;

    #[test]
    fn as_many_are_false_as_was_asked_for() {
        let own: Vec<(u32, u32)> = (0..10).map(|item| (0, item)).collect();
        let train = Csr::from_pairs(1, 100, &own).unwrap();
        let drawn = |share: f64| {
            let sampler = Static::new(&train, Proposal::Uniform(100), 5, 7).planting(share);
            let mut counts = [0u32; 100];
            for position in 0..4000 {
                let mut out = [0; 5];
                assert!(sampler.draw(0, 1, position, &mut out));
                out.iter().for_each(|&item| counts[item as usize] += 1);
            }
            counts
        };
        let shares = drawn(0.3);
        let false_ones: u32 = shares[..10].iter().sum();
        // 20,000 draws: a standard deviation is 65.
        assert!(false_ones.abs_diff(6000) < 300, "{false_ones}");
        assert!(shares[..10].iter().all(|&count| count.abs_diff(600) < 120), "all own items alike: {shares:?}");
        assert_eq!(drawn(0.0)[..10], [0; 10]);
        assert_eq!(drawn(1.0)[10..], [0; 90]);
    }
}
