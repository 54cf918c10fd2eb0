//! MovieLens-100K, the split that the authors of OneBP published: known values of two rankings that need no training.
//!
//! Looks for `ml-100k/split-authors/{train,test}.csv` (header, then `user,item,rating` with dense ids) in the folder
//! ONEBP_TEST_DATA, or beside the repository. Where they are not, the test says so and passes.
#![allow(clippy::unwrap_used, clippy::panic)]

use onebp_data::Csr;
use onebp_eval::{DotProduct, Evaluation, Popularity, Report, Scorer, evaluate, rank};
use std::path::{Path, PathBuf};
use std::time::Instant;

const USERS: usize = 943;
const ITEMS: usize = 1682;

/// Train and test, `None` with a printed reason where the files are missing.
fn split() -> Option<(Csr, Csr)> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/datasets");
    let folder = std::env::var_os("ONEBP_TEST_DATA").map_or_else(beside, PathBuf::from).join("ml-100k/split-authors");
    let read = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).ok()?;
        let ids = |line: &str| line.split(',').map(|field| field.trim().parse().unwrap()).collect::<Vec<u32>>();
        let pairs: Vec<_> = text.lines().skip(1).map(ids).map(|ids| (ids[0], ids[1])).collect();
        Some(Csr::from_pairs(USERS, ITEMS, &pairs).unwrap())
    };
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

    fn scores(&self, users: &[u32], out: &mut [f32]) {
        out.fill(0.0);
        for (row, &user) in out.chunks_exact_mut(self.items()).zip(users) {
            self.0.row(user).iter().for_each(|&item| row[item as usize] = 1.0);
        }
    }
}

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

/// How long an evaluation takes at the sizes of MovieLens-100K and 1M: `cargo test --release -- --ignored --nocapture`.
#[test]
#[ignore = "prints times"]
fn times() {
    for (users, items, dim, pairs) in [(943, 1682, 32, 100_000u32), (6040, 3706, 128, 1_000_000)] {
        let number = |at: u32| at.wrapping_mul(2_654_435_761) >> 8;
        let table = |rows: usize| -> Vec<f32> {
            (0..(rows * dim) as u32).map(|at| number(at) as f32 / (1 << 23) as f32 - 1.0).collect()
        };
        let (user_table, item_table) = (table(users), table(items));
        let all: Vec<_> =
            (0..pairs).map(|at| (number(at) % users as u32, number(at ^ 0x5555_5555) % items as u32)).collect();
        let all = Csr::from_pairs(users, items, &all).unwrap();
        let (test, train): (Vec<_>, Vec<_>) = all.pairs().partition(|&(user, item)| (user + item) % 5 == 0);
        let train = Csr::from_pairs(users, items, &train).unwrap();
        let test = Csr::from_pairs(users, items, &test).unwrap();
        let counts = train.item_counts();
        let scorer = DotProduct::new(&user_table, &item_table, dim).unwrap();
        let time = |name: &str, run: &dyn Fn()| {
            let best = (0..9).map(|_| {
                let start = Instant::now();
                run();
                start.elapsed().as_secs_f64() * 1e3
            });
            println!("{users} x {items}, d = {dim}, {name}: {:.2} ms", best.fold(f64::INFINITY, f64::min));
        };
        let evaluation = |auc, beyond_accuracy| {
            let options = Evaluation { auc, beyond_accuracy, ..Evaluation::default() };
            evaluate(&scorer, &train, &test, &counts, &options).unwrap();
        };
        let everyone: Vec<u32> = (0..users as u32).collect();
        time("all metrics", &|| evaluation(true, true));
        time("without AUC", &|| evaluation(false, true));
        time("accuracy only", &|| evaluation(false, false));
        time("rank at 20", &|| drop(rank(&scorer, &train, &everyone, 20, None).unwrap()));
        time("scores only", &|| {
            let mut out = vec![0.0; 256 * items];
            everyone.chunks(256).for_each(|users| scorer.scores(users, &mut out[..users.len() * items]));
        });
    }
}
