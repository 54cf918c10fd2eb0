//! Lists of the most popular items of ML-100k: the same numbers as from a Python script of its own that followed the
//! definitions.
//!
//! The folder that the environment variable `ONEBP_TEST_DATA` names (default: `shared/datasets` beside the repository) may
//! hold `ml-100k`. Without it the tests are skipped, with a word. No content of these files is kept here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use onebp_data::random::{Purpose, Random};
use onebp_data::{Dataset, Genres, LoadOptions, genres, load};
use onebp_eval::{Evaluation, Popularity, evaluate, rank};
use onebp_lab::analysis::Rows;
use onebp_lab::analysis::beyond::{Context, beyond};
use onebp_lab::analysis::genres::{Distance, genre_retrieval};
use onebp_lab::analysis::groups::{by_activity, by_popularity};
use onebp_lab::analysis::types::{TypedPairs, UserRule, of_all};
use std::path::PathBuf;

/// ML-100k in the authors' split with its genres, and for every user the 20 most popular items without training items.
fn ml_100k() -> Option<(Dataset, Genres, Vec<Vec<u32>>)> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/datasets");
    let root = std::env::var_os("ONEBP_TEST_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = root.join("ml-100k/split-authors");
    if !path.exists() {
        println!("skipped: there is no {}; set ONEBP_TEST_DATA to the folder of data sets", path.display());
        return None;
    }
    let data = load(&path, "ml-100k", &LoadOptions::default()).unwrap().dataset;
    let genres = genres(&path, &data.items).unwrap().unwrap();
    let users: Vec<u32> = (0..data.users.len() as u32).collect();
    let popular = Popularity::new(users.len(), &data.train.item_counts());
    let ranking = rank(&popular, &data.train, &users, 20, None).unwrap();
    let lists = ranking.lists().map(|list| list.iter().map(|&(item, _)| item).collect()).collect();
    Some((data, genres, lists))
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-7, "{found} {expected}");
}

#[test]
fn popular_items_beyond_accuracy() {
    let Some((data, genres, lists)) = ml_100k() else { return };
    let context = Context { train: &data.train, genres: Some(&genres), items: None, seed: 0 };
    let found = beyond(&lists, &context, &[5, 20]).unwrap();
    for (found, [novelty, entropy, diversity, miscalibration, personalisation]) in found.iter().zip([
        [1.29394675, 0.34446225, 0.84460158, 0.26753893, 0.54038226],
        [1.62345907, 0.50449703, 0.80957267, 0.15687538, 0.4570487],
    ]) {
        assert_eq!((found.users, found.tail_share), (943, 0.0));
        close(found.novelty, novelty);
        close(found.entropy, entropy);
        close(found.genre_diversity.unwrap(), diversity);
        close(found.miscalibration.unwrap(), miscalibration);
        // The script compared all pairs of users.
        assert!((found.personalisation.unwrap() - personalisation).abs() < 0.005);
    }
}

#[test]
fn popular_items_by_types_and_groups() {
    let Some((data, _, lists)) = ml_100k() else { return };
    let labels: Vec<u32> = (0..1682).map(|item| item % 6).collect();
    let pairs = TypedPairs { train: &data.train, test: &data.test, labels: &labels, types: 6 };
    let found = of_all(&pairs, &lists, &[20]).unwrap().remove(0);
    let expected = [0.17804878, 0.17364793, 0.16198303, 0.16707317, 0.16346766, 0.15577943];
    found.share.iter().zip(expected).for_each(|(&found, expected)| close(found, expected));
    close(found.divergence, 0.09801506);
    let rule = UserRule { majority: [0.2, 0.8], ..UserRule::default() };
    assert_eq!(rule.choose(&pairs).unwrap(), Some(35));

    let evaluation = Evaluation { cutoffs: vec![20], per_user: true, ..Evaluation::default() };
    let counts = data.train.item_counts();
    let popular = Popularity::new(943, &counts);
    let report = evaluate(&popular, &data.train, &data.test, &counts, &evaluation).unwrap();
    let groups = by_popularity(&lists, &data.train, &data.test, 20, 5).unwrap();
    close(groups.iter().map(|group| group.recall_part).sum(), report.get("R@20").unwrap());
    close(groups.iter().map(|group| group.ndcg_part).sum(), report.get("NDCG@20").unwrap());
    assert_eq!(groups.iter().map(|group| group.items).collect::<Vec<_>>(), [58, 94, 141, 244, 1145]);
    let per_user = report.per_user.unwrap();
    let quarters = by_activity(&per_user.users, per_user.get("R@20").unwrap(), &data.train).unwrap();
    let expected = [0.22726444, 0.19002989, 0.16382216, 0.12927376];
    quarters.iter().zip(expected).for_each(|(quarter, expected)| close(quarter.mean.unwrap(), expected));
}

/// A random table finds genres by their size, and a little better by the items that a centroid is made of.
#[test]
fn genres_in_a_random_table() {
    let Some((data, genres, _)) = ml_100k() else { return };
    let random = Random::new(5, Purpose::InitItems);
    let values: Vec<f32> = (0..1682 * 64).map(|at| random.normal_pair(0, at, 0).0 as f32).collect();
    let rows = Rows { values: &values, dim: values.len() / data.items.len() };
    let found = genre_retrieval(rows, &genres, &[5, 50], Distance::Euclidean, None).unwrap();
    let chance = 2893.0 / 19.0 / 1682.0;
    assert!(found[0].overall.precision < 2.0 * chance && (found[1].overall.precision / chance - 1.0).abs() < 0.2);
    let unknown = &found[0].genres[0];
    assert_eq!((&*unknown.genre, unknown.items, unknown.hits), ("unknown", 2, 2));
}
