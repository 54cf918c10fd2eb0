//! Clusters of items, the latent types of Figures 4, 7 and 8 of the paper.
//!
//! k-means on the rows of the item table in the full space: k-means++ starts, several restarts, the one with the smallest
//! mean squared distance to the centres. Clusters are numbered by size, the largest first, equal ones by their smallest
//! item, so that numbers do not depend on the order in which centres were drawn.
//!
//! The quality of clusters is the mean silhouette: for row i with mean distance a_i to the others of its cluster and
//! smallest mean distance b_i to another cluster, s_i = (b_i - a_i) / max(a_i, b_i), 0 where i is alone.
//!
//! The library moves centres by the mean of the members and the old centre (Pakhira, "A modified k-means algorithm to
//! avoid empty clusters", 2009): it stops at the same centres, in more steps, and no cluster gets empty. It stops where the
//! centres moved by less than the tolerance, as a Euclidean distance.
//!
//! Source: paper, Figure 4; spec section 12 (k = 6, 10 restarts, 300 iterations, tolerance 1e-4). Arthur and
//! Vassilvitskii, "k-means++", SODA 2007; Rousseeuw, "Silhouettes", 1987.

use super::{Rows, check_labels, check_length, mean, squared_distance};
use crate::Error;
use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use linfa_clustering::KMeans;
use linfa_ndarray::Array2;
use onebp_data::Csr;
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How to cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KMeansSettings {
    /// Number of clusters.
    pub clusters: usize,
    /// Starts, of which the best is kept.
    pub restarts: usize,
    /// Most iterations of one start.
    pub iterations: u64,
    /// A start ends where the centres moved by less.
    pub tolerance: f64,
    /// Seed of the starts.
    pub seed: u64,
}

impl Default for KMeansSettings {
    fn default() -> Self {
        Self { clusters: 6, restarts: 10, iterations: 300, tolerance: 1e-4, seed: 0 }
    }
}

/// Clusters of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clusters {
    /// How they were made.
    pub settings: KMeansSettings,
    /// Cluster of each item, `[N]`.
    pub labels: Vec<u32>,
    /// Items of each cluster, `[C]`, descending.
    pub sizes: Vec<u32>,
    /// Mean squared distance of an item to the centre of its cluster.
    pub inertia: f64,
    /// Mean silhouette, -1 to 1.
    pub silhouette: f64,
}

/// Clusters the rows of `items` `[N, d]`.
///
/// # Errors
/// [`Error::Analysis`] where a value is not finite, there are fewer items than clusters, or a setting is 0.
pub fn k_means(items: Rows, settings: &KMeansSettings) -> Result<Clusters, Error> {
    items.check("items")?;
    let refused = |problem: String| Error::analysis(problem, "choose other settings of k-means");
    if items.len() < settings.clusters {
        return Err(refused(format!("{} items cannot make {} clusters", items.len(), settings.clusters)));
    }
    let values = items.values.iter().map(|&value| f64::from(value)).collect();
    let rows = Array2::from_shape_vec((items.len(), items.dim), values).map_err(|error| refused(error.to_string()))?;
    let rows = DatasetBase::from(rows);
    let model = KMeans::params_with_rng(settings.clusters, Xoshiro256Plus::seed_from_u64(settings.seed))
        .n_runs(settings.restarts)
        .max_n_iterations(settings.iterations)
        .tolerance(settings.tolerance)
        .fit(&rows)
        .map_err(|error| refused(format!("k-means failed: {error}")))?;
    let found: Vec<u32> = model.predict(rows.records()).iter().map(|&label| label as u32).collect();
    let labels = by_size(&found, settings.clusters);
    let mut sizes = vec![0; settings.clusters];
    labels.iter().for_each(|&label| sizes[label as usize] += 1);
    let silhouette = silhouette(items, &labels)?;
    Ok(Clusters { settings: settings.clone(), labels, sizes, inertia: model.inertia(), silhouette })
}

/// Numbers clusters anew: the largest is 0; of equal ones that with the smallest member comes first.
fn by_size(labels: &[u32], clusters: usize) -> Vec<u32> {
    let mut order: Vec<(usize, usize, usize)> = (0..clusters).map(|label| (0, usize::MAX, label)).collect();
    for (item, &label) in labels.iter().enumerate() {
        let (size, first, _) = &mut order[label as usize];
        *size += 1;
        *first = (*first).min(item);
    }
    order.sort_by_key(|&(size, first, _)| (std::cmp::Reverse(size), first));
    let mut new = vec![0; clusters];
    order.iter().zip(0..).for_each(|(&(_, _, label), number)| new[label] = number);
    labels.iter().map(|&label| new[label as usize]).collect()
}

/// Mean silhouette of rows `[n, d]` with any `labels` `[n]`; 0 where there is one cluster only. N^2 d operations.
///
/// # Errors
/// [`Error::Analysis`] where the lengths differ or a value is not finite.
pub fn silhouette(rows: Rows, labels: &[u32]) -> Result<f64, Error> {
    rows.check("items")?;
    check_length("labels of items", labels.len(), rows.len())?;
    let clusters = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let mut sizes = vec![0usize; clusters];
    labels.iter().for_each(|&label| sizes[label as usize] += 1);
    let one = |i: usize| {
        let mut sums = vec![0.0; clusters];
        for (j, &label) in labels.iter().enumerate() {
            sums[label as usize] += squared_distance(rows.row(i), rows.row(j)).sqrt();
        }
        let own = labels[i] as usize;
        let others = (0..clusters).filter(|&label| label != own && sizes[label] > 0);
        let nearest = others.map(|label| sums[label] / sizes[label] as f64).fold(f64::INFINITY, f64::min);
        if sizes[own] < 2 || nearest.is_infinite() {
            return 0.0;
        }
        let within = sums[own] / (sizes[own] - 1) as f64;
        let larger = within.max(nearest);
        if larger > 0.0 { (nearest - within) / larger } else { 0.0 }
    };
    // One value per row, then a sum in a fixed order.
    let values: Vec<f64> = (0..rows.len()).into_par_iter().map(one).collect();
    Ok(mean(values).unwrap_or(0.0))
}

/// How far users lie from the items of their types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserDistances {
    /// Users looked at.
    pub users: usize,
    /// Mean Euclidean distance of a user's row to the user's items of the majority type, `None` without such an item.
    pub majority: Option<f64>,
    /// The same for the user's items of all other types.
    pub minority: Option<f64>,
}

/// Mean distance of each of `users` (dense ids) to the own items in `of` `[M, N]` that belong to the majority type of the
/// training items, and to the others; then the mean over users. `table` `[M, d]` and `items` `[N, d]` are the tables,
/// `labels` `[N]` the types.
///
/// # Errors
/// [`Error::Analysis`] where lengths or ids do not fit or a value is not finite.
pub fn user_distances(
    table: Rows,
    items: Rows,
    labels: &[u32],
    train: &Csr,
    of: &Csr,
    users: &[u32],
) -> Result<UserDistances, Error> {
    table.check("users")?;
    items.check("items")?;
    check_length("columns of the user table", table.dim, items.dim)?;
    check_length("users of the training pairs", train.rows(), table.len())?;
    check_length("users of the pairs looked at", of.rows(), table.len())?;
    check_length("items of the training pairs", train.columns(), items.len())?;
    check_length("items of the pairs looked at", of.columns(), items.len())?;
    let types = labels.iter().max().map_or(0, |&label| label as usize + 1);
    check_labels(labels, types, items.len())?;
    if let Some(user) = users.iter().find(|user| **user as usize >= table.len()) {
        let problem = format!("there is no user {user} among {}", table.len());
        return Err(Error::analysis(problem, "take dense ids of users of the data set"));
    }
    let (mut majority, mut minority) = (Vec::new(), Vec::new());
    for &user in users {
        let mut counts = vec![0u32; types];
        train.row(user).iter().for_each(|&item| counts[labels[item as usize] as usize] += 1);
        // The first of equal counts: `max_by_key` keeps the last.
        let most = (0..types).rev().max_by_key(|&label| counts[label]);
        let far = |&item: &u32| squared_distance(table.row(user as usize), items.row(item as usize)).sqrt();
        let is_most = |item: &u32| Some(labels[*item as usize] as usize) == most;
        majority.extend(mean(of.row(user).iter().filter(|item| is_most(item)).map(far)));
        minority.extend(mean(of.row(user).iter().filter(|item| !is_most(item)).map(far)));
    }
    Ok(UserDistances { users: users.len(), majority: mean(majority), minority: mean(minority) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use onebp_data::random::{Purpose, Random};

    /// Three clouds of 30, 20 and 10 points, in turn.
    fn clouds() -> (Vec<f32>, Vec<u32>) {
        let random = Random::new(1, Purpose::Analysis);
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for i in 0..60u64 {
            let label = [0, 1, 0, 2, 0, 1][i as usize % 6];
            let (x, y) = random.normal_pair(0, i, 0);
            let centre = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]][label as usize];
            values.extend([(centre[0] + x) as f32, (centre[1] + y) as f32]);
            labels.push(label);
        }
        (values, labels)
    }

    #[test]
    fn clouds_are_found_and_numbered_by_size() {
        let (values, labels) = clouds();
        let rows = Rows { values: &values, dim: 2 };
        for seed in 0..4 {
            let found = k_means(rows, &KMeansSettings { clusters: 3, seed, ..Default::default() }).unwrap();
            assert_eq!(found.labels, labels);
            assert_eq!(found.sizes, [30, 20, 10]);
            assert!(found.silhouette > 0.7 && found.inertia > 1.0 && found.inertia < 3.0, "{found:?}");
        }
    }

    #[test]
    fn threads_change_nothing() {
        let (values, _) = clouds();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| k_means(Rows { values: &values, dim: 2 }, &KMeansSettings::default()).unwrap())
        };
        let (one, three) = (run(1), run(3));
        assert_eq!(one, three);
        assert_eq!(one.silhouette.to_bits(), three.silhouette.to_bits());
        let back: Clusters = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
        assert_eq!(back.labels, one.labels);
    }

    #[test]
    fn numbers_by_size_then_by_first_member() {
        assert_eq!(by_size(&[2, 0, 1, 1, 2, 1], 4), [1, 2, 0, 0, 1, 0]);
        assert_eq!(by_size(&[1, 0], 2), [0, 1]);
    }

    /// Points 0 and 1, and 4 and alone. a_0 = 1, b_0 = 4; a_1 = 1, b_1 = 3; the third is alone.
    #[test]
    fn silhouette_by_hand() {
        let rows = Rows { values: &[0.0, 1.0, 4.0], dim: 1 };
        assert!((silhouette(rows, &[0, 0, 1]).unwrap() - (0.75 + 2.0 / 3.0) / 3.0).abs() < 1e-15);
        assert_eq!(silhouette(rows, &[0, 0, 0]).unwrap(), 0.0);
        assert_eq!(silhouette(Rows { values: &[2.0; 3], dim: 1 }, &[0, 0, 2]).unwrap(), 0.0);
    }

    #[test]
    fn distances_of_users_by_hand() {
        let (table, items) = (Rows { values: &[0.0, 10.0], dim: 1 }, Rows { values: &[1.0, 2.0, 6.0], dim: 1 });
        let train = Csr::from_pairs(2, 3, &[(0, 0), (0, 1), (0, 2), (1, 2)]).unwrap();
        let found = user_distances(table, items, &[0, 0, 1], &train, &train, &[0, 1]).unwrap();
        // User 0: majority 1 and 2, minority 6; user 1: majority 6 at distance 4, no minority.
        assert_eq!(found, UserDistances { users: 2, majority: Some((1.5 + 4.0) / 2.0), minority: Some(6.0) });
        assert!(user_distances(table, items, &[0, 0, 1], &train, &train, &[2]).is_err());
        assert!(user_distances(table, items, &[0, 0], &train, &train, &[]).is_err());
    }

    #[test]
    fn bad_settings_are_refused() {
        let rows = Rows { values: &[0.0, 1.0], dim: 1 };
        let error = |settings| k_means(rows, &settings).unwrap_err().to_string();
        assert!(error(KMeansSettings::default()).starts_with("2 items cannot make 6 clusters; "));
        let zero = |change: fn(&mut KMeansSettings)| {
            let mut settings = KMeansSettings { clusters: 1, ..Default::default() };
            change(&mut settings);
            error(settings)
        };
        assert!(zero(|settings| settings.clusters = 0).starts_with("k-means failed: "));
        assert!(zero(|settings| settings.restarts = 0).starts_with("k-means failed: "));
        assert!(zero(|settings| settings.iterations = 0).starts_with("k-means failed: "));
        assert!(zero(|settings| settings.tolerance = 0.0).starts_with("k-means failed: "));
    }
}
