//! Every method by its name, through the whole program.

use super::*;
use serde_json::Value;

const SMALL: &str = "--data small.csv --dim 8 --batch-size 64 --device ndarray --quiet";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What `onebp methods --json` lists.
pub fn listed(place: &Place) -> Vec<Value> {
    json(&place.ok("methods --json").stdout)["methods"].as_array().unwrap().clone()
}

/// Names of all methods.
pub fn names(place: &Place) -> Vec<String> {
    listed(place).iter().map(|method| method["name"].as_str().unwrap().to_string()).collect()
}

/// Parts by their names, for the rows of Table 2 of the paper, of its Table 3 and of its Figure 3.
#[test]
fn methods_are_listed_by_their_parts() {
    let place = Place::new();
    let word = |method: &Value, part: &str| method[part].as_str().unwrap().split(',').next().unwrap().to_string();
    let found: Vec<String> = listed(&place)
        .iter()
        .map(|method| {
            assert!(method["source"].as_str().is_some_and(|source| source.len() > 10), "{method}");
            ["name", "encoder", "sampler", "loss", "update"].map(|part| word(method, part)).join(" ")
        })
        .collect();
    let expected = [
        "onebp mf uniform info-nce onebp",
        "mf mf uniform info-nce two-bp",
        "user-only mf uniform info-nce user-only",
        "lightgcn lightgcn uniform info-nce two-bp",
        "ngcf ngcf uniform info-nce two-bp",
        "pns mf popularity info-nce two-bp",
        "dns mf dns info-nce two-bp",
        "hars mf hars info-nce two-bp",
        "2sts mf two-stage info-nce two-bp",
        "dcl mf uniform dcl two-bp",
        "hcl mf uniform hcl two-bp",
        "cml mf uniform cml two-bp",
        "sfcml mf none sfcml two-bp",
        "dpcml mf uniform dpcml two-bp",
        "buir bootstrap none buir two-bp",
        "onebp-lightgcn lightgcn uniform info-nce onebp",
        "onebp-ngcf ngcf uniform info-nce onebp",
    ];
    assert_eq!(found, expected);
    let text = place.ok("methods").stdout;
    assert!(expected.iter().all(|line| text.contains(line.split(' ').next().unwrap())), "{text}");
}

/// Rows of an exported CSV, by their ids.
fn exported(place: &Place, file: &str) -> std::collections::BTreeMap<String, Vec<f64>> {
    let row = |line: &str| {
        let mut cells = line.split(',');
        (cells.next().unwrap().to_string(), cells.map(|cell| cell.parse().unwrap()).collect())
    };
    place.read(file).lines().skip(1).map(row).collect()
}

/// The score of exported rows, as `scoring.json` says.
fn score(scoring: &Value, user: &[f64], item: &[f64]) -> f64 {
    let of_vector = |vector: &[f64]| -> f64 {
        let pairs = vector.iter().zip(item);
        match scoring["score"].as_str().unwrap() {
            "product" => pairs.map(|(u, v)| u * v).sum(),
            _ => -pairs.map(|(u, v)| (u - v).powi(2)).sum::<f64>(),
        }
    };
    let vectors: Vec<f64> = user.chunks(item.len()).map(of_vector).collect();
    assert_eq!(vectors.len() as u64, scoring["vectors_per_user"].as_u64().unwrap());
    vectors.into_iter().fold(f64::NEG_INFINITY, f64::max)
}

/// Every method trains, and what it leaves behind is evaluated, recommends, finds similar items and is exported: numbers of
/// one command are those of another.
#[test]
fn every_method_serves() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    for method in names(&place) {
        let printed =
            place.ok(&format!("train {SMALL} --method {method} --epochs 2 --protocol final --out {method} --json"));
        let evaluated = json(&place.ok(&format!("evaluate --run {method} --device ndarray --json")).stdout);
        assert_eq!(evaluated["metrics"], json(&printed.stdout)["final"], "{method}");

        let by_distance = ["cml", "sfcml", "dpcml"].contains(&method.as_str());
        let similar = json(&place.ok(&format!("similar --run {method} --item i3 -k 4 --json")).stdout);
        let similar = similar.as_array().unwrap();
        let alike = |row: &Value| row[if by_distance { "distance" } else { "cosine" }].as_f64().unwrap();
        assert!(similar.len() == 4 && similar.iter().all(|row| row["item"] != "i3"), "{method}: {similar:?}");
        let order = if by_distance { 1.0 } else { -1.0 };
        assert!(similar.windows(2).all(|pair| order * alike(&pair[0]) <= order * alike(&pair[1])), "{method}");

        place.ok(&format!("export --run {method} --format csv --output {method}-out"));
        let scoring = json(&place.read(&format!("{method}-out/scoring.json")));
        assert_eq!(scoring["score"], if by_distance { "distance" } else { "product" }, "{method}");
        let [users, items] = ["users", "items"].map(|side| exported(&place, &format!("{method}-out/{side}.csv")));
        assert_eq!((users.len(), items.len()), (60, 60));
        let recommended = place.ok(&format!("recommend --run {method} --all -k 3 --device ndarray --json")).stdout;
        let recommended = json(&recommended);
        let recommended = recommended.as_array().unwrap();
        assert_eq!(recommended.len(), 180, "{method}");
        for rows in recommended.chunks(3) {
            let of = |row: &Value| row["score"].as_f64().unwrap();
            assert!(rows.windows(2).all(|pair| of(&pair[0]) >= of(&pair[1])), "{method}: {rows:?}");
            for row in rows {
                let [user, item] = ["user", "item"].map(|side| row[side].as_str().unwrap());
                let expected = score(&scoring, &users[user], &items[item]);
                assert!((of(row) - expected).abs() < 1e-4 * expected.abs().max(1.0), "{method}: {row} {expected}");
            }
        }
    }
}

/// T44: every method lowers its loss over 5 epochs on block-structured data and is far above popularity in R@5. A step of
/// SFCML takes whole users: batches of 8 of them for as many steps as others have.
#[test]
fn every_method_learns() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    for method in names(&place) {
        let steps = match method.as_str() {
            "sfcml" => "--lr 0.3 --batch-size 8",
            "cml" | "dpcml" | "buir" => "--lr 0.1 --batch-size 64",
            _ => "--lr 0.05 --batch-size 64",
        };
        let options = "--data small.csv --dim 8 --beta 0.9 --epochs 5 --protocol final --eval-every 1 --device ndarray";
        let out = format!("--method {method} --out {method} --compare popularity --json --quiet");
        let printed = json(&place.ok(&format!("train {options} {steps} {out}")).stdout);
        let rows = metric_lines(&place.read(&format!("{method}/metrics.jsonl")));
        let losses: Vec<f64> = rows.iter().map(|row| row["loss"].as_f64().unwrap()).collect();
        assert!(losses[4] < 0.8 * losses[0], "{method}: {losses:?}");
        let [trained, popular] =
            [&printed["final"], &printed["compare"]["popularity"]].map(|r| r["R@5"].as_f64().unwrap());
        assert!(trained > 5.0 * popular && popular > 0.0, "{method}: {trained} against {popular}");
    }
}

/// Losses that count rows say so at every epoch of the log, under their own word; others say nothing.
#[test]
fn counted_rows_are_logged() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    for (method, word) in [
        ("dcl", Some("floor_active")),
        ("hcl", Some("floor_active")),
        ("cml", Some("margin_active")),
        ("dpcml", Some("margin_active")),
        ("sfcml", None),
        ("mf", None),
        ("buir", None),
    ] {
        place.ok(&format!("train {SMALL} --method {method} --lr 0.05 --epochs 6 --eval-every 1 --out {method}"));
        let rows = metric_lines(&place.read(&format!("{method}/metrics.jsonl")));
        let Some(word) = word else {
            assert!(rows.iter().all(|row| row["counters"].is_null()), "{method}: {rows:?}");
            continue;
        };
        let shares: Vec<f64> = rows.iter().map(|row| row["counters"][word].as_f64().unwrap()).collect();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{method}: {shares:?}");
        // The floor is reached as negatives fall behind, margins hold as the model learns.
        let (first, last) = (shares[0], shares[5]);
        assert!(if word == "floor_active" { first < last } else { first > last }, "{method}: {shares:?}");
    }
}

/// `[method]` in a file, parts as text or as tables, is the same as flags.
#[test]
fn methods_as_tables() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    place.file(
        "tables.toml",
        "dim = 8\nbatch-size = 64\ndevice = \"ndarray\"\ndata = \"small.csv\"\n\n[method]\nname = \"onebp-lightgcn\"\n\
         encoder = { name = \"lightgcn\", layers = 2 }\nsampler = \"dns,pool=7\"\n\n[method.loss]\nname = \"dcl\"\n\
         tau-plus = 0.05\n\n[method.update]\nname = \"onebp\"\ncut = \"output\"\n",
    );
    place.ok("train --config tables.toml --epochs 2 --quiet --out tables");
    let parts = "--encoder lightgcn,layers=2 --sampler dns,pool=7 --loss dcl,tau-plus=0.05 --update onebp,cut=output";
    place.ok(&format!("train {SMALL} --method onebp-lightgcn {parts} --epochs 2 --out flags"));
    let config = |run: &str| place.read(&format!("{run}/config.toml"));
    assert_eq!(config("tables"), config("flags"));
    let rows = |run: &str| metric_lines(&place.read(&format!("{run}/metrics.jsonl")));
    assert_eq!(rows("tables"), rows("flags"));
    assert!(config("flags").contains("update = \"onebp,cut=output,order=post\""), "{}", config("flags"));
}

/// Combinations beyond the table that go together, on every engine that knows them.
#[test]
fn parts_go_together() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    for (number, parts) in [
        "--update two-bp --encoder mf,vectors=3 --sampler dns",
        "--update two-bp --encoder mf,vectors=2 --loss cml,covariance=0.5 --sampler hars",
        "--update two-bp --encoder ngcf,layers=1 --loss cml",
        "--update onebp --loss hcl --sampler two-stage",
        "--update user-only --encoder ngcf,rw-self=true --sampler popularity",
        "--update onebp,order=pre,cut=output --encoder lightgcn,layers=0",
    ]
    .iter()
    .enumerate()
    {
        for engine in ["auto", "autodiff"] {
            let out = format!("{engine}-{number}");
            place.ok(&format!("train {SMALL} {parts} --lr 0.01 --epochs 2 --engine {engine} --out {out}"));
        }
    }
}
