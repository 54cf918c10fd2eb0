//! Training, resuming and repeating.

use super::*;
use std::{collections::BTreeMap, process::Stdio, time::Duration};

const SMALL: &str = "--data small.csv --dim 8 --batch-size 64 --device ndarray --quiet";

/// Everything of a run that must not depend on timing: tables, moments, counters, metric values.
fn substance(place: &Place, run: &str) -> (BTreeMap<String, Vec<u8>>, String, Vec<serde_json::Value>) {
    let folder = place.path().join(run).join("checkpoints");
    let mut record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("checkpoint.json")).unwrap()).unwrap();
    let progress = record["progress"].as_object_mut().unwrap();
    progress.remove("epoch_seconds");
    progress.remove("partial_seconds");
    let tensors = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "safetensors"))
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    (tensors, record.to_string(), metric_lines(&place.read(&format!("{run}/metrics.jsonl"))))
}

fn assert_same(place: &Place, a: &str, b: &str) {
    let (a, b) = (substance(place, a), substance(place, b));
    assert_eq!(a.1, b.1, "counters, checksums and progress");
    assert_eq!(a.2, b.2, "metric values");
    assert!(a.0 == b.0, "bytes of tables and moments");
}

/// Methods are names for parts, and parts can be had by themselves; what does not exist or fit is refused.
#[test]
fn parts_of_methods() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    place.ok(&format!("train {SMALL} --epochs 2 --method dcl --out named"));
    place.ok(&format!("train {SMALL} --epochs 2 --loss dcl,tau-plus=0.07 --update two-bp --out parts"));
    assert_eq!(substance(&place, "named").2, substance(&place, "parts").2);
    place.ok(&format!("train {SMALL} --epochs 2 --method two-bp --out alias"));
    assert!(place.read("alias/config.toml").contains("method = \"mf\""));
    for (options, code, part) in [
        ("--loss dcl,tau=1", 2, "unknown field `tau`, expected `tau-plus` or `positives`"),
        ("--loss dcl,tau-plus=1", 2, "tau-plus = 1 is out of range"),
        ("--sampler dns,pool=3", 2, "pool = 3 is out of range: it must be at least --negatives"),
        ("--sampler uniform,pool=3", 2, "unknown field `pool`"),
        ("--sampler magic", 2, "unknown variant `magic`"),
    ] {
        let refused = place.run(&format!("train {SMALL} {options} --out refused"));
        assert_eq!(refused.code, code, "{options}: {}", refused.stderr);
        assert!(refused.stderr.contains(part), "{options}: {}", refused.stderr);
    }
}

/// The files of a run and what they hold.
#[test]
fn a_run_leaves_its_files() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    for (protocol, part) in [("validated", "valid"), ("paper", "test"), ("final", "test")] {
        let run = format!("run-{protocol}");
        place.ok(&format!("train {SMALL} --epochs 4 --eval-every 2 --protocol {protocol} --out {run}"));
        let rows = metric_lines(&place.read(&format!("{run}/metrics.jsonl")));
        assert_eq!(rows.iter().map(|row| row["epoch"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 4]);
        for name in ["P", "R", "F1", "NDCG"].iter().flat_map(|m| [5, 10, 20].map(|k| format!("{m}@{k}"))) {
            assert!(rows.iter().all(|row| row[&name].is_f64()), "{name}");
        }
        assert!(rows.iter().all(|row| row["part"] == part && row["loss"].is_f64()));

        let summary: serde_json::Value = serde_json::from_str(&place.read(&format!("{run}/summary.json"))).unwrap();
        assert_eq!(summary["protocol"], protocol);
        assert!(summary["final"]["NDCG@20"].is_f64());
        assert!(summary["seconds_per_epoch"].as_f64().unwrap() > 0.0);
        assert_eq!(summary["statistics"]["users"], 60);
        match protocol {
            "final" => assert_eq!(summary["best"], serde_json::json!({})),
            _ => {
                let best = &summary["best"]["NDCG@20"];
                assert!(best["value"].as_f64().unwrap() > 0.0 && best["epoch"].as_u64().unwrap() <= 4);
            }
        }
        if protocol == "paper" {
            let best = rows.iter().map(|row| row["NDCG@20"].as_f64().unwrap()).fold(0.0, f64::max);
            assert_eq!(summary["best"]["NDCG@20"]["value"].as_f64(), Some(best));
        }
    }
    let again = place.run(&format!("train {SMALL} --epochs 4 --out run-paper"));
    assert_eq!(again.code, 5);
    assert!(again.stderr.contains("there is a run already"), "{}", again.stderr);
}

/// T46 as a whole program: the same bytes again, with one thread and with two.
#[test]
fn same_command_same_bytes() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    for (run, threads) in [("one", 1), ("again", 1), ("two", 2)] {
        place.ok(&format!("train {SMALL} --epochs 5 --threads {threads} --out {run}"));
    }
    assert_same(&place, "one", "again");
    assert_same(&place, "one", "two");
    place.ok("train --config one/config.toml --quiet --out from-config");
    assert_same(&place, "one", "from-config");
}

/// T45 as a whole program: stopping after 3 epochs and going on to 6 equals 6 at once.
#[test]
fn resuming_equals_going_on() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    for method in methods::names(&place) {
        let base = format!("train {SMALL} --method {method}");
        place.ok(&format!("{base} --epochs 6 --out {method}-whole"));
        place.ok(&format!("{base} --epochs 3 --out {method}-parts"));
        place.ok(&format!("train --resume {method}-parts --epochs 6 --quiet"));
        assert_same(&place, &format!("{method}-whole"), &format!("{method}-parts"));
    }
    let refused = place.run("train --resume onebp-parts --lr 0.5");
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("--lr cannot change when a run is resumed"), "{}", refused.stderr);
    let fewer = place.run("train --resume onebp-parts --epochs 2");
    assert_eq!(fewer.code, 5);
    assert!(fewer.stderr.contains("6 epochs are done, 2 are asked for"), "{}", fewer.stderr);
    let config = place.read("onebp-parts/config.toml");
    place.file("onebp-parts/config.toml", config.replace("beta = 0.99", "beta = 0.5"));
    let refused = place.run("train --resume onebp-parts --epochs 7");
    assert_eq!(refused.code, 5);
    assert!(refused.stderr.contains("beta was changed from \"0.99\" to \"0.5\""), "{}", refused.stderr);
    place.file("onebp-parts/config.toml", config.replace("beta = 0.99", ""));
    let refused = place.run("train --resume onebp-parts --epochs 7");
    assert!(refused.stderr.contains("`beta` is missing"), "{}", refused.stderr);
    place.file("onebp-parts/config.toml", config);
    place.file("small.csv", small_csv().replace("u3,", "v3,"));
    let renamed = place.run("recommend --run onebp-parts --user u1");
    assert_eq!(renamed.code, 5, "other raw ids are other data");
    place.file("small.csv", small_csv() + "u3,i59\n");
    let refused = place.run("train --resume onebp-parts --epochs 7");
    assert_eq!(refused.code, 5);
    assert!(refused.stderr.contains("not what this run was trained on"), "{}", refused.stderr);
}

/// Kills a training process at `kills` moments, resumes each time, and compares with an uninterrupted run.
fn survives_kills(method: &str, kills: u32, signal: &str, expected: Option<i32>) {
    let place = Place::new();
    place.file("small.csv", small_csv());
    let epochs = 40 * kills;
    let base = format!("train {SMALL} --method {method} --epochs {epochs} --patience 0 --checkpoint-every 0");
    let clock = std::time::Instant::now();
    place.ok(&format!("{base} --out whole"));
    // A leg is at most half its share of the run, so that no leg finishes it, even on a machine that others slow down.
    let leg = clock.elapsed() / kills / 2;

    let mut arguments = format!("{base} --out killed");
    for kill in 0..kills {
        let mut child = place.command(&arguments).stderr(Stdio::null()).spawn().unwrap();
        // Moments spread over a leg, from the very start of the process to deep in training.
        std::thread::sleep(leg.mul_f64((f64::from(kill + 1) * 0.618).fract()));
        // The shell's own kill: the program of that name is not on every machine.
        let kill = format!("kill {signal} {}", child.id());
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
        let status = child.wait().unwrap();
        assert!(!status.success(), "the run ended before it was killed");
        // A signal that comes before the handler is in place ends the process by itself.
        assert!(status.code() == expected || status.code().is_none(), "{status}");
        if place.path().join("killed/config.toml").exists() {
            arguments = "train --resume killed --quiet".into();
        }
    }
    place.ok(&arguments);
    assert_same(&place, "whole", "killed");
}

#[test]
fn twenty_kills_lose_nothing() {
    survives_kills("onebp", 20, "-9", None);
}

#[test]
fn interrupts_write_a_checkpoint_and_end_with_130() {
    survives_kills("onebp", 3, "-INT", Some(130));
}

/// Methods with a state beside tables and moments: steps of dropout and weights, targets, several vectors, whole users.
#[test]
fn states_of_every_kind_survive() {
    for method in ["ngcf", "buir", "dpcml", "sfcml"] {
        survives_kills(method, 2, "-INT", Some(130));
    }
}

/// The first start of a newcomer, shortened: built-in data, comparison, table.
#[test]
fn built_in_data_trains_without_any_option() {
    let place = Place::new();
    let ended = place.ok("train --epochs 2 --eval-every 1");
    for name in ["onebp", "mf", "popularity", "NDCG@20"] {
        assert!(ended.stdout.contains(name), "{}", ended.stdout);
    }
    assert!(ended.stderr.contains("run folder: runs/synthetic-onebp"), "{}", ended.stderr);
    assert!(ended.stderr.contains("preset: synthetic"), "{}", ended.stderr);
    assert!(place.path().join("runs/synthetic-onebp/compare/mf/summary.json").exists());
    let second = place.ok("train --epochs 1 --compare popularity --quiet");
    assert_eq!(second.stderr, "");
    assert!(place.path().join("runs/synthetic-onebp-2/summary.json").exists(), "a free folder of its own");
}

/// Comparisons train under the settings of the run, also after an interruption and from the saved configuration.
#[test]
fn comparisons_survive_interruption() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    let base = format!("train {SMALL} --preset ml-1m --epochs 40 --checkpoint-every 0 --compare mf");
    place.ok(&format!("{base} --out whole"));
    let mut child = place.command(&format!("{base} --out cut")).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
    if place.path().join("cut/config.toml").exists() {
        place.ok("train --resume cut --quiet");
    } else {
        place.ok(&format!("{base} --out cut"));
    }
    place.ok("train --config whole/config.toml --quiet --out again");
    for run in ["cut", "again"] {
        assert_same(&place, "whole", run);
        assert_same(&place, "whole/compare/mf", &format!("{run}/compare/mf"));
    }
}

/// A folder that holds a part of another run is left alone.
#[test]
fn no_run_adopts_the_files_of_another() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    place.ok(&format!("train {SMALL} --epochs 1 --out run"));
    std::fs::remove_file(place.path().join("run/config.toml")).unwrap();
    let refused = place.run("train --data small.csv --out run");
    assert_eq!(refused.code, 5);
    assert!(refused.stderr.contains("there is a run already"), "{}", refused.stderr);
}

/// Names are remembered with the folder they were found in.
#[test]
fn named_data_is_found_from_anywhere() {
    let place = Place::new();
    place.file("sets/toy/small.csv", small_csv());
    place.ok("train --data toy --data-directory sets --dim 4 --epochs 1 --batch-size 64 --quiet --out run");
    let mut command = place.command("recommend --run ../run --user u1");
    let ended = Ended::of(command.current_dir(place.path().join("sets")).output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

/// Engines are told apart by their speed alone: the same run on each of them ends with nearly the same numbers.
#[test]
fn engines_end_with_the_same_numbers() {
    let place = Place::new();
    let losses = ["autodiff", "rows", "fused"].map(|engine| {
        let options = "--device flex --dim 16 --epochs 2 --protocol final --quiet";
        let ended = place.run(&format!("train {options} --engine {engine} --out {engine}"));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let rows = metric_lines(&place.read(&format!("{engine}/metrics.jsonl")));
        rows.last().unwrap()["loss"].as_f64().unwrap()
    });
    assert!(losses.iter().all(|loss| (loss / losses[0] - 1.0).abs() < 1e-4), "{losses:?}");
}

/// Every optimizer learns at its own default rate, and says so in the saved configuration.
#[test]
fn every_optimizer_learns() {
    let place = Place::new();
    for optimizer in ["adam", "lazy-adam", "adagrad", "rowwise-adagrad", "sgd"] {
        let options = "--device ndarray --dim 16 --epochs 20 --protocol final --eval-every 20 --quiet";
        let ended = place.run(&format!("train {options} --optimizer {optimizer} --out {optimizer}"));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let row = &metric_lines(&place.read(&format!("{optimizer}/metrics.jsonl")))[0];
        assert!(row["loss"].as_f64().unwrap() < 1.6, "{optimizer}: {row}");
        assert!(place.read(&format!("{optimizer}/config.toml")).contains(&format!("optimizer = \"{optimizer}\"")));
    }
}

/// What CI and scripts read of a benchmark.
#[test]
fn benchmarks_print_json() {
    let place = Place::new();
    for arguments in ["--dim 8 --device ndarray", "--random 300x200x5000 --dim 8 --device flex --method mf"] {
        let ended = place.run(&format!("bench {arguments} --threads 2 --quiet --json"));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        for number in [
            "epoch_seconds",
            "sampling_seconds",
            "step_seconds",
            "pairs_per_second",
            "bandwidth_share",
            "bytes",
            "bound_seconds",
            "times_bound",
            "plain_seconds",
            "times_plain",
        ] {
            assert!(report[number].as_f64().unwrap() > 0.0, "{number}: {report}");
        }
        assert!(report["bound_unit"].is_string(), "{report}");
        assert_eq!(report["epochs"].as_array().unwrap().len(), 5);
        assert_eq!(report["eval_seconds"].is_null(), arguments.contains("random"));
        assert!(report["peak_rss_bytes"].as_u64().is_none_or(|bytes| bytes > 1 << 20));
        assert!(report["pass_seconds"]["optimizer"].as_f64().unwrap() > 0.0);
        assert_eq!(report["threads"], 2);
    }
    assert!(!place.path().join("runs").exists(), "a benchmark leaves nothing behind");
}
