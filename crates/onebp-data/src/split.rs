//! Which interactions are held out for test and validation.
//!
//! The rules by user take a uniform random part of every user's items: the items, sorted by id, are shuffled with numbers
//! that depend on seed and user alone, and the first ones go. A user keeps at least one training item, so a user with
//! one item has none held out. Held-out counts follow the files of the paper's authors: `round(0.2 n_u)` holds for every
//! user of their ML-100K and ML-1M, `n_u - floor(0.8 n_u) - 1` for every user of their Gowalla and Yelp2018.

use crate::random::{Purpose, Random};
use crate::{Csr, Error};
use serde::{Deserialize, Serialize};

/// Rule by which interactions go to test. `n_u` is the number of distinct items of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitRule {
    /// `ratio`: `round(ratio n_u)` random items of every user.
    #[default]
    Ratio,
    /// `floor-minus-one`: `n_u - floor((1 - ratio) n_u) - 1` random items of every user.
    #[serde(rename = "floor-minus-one")]
    RatioFloorMinusOne,
    /// `leave-one-out`: one item of every user with two or more, the latest where there are times (of equally late ones
    /// the last row of the file), else a random one.
    LeaveOneOut,
    /// `time`: the latest `round(ratio n)` of all n interactions, whoever they belong to; among equal times the last rows
    /// of the file, since logs are written in order. Needs times.
    Time,
}

impl SplitRule {
    /// All rules.
    pub const ALL: [SplitRule; 4] = [Self::Ratio, Self::RatioFloorMinusOne, Self::LeaveOneOut, Self::Time];

    /// The name in options and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ratio => "ratio",
            Self::RatioFloorMinusOne => "floor-minus-one",
            Self::LeaveOneOut => "leave-one-out",
            Self::Time => "time",
        }
    }
}

impl std::fmt::Display for SplitRule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

impl std::str::FromStr for SplitRule {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|rule| rule.name() == name).ok_or_else(|| Error::UnknownName {
            kind: "split",
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// A ratio in millionths, so that counts are exact: in floating point `0.7 * 10` may come out below 7.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio(u64);

impl Ratio {
    const ONE: u64 = 1_000_000;

    /// # Errors
    /// [`Error::Preparation`] where the rounded ratio is not above 0 and below 1.
    pub(crate) fn new(ratio: f64, option: &str) -> Result<Self, Error> {
        let millionths = (ratio * Self::ONE as f64).round();
        if millionths >= 1.0 && millionths < Self::ONE as f64 {
            return Ok(Self(millionths as u64));
        }
        let remedy = "choose a ratio above 0 and below 1, such as 0.2";
        Err(Error::preparation(format!("{option} is {ratio}"), remedy))
    }

    /// `round(ratio n)`, halves upwards.
    fn rounded(self, n: usize) -> usize {
        ((2 * self.0 * n as u64 + Self::ONE) / (2 * Self::ONE)) as usize
    }

    /// `n - floor((1 - ratio) n) - 1`, at least 0.
    fn floor_minus_one(self, n: usize) -> usize {
        let kept = ((Self::ONE - self.0) * n as u64 / Self::ONE) as usize;
        n.saturating_sub(kept + 1)
    }
}

/// A distinct pair with what the rules by time look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) user: u32,
    pub(crate) item: u32,
    pub(crate) time: Option<i64>,
    pub(crate) row: usize,
}

/// Pairs in the order train, test.
pub(crate) type Parts = (Vec<(u32, u32)>, Vec<(u32, u32)>);

/// Splits `events`, which are sorted by (user, item).
///
/// # Errors
/// [`Error::Preparation`] where the rule needs times and there are none.
pub(crate) fn split(events: &[Event], rule: SplitRule, ratio: Ratio, seed: u64) -> Result<Parts, Error> {
    let timed = events.iter().all(|event| event.time.is_some());
    match rule {
        SplitRule::Ratio => Ok(by_user(events, Random::new(seed, Purpose::Split), |n| ratio.rounded(n))),
        SplitRule::RatioFloorMinusOne => {
            Ok(by_user(events, Random::new(seed, Purpose::Split), |n| ratio.floor_minus_one(n)))
        }
        SplitRule::LeaveOneOut if timed => Ok(latest_of_user(events)),
        SplitRule::LeaveOneOut => Ok(by_user(events, Random::new(seed, Purpose::Split), |_| 1)),
        SplitRule::Time if timed => Ok(latest_of_all(events, ratio)),
        SplitRule::Time => Err(Error::preparation(
            "the split by time needs times, and the data have none",
            "name the column with `time-column`, or split by `ratio` or `leave-one-out`",
        )),
    }
}

/// Moves `round(ratio |Tr(u)|)` random items of every user `u` to validation: at least one where the user has five or
/// more, never the last one.
///
/// Returns the reduced train and the validation part, both of the shape of `train`. Other seeds give other parts; the
/// numbers are independent of those that split train from test.
///
/// # Errors
/// [`Error::Preparation`] where `ratio` is not between 0 and 1.
pub fn hold_out_validation(train: &Csr, ratio: f64, seed: u64) -> Result<(Csr, Csr), Error> {
    const SURE_FROM: usize = 5;
    let ratio = Ratio::new(ratio, "the validation ratio")?;
    let events: Vec<Event> = train.pairs().map(|(user, item)| Event { user, item, time: None, row: 0 }).collect();
    let count = |n| ratio.rounded(n).max(usize::from(n >= SURE_FROM));
    let (kept, held_out) = by_user(&events, Random::new(seed, Purpose::Validation), count);
    let csr = |pairs: &[(u32, u32)]| Csr::from_pairs(train.rows(), train.columns(), pairs);
    Ok((csr(&kept)?, csr(&held_out)?))
}

/// Takes `count(n_u)` random items from every user, but not the last one.
fn by_user(events: &[Event], random: Random, count: impl Fn(usize) -> usize) -> Parts {
    let (mut kept, mut held_out) = (Vec::with_capacity(events.len()), Vec::new());
    for of_user in events.chunk_by(|a, b| a.user == b.user) {
        let user = of_user[0].user;
        let mut items: Vec<u32> = of_user.iter().map(|event| event.item).collect();
        random.shuffle(&mut items, 0, user as u64);
        let count = count(items.len()).min(items.len() - 1);
        held_out.extend(items[..count].iter().map(|&item| (user, item)));
        kept.extend(items[count..].iter().map(|&item| (user, item)));
    }
    (kept, held_out)
}

fn latest_of_user(events: &[Event]) -> Parts {
    let (mut kept, mut held_out) = (Vec::with_capacity(events.len()), Vec::new());
    for of_user in events.chunk_by(|a, b| a.user == b.user) {
        let latest = of_user.iter().max_by_key(|event| (event.time, event.row)).filter(|_| of_user.len() > 1);
        for event in of_user {
            let part = if Some(event) == latest { &mut held_out } else { &mut kept };
            part.push((event.user, event.item));
        }
    }
    (kept, held_out)
}

fn latest_of_all(events: &[Event], ratio: Ratio) -> Parts {
    let mut events = events.to_vec();
    events.sort_unstable_by_key(|event| (event.time, event.row));
    let (kept, held_out) = events.split_at(events.len() - ratio.rounded(events.len()));
    let pairs = |events: &[Event]| events.iter().map(|event| (event.user, event.item)).collect();
    (pairs(kept), pairs(held_out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn events(rows: &[(u32, u32, Option<i64>)]) -> Vec<Event> {
        let mut events: Vec<Event> =
            rows.iter().enumerate().map(|(row, &(user, item, time))| Event { user, item, time, row }).collect();
        events.sort_by_key(|event| (event.user, event.item));
        events
    }

    fn ratio(ratio: f64) -> Ratio {
        Ratio::new(ratio, "the test ratio").unwrap()
    }

    #[test]
    fn counts_are_exact() {
        for n in 1..2000 {
            assert_eq!(ratio(0.2).rounded(n), (2 * n + 5) / 10);
            assert_eq!(ratio(0.2).floor_minus_one(n), n - 4 * n / 5 - 1);
            assert_eq!(ratio(0.3).floor_minus_one(n), n - 7 * n / 10 - 1);
        }
        assert_eq!(ratio(0.5).rounded(5), 3);
    }

    #[test]
    fn ratios_out_of_range_are_refused() {
        for wrong in [0.0, 1.0, -0.1, 1.5, f64::NAN, 1e-9] {
            let message = Ratio::new(wrong, "the test ratio").unwrap_err().to_string();
            assert_eq!(message, format!("the test ratio is {wrong}; choose a ratio above 0 and below 1, such as 0.2"));
        }
    }

    #[test]
    fn latest_goes_and_equal_times_follow_the_file() {
        let events = events(&[(0, 3, Some(9)), (0, 1, Some(9)), (0, 2, Some(1)), (1, 1, Some(5))]);
        let (kept, held_out) = split(&events, SplitRule::LeaveOneOut, ratio(0.2), 1).unwrap();
        assert_eq!((kept, held_out), (vec![(0, 2), (0, 3), (1, 1)], vec![(0, 1)]));
        let (kept, held_out) = split(&events, SplitRule::Time, ratio(0.25), 1).unwrap();
        assert_eq!((kept, held_out), (vec![(0, 2), (1, 1), (0, 3)], vec![(0, 1)]));
    }

    #[test]
    fn a_split_by_time_needs_times() {
        let message = split(&events(&[(0, 1, None)]), SplitRule::Time, ratio(0.2), 1).unwrap_err().to_string();
        assert!(message.starts_with("the split by time needs times, and the data have none; name the column"));
    }

    #[test]
    fn names_of_rules() {
        for rule in SplitRule::ALL {
            assert_eq!(rule.to_string().parse::<SplitRule>().unwrap(), rule);
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{rule}\""));
        }
        assert!(
            "random".parse::<SplitRule>().unwrap_err().to_string().starts_with("there is no split `random`; there are")
        );
    }

    fn pairs() -> impl Strategy<Value = BTreeSet<(u32, u32)>> {
        prop::collection::btree_set((0u32..8, 0u32..30), 1..120)
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_complete_and_of_the_right_size(pairs in pairs(), rule in 0usize..4, seed: u64) {
            let rule = SplitRule::ALL[rule];
            let rows: Vec<_> = pairs.iter().map(|&(u, i)| (u, i, Some((i as i64 * 7 + u as i64) % 11))).collect();
            let (kept, held_out) = split(&events(&rows), rule, ratio(0.2), seed).unwrap();
            prop_assert_eq!(kept.len() + held_out.len(), pairs.len());
            prop_assert_eq!(kept.iter().chain(&held_out).copied().collect::<BTreeSet<_>>(), pairs.clone());
            if rule == SplitRule::Time {
                prop_assert_eq!(held_out.len(), ratio(0.2).rounded(pairs.len()));
                return Ok(());
            }
            for user in 0..8 {
                let of = |part: &[(u32, u32)]| part.iter().filter(|pair| pair.0 == user).count();
                let n = of(&kept) + of(&held_out);
                let expected = match rule {
                    SplitRule::RatioFloorMinusOne => ratio(0.2).floor_minus_one(n),
                    SplitRule::Ratio => ratio(0.2).rounded(n),
                    _ => 1,
                };
                prop_assert_eq!(of(&held_out), expected.min(n.saturating_sub(1)));
            }
        }

        #[test]
        fn validation_is_cut_from_train(pairs in pairs(), seed: u64) {
            let pairs: Vec<_> = pairs.into_iter().collect();
            let all = Csr::from_pairs(8, 30, &pairs).unwrap();
            let (train, valid) = hold_out_validation(&all, 0.1, seed).unwrap();
            prop_assert_eq!(train.union(&valid).unwrap(), all.clone());
            prop_assert_eq!(train.len() + valid.len(), all.len());
            for user in 0..8 {
                let n = all.row(user).len();
                let expected = ((2 * n + 10) / 20).max(usize::from(n >= 5)).min(n.saturating_sub(1));
                prop_assert_eq!(valid.row(user).len(), expected);
            }
            prop_assert_eq!(hold_out_validation(&all, 0.1, seed).unwrap(), (train, valid));
        }
    }
}
