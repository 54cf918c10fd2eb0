//! Who and what accuracy comes from: active and less active users, popular and rare items.
//!
//! Users with a test item are ordered by their number of training items, equal ones by id, and cut into four quarters; each
//! quarter has the mean of any per-user metric.
//!
//! Items are ordered by their number of training users, most first, equal ones by id, and cut into groups that hold about
//! the same number of training pairs (five by default: the head of few items first, the tail of many last). A hit at rank
//! r of user u, with L_u test items, adds to the group of its item
//!
//! - 1 / L_u to recall, and
//! - (1 / log2(r + 1)) / (sum over r <= min(k, L_u) of 1 / log2(r + 1)) to NDCG,
//!
//! so that the parts of all groups, averaged over users, sum to R@k and NDCG@k. Recall within a group is hits in it over
//! test pairs in it, all users together.
//!
//! Source: spec section 10 for the metrics. Groups of equal interactions as in SGL (Wu et al., SIGIR 2021, section 4.3.1).

use super::{check_length, check_lists, mean, top};
use crate::Error;
use onebp_data::Csr;
use serde::{Deserialize, Serialize};

/// A quarter of the users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserGroup {
    /// Fewest and most training items of a user of the group.
    pub train: [usize; 2],
    /// Users in it.
    pub users: usize,
    /// Mean of the values of those users who have one.
    pub mean: Option<f64>,
}

/// Cuts `users` (dense ids, as of `PerUser` of onebp-eval) into quarters of activity, the least active first, and averages
/// their `values` `[U]` in each. NaN is a user without a value.
///
/// # Errors
/// [`Error::Analysis`] where lengths or ids do not fit, or there are fewer than four users.
pub fn by_activity(users: &[u32], values: &[f32], train: &Csr) -> Result<Vec<UserGroup>, Error> {
    check_length("values of users", values.len(), users.len())?;
    if let Some(user) = users.iter().find(|user| **user as usize >= train.rows()) {
        let problem = format!("there is no user {user} among {}", train.rows());
        return Err(Error::analysis(problem, "take values and training pairs of one data set"));
    }
    if users.len() < 4 {
        return Err(Error::analysis(format!("{} users make no quarters", users.len()), "take a larger data set"));
    }
    let mut order: Vec<(usize, u32, f32)> =
        users.iter().zip(values).map(|(&user, &value)| (train.row(user).len(), user, value)).collect();
    order.sort_unstable_by_key(|&(length, user, _)| (length, user));
    let group = |quarter: usize| {
        let members = &order[quarter * order.len() / 4..(quarter + 1) * order.len() / 4];
        let values = members.iter().map(|&(_, _, value)| f64::from(value)).filter(|value| !value.is_nan());
        let ends = [members[0].0, members[members.len() - 1].0];
        UserGroup { train: ends, users: members.len(), mean: mean(values) }
    };
    Ok((0..4).map(group).collect())
}

/// A group of items of similar popularity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemGroup {
    /// Fewest and most training users of an item of the group.
    pub train: [u32; 2],
    /// Items in it.
    pub items: usize,
    /// Training pairs of its items.
    pub pairs: u64,
    /// Test pairs of its items.
    pub test: usize,
    /// Share of its items among all listed ones.
    pub listed: f64,
    /// Hits over test pairs of the group, `None` without a test pair.
    pub recall: Option<f64>,
    /// Its part of R@k.
    pub recall_part: f64,
    /// Its part of NDCG@k.
    pub ndcg_part: f64,
}

/// Group of each item, `[N]`, the most popular first: item j of the order above belongs to group floor(G b / T), where b
/// are the pairs of the items before it and T all pairs.
pub fn popularity_groups(counts: &[u32], groups: usize) -> Vec<usize> {
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&item| std::cmp::Reverse(counts[item]));
    let (mut group, mut before) = (vec![0; counts.len()], 0u64);
    for item in order {
        // Items without a pair come last, with `before` = T.
        group[item] = ((before as u128 * groups as u128) / u128::from(total.max(1))).min(groups as u128 - 1) as usize;
        before += u64::from(counts[item]);
    }
    group
}

/// Splits R@k and NDCG@k of `lists` (one for each user, best first) by `groups` groups of items.
///
/// # Errors
/// [`Error::Analysis`] where lengths or ids do not fit, `k` or `groups` is 0, or there is no test pair.
pub fn by_popularity(
    lists: &[Vec<u32>],
    train: &Csr,
    test: &Csr,
    k: usize,
    groups: usize,
) -> Result<Vec<ItemGroup>, Error> {
    check_lists(lists, train)?;
    check_length("users of the test pairs", test.rows(), train.rows())?;
    check_length("items of the test pairs", test.columns(), train.columns())?;
    if k == 0 || groups == 0 || test.is_empty() {
        let problem = format!("{} test pairs, lists of {k} and {groups} groups split nothing", test.len());
        return Err(Error::analysis(problem, "each must be 1 or more"));
    }
    let counts = train.item_counts();
    let group = popularity_groups(&counts, groups);
    let weight = |rank: usize| 1.0 / ((rank + 1) as f64).log2();
    let (mut recall, mut ndcg) = (vec![0.0; groups], vec![0.0; groups]);
    let (mut hits, mut listed, mut tested) = (vec![0usize; groups], vec![0usize; groups], vec![0usize; groups]);
    let mut users = 0;
    for (user, list) in (0u32..).zip(lists) {
        let truth = test.row(user);
        if truth.is_empty() {
            continue;
        }
        users += 1;
        truth.iter().for_each(|&item| tested[group[item as usize]] += 1);
        let ideal: f64 = (1..=k.min(truth.len())).map(weight).sum();
        for (rank, &item) in (1..).zip(top(list, k)) {
            let group = group[item as usize];
            listed[group] += 1;
            if test.contains(user, item) {
                hits[group] += 1;
                recall[group] += 1.0 / truth.len() as f64;
                ndcg[group] += weight(rank) / ideal;
            }
        }
    }
    let all: usize = listed.iter().sum();
    let one = |number: usize| {
        let members = || (0..counts.len()).filter(|&item| group[item] == number).map(|item| counts[item]);
        ItemGroup {
            train: [members().min().unwrap_or(0), members().max().unwrap_or(0)],
            items: members().count(),
            pairs: members().map(u64::from).sum(),
            test: tested[number],
            listed: listed[number] as f64 / all.max(1) as f64,
            recall: (tested[number] > 0).then(|| hits[number] as f64 / tested[number] as f64),
            recall_part: recall[number] / f64::from(users),
            ndcg_part: ndcg[number] / f64::from(users),
        }
    };
    Ok((0..groups).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use onebp_eval::metrics::{Discounts, accuracy};

    #[test]
    fn quarters_by_hand() {
        let train = Csr::from_pairs(6, 5, &[(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2), (3, 0), (5, 4)]).unwrap();
        // Activity 2, 1, 3, 1, 0, 1; user 4 has no value here.
        let found = by_activity(&[0, 1, 2, 3, 5], &[0.5, 0.25, 1.0, f32::NAN, 0.75], &train).unwrap();
        let group = |train, users, mean| UserGroup { train, users, mean };
        assert_eq!(
            found,
            [
                group([1, 1], 1, Some(0.25)),
                group([1, 1], 1, None),
                group([1, 1], 1, Some(0.75)),
                group([2, 3], 2, Some(0.75)),
            ]
        );
        assert!(by_activity(&[0], &[1.0], &train).unwrap_err().to_string().starts_with("1 users make no quarters"));
        assert!(by_activity(&[6], &[1.0], &train).unwrap_err().to_string().starts_with("there is no user 6 among 6"));
        assert!(by_activity(&[0], &[], &train).unwrap_err().to_string().starts_with("values of users: 0 found"));
    }

    #[test]
    fn groups_hold_equal_pairs() {
        assert_eq!(popularity_groups(&[1, 6, 2, 3, 0], 2), [1, 0, 1, 1, 1]);
        assert_eq!(popularity_groups(&[5, 5, 5, 5], 4), [0, 1, 2, 3]);
        assert_eq!(popularity_groups(&[0, 0], 3), [0, 0]);
        let counts: Vec<u32> = (0..1000).map(|item| 1000 / (item + 1)).collect();
        let group = popularity_groups(&counts, 5);
        let pairs = |number| (0..1000).filter(|&item| group[item] == number).map(|item| counts[item]).sum::<u32>();
        assert!((0..5).all(|number| pairs(number) > 900));
    }

    /// The parts sum to what onebp-eval reports.
    #[test]
    fn parts_sum_to_the_whole() {
        let train = Csr::from_pairs(3, 6, &[(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 2)]).unwrap();
        let test = Csr::from_pairs(3, 6, &[(0, 2), (0, 3), (1, 2), (1, 4), (1, 5)]).unwrap();
        let lists = [vec![4, 2, 5, 3], vec![2, 3, 5], vec![1, 3]];
        let k = 3;
        let found = by_popularity(&lists, &train, &test, k, 2).unwrap();
        let whole = |user: u32| {
            let hits: Vec<bool> = lists[user as usize].iter().map(|&item| test.contains(user, item)).collect();
            accuracy(&hits, test.row(user).len(), k, &Discounts::new(k))
        };
        let (a, b) = (whole(0), whole(1));
        let sum = |part: fn(&ItemGroup) -> f64| found.iter().map(part).sum::<f64>();
        assert!((sum(|group| group.recall_part) - (a[1] + b[1]) / 2.0).abs() < 1e-15);
        assert!((sum(|group| group.ndcg_part) - (a[3] + b[3]) / 2.0).abs() < 1e-15);
        assert!((sum(|group| group.listed) - 1.0).abs() < 1e-15);
        // Item 0 holds half of the pairs.
        assert_eq!((found[0].items, found[0].pairs, found[0].train, found[0].recall), (1, 3, [3, 3], None));
        assert_eq!((found[1].items, found[1].test, found[1].recall), (5, 5, Some(3.0 / 5.0)));
        assert!(by_popularity(&lists, &train, &test, 0, 2).is_err());
    }
}
