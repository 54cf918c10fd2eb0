//! A built-in data set, to try everything without a download.
//!
//! Items have a type and a popularity, users an activity and a taste: one majority type, a few minority types, and a
//! little interest in everything. A user draws their items without replacement, an item with probability proportional to
//!
//! `taste(user, type of item) popularity(item)`,
//!
//! so popularity alone explains much and taste explains more. Popularity follows a Zipf-Mandelbrot law over a random order
//! of the items, activity a log-normal law cut at both ends; with the defaults size and spread are about those of
//! MovieLens 100K.
//!
//! Drawing without replacement: every item gets the key `-ln(U) / weight`, and the smallest keys win (Efraimidis and
//! Spirakis, "Weighted random sampling with a reservoir", 2006).

use crate::Interactions;
use crate::interactions::in_id_order;
use crate::random::{Purpose, Random};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Size and shape of the synthetic data set. Numbers that make no sense are moved to the nearest that do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// Number of users. Default 1000.
    pub users: u32,
    /// Number of items, of which rare ones may end up without an interaction. Default 1700.
    pub items: u32,
    /// Number of item types, about equally large. Default 12.
    pub types: u32,
    /// Minority types of a user. Default 3.
    pub minorities: u32,
    /// Weight of a user's majority type. Default 0.6.
    pub majority_share: f64,
    /// Weight of all of a user's minority types together. Default 0.3; what is left to 1 goes to all types alike.
    pub minority_share: f64,
    /// Exponent of the law of popularity: 0 makes all items equal. Default 3.
    pub popularity_exponent: f64,
    /// Median number of items of a user. Default 65.
    pub median_activity: f64,
    /// Standard deviation of the logarithm of that number. Default 1.
    pub activity_spread: f64,
    /// Smallest number of items of a user. Default 20; the largest is 40 % of all items.
    pub min_activity: u32,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self {
            users: 1000,
            items: 1700,
            types: 12,
            minorities: 3,
            majority_share: 0.6,
            minority_share: 0.3,
            popularity_exponent: 3.0,
            median_activity: 65.0,
            activity_spread: 1.0,
            min_activity: 20,
        }
    }
}

/// What the numbers of [`Purpose::Synthetic`] are for; the `epoch` of the generator keeps them apart.
const ORDER: u32 = 0;
const TYPE: u32 = 1;
const ACTIVITY: u32 = 2;
const TASTE: u32 = 3;
const CHOICE: u32 = 4;

/// Ranks by which the law of popularity is flattened at its head, as a share of the items.
const FLAT_HEAD: f64 = 0.1;

/// Most items of a user, as a share of the items.
const MAX_ACTIVITY: f64 = 0.4;

/// Generates interactions without ratings and times; the same `config` and `seed` give the same ones.
///
/// Raw item ids name the planted type, such as `t03-0042` for item 42 of type 3; users are `u0001` and so on.
pub fn synthetic(config: &SyntheticConfig, seed: u64) -> Interactions {
    let random = Random::new(seed, Purpose::Synthetic);
    let (items, types) = (config.items.max(1), config.types.max(1));
    let popularity = popularity(config, &random);
    let types_of_items: Vec<u32> =
        (0..items).map(|item| random.below(types as u64, TYPE, item as u64, 0) as u32).collect();
    let choices: Vec<Vec<u32>> = (0..config.users.max(1))
        .into_par_iter()
        .map(|user| {
            let taste = taste(config, &random, user);
            let key = |item: u32| {
                let weight = taste[types_of_items[item as usize] as usize] * popularity[item as usize];
                // 1 - U is in (0, 1], so the logarithm is finite; no weight, no chance.
                -(1.0 - random.unit(CHOICE, user as u64, item)).ln() / weight
            };
            let mut keys: Vec<(f64, u32)> = (0..items).map(|item| (key(item), item)).collect();
            let count = activity(config, &random, user).min(keys.len());
            keys.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            keys[..count].iter().map(|&(_, item)| item).collect()
        })
        .collect();

    let name_user = |user: usize| format!("u{:04}", user + 1);
    let name_item = |item: u32| format!("t{:02}-{item:04}", types_of_items[item as usize]);
    let user_names: Vec<String> = (0..choices.len()).map(name_user).collect();
    let mut drawn: Vec<u32> = choices.iter().flatten().copied().collect();
    drawn.sort_unstable();
    drawn.dedup();
    let item_names: Vec<String> = drawn.iter().map(|&item| name_item(item)).collect();
    let users = in_id_order(user_names.iter().map(String::as_str).collect());
    let items = in_id_order(item_names.iter().map(String::as_str).collect());
    let mut dense = vec![0; types_of_items.len()];
    for (&item, name) in drawn.iter().zip(&item_names) {
        dense[item as usize] = items.dense(name).unwrap_or(0);
    }
    let mut interactions = Interactions { users, items, ..Interactions::default() };
    for (name, chosen) in user_names.iter().zip(&choices) {
        let user = interactions.users.dense(name).unwrap_or(0);
        interactions.user.extend(std::iter::repeat_n(user, chosen.len()));
        interactions.item.extend(chosen.iter().map(|&item| dense[item as usize]));
    }
    interactions
}

/// `(rank + flat head)^-exponent` with ranks in random order, `[items]`.
fn popularity(config: &SyntheticConfig, random: &Random) -> Vec<f64> {
    let mut ranks: Vec<u32> = (0..config.items.max(1)).collect();
    random.shuffle(&mut ranks, ORDER, 0);
    let offset = 1.0 + FLAT_HEAD * ranks.len() as f64;
    let exponent = config.popularity_exponent.max(0.0);
    ranks.into_iter().map(|rank| (rank as f64 + offset).powf(-exponent)).collect()
}

/// Weight of every type for `user`, `[types]`.
fn taste(config: &SyntheticConfig, random: &Random, user: u32) -> Vec<f64> {
    let types = config.types.max(1) as usize;
    let mut order: Vec<usize> = (0..types).collect();
    random.shuffle(&mut order, TASTE, user as u64);
    let majority = config.majority_share.clamp(0.0, 1.0);
    let minority = config.minority_share.clamp(0.0, 1.0 - majority);
    let minorities = (config.minorities as usize).min(types - 1);
    let mut taste = vec![(1.0 - majority - minority) / types as f64; types];
    taste[order[0]] += majority;
    order[1..=minorities].iter().for_each(|&of| taste[of] += minority / minorities as f64);
    taste
}

/// Number of items of `user`.
fn activity(config: &SyntheticConfig, random: &Random, user: u32) -> usize {
    let (normal, _) = random.normal_pair(ACTIVITY, user as u64, 0);
    let most = MAX_ACTIVITY * config.items as f64;
    let count = config.median_activity * (config.activity_spread * normal).exp();
    count.min(most).max(config.min_activity as f64).max(1.0).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Preparation, Statistics, prepare};

    fn type_of(raw: &str) -> &str {
        raw.split_once('-').unwrap().0
    }

    #[test]
    fn size_and_spread_are_those_of_a_small_real_data_set() {
        let interactions = synthetic(&SyntheticConfig::default(), 1);
        let dataset = prepare(&interactions, "synthetic", &Preparation::default()).unwrap();
        let statistics = Statistics::of(&dataset);
        assert_eq!(statistics.users, 1000);
        assert!((1500..=1700).contains(&statistics.items), "{statistics:?}");
        assert!((85_000..125_000).contains(&interactions.len()), "{statistics:?}");
        assert!((0.45..0.75).contains(&statistics.item_gini), "{statistics:?}");
        assert!(statistics.per_user.min >= 20 && statistics.per_user.max > 400, "{statistics:?}");
        assert_eq!(statistics.users_without_test, 0);
        assert!(dataset.warnings.is_empty(), "{:?}", dataset.warnings);
    }

    #[test]
    fn seeds_and_nothing_else_decide() {
        let config = SyntheticConfig { users: 50, items: 200, ..Default::default() };
        assert_eq!(synthetic(&config, 3), synthetic(&config, 3));
        assert_ne!(synthetic(&config, 3).item, synthetic(&config, 4).item);
    }

    #[test]
    fn users_prefer_their_types() {
        let interactions =
            synthetic(&SyntheticConfig { median_activity: 30.0, activity_spread: 0.0, ..Default::default() }, 5);
        let mut majority = 0;
        for chosen in interactions.item.chunks(30) {
            let mut counts = std::collections::HashMap::new();
            chosen.iter().for_each(|&item| *counts.entry(type_of(interactions.items.raw(item))).or_insert(0) += 1);
            majority += counts.values().max().unwrap();
        }
        let share = majority as f64 / interactions.len() as f64;
        assert!((0.4..0.7).contains(&share), "{share}");
    }

    #[test]
    fn odd_configurations_are_harmless() {
        let one = SyntheticConfig { users: 0, items: 0, types: 0, ..Default::default() };
        assert_eq!(synthetic(&one, 1).len(), 1);
        let odd = SyntheticConfig {
            users: 3,
            items: 30,
            types: 1,
            majority_share: 2.0,
            minority_share: -1.0,
            ..Default::default()
        };
        assert!(synthetic(&odd, 1).len() >= 60);
    }
}
