//! Full-ranking evaluation: every user's best items of the whole catalogue against their held-out items.
//!
//! One pass over blocks of users ranks the longest list once, from which every cutoff is read, and counts for AUC while the
//! scores are in cache. The metrics, and which users each averages over, are defined in [`crate::metrics`]. Where somebody
//! else ranked, as a GPU does without handing out scores, [`measure`] makes the same report from lists and counts.
//!
//! Values of single users are summed in f64 in ascending order of the users after the pass, and counts are integers, so
//! neither threads nor block size can change a bit of the report.

use crate::auc::{Auc, auc};
use crate::blocks::{Needs, Pass, Piece, Visitor};
use crate::metrics::{ACCURACY, Discounts, accuracy, coverage, gini, mean_popularity};
use crate::selection::Selection;
use crate::{Error, PerUser, Report, Scorer};
use onebp_data::Csr;
use rayon::prelude::*;

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// List lengths k, ascending. Default 5, 10, 20.
    pub cutoffs: Vec<usize>,
    /// Coverage, Gini and ARP, over the lists of **all** users, so those without truth items are ranked too. Default
    /// true.
    pub beyond_accuracy: bool,
    /// AUC, over all candidates. Default true.
    pub auc: bool,
    /// Keep the values of single users: 4 bytes a user and metric. Default false.
    pub per_user: bool,
    /// Users scored together; no result depends on it. Default `None`: a number that suits the number of users and threads,
    /// at most 1024 and 32 MiB of lists a thread.
    pub block: Option<usize>,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { cutoffs: vec![5, 10, 20], beyond_accuracy: true, auc: true, per_user: false, block: None }
    }
}

impl Evaluation {
    /// The users who are ranked, ascending: those with an item in `truth`, or everybody.
    pub fn users(&self, truth: &Csr) -> Vec<u32> {
        (0..truth.rows() as u32).filter(|&user| self.beyond_accuracy || !truth.row(user).is_empty()).collect()
    }

    /// Length of the lists that the cutoffs need from a catalogue of `items`: the largest one, or the catalogue.
    pub fn longest(&self, items: usize) -> usize {
        self.cutoffs.iter().fold(0, |longest, &k| longest.max(k)).min(items)
    }
}

/// Measures the ranking of all items not in `seen` `[M, N]` against `truth` `[M, N]`, on the threads of the current rayon
/// pool. `train_counts` `[N]` are the training users of each item, for ARP.
///
/// For a test after validation, `seen` is train and validation together; for validation it is train alone.
///
/// A report holds every metric asked for, but no `AUC` where no user has both a truth item and another candidate. Memory:
/// 8 bytes a user and metric, and for each thread 4 bytes an item and cutoff and one block of users: 40 bytes for each
/// user and rank of the longest list, 4 for each truth item, and what the scorer needs, for estimates as well.
///
/// # Errors
/// [`Error::Cutoffs`], [`Error::Shape`] where a shape above does not hold, [`Error::NoTruth`], [`Error::TruthIsSeen`]
/// where a pair is in `truth` and in `seen`, and [`Error::NotFinite`] for the first score that cannot be ranked.
pub fn evaluate(
    scorer: &dyn Scorer,
    seen: &Csr,
    truth: &Csr,
    train_counts: &[u32],
    options: &Evaluation,
) -> Result<Report, Error> {
    let pass = Pass { scorer, seen, users: &[], block: options.block };
    pass.check()?;
    let measure = Measure::new(seen, truth, train_counts, options)?;
    let users = options.users(truth);
    let mut values = measure.blank(users.len());
    let scored = Scored { scorer, measure: &measure };
    let threads = Pass { users: &users, ..pass }.run(&scored, &mut values, measure.layout.width())?;
    Ok(measure.report(&users, &values, &threads, options.per_user))
}

/// Measures what somebody else ranked as [`evaluate`] measures what it ranks itself: the same lists and counts give bitwise
/// the same report.
///
/// `items` are the best items of each of [`Evaluation::users`] that are not seen, best first, `[U, k]` with k =
/// [`Evaluation::longest`]; `u32::MAX` beyond a user's candidates. `lost` is for each of these users the sum over truth items
/// of the candidates that score above one plus those that do not score below it, itself among them, `[U]`; without AUC it is
/// not looked at.
///
/// # Errors
/// As [`evaluate`], but for [`Error::NotFinite`]; and [`Error::UnknownItem`] for an item that is not of the catalogue.
pub fn measure(
    items: &[u32],
    lost: &[u64],
    seen: &Csr,
    truth: &Csr,
    train_counts: &[u32],
    options: &Evaluation,
) -> Result<Report, Error> {
    let measure = Measure::new(seen, truth, train_counts, options)?;
    let users = options.users(truth);
    let (k, n) = (measure.longest, seen.columns());
    shape("items of the lists", users.len() * k, items.len())?;
    if options.auc {
        shape("losses of the users", users.len(), lost.len())?;
    }
    let width = measure.layout.width();
    let mut values = measure.blank(users.len());
    // One piece for each thread.
    let piece = users.len().div_ceil(rayon::current_num_threads()).max(1);
    let work = |(at, (users, values)): (usize, (&[u32], &mut [f64]))| {
        let mut thread = measure.thread();
        for ((at, &user), values) in (at * piece..).zip(users).zip(values.chunks_exact_mut(width)) {
            let list = items[at * k..(at + 1) * k].iter().copied().take_while(|&item| item != u32::MAX);
            thread.list.clear();
            thread.list.extend(list);
            if let Some(&item) = thread.list.iter().find(|&&item| item as usize >= n) {
                return Err(Error::UnknownItem { item, items: n });
            }
            measure.user(&mut thread, user, lost.get(at).copied().unwrap_or(0), values)?;
        }
        Ok(thread)
    };
    let pieces = users.par_chunks(piece).zip(values.par_chunks_mut(piece * width)).enumerate();
    // The first error in the order of the users.
    let threads: Vec<Result<Thread, Error>> = pieces.map(work).collect();
    let threads = threads.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(measure.report(&users, &values, &threads, options.per_user))
}

fn shape(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Shape { what, expected, found }) }
}

/// The measurement of one user after another, however they were ranked.
struct Measure<'a> {
    seen: &'a Csr,
    truth: &'a Csr,
    train_counts: &'a [u32],
    cutoffs: &'a [usize],
    /// Length of the lists.
    longest: usize,
    discounts: Discounts,
    layout: Layout,
}

/// What one thread carries from user to user.
struct Thread {
    list: Vec<u32>,
    hits: Vec<bool>,
    /// How many lists hold each item, `[cutoffs, N]`; empty where no metric asks for it.
    listed: Vec<u32>,
}

impl<'a> Measure<'a> {
    fn new(seen: &'a Csr, truth: &'a Csr, train_counts: &'a [u32], options: &'a Evaluation) -> Result<Self, Error> {
        let cutoffs = &options.cutoffs;
        if cutoffs.first().is_none_or(|&k| k == 0) || !cutoffs.is_sorted_by(|a, b| a < b) {
            return Err(Error::Cutoffs { cutoffs: cutoffs.clone() });
        }
        shape("users of the truth", seen.rows(), truth.rows())?;
        shape("catalogue of the truth", seen.columns(), truth.columns())?;
        shape("training counts", seen.columns(), train_counts.len())?;
        if truth.is_empty() {
            return Err(Error::NoTruth);
        }
        let longest = options.longest(seen.columns());
        let (discounts, layout) = (Discounts::new(longest), Layout::new(options));
        Ok(Self { seen, truth, train_counts, cutoffs, longest, discounts, layout })
    }

    /// Values of `users` users, `[users, layout.width()]`. NaN marks a metric that does not exist for a user, which the
    /// means leave out.
    fn blank(&self, users: usize) -> Vec<f64> {
        vec![f64::NAN; users * self.layout.width()]
    }

    fn thread(&self) -> Thread {
        let listed = vec![0; self.layout.popularity * self.seen.columns()];
        Thread { list: Vec::with_capacity(self.longest), hits: Vec::with_capacity(self.longest), listed }
    }

    /// Writes the `values` of `user`, whose list is that of the thread, and counts what is listed.
    fn user(&self, thread: &mut Thread, user: u32, lost: u64, values: &mut [f64]) -> Result<(), Error> {
        let Thread { list, hits, listed } = thread;
        let (truth, seen) = (self.truth.row(user), self.seen.row(user));
        if let Some(&item) = truth.iter().find(|item| seen.binary_search(item).is_ok()) {
            return Err(Error::TruthIsSeen { user, item });
        }
        let (of_accuracy, values) = values.split_at_mut(self.layout.accuracy);
        let (of_auc, of_popularity) = values.split_at_mut(self.layout.auc);
        if !truth.is_empty() {
            hits.clear();
            hits.extend(list.iter().map(|item| truth.binary_search(item).is_ok()));
            for (place, &k) in of_accuracy.chunks_exact_mut(ACCURACY.len()).zip(self.cutoffs) {
                place.copy_from_slice(&accuracy(hits, truth.len(), k, &self.discounts));
            }
        }
        let items = self.train_counts.len();
        of_auc.fill(auc(truth.len(), items - seen.len(), lost).unwrap_or(f64::NAN));
        for ((place, listed), &k) in of_popularity.iter_mut().zip(listed.chunks_exact_mut(items)).zip(self.cutoffs) {
            let list = &list[..k.min(list.len())];
            *place = mean_popularity(list, self.train_counts).unwrap_or(f64::NAN);
            list.iter().for_each(|&item| listed[item as usize] += 1);
        }
        Ok(())
    }

    /// The report of `users` with these values, from what the threads have counted.
    fn report(&self, users: &[u32], values: &[f64], threads: &[Thread], keep: bool) -> Report {
        let (layout, items) = (&self.layout, self.seen.columns());
        let mut listed = vec![0u32; layout.popularity * items];
        for thread in threads {
            listed.iter_mut().zip(&thread.listed).for_each(|(total, count)| *total += count);
        }
        let with_truth = |&(_, user): &(usize, u32)| !self.truth.row(user).is_empty();
        Report {
            values: averages(self.cutoffs, layout, values, &mut listed, items),
            per_user: keep.then(|| {
                let kept: Vec<(usize, u32)> = users.iter().copied().enumerate().filter(with_truth).collect();
                per_user(self.cutoffs, layout, values, &kept)
            }),
        }
    }
}

/// Truth items of a user, on average, up to which AUC is worth estimates: with more, comparing takes longer than products.
/// (Measured on Zen 4: with 7, Gowalla, it takes .8 of the time at d 64, with 33, ML-1M, 1.1 at d 64 to 512.)
const TRUTH_TO_SCREEN: f64 = 16.0;

/// A measurement of what the scores of a scorer rank.
struct Scored<'a> {
    scorer: &'a dyn Scorer,
    measure: &'a Measure<'a>,
}

impl Visitor for Scored<'_> {
    type Thread = Thread;
    type Row = (Selection, Auc);
    type Value = f64;

    fn row_bytes(&self) -> usize {
        Selection::bytes(self.measure.longest)
    }

    fn needs(&self) -> Option<Needs> {
        let Measure { truth, layout, longest, .. } = self.measure;
        let users = (0..truth.rows() as u32).filter(|&user| !truth.row(user).is_empty()).count();
        let compared = if layout.auc == 0 { 0.0 } else { truth.len() as f64 / users as f64 };
        (compared <= TRUTH_TO_SCREEN).then_some(Needs { kept: *longest, compared })
    }

    fn thread(&self) -> Thread {
        self.measure.thread()
    }

    fn row(&self) -> Self::Row {
        (Selection::new(self.measure.longest), Auc::default())
    }

    fn start(&self, (selection, auc): &mut Self::Row, user: u32) {
        selection.clear();
        if self.measure.layout.auc > 0 {
            let truth = self.measure.truth.row(user);
            auc.start(truth.len(), |scores| self.scorer.pairs(user, truth, scores));
        }
    }

    fn read(&self, (selection, auc): &mut Self::Row, piece: Piece<'_>) {
        selection.read(piece, self.scorer);
        auc.read(piece, self.scorer);
    }

    fn finish(
        &self,
        thread: &mut Thread,
        (selection, auc): &mut Self::Row,
        user: u32,
        values: &mut [f64],
    ) -> Result<(), Error> {
        thread.list.clear();
        thread.list.extend(selection.best(self.scorer, user).map(|(item, _)| item));
        self.measure.user(thread, user, auc.lost(self.scorer, user), values)
    }
}

/// The named averages of a report, from the values of users `[users, layout.width()]` and `listed` `[cutoffs, N]`.
fn averages(
    cutoffs: &[usize],
    layout: &Layout,
    values: &[f64],
    listed: &mut [u32],
    items: usize,
) -> Vec<(String, f64)> {
    let means = means(values, layout.width());
    let mut named = Vec::new();
    for (at, k) in cutoffs.iter().enumerate() {
        let of_accuracy = &means[at * ACCURACY.len()..][..ACCURACY.len()];
        named.extend(ACCURACY.iter().zip(of_accuracy).map(|(name, &mean)| (format!("{name}@{k}"), mean)));
        if layout.popularity > 0 {
            let listed = &mut listed[at * items..][..items];
            named.push((format!("coverage@{k}"), coverage(listed)));
            named.push((format!("Gini@{k}"), gini(listed)));
            named.push((format!("ARP@{k}"), means[layout.accuracy + layout.auc + at]));
        }
    }
    let of_auc = &means[layout.accuracy..][..layout.auc];
    named.extend(of_auc.iter().filter(|mean| !mean.is_nan()).map(|&mean| ("AUC".to_string(), mean)));
    named
}

/// Accuracy and AUC of the users `kept`, each with their row of `values` `[users, layout.width()]`.
fn per_user(cutoffs: &[usize], layout: &Layout, values: &[f64], kept: &[(usize, u32)]) -> PerUser {
    let column = |at: usize| kept.iter().map(|&(row, _)| values[row * layout.width() + at] as f32).collect();
    let names = cutoffs.iter().flat_map(|k| ACCURACY.iter().map(move |name| format!("{name}@{k}")));
    let names = names.chain((layout.auc > 0).then(|| "AUC".to_string()));
    PerUser {
        users: kept.iter().map(|&(_, user)| user).collect(),
        values: names.enumerate().map(|(at, name)| (name, column(at))).collect(),
    }
}

/// The columns of one user's values, in this order.
struct Layout {
    /// [`ACCURACY`] for each cutoff.
    accuracy: usize,
    /// 1 where AUC is measured.
    auc: usize,
    /// ARP for each cutoff, where it is measured.
    popularity: usize,
}

impl Layout {
    fn new(options: &Evaluation) -> Self {
        Self {
            accuracy: options.cutoffs.len() * ACCURACY.len(),
            auc: usize::from(options.auc),
            popularity: if options.beyond_accuracy { options.cutoffs.len() } else { 0 },
        }
    }

    fn width(&self) -> usize {
        self.accuracy + self.auc + self.popularity
    }
}

/// The mean of each column of `values` `[users, width]` over the users that have one; NaN where none has.
fn means(values: &[f64], width: usize) -> Vec<f64> {
    let mut sums = vec![(0.0, 0u64); width];
    for row in values.chunks_exact(width) {
        for ((sum, count), &value) in sums.iter_mut().zip(row).filter(|(_, value)| !value.is_nan()) {
            *sum += value;
            *count += 1;
        }
    }
    sums.into_iter().map(|(sum, count)| sum / count as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::EXCLUDED;
    use crate::testing::{Scores, Vague, full_sort, table};
    use crate::{BestProduct, DotProduct, Popularity, rank};
    use proptest::prelude::*;
    use std::sync::atomic::AtomicUsize;

    fn csr(rows: usize, columns: usize, pairs: &[(u32, u32)]) -> Csr {
        Csr::from_pairs(rows, columns, pairs).unwrap()
    }

    fn at(k: usize) -> Evaluation {
        Evaluation { cutoffs: vec![k], ..Evaluation::default() }
    }

    /// Two users, four items; user 0 has seen item 3. Lists at 2: (0, 1) and (3, 2).
    #[test]
    fn by_hand() {
        let scorer = Scores { table: vec![3.0, 2.0, 1.0, 9.0, 0.0, 1.0, 2.0, 3.0], items: 4 };
        let (seen, truth) = (csr(2, 4, &[(0, 3)]), csr(2, 4, &[(0, 1), (1, 0), (1, 3)]));
        let report = evaluate(&scorer, &seen, &truth, &[6, 4, 2, 0], &at(2)).unwrap();
        let discount = 1.0 / 3f64.log2();
        let expected = [
            ("P@2", 0.5),
            ("R@2", (1.0 + 0.5) / 2.0),
            ("F1@2", (2.0 / 3.0 + 0.5) / 2.0),
            ("NDCG@2", (discount + 1.0 / (1.0 + discount)) / 2.0),
            ("HR@2", 1.0),
            ("MRR@2", 0.75),
            ("MAP@2", (0.5 + 0.5) / 2.0),
            ("coverage@2", 1.0),
            ("Gini@2", 0.0),
            ("ARP@2", (5.0 + 1.0) / 2.0),
            ("AUC", (0.5 + 0.5) / 2.0),
        ];
        assert_eq!(report.iter().count(), expected.len());
        for ((name, value), (expected_name, expected)) in report.iter().zip(expected) {
            assert_eq!(name, expected_name);
            assert!((value - expected).abs() < 1e-15, "{name} {value} {expected}");
        }
        assert_eq!(report.per_user, None);
    }

    #[test]
    fn names_come_in_order() {
        let truth = csr(1, 4, &[(0, 1)]);
        let report = evaluate(&Popularity::new(1, &[1; 4]), &csr(1, 4, &[]), &truth, &[1; 4], &Evaluation::default());
        let names = "P@5 R@5 F1@5 NDCG@5 HR@5 MRR@5 MAP@5 coverage@5 Gini@5 ARP@5 P@10 R@10 F1@10 NDCG@10 HR@10 MRR@10 \
                     MAP@10 coverage@10 Gini@10 ARP@10 P@20 R@20 F1@20 NDCG@20 HR@20 MRR@20 MAP@20 coverage@20 \
                     Gini@20 ARP@20 AUC";
        assert!(report.unwrap().iter().map(|(name, _)| name).eq(names.split_whitespace()));
    }

    /// T39: P = (1/4, 1/4), R = (1, 1/4): the mean of F1 is not the harmonic mean of the means.
    #[test]
    fn f1_is_the_mean_over_users() {
        let truth = csr(2, 8, &[(0, 0), (1, 0), (1, 5), (1, 6), (1, 7)]);
        let scorer = Popularity::new(2, &[8, 7, 6, 5, 4, 3, 2, 1]);
        let report = evaluate(&scorer, &csr(2, 8, &[]), &truth, &[1; 8], &at(4)).unwrap();
        let [p, r, f1] = ["P@4", "R@4", "F1@4"].map(|name| report.get(name).unwrap());
        assert_eq!([p, r], [0.25, 0.625]);
        assert!((f1 - (0.4 + 0.25) / 2.0).abs() < 1e-15);
        assert!((f1 - 2.0 * p * r / (p + r)).abs() > 0.02);
    }

    /// T35: Users without truth change no mean over users with truth, but their lists count for coverage and the like.
    #[test]
    fn users_without_truth() {
        let scores = table(3, 9, 5);
        let mut with_more = scores.clone();
        with_more.extend(table(2, 9, 6));
        let truth = [(0, 1), (0, 7), (2, 3)];
        let counts = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let options = Evaluation { cutoffs: vec![3, 30], per_user: true, ..Evaluation::default() };
        let few = Scores { table: scores, items: 9 };
        let more = Scores { table: with_more, items: 9 };
        let few = evaluate(&few, &csr(3, 9, &[]), &csr(3, 9, &truth), &counts, &options).unwrap();
        let lists = evaluate(&more, &csr(5, 9, &[]), &csr(5, 9, &truth), &counts, &options).unwrap();
        for (name, value) in few.iter() {
            let of_lists = ["coverage", "Gini", "ARP"].iter().any(|prefix| name.starts_with(prefix));
            assert!(of_lists || lists.get(name) == Some(value), "{name}");
        }
        assert_ne!(few.get("ARP@3"), lists.get("ARP@3"));
        assert_eq!(few.per_user, lists.per_user);
        assert_eq!(few.per_user.as_ref().unwrap().users, [0, 2]);

        let accuracy_only = Evaluation { beyond_accuracy: false, ..options };
        let without = evaluate(&more, &csr(5, 9, &[]), &csr(5, 9, &truth), &counts, &accuracy_only).unwrap();
        assert!(without.iter().all(|(name, value)| few.get(name) == Some(value)));
        assert_eq!(without.iter().count(), 15);
        assert_eq!(without.per_user, few.per_user);
    }

    /// T35: A user who has seen everything has no list; a user whose candidates are all truth has no AUC.
    #[test]
    fn users_with_few_candidates() {
        let seen = csr(2, 3, &[(0, 0), (0, 1), (0, 2), (1, 0)]);
        let truth = csr(2, 3, &[(1, 1), (1, 2)]);
        let options = Evaluation { cutoffs: vec![1, 5], per_user: true, ..Evaluation::default() };
        let report = evaluate(&Popularity::new(2, &[5, 3, 1]), &seen, &truth, &[5, 3, 1], &options).unwrap();
        assert_eq!(report.get("AUC"), None);
        assert!(report.per_user.as_ref().unwrap().get("AUC").unwrap()[0].is_nan());
        let values = ["P@5", "R@5", "NDCG@5", "MAP@5", "ARP@1", "ARP@5"].map(|name| report.get(name).unwrap());
        assert_eq!(values, [0.4, 1.0, 1.0, 1.0, 3.0, 2.0]);
        let [one, all] = ["coverage@1", "coverage@5"].map(|name| report.get(name).unwrap());
        assert_eq!((one, all), (1.0 / 3.0, 2.0 / 3.0));
        // Only item 1 is listed: (N - 1) / N.
        assert!((report.get("Gini@1").unwrap() - 2.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn what_makes_no_report_is_refused() {
        let scorer = Popularity::new(2, &[5, 3, 1]);
        let (none, truth) = (csr(2, 3, &[]), csr(2, 3, &[(1, 2)]));
        let run = |seen, truth, counts: &[u32], options| evaluate(&scorer, seen, truth, counts, &options);
        for cutoffs in [vec![], vec![0, 5], vec![5, 5], vec![10, 5]] {
            let options = Evaluation { cutoffs: cutoffs.clone(), ..Evaluation::default() };
            assert_eq!(run(&none, &truth, &[1; 3], options), Err(Error::Cutoffs { cutoffs }));
        }
        assert_eq!(run(&none, &none, &[1; 3], at(5)), Err(Error::NoTruth));
        assert_eq!(run(&truth, &truth, &[1; 3], at(5)), Err(Error::TruthIsSeen { user: 1, item: 2 }));
        let wide = csr(2, 4, &[(0, 3)]);
        assert!(matches!(run(&none, &wide, &[1; 3], at(5)), Err(Error::Shape { expected: 3, found: 4, .. })));
        assert!(matches!(run(&wide, &truth, &[1; 3], at(5)), Err(Error::Shape { expected: 3, found: 4, .. })));
        assert!(matches!(run(&none, &truth, &[1; 2], at(5)), Err(Error::Shape { expected: 3, found: 2, .. })));
        let tall = csr(3, 3, &[(2, 2)]);
        assert!(matches!(run(&none, &tall, &[1; 3], at(5)), Err(Error::Shape { expected: 2, found: 3, .. })));
        let diverged = Scores { table: vec![0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0], items: 3 };
        let error = evaluate(&diverged, &none, &truth, &[1; 3], &at(5)).unwrap_err();
        assert!(matches!(error, Error::NotFinite { user: 1, item: 1, .. }), "{error}");
    }

    /// Lists and counts of somebody else give the report bit by bit, for any number of threads.
    #[test]
    fn lists_give_the_same_report() {
        let (m, n) = (41, 30);
        let scores: Vec<f32> = table(m, n, 8).iter().map(|score| (score * 3.0).round()).collect();
        let pair =
            |stride: u32| (0..m as u32).flat_map(move |u| (0..u % 9).map(move |i| (u, (u + i * stride) % n as u32)));
        let seen = csr(m, n, &pair(7).collect::<Vec<_>>());
        let truth: Vec<_> = pair(11).filter(|&(user, item)| !seen.contains(user, item)).collect();
        let (truth, counts) = (csr(m, n, &truth), seen.item_counts());
        for (beyond_accuracy, auc, most) in [(true, true, 20), (true, false, 50), (false, true, 3)] {
            let cutoffs = vec![1, most];
            let options = Evaluation { cutoffs, beyond_accuracy, auc, per_user: true, ..Evaluation::default() };
            let (mut items, mut lost) = (vec![], vec![]);
            for user in options.users(&truth) {
                let mut row = scores[user as usize * n..][..n].to_vec();
                seen.row(user).iter().for_each(|&item| row[item as usize] = EXCLUDED);
                let mut list = full_sort(&row, most);
                list.resize(options.longest(n), u32::MAX);
                items.extend(list);
                let count = |own: f32| -> u64 { row.iter().map(|&s| u64::from(s > own) + u64::from(s >= own)).sum() };
                lost.push(truth.row(user).iter().map(|&item| count(row[item as usize])).sum::<u64>());
            }
            let expected = evaluate(&Scores { table: scores.clone(), items: n }, &seen, &truth, &counts, &options);
            let bits = |report: Report| {
                let means: Vec<_> = report.iter().map(|(name, value)| (name.to_string(), value.to_bits())).collect();
                let per_user = report.per_user.unwrap();
                let values: Vec<u32> = per_user.iter().flat_map(|(_, values)| values).map(|x| x.to_bits()).collect();
                (means, per_user.users, values)
            };
            let expected = bits(expected.unwrap());
            for threads in 1..4 {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let found = pool.install(|| measure(&items, &lost, &seen, &truth, &counts, &options)).unwrap();
                assert!(bits(found) == expected, "{threads} threads, cutoff {most}");
            }

            let refused =
                |items: &[u32], lost: &[u64]| measure(items, lost, &seen, &truth, &counts, &options).unwrap_err();
            assert!(matches!(refused(&items[1..], &lost), Error::Shape { .. }));
            let mut strange = items.clone();
            strange[0] = n as u32;
            assert_eq!(refused(&strange, &lost), Error::UnknownItem { item: n as u32, items: n });
            if auc {
                assert!(matches!(refused(&items, &lost[1..]), Error::Shape { .. }));
            }
        }
    }

    /// T36: The report bit by bit, for any number of threads and any block size.
    #[test]
    fn block_size_and_threads_leave_no_trace() {
        let (m, n, dim) = (61, 307, 70);
        let (users, items) = (table(m, dim, 1), table(n, dim, 2));
        let scorer = DotProduct::new(&users, &items, dim).unwrap();
        let pairs = |stride: u32, every: u32| -> Vec<(u32, u32)> {
            let row = |u: u32| (0..u % every * 2).map(move |i| (u, (u + i * stride) % n as u32));
            (0..m as u32).flat_map(row).collect()
        };
        let seen = csr(m, n, &pairs(7, 20));
        let truth: Vec<_> = pairs(11, 5).into_iter().filter(|&(user, item)| !seen.contains(user, item)).collect();
        let (truth, counts) = (csr(m, n, &truth), seen.item_counts());
        let run = |block| {
            let options = Evaluation { per_user: true, block, ..Evaluation::default() };
            let report = evaluate(&scorer, &seen, &truth, &counts, &options).unwrap();
            let means: Vec<u64> = report.iter().map(|(_, value)| value.to_bits()).collect();
            let per_user = report.per_user.unwrap();
            let values: Vec<u32> =
                per_user.iter().flat_map(|(_, values)| values).map(|value| value.to_bits()).collect();
            (means, values)
        };
        let first = run(None);
        for threads in 1..4 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for block in [None, Some(1), Some(2), Some(16), Some(17), Some(61), Some(500)] {
                assert!(pool.install(|| run(block)) == first, "{threads} threads, {block:?}");
            }
        }
    }

    /// Reports and lists are those of the scores, bit by bit, whatever the estimates are and however wide their margins; and
    /// most of the scores are not asked for.
    #[test]
    fn estimates_leave_no_trace() {
        let (m, n, dim) = (130, 2000, 24);
        let (users, items) = (table(m, dim, 3), table(n, dim, 4));
        let product = DotProduct::new(&users, &items, dim).unwrap();
        let coarse = Scores { table: table(m, n, 5).iter().map(|score| (score * 20.0).round()).collect(), items: n };
        let pair = |stride: u32, count: u32| -> Vec<(u32, u32)> {
            (0..m as u32).flat_map(|u| (0..u % count).map(move |i| (u, (u * 13 + i * stride) % n as u32))).collect()
        };
        let seen = csr(m, n, &pair(7, 90));
        let truth: Vec<_> = pair(11, 31).into_iter().filter(|&(user, item)| !seen.contains(user, item)).collect();
        let (truth, counts) = (csr(m, n, &truth), seen.item_counts());
        let everybody: Vec<u32> = (0..m as u32).collect();
        for auc in [true, false] {
            let options = Evaluation { auc, per_user: true, ..Evaluation::default() };
            let run = |scorer: &dyn Scorer| {
                let report = evaluate(scorer, &seen, &truth, &counts, &options).unwrap();
                let values: Vec<u64> = report.iter().map(|(_, value)| value.to_bits()).collect();
                let per_user = report.per_user.unwrap();
                let per_user = per_user.iter().flat_map(|(_, values)| values).map(|value| value.to_bits());
                (values, per_user.collect::<Vec<u32>>(), rank(scorer, &seen, &everybody, 30, None).unwrap())
            };
            let vague = |scorer, radius, refused| Vague {
                scorer,
                radius,
                refused,
                pairs: AtomicUsize::new(0),
                rows: AtomicUsize::new(0),
            };
            for (scorer, ties) in [(&product as &dyn Scorer, false), (&coarse, true)] {
                // Refused, estimates are scores.
                let scores = vague(scorer, 0.0, 0);
                let expected = run(&scores);
                assert_eq!(scores.rows.into_inner(), 2 * m);
                for radius in [0.0, 0.01, 3.0] {
                    let scorer = vague(scorer, radius, u32::MAX);
                    assert!(run(&scorer) == expected, "radius {radius}, AUC {auc}");
                    assert_eq!(scorer.rows.into_inner(), 0);
                    assert!(ties || radius > 0.01 || scorer.pairs.into_inner() < m * n / 10);
                }
                // Some blocks have estimates, others have none.
                assert!(run(&vague(scorer, 0.1, 60)) == expected);
            }
            // As this processor estimates products, if it does.
            assert!(run(&product) == run(&vague(&product, 0.0, 0)));
            let several = table(m, 3 * dim, 6);
            let several = BestProduct::new(&several, &items, dim, 3).unwrap();
            assert!(run(&several) == run(&vague(&several, 0.0, 0)));
        }
    }

    proptest! {
        /// Sort everything, then read the metrics off the lists, one user and one cutoff at a time.
        #[test]
        fn equals_the_slow_way(
            labels in prop::collection::vec(0u8..5, 24..120),
            levels in 1i32..30,
            seed in 0u64..1000,
            k in 1usize..15,
        ) {
            let n = 12;
            let m = labels.len() / n;
            let scores: Vec<f32> = table(m, n, seed).iter().map(|s| (s * levels as f32).round()).collect();
            let with = |label: u8| -> Vec<(u32, u32)> {
                let cells = labels[..m * n].iter().enumerate().filter(|cell| *cell.1 == label);
                cells.map(|(at, _)| ((at / n) as u32, (at % n) as u32)).collect()
            };
            let (seen, truth) = (csr(m, n, &with(0)), csr(m, n, &with(1)));
            prop_assume!(!truth.is_empty());
            let counts = seen.item_counts();
            let (mut precision, mut ndcg, mut popularity, mut listed) = (vec![], vec![], vec![], vec![0u32; n]);
            for user in 0..m as u32 {
                let mut row = scores[user as usize * n..][..n].to_vec();
                seen.row(user).iter().for_each(|&item| row[item as usize] = EXCLUDED);
                let list = full_sort(&row, k);
                list.iter().for_each(|&item| listed[item as usize] += 1);
                popularity.extend(mean_popularity(&list, &counts));
                if !truth.row(user).is_empty() {
                    let gain = |r: usize| 1.0 / (r as f64 + 2.0).log2();
                    let hits = (0..list.len()).filter(|&r| truth.contains(user, list[r]));
                    precision.push(hits.clone().count() as f64 / k as f64);
                    ndcg.push(hits.map(gain).sum::<f64>() / (0..k.min(truth.row(user).len())).map(gain).sum::<f64>());
                }
            }
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let report = evaluate(&Scores { table: scores, items: n }, &seen, &truth, &counts, &at(k)).unwrap();
            for (name, expected) in [
                ("P", mean(&precision)),
                ("NDCG", mean(&ndcg)),
                ("ARP", mean(&popularity)),
                ("coverage", coverage(&listed)),
                ("Gini", gini(&mut listed)),
            ] {
                let found = report.get(&format!("{name}@{k}")).unwrap();
                prop_assert!((found - expected).abs() < 1e-12, "{} {} {}", name, found, expected);
            }
        }
    }
}
