//! Whether model A is better than model B, user by user.
//!
//! With d_u = a_u - b_u over n users, two tests that share no assumption:
//!
//! - **Paired bootstrap.** Users are drawn n at a time with replacement, R times; the interval is the middle 95 % of the R
//!   means of d, and p = 2 min(share of means <= 0, share of means >= 0), where each share counts one resample more than
//!   there were, so that p is never 0. It speaks of the mean difference, the figure that a table prints.
//! - **Wilcoxon signed-rank.** Users with d = 0 are left out; the others are ranked by |d|, equal ones with their mean rank.
//!   Equal means equal to 1e-6: values come as f32, where 0.10 - 0.05 and 0.05 - 0.00 are not the same.
//!   W+ is the sum of ranks with d > 0. For n' users left, W+ has mean n'(n'+1)/4 and variance
//!   n'(n'+1)(2n'+1)/24 - sum over groups of t equal |d| of (t^3 - t)/48; z = (W+ - mean) / sqrt(variance) is taken as
//!   standard normal, without correction for continuity, and p is two-sided. The normal approximation is good from about
//!   n' = 20.
//!
//! Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 15; Wilcoxon, "Individual
//! comparisons by ranking methods", 1945; Smucker, Allan, Carterette, "A comparison of statistical significance tests for
//! information retrieval evaluation", CIKM 2007. Spec section 10.

use super::check_length;
use crate::Error;
use onebp_data::random::{Purpose, Random};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How users were drawn anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BootstrapSettings {
    /// Resamples R.
    pub resamples: usize,
    /// Share of the resamples within the interval.
    pub confidence: f64,
    /// Seed of the resamples.
    pub seed: u64,
}

impl Default for BootstrapSettings {
    fn default() -> Self {
        Self { resamples: 10_000, confidence: 0.95, seed: 0 }
    }
}

/// The mean difference with what the bootstrap says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// How users were drawn.
    pub settings: BootstrapSettings,
    /// Ends of the interval of the mean difference.
    pub interval: [f64; 2],
    /// Two-sided p, at least 2 / (R + 1).
    pub p: f64,
}

/// The signed-rank test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wilcoxon {
    /// Users whose values differ.
    pub users: usize,
    /// Sum of the ranks where A is larger.
    pub plus: f64,
    /// Sum of the ranks where B is larger.
    pub minus: f64,
    /// Standard score of `plus`; 0 where no user differs.
    pub z: f64,
    /// Two-sided p.
    pub p: f64,
}

/// A paired comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Users compared.
    pub users: usize,
    /// Mean of A.
    pub a: f64,
    /// Mean of B.
    pub b: f64,
    /// Mean of A - B.
    pub difference: f64,
    /// Users for whom A is larger, equal, smaller.
    pub wins: [usize; 3],
    /// The bootstrap of the difference.
    pub bootstrap: Bootstrap,
    /// The signed-rank test.
    pub wilcoxon: Wilcoxon,
}

/// The values of two models for the same users.
pub struct Paired(Vec<(f64, f64)>);

impl Paired {
    /// Of the values `a` and `b` `[n]` of the same users, in the same order. Users for whom either is NaN (a metric that does
    /// not exist for them) are left out.
    ///
    /// # Errors
    /// [`Error::Analysis`] where the lengths differ or no user is left.
    pub fn new(a: &[f32], b: &[f32]) -> Result<Self, Error> {
        check_length("users of the second model", b.len(), a.len())?;
        let both = a.iter().zip(b).filter(|(a, b)| !a.is_nan() && !b.is_nan());
        let pairs: Vec<(f64, f64)> = both.map(|(&a, &b)| (f64::from(a), f64::from(b))).collect();
        if pairs.is_empty() || u32::try_from(pairs.len()).is_err() {
            return Err(Error::analysis(
                format!("{} users cannot be compared", pairs.len()),
                "compare runs with test items",
            ));
        }
        Ok(Self(pairs))
    }

    fn differences(&self) -> Vec<f64> {
        self.0.iter().map(|(a, b)| a - b).collect()
    }
}

/// Compares the first with the second model of each pair. Pairs of as many users are compared on the same resamples, drawn once.
///
/// # Errors
/// [`Error::Analysis`] where a setting makes no interval.
pub fn compare(models: &[Paired], settings: &BootstrapSettings) -> Result<Vec<Comparison>, Error> {
    if settings.resamples == 0 || !(settings.confidence > 0.0 && settings.confidence < 1.0) {
        return Err(Error::analysis(
            format!("{} resamples make no interval of {}", settings.resamples, settings.confidence),
            "take 10000 resamples and a confidence between 0 and 1, such as 0.95",
        ));
    }
    let mut compared: Vec<Option<Comparison>> = vec![None; models.len()];
    for users in models.iter().map(|model| model.0.len()).collect::<BTreeSet<_>>() {
        let alike: Vec<usize> = (0..models.len()).filter(|&model| models[model].0.len() == users).collect();
        let differences: Vec<Vec<f64>> = alike.iter().map(|&model| models[model].differences()).collect();
        let means = resampled_means(&differences, settings);
        for ((model, differences), means) in alike.into_iter().zip(&differences).zip(means) {
            compared[model] = Some(comparison(&models[model], differences, bootstrap(means, settings)));
        }
    }
    Ok(compared.into_iter().flatten().collect())
}

fn comparison(Paired(pairs): &Paired, differences: &[f64], bootstrap: Bootstrap) -> Comparison {
    let n = pairs.len() as f64;
    let count = |keep: fn(f64) -> bool| differences.iter().filter(|difference| keep(**difference)).count();
    Comparison {
        users: pairs.len(),
        a: pairs.iter().map(|(a, _)| a).sum::<f64>() / n,
        b: pairs.iter().map(|(_, b)| b).sum::<f64>() / n,
        difference: differences.iter().sum::<f64>() / n,
        wins: [count(|d| d > 0.0), count(|d| d == 0.0), count(|d| d < 0.0)],
        bootstrap,
        wilcoxon: wilcoxon(differences),
    }
}

/// For each of `rows`, all `[n]`, its mean over every resample, `[R]`.
fn resampled_means(rows: &[Vec<f64>], settings: &BootstrapSettings) -> Vec<Vec<f64>> {
    let random = Random::new(settings.seed, Purpose::Bootstrap);
    let (width, users) = (rows.len(), rows[0].len());
    // Values of a user side by side: they are drawn together.
    let by_user: Vec<f64> = (0..users).flat_map(|user| rows.iter().map(move |row| row[user])).collect();
    let resample = |number: usize| {
        let mut words = random.words(0, number as u64);
        let mut sums = vec![0.0; width];
        for _ in 0..users {
            let user = words.below(users as u32) as usize;
            let values = &by_user[user * width..][..width];
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        sums
    };
    let sums: Vec<Vec<f64>> = (0..settings.resamples).into_par_iter().map(resample).collect();
    (0..width).map(|row| sums.iter().map(|sums| sums[row] / users as f64).collect()).collect()
}

/// What the means of resamples say.
fn bootstrap(mut means: Vec<f64>, settings: &BootstrapSettings) -> Bootstrap {
    means.sort_unstable_by(f64::total_cmp);
    let share = |count: usize| (count + 1) as f64 / (means.len() + 1) as f64;
    let low = share(means.iter().filter(|mean| **mean <= 0.0).count());
    let high = share(means.iter().filter(|mean| **mean >= 0.0).count());
    let outside = (1.0 - settings.confidence) / 2.0;
    Bootstrap {
        settings: settings.clone(),
        interval: [quantile(&means, outside), quantile(&means, 1.0 - outside)],
        p: (2.0 * low.min(high)).min(1.0),
    }
}

/// The quantile at `share` of ascending `values`, linear between neighbours.
fn quantile(values: &[f64], share: f64) -> f64 {
    let at = share * (values.len() - 1) as f64;
    let below = (at as usize).min(values.len() - 1);
    let above = (below + 1).min(values.len() - 1);
    values[below] + (values[above] - values[below]) * (at - below as f64)
}

fn wilcoxon(differences: &[f64]) -> Wilcoxon {
    let rounded = differences.iter().map(|difference| (difference * 1e6).round());
    let mut sorted: Vec<f64> = rounded.filter(|difference| *difference != 0.0).collect();
    sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let n = sorted.len() as f64;
    let (mut plus, mut ties, mut before) = (0.0, 0.0, 0usize);
    for group in sorted.chunk_by(|a, b| a.abs() == b.abs()) {
        let t = group.len() as f64;
        let rank = before as f64 + (t + 1.0) / 2.0;
        plus += rank * group.iter().filter(|difference| **difference > 0.0).count() as f64;
        ties += t * t * t - t;
        before += group.len();
    }
    let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0;
    let z = if sorted.is_empty() { 0.0 } else { (plus - n * (n + 1.0) / 4.0) / variance.sqrt() };
    let p = libm::erfc(z.abs() / std::f64::consts::SQRT_2);
    Wilcoxon { users: sorted.len(), plus, minus: n * (n + 1.0) / 2.0 - plus, z, p }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(a: &[f32], b: &[f32], settings: &BootstrapSettings) -> Result<Comparison, Error> {
        Ok(super::compare(&[Paired::new(a, b)?], settings)?.remove(0))
    }

    /// Darwin's 15 pairs of plants (Fisher, "The Design of Experiments", 1935): differences of heights. The exact p of the
    /// signed-rank test is 0.0413 with W- = 24.
    #[test]
    fn wilcoxon_of_darwins_plants() {
        let found = wilcoxon(&[49., -67., 8., 16., 6., 23., 28., 41., 14., 29., 56., 24., 75., 60., -48.]);
        assert_eq!((found.users, found.plus, found.minus), (15, 96.0, 24.0));
        assert!((found.z - 36.0 / 310f64.sqrt()).abs() < 1e-12);
        // P(|Z| > 2.0447), from tables of the normal distribution.
        assert!((found.p - 0.04088).abs() < 1e-4, "{}", found.p);
    }

    /// d = 0, 1, -1, 2: ranks 1.5, 1.5, 3.
    #[test]
    fn wilcoxon_with_ties_and_zeros_by_hand() {
        let found = wilcoxon(&[0.0, 1.0, -1.0, 2.0]);
        assert_eq!((found.users, found.plus, found.minus), (3, 4.5, 1.5));
        let variance: f64 = 3.0 * 4.0 * 7.0 / 24.0 - 6.0 / 48.0;
        assert!((found.z - 1.5 / variance.sqrt()).abs() < 1e-15);
        let none = wilcoxon(&[0.0; 4]);
        assert_eq!((none.users, none.z, none.p), (0, 0.0, 1.0));
        let nearly = wilcoxon(&[0.05, f64::from(0.1f32) - f64::from(0.05f32)]);
        assert_eq!(nearly.z, 1.5 / (30.0f64 / 24.0 - 6.0 / 48.0).sqrt());
        assert!(serde_json::to_string(&none).unwrap().contains("\"z\":0.0"));
    }

    #[test]
    fn equal_models_do_not_differ() {
        let values = [0.1, 0.5, 0.0];
        let found = compare(&values, &values, &BootstrapSettings::default()).unwrap();
        assert_eq!((found.difference, found.wins, found.bootstrap.p, found.wilcoxon.p), (0.0, [0, 3, 0], 1.0, 1.0));
        assert_eq!(found.bootstrap.interval, [0.0, 0.0]);
    }

    /// Differences with mean m and standard deviation s: the interval is about m +- 1.96 s / sqrt(n).
    #[test]
    fn the_interval_is_that_of_the_normal_distribution() {
        let random = Random::new(3, Purpose::Analysis);
        let b = [0.0f32; 400];
        let a: Vec<f32> = (0..400).map(|user| 0.1 + random.normal_pair(0, user, 0).0 as f32).collect();
        let found = compare(&a, &b, &BootstrapSettings::default()).unwrap();
        let s = (a.iter().map(|&a| (f64::from(a) - found.difference).powi(2)).sum::<f64>() / 400.0).sqrt();
        for (end, sign) in found.bootstrap.interval.into_iter().zip([-1.0, 1.0]) {
            assert!((end - found.difference - sign * 1.96 * s / 20.0).abs() < 0.005, "{found:?}");
        }
        // The normal approximation of the same p.
        let p = libm::erfc(found.difference.abs() / (s / 20.0) / std::f64::consts::SQRT_2);
        assert!((found.bootstrap.p - p).abs() < 0.02, "{} {p}", found.bootstrap.p);
    }

    #[test]
    fn threads_change_nothing_and_seeds_do() {
        let a: Vec<f32> = (0..50).map(|user| (user as f32).sqrt()).collect();
        let b: Vec<f32> = (0..50).map(|user| (user % 5) as f32).collect();
        let run = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let settings = BootstrapSettings { resamples: 999, seed, ..Default::default() };
            pool.install(|| compare(&a, &b, &settings).unwrap())
        };
        assert_eq!(run(1, 0), run(3, 0));
        assert_ne!(run(1, 0).bootstrap.interval, run(1, 1).bootstrap.interval);
        assert_eq!(run(1, 0).wilcoxon, run(1, 1).wilcoxon);
    }

    /// Together or one by one, with as many users or fewer.
    #[test]
    fn models_compared_together_are_compared_alike() {
        let values = |factor: usize| (0..60).map(|user| (user * factor % 17) as f32 / 17.0).collect::<Vec<f32>>();
        let (own, others) = (values(5), [values(3), values(7), values(11)]);
        let short = |values: &Vec<f32>| values[..40].to_vec();
        let fewer = (short(&own), short(&others[0]));
        let models = [
            (&own[..], &others[0][..]),
            (&fewer.0[..], &fewer.1[..]),
            (&own[..], &others[1][..]),
            (&own[..], &others[2][..]),
        ];
        let settings = BootstrapSettings { resamples: 200, ..Default::default() };
        let found = super::compare(&models.map(|(a, b)| Paired::new(a, b).unwrap()), &settings).unwrap();
        let expected = models.map(|(a, b)| compare(a, b, &settings).unwrap());
        assert_eq!(found, expected);
        assert_eq!(found.iter().map(|found| found.users).collect::<Vec<_>>(), [60, 40, 60, 60]);
        assert!(super::compare(&[], &settings).unwrap().is_empty());
    }

    #[test]
    fn users_without_a_value_are_left_out() {
        let found = compare(&[1.0, f32::NAN, 3.0], &[0.0, 1.0, f32::NAN], &BootstrapSettings::default()).unwrap();
        assert_eq!((found.users, found.a, found.difference), (1, 1.0, 1.0));
        assert!((found.bootstrap.p - 2.0 / 10_001.0).abs() < 1e-15);
        let error = |a: &[f32], resamples| {
            let settings = BootstrapSettings { resamples, ..Default::default() };
            compare(a, &[1.0], &settings).unwrap_err().to_string()
        };
        assert!(error(&[f32::NAN], 9).starts_with("0 users cannot be compared"));
        assert!(error(&[1.0, 2.0], 9).starts_with("users of the second model: 1 found"));
        assert!(error(&[1.0], 0).starts_with("0 resamples"));
    }
}
