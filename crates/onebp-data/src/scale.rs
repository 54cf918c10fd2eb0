//! Interactions of any size, to measure with: no ids, no taste, only the two distributions that decide about speed.
//!
//! A pair is a user and an item, each of a random rank with probability falling as rank^-0.5 for users and rank^-0.8 for
//! items, about as steep as in public data sets. Ranks are dealt out at random, so neighbouring ids are not alike.

use crate::{
    Csr, Error,
    random::{Purpose, Random},
};
use rayon::prelude::*;

const USER_EXPONENT: f64 = 0.5;
const ITEM_EXPONENT: f64 = 0.8;

/// Uses of [`Purpose::Synthetic`] beside those of the built-in data set.
const RANKS: u32 = 100;
const PAIRS: u32 = 101;

/// About `pairs` distinct pairs of `users` users and `items` items: repeated draws collapse.
///
/// # Errors
/// [`Error::Preparation`] where a number is zero.
pub fn scaled(users: u32, items: u32, pairs: usize, seed: u64) -> Result<Csr, Error> {
    if users == 0 || items == 0 || pairs == 0 {
        return Err(Error::Preparation {
            problem: format!("random data of {users} users, {items} items and {pairs} pairs is empty"),
            remedy: "give three numbers of at least 1".into(),
        });
    }
    let random = Random::new(seed, Purpose::Synthetic);
    let dealt = |count: u32, position: u64| {
        let mut ids: Vec<u32> = (0..count).collect();
        random.shuffle(&mut ids, RANKS, position);
        ids
    };
    let (user_ids, item_ids) = (dealt(users, 0), dealt(items, 1));
    // The inverse of the distribution function of a continuous power law.
    let rank = |unit: f64, count: u32, exponent: f64| {
        ((f64::from(count) * unit.powf(1.0 / (1.0 - exponent))) as usize).min(count as usize - 1)
    };
    let draw = |pair: usize| {
        let unit = |draw: u32| random.unit(PAIRS, pair as u64, draw);
        (user_ids[rank(unit(0), users, USER_EXPONENT)], item_ids[rank(unit(1), items, ITEM_EXPONENT)])
    };
    let drawn: Vec<(u32, u32)> = (0..pairs).into_par_iter().map(draw).collect();
    Csr::from_pairs(users as usize, items as usize, &drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_size_asked_for_and_a_head() {
        let csr = scaled(2000, 3000, 50_000, 1).unwrap();
        assert_eq!((csr.rows(), csr.columns()), (2000, 3000));
        assert!((35_000..=50_000).contains(&csr.len()), "{}", csr.len());
        assert_eq!(csr, scaled(2000, 3000, 50_000, 1).unwrap());
        let mut counts = csr.item_counts();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let head: u32 = counts[..300].iter().sum();
        assert!(head as f64 > 0.4 * csr.len() as f64, "the first tenth of the items has {head}");
        assert!(scaled(0, 1, 1, 1).is_err());
    }
}
