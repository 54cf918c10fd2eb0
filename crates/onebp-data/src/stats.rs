//! Numbers that describe a data set.
//!
//! The Gini coefficient of counts x_1 <= ... <= x_N is `2 sum_i i x_i / (N sum_i x_i) - (N + 1) / N`: 0 where all items
//! are equally popular, (N - 1) / N where one item has everything.

use crate::{Csr, Dataset};
use serde::{Deserialize, Serialize};

/// Share of the interactions that the head of the catalogue holds.
const HEAD: f64 = 0.8;

/// Minimum, median, mean and maximum of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Smallest.
    pub min: u32,
    /// Middle one; the mean of the two middle ones where their number is even.
    pub median: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Largest.
    pub max: u32,
}

impl Spread {
    /// Of ascending counts; zeros where there are none.
    fn of(sorted: &[u32]) -> Self {
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else { return Self::default() };
        let middle = sorted.len() / 2;
        let median = (sorted[middle] as f64 + sorted[(sorted.len() - 1) / 2] as f64) / 2.0;
        Self { min, median, mean: total(sorted) / sorted.len() as f64, max }
    }
}

/// What describes a data set. "Pairs" are those of all parts where no part is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Number of users M.
    pub users: usize,
    /// Number of items N.
    pub items: usize,
    /// Training pairs.
    pub train: usize,
    /// Validation pairs.
    pub valid: usize,
    /// Test pairs.
    pub test: usize,
    /// Pairs over M N.
    pub density: f64,
    /// Pairs per user.
    pub per_user: Spread,
    /// Pairs per item.
    pub per_item: Spread,
    /// Gini coefficient of the pairs per item.
    pub item_gini: f64,
    /// Smallest share of the catalogue that holds 80 % of the pairs.
    pub head_share: f64,
    /// Users without a training pair.
    pub users_without_train: usize,
    /// Users without a test pair.
    pub users_without_test: usize,
    /// Users with every item in train, for whom nothing is left to rank.
    pub users_with_all_items: usize,
    /// Items without a training pair.
    pub items_without_train: usize,
    /// Test pairs whose item has no training pair.
    pub cold_test_pairs: usize,
}

impl Statistics {
    /// Counts `dataset`.
    pub fn of(dataset: &Dataset) -> Self {
        let (users, items) = (dataset.users.len(), dataset.items.len());
        let parts: Vec<&Csr> =
            [Some(&dataset.train), dataset.valid.as_ref(), Some(&dataset.test)].into_iter().flatten().collect();
        let pairs: usize = parts.iter().map(|part| part.len()).sum();
        let train_users = row_lengths(&dataset.train);
        let train_items = dataset.train.item_counts();
        let per_user = sorted_sum(&parts, users, row_lengths);
        let per_item = sorted_sum(&parts, items, Csr::item_counts);
        let count = |counts: &[u32], wanted: usize| counts.iter().filter(|&&count| count as usize == wanted).count();
        Self {
            users,
            items,
            train: dataset.train.len(),
            valid: dataset.valid.as_ref().map_or(0, Csr::len),
            test: dataset.test.len(),
            density: pairs as f64 / (users as f64 * items as f64).max(1.0),
            per_user: Spread::of(&per_user),
            per_item: Spread::of(&per_item),
            item_gini: gini(&per_item),
            head_share: head_share(&per_item),
            users_without_train: count(&train_users, 0),
            users_without_test: count(&row_lengths(&dataset.test), 0),
            users_with_all_items: count(&train_users, items),
            items_without_train: count(&train_items, 0),
            cold_test_pairs: dataset.test.pairs().filter(|&(_, item)| train_items[item as usize] == 0).count(),
        }
    }
}

fn row_lengths(csr: &Csr) -> Vec<u32> {
    (0..csr.rows() as u32).map(|user| csr.row(user).len() as u32).collect()
}

fn sorted_sum(parts: &[&Csr], length: usize, counts: impl Fn(&Csr) -> Vec<u32>) -> Vec<u32> {
    let mut sum = vec![0; length];
    for part in parts {
        sum.iter_mut().zip(counts(part)).for_each(|(sum, count)| *sum += count);
    }
    sum.sort_unstable();
    sum
}

fn total(counts: &[u32]) -> f64 {
    counts.iter().map(|&count| count as f64).sum()
}

fn gini(sorted: &[u32]) -> f64 {
    let (n, total) = (sorted.len() as f64, total(sorted));
    if total == 0.0 {
        return 0.0;
    }
    let weighted: f64 = sorted.iter().enumerate().map(|(at, &count)| (at + 1) as f64 * count as f64).sum();
    2.0 * weighted / (n * total) - (n + 1.0) / n
}

fn head_share(sorted: &[u32]) -> f64 {
    let wanted = HEAD * total(sorted);
    let mut held = 0.0;
    let head = sorted.iter().rev().take_while(|&&count| {
        let more = held < wanted;
        held += count as f64;
        more
    });
    head.count() as f64 / sorted.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IdMap;

    #[test]
    fn extremes_of_gini_and_head() {
        assert_eq!(gini(&[3, 3, 3, 3]), 0.0);
        assert_eq!(gini(&[0, 0, 0, 7]), 0.75);
        assert_eq!(gini(&[]), 0.0);
        assert_eq!(head_share(&[1; 10]), 0.8);
        assert_eq!(head_share(&[0, 0, 0, 7]), 0.25);
    }

    #[test]
    fn a_small_data_set_by_hand() {
        let csr = |pairs: &[(u32, u32)]| Csr::from_pairs(4, 3, pairs).unwrap();
        let ids = |n: usize| IdMap::new((0..n).map(|id| id.to_string()).collect());
        let dataset = Dataset {
            name: String::new(),
            split: String::new(),
            users: ids(4),
            items: ids(3),
            train: csr(&[(0, 0), (0, 1), (1, 0)]),
            valid: Some(csr(&[(1, 1)])),
            test: csr(&[(0, 2), (2, 0)]),
            warnings: Vec::new(),
        };
        let statistics = Statistics::of(&dataset);
        let expected = Statistics {
            users: 4,
            items: 3,
            train: 3,
            valid: 1,
            test: 2,
            density: 0.5,
            per_user: Spread { min: 0, median: 1.5, mean: 1.5, max: 3 },
            per_item: Spread { min: 1, median: 2.0, mean: 2.0, max: 3 },
            item_gini: 2.0 * 14.0 / 18.0 - 4.0 / 3.0,
            head_share: 2.0 / 3.0,
            users_without_train: 2,
            users_without_test: 2,
            users_with_all_items: 0,
            items_without_train: 1,
            cold_test_pairs: 1,
        };
        assert_eq!(statistics, expected);
    }
}
