//! MovieLens-100K, the split that the authors of OneBP published: known values of two rankings that need no training.
//!
//! Looks for `ml-100k/split-authors/{train,test}.csv` (header, then `user,item,rating` with dense ids) in the folder
//! ONEBP_TEST_DATA, or beside the repository. Where they are not, the test says so and passes.
#![allow(clippy::unwrap_used, clippy::panic)]

use onebp_data::Csr;
use onebp_eval::{DotProduct, Evaluation, Popularity, Report, Scorer, Visit, evaluate, rank};
use std::path::{Path, PathBuf};
use std::time::Instant;

const USERS: usize = 943;
const ITEMS: usize = 1682;

/// The folder of data sets.
fn data() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/datasets");
    std::env::var_os("ONEBP_TEST_DATA").map_or_else(beside, PathBuf::from)
}

/// The pairs of a file of comma-separated lines with a header (`user,item,..`), or of lines `user item item ..`.
fn pairs(path: &Path) -> Option<Vec<(u32, u32)>> {
    let text = std::fs::read_to_string(path).ok()?;
    let ids = |line: &str| -> Vec<u32> {
        line.split([',', ' ']).filter(|id| !id.is_empty()).map(|id| id.trim().parse().unwrap()).collect()
    };
    Some(if path.extension().is_some_and(|extension| extension == "csv") {
        text.lines().skip(1).map(ids).map(|ids| (ids[0], ids[1])).collect()
    } else {
        let of_user = |ids: Vec<u32>| ids[1..].iter().map(|&item| (ids[0], item)).collect::<Vec<_>>();
        text.lines().map(ids).filter(|ids| !ids.is_empty()).flat_map(of_user).collect()
    })
}

/// Train and test, `None` with a printed reason where the files are missing.
fn split() -> Option<(Csr, Csr)> {
    let folder = data().join("ml-100k/split-authors");
    let read = |name: &str| Some(Csr::from_pairs(USERS, ITEMS, &pairs(&folder.join(name))?).unwrap());
    let found = read("train.csv").zip(read("test.csv"));
    if found.is_none() {
        eprintln!("skipped: no train.csv and test.csv in {}; ONEBP_TEST_DATA names the data folder", folder.display());
    }
    found
}

/// Compares P, R, F1 and NDCG at 5, 10, 20 to four decimals.
fn assert_values(report: &Report, expected: [[f64; 4]; 3]) {
    for (k, expected) in [5, 10, 20].into_iter().zip(expected) {
        for (name, expected) in ["P", "R", "F1", "NDCG"].into_iter().zip(expected) {
            let found = report.get(&format!("{name}@{k}")).unwrap();
            assert!((found - expected).abs() <= 5e-5, "{name}@{k}: {found}, expected {expected}");
        }
    }
}

/// T42.
#[test]
fn popularity() {
    let Some((train, test)) = split() else { return };
    let counts = train.item_counts();
    let report = evaluate(&Popularity::new(USERS, &counts), &train, &test, &counts, &Evaluation::default()).unwrap();
    assert_values(
        &report,
        [[0.2208, 0.0738, 0.0961, 0.2354], [0.1941, 0.1210, 0.1245, 0.2255], [0.1566, 0.1775, 0.1379, 0.2214]],
    );
}

/// 1 for test items, 0 for others.
struct Ideal<'a>(&'a Csr);

impl Scorer for Ideal<'_> {
    fn users(&self) -> usize {
        self.0.rows()
    }

    fn items(&self) -> usize {
        self.0.columns()
    }

    fn scores(&self, users: &[u32], visit: &mut Visit<'_>) {
        for (row, &user) in users.iter().enumerate() {
            let mut scores = vec![0.0; self.items()];
            self.0.row(user).iter().for_each(|&item| scores[item as usize] = 1.0);
            visit(row, 0, &mut scores);
        }
    }
}

/// T34.
#[test]
fn ideal() {
    let Some((train, test)) = split() else { return };
    let options = Evaluation { per_user: true, ..Evaluation::default() };
    let report = evaluate(&Ideal(&test), &train, &test, &train.item_counts(), &options).unwrap();
    assert_values(
        &report,
        [[0.9832, 0.4683, 0.5619, 1.0], [0.8467, 0.6745, 0.6519, 1.0], [0.6563, 0.8393, 0.6331, 1.0]],
    );
    assert_eq!(report.get("AUC"), Some(1.0));
    let per_user = report.per_user.unwrap();
    for name in ["NDCG@5", "NDCG@10", "NDCG@20", "MRR@5", "MAP@20"] {
        assert!(per_user.get(name).unwrap().iter().all(|&value| value == 1.0), "{name}");
    }
}

/// How long a ranking and an evaluation take on the splits that lie in the data folder, with tables of random numbers:
/// `cargo test --release -- --ignored --nocapture`.
#[test]
#[ignore = "prints times"]
fn times() {
    for (name, extension, dims) in [
        ("ml-100k", "csv", &[32, 64][..]),
        ("ml-1m", "csv", &[64, 128]),
        ("gowalla", "txt", &[64, 128, 1024]),
        ("yelp2018", "txt", &[64, 2048]),
    ] {
        let folder = data().join(name).join("split-authors");
        let read = |part: &str| pairs(&folder.join(part).with_extension(extension));
        let Some((train, test)) = read("train").zip(read("test")) else {
            eprintln!("skipped: no train.{extension} and test.{extension} in {}", folder.display());
            continue;
        };
        let all = || train.iter().chain(&test);
        let users = all().map(|&(user, _)| user as usize + 1).fold(0, usize::max);
        let items = all().map(|&(_, item)| item as usize + 1).fold(0, usize::max);
        let train = Csr::from_pairs(users, items, &train).unwrap();
        let test = Csr::from_pairs(users, items, &test).unwrap();
        let (counts, everyone) = (train.item_counts(), (0..users as u32).collect::<Vec<_>>());
        for &dim in dims {
            let number = |at: u32| (at.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
            let table = |rows: usize| -> Vec<f32> { (0..(rows * dim) as u32).map(number).collect() };
            let (user_table, item_table) = (table(users), table(items));
            let scorer = DotProduct::new(&user_table, &item_table, dim).unwrap();
            let time = |what: &str, run: &dyn Fn()| {
                let once = |_| {
                    let start = Instant::now();
                    run();
                    start.elapsed().as_secs_f64()
                };
                let best = (0..if dim > 128 { 2 } else { 5 }).map(once).fold(f64::INFINITY, f64::min);
                let speed = 2e-9 * (users * items * dim) as f64 / best;
                println!("{name} {users} x {items}, d = {dim}, {what}: {:.1} ms, {speed:.0} GFlop/s", best * 1e3);
            };
            let evaluation = |auc, beyond_accuracy| {
                let options = Evaluation { auc, beyond_accuracy, ..Evaluation::default() };
                evaluate(&scorer, &train, &test, &counts, &options).unwrap();
            };
            time("all metrics", &|| evaluation(true, true));
            time("without AUC", &|| evaluation(false, true));
            time("accuracy only", &|| evaluation(false, false));
            time("rank at 20", &|| drop(rank(&scorer, &train, &everyone, 20, None).unwrap()));
            time("scores only, one thread", &|| {
                everyone.chunks(1024).for_each(|users| {
                    scorer.scores(users, &mut |_, _, scores| {
                        std::hint::black_box(scores);
                    });
                });
            });
        }
    }
}
