//! Whether users get what they like most only, or also the rest of what they like: Figures 7 and 8 of the paper.
//!
//! Every item belongs to one type, for instance its cluster. The types of a user u are ranked by the number of training
//! items |Tr_c(u)|, most first, equal ones by number; rank 1 is the majority type, the others are minorities. With Rec(u)
//! the first K recommended items and Te(u) the test items, for each type c:
//!
//! | quantity | value |
//! |---|---|
//! | share | \|Rec_c\| / \|Rec\| |
//! | precision | \|Rec_c and Te_c\| / \|Rec_c\|, 0 where Rec_c is empty |
//! | recall | \|Rec_c and Te_c\| / \|Te_c\|, undefined where Te_c is empty |
//!
//! \|Rec\| is K, unless fewer items than that are left for a user. Over all users the shares and precisions are averaged
//! by rank. Added to the paper's quantities: the entropy of the shares, and the Jensen-Shannon divergence of a user's
//! shares from the types of their training items, which is 0 for a list that keeps to them (calibration).
//!
//! Source: paper, Figures 7 and 8; spec section 12. The paper does not name the user of Figure 7: see [`UserRule`].

use super::shares::{jensen_shannon, normalised, normalised_entropy};
use super::{check_labels, check_length, check_lists, top};
use crate::Error;
use onebp_data::Csr;
use serde::{Deserialize, Serialize};

/// Training and test pairs `[M, N]` and the type of each item.
#[derive(Clone, Copy, Debug)]
pub struct TypedPairs<'a> {
    /// Training pairs.
    pub train: &'a Csr,
    /// Test pairs.
    pub test: &'a Csr,
    /// Type of each item, `[N]`, from 0.
    pub labels: &'a [u32],
    /// Number of types C.
    pub types: usize,
}

impl TypedPairs<'_> {
    fn check(&self) -> Result<(), Error> {
        check_length("users of the test pairs", self.test.rows(), self.train.rows())?;
        check_length("items of the test pairs", self.test.columns(), self.train.columns())?;
        check_labels(self.labels, self.types, self.train.columns())
    }

    fn count(&self, items: &[u32]) -> Vec<u32> {
        let mut counts = vec![0; self.types];
        items.iter().for_each(|&item| counts[self.labels[item as usize] as usize] += 1);
        counts
    }

    /// Types in the order of the user's ranks, `[C]`.
    fn ranked(&self, user: u32) -> Vec<u32> {
        let counts = self.count(self.train.row(user));
        let mut order: Vec<u32> = (0..self.types as u32).collect();
        order.sort_by_key(|&label| std::cmp::Reverse(counts[label as usize]));
        order
    }

    /// Items of each type in the list, and those of them in the test pairs, `[C]` each.
    fn listed(&self, user: u32, list: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let hits: Vec<u32> = list.iter().copied().filter(|&item| self.test.contains(user, item)).collect();
        (self.count(list), self.count(&hits))
    }
}

/// Which user to show: of those who fulfil all conditions, the one with the most test items of minority types; of equal
/// ones the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserRule {
    /// At least so many training items.
    pub train: usize,
    /// At least so many test items.
    pub test: usize,
    /// Share of the majority type in the training items, at least and at most.
    pub majority: [f64; 2],
    /// Test items in at least so many types.
    pub types: usize,
}

impl Default for UserRule {
    fn default() -> Self {
        Self { train: 50, test: 10, majority: [0.5, 0.8], types: 3 }
    }
}

impl UserRule {
    /// The user chosen, `None` where nobody fulfils the conditions.
    ///
    /// # Errors
    /// [`Error::Analysis`] where the lengths differ or a label is not below the number of types.
    pub fn choose(&self, pairs: &TypedPairs) -> Result<Option<u32>, Error> {
        pairs.check()?;
        let mut best: Option<(u32, u32)> = None;
        for user in 0..pairs.train.rows() as u32 {
            let (train, test) = (pairs.train.row(user), pairs.test.row(user));
            if train.len() < self.train.max(1) || test.len() < self.test {
                continue;
            }
            let counts = pairs.count(test);
            let Some(&majority) = pairs.ranked(user).first() else { continue };
            let share = f64::from(pairs.count(train)[majority as usize]) / train.len() as f64;
            let minority = test.len() as u32 - counts[majority as usize];
            let fits = (self.majority[0]..=self.majority[1]).contains(&share)
                && counts.iter().filter(|count| **count > 0).count() >= self.types;
            if fits && best.is_none_or(|(_, most)| minority > most) {
                best = Some((user, minority));
            }
        }
        Ok(best.map(|(user, _)| user))
    }
}

/// One type of one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeOfUser {
    /// The type.
    pub label: u32,
    /// Training items of the type.
    pub train: u32,
    /// Test items of the type.
    pub test: u32,
    /// Recommended items of the type.
    pub recommended: u32,
    /// Recommended items of the type that are test items.
    pub hits: u32,
    /// Share in the list.
    pub share: f64,
    /// Hits per recommended item of the type, 0 without one.
    pub precision: f64,
    /// Hits per test item of the type, `None` without one.
    pub recall: Option<f64>,
}

/// The list of one user, by types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserTypes {
    /// The user (dense id).
    pub user: u32,
    /// Length of the list.
    pub k: usize,
    /// The types, that of rank 1 first.
    pub types: Vec<TypeOfUser>,
}

/// Looks at the first `k` items of the list of one user (Figure 7).
///
/// # Errors
/// [`Error::Analysis`] where lengths or ids do not fit, or there is no such user.
pub fn of_user(pairs: &TypedPairs, user: u32, list: &[u32], k: usize) -> Result<UserTypes, Error> {
    pairs.check()?;
    if user as usize >= pairs.train.rows() {
        let problem = format!("there is no user {user} among {}", pairs.train.rows());
        return Err(Error::analysis(problem, "take the dense id of a user of the data set"));
    }
    if let Some(item) = list.iter().find(|item| **item as usize >= pairs.labels.len()) {
        let problem = format!("the list holds item {item}, and there are {} items", pairs.labels.len());
        return Err(Error::analysis(problem, "take a list of the same data set, without padding"));
    }
    let list = top(list, k);
    let (train, test) = (pairs.count(pairs.train.row(user)), pairs.count(pairs.test.row(user)));
    let (listed, hits) = pairs.listed(user, list);
    let row = |label: u32| {
        let at = label as usize;
        TypeOfUser {
            label,
            train: train[at],
            test: test[at],
            recommended: listed[at],
            hits: hits[at],
            share: f64::from(listed[at]) / list.len().max(1) as f64,
            precision: f64::from(hits[at]) / f64::from(listed[at].max(1)),
            recall: (test[at] > 0).then(|| f64::from(hits[at]) / f64::from(test[at])),
        }
    };
    Ok(UserTypes { user, k, types: pairs.ranked(user).into_iter().map(row).collect() })
}

/// All users' lists at one length, by the rank of the type in the user's training items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeShares {
    /// Length of the lists.
    pub k: usize,
    /// Users with a training item and a list.
    pub users: usize,
    /// Mean share of the type of rank 1, 2, ..., `[C]`; they sum to 1.
    pub share: Vec<f64>,
    /// Mean share of these types in the training items, `[C]`: what a calibrated list would have.
    pub train_share: Vec<f64>,
    /// Those of the users who have a test item.
    pub tested: usize,
    /// Mean precision within the type of rank 1, 2, ..., over the tested users, `[C]`.
    pub precision: Vec<f64>,
    /// Mean of hits within the type divided by the length of the list, over the tested users, `[C]`: parts of P@K.
    pub hits: Vec<f64>,
    /// Normalised entropy of `share`.
    pub entropy: f64,
    /// Mean over users of the normalised entropy of their own shares.
    pub user_entropy: f64,
    /// Mean over users of the Jensen-Shannon divergence of their shares from their training items, in bits.
    pub divergence: f64,
}

/// Looks at the lists of all users (best first, without training items) at each of `cutoffs` (Figure 8: 5, 10, 20, 50,
/// 100). Lists shorter than a cutoff count as they are; users with an empty list or no training item do not count.
///
/// # Errors
/// [`Error::Analysis`] where lengths or ids do not fit, a cutoff is 0, or no user counts.
pub fn of_all(pairs: &TypedPairs, lists: &[Vec<u32>], cutoffs: &[usize]) -> Result<Vec<TypeShares>, Error> {
    pairs.check()?;
    check_lists(lists, pairs.train)?;
    if cutoffs.contains(&0) {
        return Err(Error::analysis("a list of 0 items has no shares", "give cutoffs of 1 or more"));
    }
    let users: Vec<u32> = (0..lists.len() as u32)
        .filter(|&user| !lists[user as usize].is_empty() && !pairs.train.row(user).is_empty())
        .collect();
    if users.is_empty() {
        return Err(Error::analysis("no user has a list and a training item", "rank the users of the training pairs"));
    }
    Ok(cutoffs.iter().map(|&k| at_cutoff(pairs, lists, &users, k)).collect())
}

fn at_cutoff(pairs: &TypedPairs, lists: &[Vec<u32>], users: &[u32], k: usize) -> TypeShares {
    let zero = || vec![0.0; pairs.types];
    let (mut share, mut train_share, mut precision, mut hits) = (zero(), zero(), zero(), zero());
    let (mut user_entropy, mut divergence, mut tested) = (0.0, 0.0, 0usize);
    for &user in users {
        let list = top(&lists[user as usize], k);
        let order = pairs.ranked(user);
        let (listed, found) = pairs.listed(user, list);
        let trained = pairs.count(pairs.train.row(user));
        let by_rank = |counts: &[u32]| order.iter().map(|&label| f64::from(counts[label as usize])).collect::<Vec<_>>();
        let (listed, found, trained) = (by_rank(&listed), by_rank(&found), by_rank(&trained));
        let (Some(own), Some(profile)) = (normalised(&listed), normalised(&trained)) else { continue };
        user_entropy += normalised_entropy(&own);
        divergence += jensen_shannon(&own, &profile);
        let has_test = !pairs.test.row(user).is_empty();
        tested += usize::from(has_test);
        for rank in 0..pairs.types {
            share[rank] += own[rank];
            train_share[rank] += profile[rank];
            if has_test {
                precision[rank] += found[rank] / listed[rank].max(1.0);
                hits[rank] += found[rank] / list.len() as f64;
            }
        }
    }
    let over = |sums: Vec<f64>, count: usize| sums.into_iter().map(|sum| sum / count.max(1) as f64).collect::<Vec<_>>();
    let share = over(share, users.len());
    TypeShares {
        k,
        users: users.len(),
        train_share: over(train_share, users.len()),
        tested,
        precision: over(precision, tested),
        hits: over(hits, tested),
        entropy: normalised_entropy(&share),
        user_entropy: user_entropy / users.len() as f64,
        divergence: divergence / users.len() as f64,
        share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items 0..4 are of type 0, 4..7 of type 1, 7 and 8 of type 2.
    const LABELS: [u32; 9] = [0, 0, 0, 0, 1, 1, 1, 2, 2];

    fn csr(pairs: &[(u32, u32)]) -> Csr {
        Csr::from_pairs(3, 9, pairs).unwrap()
    }

    #[test]
    fn one_user_by_hand() {
        let (train, test) = (csr(&[(0, 4), (0, 5), (0, 0)]), csr(&[(0, 1), (0, 2), (0, 6)]));
        let pairs = TypedPairs { train: &train, test: &test, labels: &LABELS, types: 3 };
        let found = of_user(&pairs, 0, &[6, 1, 3, 7, 2], 4).unwrap();
        let row = |label, train, test, recommended, hits, share, precision, recall| TypeOfUser {
            label,
            train,
            test,
            recommended,
            hits,
            share,
            precision,
            recall,
        };
        assert_eq!(
            found.types,
            [
                row(1, 2, 1, 1, 1, 0.25, 1.0, Some(1.0)),
                row(0, 1, 2, 2, 1, 0.5, 0.5, Some(0.5)),
                row(2, 0, 0, 1, 0, 0.25, 0.0, None),
            ]
        );
        assert!(of_user(&pairs, 3, &[], 4).unwrap_err().to_string().starts_with("there is no user 3 among 3; "));
        assert!(of_user(&pairs, 0, &[9], 4).unwrap_err().to_string().starts_with("the list holds item 9"));
    }

    #[test]
    fn all_users_by_hand() {
        // User 0 as above; user 1 likes type 0 only, has no test item; user 2 has no training item.
        let (train, test) = (csr(&[(0, 4), (0, 5), (0, 0), (1, 0), (1, 1)]), csr(&[(0, 1), (0, 2), (0, 6), (2, 8)]));
        let pairs = TypedPairs { train: &train, test: &test, labels: &LABELS, types: 3 };
        let lists = [vec![6, 1, 3, 7], vec![2, 3], vec![8]];
        let found = of_all(&pairs, &lists, &[1, 4]).unwrap();
        assert_eq!(found[0].share, [1.0, 0.0, 0.0]);
        assert_eq!((found[0].entropy, found[0].user_entropy), (0.0, 0.0));
        let at_4 = &found[1];
        assert_eq!((at_4.users, at_4.tested), (2, 1));
        assert_eq!(at_4.share, [0.625, 0.25, 0.125]);
        assert_eq!(at_4.precision, [1.0, 0.5, 0.0]);
        assert_eq!(at_4.hits, [0.25, 0.25, 0.0]);
        assert_eq!(at_4.train_share, [(2.0 / 3.0 + 1.0) / 2.0, 1.0 / 6.0, 0.0]);
        let divergence = jensen_shannon(&[0.25, 0.5, 0.25], &[2.0 / 3.0, 1.0 / 3.0, 0.0]) / 2.0;
        assert!((at_4.divergence - divergence).abs() < 1e-15);
        assert!((at_4.user_entropy - 1.5 / 3f64.log2() / 2.0).abs() < 1e-15);
        assert!((at_4.entropy - normalised_entropy(&[0.625, 0.25, 0.125])).abs() < 1e-15);
    }

    #[test]
    fn the_user_with_most_minority_tests_is_chosen() {
        let rule = UserRule { train: 3, test: 2, majority: [0.5, 0.8], types: 2 };
        let train = csr(&[(0, 0), (0, 1), (0, 4), (1, 0), (1, 1), (1, 5), (2, 0), (2, 1), (2, 2)]);
        // User 0: one minority test item, user 1: two, user 2: two, but the majority share is 1.
        let test = csr(&[(0, 2), (0, 5), (1, 2), (1, 6), (1, 7), (2, 4), (2, 7)]);
        let pairs = TypedPairs { train: &train, test: &test, labels: &LABELS, types: 3 };
        assert_eq!(rule.choose(&pairs).unwrap(), Some(1));
        assert_eq!(UserRule { majority: [0.9, 1.0], ..rule.clone() }.choose(&pairs).unwrap(), Some(2));
        assert_eq!(UserRule { types: 3, ..rule.clone() }.choose(&pairs).unwrap(), Some(1));
        assert_eq!(UserRule { train: 4, ..rule }.choose(&pairs).unwrap(), None);
        assert_eq!(UserRule::default().choose(&pairs).unwrap(), None);
    }

    #[test]
    fn bad_input_is_refused() {
        let pairs = csr(&[(0, 0)]);
        let typed = TypedPairs { train: &pairs, test: &pairs, labels: &LABELS, types: 2 };
        assert!(typed.check().unwrap_err().to_string().starts_with("item 7 has label 2, and there are 2 types"));
        let typed = TypedPairs { types: 3, ..typed };
        assert!(of_all(&typed, &[vec![], vec![], vec![]], &[1]).unwrap_err().to_string().starts_with("no user has"));
        assert!(of_all(&typed, &[vec![1]], &[1]).unwrap_err().to_string().starts_with("lists: 1 found, 3 expected"));
        assert!(of_all(&typed, &[vec![1], vec![], vec![]], &[0]).unwrap_err().to_string().starts_with("a list of 0"));
    }
}
