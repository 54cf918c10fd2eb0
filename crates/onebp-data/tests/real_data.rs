//! Counts of public data sets, where a person has put them.
//!
//! The folder that the environment variable `ONEBP_TEST_DATA` names (default: `shared/datasets` beside the repository)
//! may hold `ml-100k`, `ml-1m`, `gowalla` and `yelp2018`. What is missing is skipped, with a word. No content of these
//! files is kept here, only counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use onebp_data::{
    Csr, Dataset, Format, LoadOptions, Preparation, ReadOptions, SplitRule, genres, load, prepare, read, titles,
};
use std::path::PathBuf;

/// The path of a file or folder of the test data, or `None` with a word on the terminal.
fn place(name: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/datasets");
    let root = std::env::var_os("ONEBP_TEST_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = root.join(name);
    if !path.exists() {
        println!("skipped: there is no {}; set ONEBP_TEST_DATA to the folder of data sets", path.display());
        return None;
    }
    Some(path)
}

/// Users, items, training pairs, test pairs, test pairs whose item train does not have.
fn counts(dataset: &Dataset) -> [usize; 5] {
    let trained = dataset.train.item_counts();
    let cold = dataset.test.pairs().filter(|&(_, item)| trained[item as usize] == 0).count();
    [dataset.users.len(), dataset.items.len(), dataset.train.len(), dataset.test.len(), cold]
}

/// Users whose number of test items is `rule` of their number of items.
fn users_with(dataset: &Dataset, rule: impl Fn(usize) -> usize) -> usize {
    let length = |part: &Csr, user| part.row(user).len();
    (0..dataset.users.len() as u32)
        .filter(|&user| {
            let test = length(&dataset.test, user);
            test == rule(length(&dataset.train, user) + test)
        })
        .count()
}

fn load_split(name: &str) -> Option<Dataset> {
    let loaded = load(&place(name)?, name, &LoadOptions::default()).unwrap();
    assert!(loaded.sources.iter().all(|source| source.guessed));
    Some(loaded.dataset)
}

fn round_of_a_fifth(n: usize) -> usize {
    (2 * n + 5) / 10
}

fn floor_minus_one(n: usize) -> usize {
    n - 4 * n / 5 - 1
}

#[test]
fn authors_split_of_movielens_100k() {
    let Some(dataset) = load_split("ml-100k/split-authors") else { return };
    assert_eq!(counts(&dataset), [943, 1682, 80_000, 20_000, 38]);
    assert_eq!(users_with(&dataset, round_of_a_fifth), 943);
    // Dense ids follow the authors', raw ids are MovieLens's.
    assert_eq!((dataset.users.raw(0), dataset.items.raw(0)), ("196", "242"));
    assert_eq!(dataset.warnings.len(), 1, "{:?}", dataset.warnings);
    assert!(
        dataset.warnings[0].starts_with("test pairs whose item has no training pair: 38, "),
        "{:?}",
        dataset.warnings
    );
}

#[test]
fn authors_split_of_movielens_1m() {
    let Some(dataset) = load_split("ml-1m/split-authors") else { return };
    assert_eq!(counts(&dataset), [6040, 3706, 800_193, 200_016, 25]);
    assert_eq!(users_with(&dataset, round_of_a_fifth), 6040);
    assert_eq!((dataset.users.raw(0), dataset.items.raw(0)), ("1", "1193"));
}

#[test]
fn both_splits_of_gowalla() {
    if let Some(dataset) = load_split("gowalla") {
        assert_eq!(counts(&dataset), [29_858, 40_981, 810_128, 217_242, 0]);
    }
    if let Some(dataset) = load_split("gowalla/split-authors") {
        assert_eq!(counts(&dataset)[..4], [29_858, 40_981, 1_027_370 - 187_458, 187_458]);
        assert_eq!(users_with(&dataset, floor_minus_one), 29_858);
    }
}

#[test]
fn both_splits_of_yelp2018() {
    if let Some(dataset) = load_split("yelp2018") {
        assert_eq!(counts(&dataset), [31_668, 38_048, 1_237_259, 324_147, 0]);
    }
    if let Some(dataset) = load_split("yelp2018/split-authors") {
        assert_eq!(counts(&dataset)[..4], [31_668, 38_048, 1_561_406 - 293_299, 293_299]);
        assert_eq!(users_with(&dataset, floor_minus_one), 31_668);
    }
}

/// T43: Our own splits of the same interactions have the authors' counts, user by user.
#[test]
fn our_split_rules_give_the_authors_counts() {
    for (name, split, test) in [
        ("ml-100k/u.data", SplitRule::Ratio, 20_000),
        ("ml-1m/ratings.csv", SplitRule::Ratio, 200_016),
        ("gowalla/split-authors", SplitRule::RatioFloorMinusOne, 187_458),
        ("yelp2018/split-authors", SplitRule::RatioFloorMinusOne, 293_299),
    ] {
        let Some(path) = place(name) else { continue };
        let preparation = Preparation { split, ..Preparation::default() };
        let dataset = if path.is_dir() {
            let whole = load(&path, name, &LoadOptions::default()).unwrap().dataset;
            let pairs = whole.train.union(&whole.test).unwrap();
            let (user, item) = pairs.pairs().unzip();
            let interactions =
                onebp_data::Interactions { users: whole.users, items: whole.items, user, item, ..Default::default() };
            prepare(&interactions, name, &preparation).unwrap()
        } else {
            load(&path, name, &LoadOptions { preparation, ..Default::default() }).unwrap().dataset
        };
        assert_eq!(dataset.test.len(), test, "{name}");
        let rule = if split == SplitRule::Ratio { round_of_a_fifth } else { floor_minus_one };
        assert_eq!(users_with(&dataset, rule), dataset.users.len(), "{name}");
    }
}

#[test]
fn raw_files_of_movielens() {
    if let Some(path) = place("ml-100k/u.data") {
        let (interactions, source) = read(&path, &ReadOptions::default()).unwrap();
        assert_eq!((source.format, interactions.len()), (Format::MovieLens, 100_000));
        assert_eq!((interactions.users.len(), interactions.items.len()), (943, 1682));
        assert_eq!((interactions.users.raw(0), interactions.items.raw(1681)), ("1", "1682"));
        assert!(interactions.rating.is_some_and(|ratings| ratings.iter().all(|rating| (1.0..=5.0).contains(rating))));
        assert_eq!(interactions.time.map(|times| times.len()), Some(100_000));
        // The folder leads to the same file.
        let folder = load(path.parent().unwrap(), "ml-100k", &LoadOptions::default()).unwrap();
        assert_eq!(folder.sources[0].path, path);
    }
    if let Some(path) = place("ml-1m/ratings.csv") {
        let start = std::time::Instant::now();
        let (interactions, source) = read(&path, &ReadOptions::default()).unwrap();
        println!("{source}: {} rows in {:?}", interactions.len(), start.elapsed());
        assert_eq!((source.format, interactions.len()), (Format::MovieLens, 1_000_209));
        assert_eq!((interactions.users.len(), interactions.items.len()), (6040, 3706));
        assert!(interactions.time.is_none());
    }
}

#[test]
fn titles_of_movielens() {
    if let Some(path) = place("ml-100k/u.item") {
        let titles = titles(&path).unwrap();
        assert_eq!(titles.len(), 1682);
        assert_eq!(titles["1"], "Toy Story (1995)");
    }
    if let Some(path) = place("ml-1m/movies.dat") {
        let titles = titles(&path).unwrap();
        assert_eq!(titles.len(), 3883);
        assert_eq!(titles["1"], "Toy Story (1995)");
    }
}

/// Table 4 of the paper; MovieLens's ids come through the map of the authors' split.
#[test]
fn genres_of_movielens() {
    if let (Some(path), Some(dataset)) = (place("ml-100k/split-authors"), load_split("ml-100k/split-authors")) {
        let genres = genres(&path, &dataset.items).unwrap().unwrap();
        assert_eq!((genres.items(), genres.labels(), genres.names.len()), (1682, 2893, 19));
        assert_eq!((&*genres.names[0], &*genres.names[18]), ("unknown", "Western"));
        assert_eq!(
            genres.sizes(),
            [2, 251, 135, 42, 122, 505, 109, 50, 725, 22, 24, 92, 56, 61, 247, 101, 251, 71, 27]
        );
        // Toy Story: Animation, Children's, Comedy.
        assert_eq!(genres.of(dataset.items.dense("1").unwrap()), [3, 4, 5]);
        assert!((0..1682).all(|item| !genres.of(item).is_empty()));
    }
    if let (Some(path), Some(dataset)) = (place("ml-1m/split-authors"), load_split("ml-1m/split-authors")) {
        let genres = genres(&path, &dataset.items).unwrap().unwrap();
        assert_eq!((genres.items(), genres.labels(), genres.names.len()), (3706, 6192, 18));
        assert_eq!(genres.of(dataset.items.dense("1").unwrap()).len(), 3);
    }
    if let (Some(path), Some(dataset)) = (place("gowalla"), load_split("gowalla")) {
        assert_eq!(genres(&path, &dataset.items).unwrap(), None);
    }
}
