//! The metrics of one user's list, and of all lists together.
//!
//! Candidates of user u are all N items but the seen ones, ordered by score descending, then item id ascending. With
//! h_r = 1 where the item at rank r (from 1) is one of the L truth items of u, and H = h_1 + ... + h_k:
//!
//! | metric | value for one user |
//! |---|---|
//! | P@k | H / k, also where the list is shorter than k |
//! | R@k | H / L |
//! | F1@k | 2H / (L + k) |
//! | NDCG@k | sum_{r<=k} h_r / log2(r + 1), divided by the same sum of an ideal list, sum_{r<=min(k,L)} 1 / log2(r + 1) |
//! | HR@k | 1 where H > 0, else 0 |
//! | MRR@k | 1 / rank of the first hit, 0 where H = 0 |
//! | MAP@k | sum_{r<=k} h_r H_r / r, divided by min(k, L); others divide by H or by L |
//! | AUC | share of the pairs (truth item, other candidate) in which the truth item scores higher; a tie counts half |
//! | ARP@k | mean number of training users of the items in the list |
//!
//! A report gives the **mean over users** of these values; F1 therefore is not the harmonic mean of the reported P and R.
//! P to MAP average over the users with L > 0, AUC over those who also have a candidate outside the truth, ARP over all
//! users with a list. Two metrics look at the lists of all users at once, with c_j = lists that hold item j:
//!
//! | metric | value |
//! |---|---|
//! | coverage@k | items with c_j > 0, divided by N |
//! | Gini@k | with c ascending, sum_r (2r - N - 1) c_r / (N sum c): 0 for equal counts, (N - 1) / N for a single item |
//!
//! Sources: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002 (NDCG, binary gains);
//! Hanley and McNeil, Radiology 1982 (AUC by ranks); Fleder and Hosanagar, Management Science 2009 (Gini of
//! recommendations); Yin et al., "Challenging the long tail recommendation", VLDB 2012 (average recommendation
//! popularity).

/// Names of the values of [`accuracy`], in its order.
pub const ACCURACY: [&str; 7] = ["P", "R", "F1", "NDCG", "HR", "MRR", "MAP"];

/// The weights 1 / log2(r + 1) of NDCG and their running sums.
#[derive(Clone, Debug)]
pub struct Discounts {
    /// Weight of rank r at r - 1.
    weight: Vec<f64>,
    /// Sum of the first n weights at n.
    ideal: Vec<f64>,
}

impl Discounts {
    /// For lists of up to `length` items.
    pub fn new(length: usize) -> Self {
        let weight: Vec<f64> = (0..length).map(|r| 1.0 / ((r + 2) as f64).log2()).collect();
        let mut sum = 0.0;
        let mut ideal = vec![sum];
        for weight in &weight {
            sum += weight;
            ideal.push(sum);
        }
        Self { weight, ideal }
    }
}

/// P, R, F1, NDCG, HR, MRR and MAP at cutoff `k` for one user, in the order of [`ACCURACY`].
///
/// `hits` says of each item of the list, best first, whether it is in the truth; only the first `k` count. `relevant` is
/// the number of truth items, at least 1; `k` at least 1; `discounts` covers `min(k, N)` ranks.
pub fn accuracy(hits: &[bool], relevant: usize, k: usize, discounts: &Discounts) -> [f64; 7] {
    let (mut found, mut gain, mut first, mut precisions) = (0usize, 0.0, 0.0, 0.0);
    for (index, _) in hits.iter().take(k).enumerate().filter(|(_, hit)| **hit) {
        let rank = (index + 1) as f64;
        found += 1;
        gain += discounts.weight[index];
        precisions += found as f64 / rank;
        if found == 1 {
            first = 1.0 / rank;
        }
    }
    let (h, l) = (found as f64, relevant as f64);
    let attainable = relevant.min(k);
    [
        h / k as f64,
        h / l,
        2.0 * h / (l + k as f64),
        gain / discounts.ideal[attainable],
        if found > 0 { 1.0 } else { 0.0 },
        first,
        precisions / attainable as f64,
    ]
}

/// Mean training count of the items of a list, `None` where it is empty.
pub fn mean_popularity(list: &[u32], train_counts: &[u32]) -> Option<f64> {
    let total: u64 = list.iter().map(|&item| u64::from(train_counts[item as usize])).sum();
    if list.is_empty() { None } else { Some(total as f64 / list.len() as f64) }
}

/// Share of the catalogue that is in at least one list. `counts` `[N]`: lists that hold each item; N at least 1.
pub fn coverage(counts: &[u32]) -> f64 {
    counts.iter().filter(|&&count| count > 0).count() as f64 / counts.len() as f64
}

/// Gini coefficient of how often items are listed, over the whole catalogue. `counts` `[N]` are sorted here; at least one
/// must be positive.
pub fn gini(counts: &mut [u32]) -> f64 {
    counts.sort_unstable();
    let n = counts.len() as i128;
    // Exact: integers up to the division.
    let weighted: i128 = counts.iter().zip(1..).map(|(&count, rank)| (2 * rank - n - 1) * i128::from(count)).sum();
    let total: i128 = counts.iter().map(|&count| i128::from(count)).sum();
    weighted as f64 / (n * total) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definitions of the table above, read off one after another.
    fn obvious(hits: &[bool], relevant: usize, k: usize) -> [f64; 7] {
        let h = |r: usize| if hits.get(r - 1) == Some(&true) { 1.0 } else { 0.0 };
        let found = |r: usize| (1..=r).map(h).sum::<f64>();
        let (kf, l) = (k as f64, relevant as f64);
        let (p, r) = (found(k) / kf, found(k) / l);
        let dcg: f64 = (1..=k).map(|r| h(r) / (r as f64 + 1.0).log2()).sum();
        let ideal: f64 = (1..=k.min(relevant)).map(|r| 1.0 / (r as f64 + 1.0).log2()).sum();
        let first = (1..=k).find(|&r| h(r) == 1.0);
        let ap: f64 = (1..=k).map(|r| h(r) * found(r) / r as f64).sum();
        [
            p,
            r,
            if p + r == 0.0 { 0.0 } else { 2.0 * p * r / (p + r) },
            dcg / ideal,
            found(k).min(1.0),
            first.map_or(0.0, |r| 1.0 / r as f64),
            ap / kf.min(l),
        ]
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    /// T33: Truth {a, c}, list (a, b, c).
    #[test]
    fn by_hand() {
        let values = accuracy(&[true, false, true], 2, 3, &Discounts::new(3));
        let ndcg = 1.5 / (1.0 + 1.0 / 3f64.log2());
        for (found, expected) in values.into_iter().zip([2.0 / 3.0, 1.0, 0.8, ndcg, 1.0, 1.0, 5.0 / 6.0]) {
            assert!(close(found, expected), "{found} {expected}");
        }
        assert!((ndcg - 0.9197).abs() < 5e-5);
    }

    /// T34.
    #[test]
    fn an_ideal_list_has_ndcg_one_exactly() {
        for relevant in 1..40 {
            let hits: Vec<bool> = (0..30).map(|r| r < relevant).collect();
            for k in 1..=30 {
                let [.., ndcg, hit, first, average] = accuracy(&hits, relevant, k, &Discounts::new(30));
                assert_eq!([ndcg, hit, first, average], [1.0; 4]);
            }
        }
    }

    /// Two candidates only, one of them the truth: the denominator of P stays k.
    #[test]
    fn a_list_shorter_than_the_cutoff() {
        let values = accuracy(&[false, true], 1, 20, &Discounts::new(2));
        let expected = [0.05, 1.0, 2.0 / 21.0, 1.0 / 3f64.log2(), 1.0, 0.5, 0.5];
        assert!(values.into_iter().zip(expected).all(|(found, expected)| close(found, expected)));
        assert_eq!(accuracy(&[], 3, 5, &Discounts::new(5)), [0.0; 7]);
    }

    /// T37.
    #[test]
    fn gini_and_coverage_by_hand() {
        assert_eq!(gini(&mut [1, 4, 0, 1]), 0.5);
        assert_eq!(gini(&mut [3; 7]), 0.0);
        assert_eq!(gini(&mut [0, 0, 9, 0, 0]), 0.8);
        assert_eq!(gini(&mut [u32::MAX, 0]), 0.5);
        assert_eq!(coverage(&[1, 4, 0, 1]), 0.75);
    }

    #[test]
    fn popularity_of_a_list() {
        assert_eq!(mean_popularity(&[2, 0], &[5, 1, 2]), Some(3.5));
        assert_eq!(mean_popularity(&[], &[5, 1, 2]), None);
    }

    proptest! {
        #[test]
        fn equals_the_definitions(hits in prop::collection::vec(any::<bool>(), 0..30), more in 0usize..5, k in 1usize..40) {
            let relevant = (hits.iter().filter(|hit| **hit).count() + more).max(1);
            let length = hits.len().max(relevant).max(k);
            let found = accuracy(&hits, relevant, k, &Discounts::new(length));
            for (found, expected) in found.into_iter().zip(obvious(&hits, relevant, k)) {
                prop_assert!(close(found, expected), "{} {}", found, expected);
            }
        }

        #[test]
        fn gini_equals_the_mean_difference(mut counts in prop::collection::vec(0u32..20, 1..30)) {
            counts[0] += 1;
            let n = counts.len() as f64;
            let mean = counts.iter().sum::<u32>() as f64 / n;
            let differences: f64 =
                counts.iter().flat_map(|&a| counts.iter().map(move |&b| f64::from(a.abs_diff(b)))).sum();
            prop_assert!(close(gini(&mut counts.clone()), differences / (2.0 * n * n * mean)));
        }
    }
}
