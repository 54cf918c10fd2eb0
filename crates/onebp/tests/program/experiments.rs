//! `onebp experiment` and `onebp report`: grids that stop, go on, fail and are reported on.

use super::{Ended, Place};
use std::path::Path;

/// Interactions of 90 users with tastes among 120 items.
fn ratings() -> String {
    let mut text = String::from("user,item\n");
    for user in 0..90u32 {
        for k in 0..14u32 {
            let item = (user % 6) * 20 + (user * 7 + k * k * 3 + k) % 26;
            text.push_str(&format!("u{user},i{}\n", item % 120));
        }
    }
    text
}

/// A folder with data, an experiment of four runs, and one of a sweep.
pub fn lab() -> Place {
    let place = Place::new();
    place.file("ratings.csv", ratings());
    place.file(
        "experiments/small.toml",
        "title = \"Table 9: small\"\nabout = \"Which is better?\"\nclaim = \"OneBP.\"\nview = \"comparison\"\nchampion = \
         \"onebp\"\ndata = [\"./ratings.csv\"]\nprotocols = [\"paper\", \"validated\"]\nmetrics = [\"P@5\", \"NDCG@20\"]\n\
         measures = [\"per-user\"]\npaper = \"paper.json\"\noptions = { dim = 8, epochs = 4, batch-size = 64 }\n\
         [[row]]\nname = \"mf\"\nlabel = \"TwoBP <two>\"\noptions = { method = \"mf\" }\n\
         [[row]]\nname = \"onebp\"\n[profile.quick]\nprotocols = [\"paper\"]\noptions = { epochs = 2 }\n",
    );
    place.file(
        "experiments/paper.json",
        r#"{"source": "hand", "rows": [{"data": "./ratings.csv", "row": "mf", "P@5": 0.5}],
            "suspicious": [{"data": "./ratings.csv", "row": "mf", "columns": ["P@5"], "reason": "too round"}]}"#,
    );
    place.file(
        "experiments/sweep.toml",
        "title = \"Figure 9\"\nabout = \"How many?\"\nview = \"sweep\"\ndata = [\"./ratings.csv\"]\nmetrics = \
         [\"NDCG@20\"]\noptions = { dim = 8, epochs = 2, batch-size = 64 }\n[[row]]\nname = \"mf\"\noptions = { method = \
         \"mf\" }\n[vary]\naxis = \"S\"\nlogarithmic = true\npoints = [{ at = 1, options = { negatives = 1 } }, { at = 5, \
         options = {} }]\n",
    );
    place
}

const RUN: &str = "experiment run --device ndarray --threads 2";

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_grid_is_run_once_and_reported() {
    let place = lab();
    let first = place.ok(&format!("{RUN} --jobs 2"));
    assert!(first.stderr.contains("6 of 6 runs are to be done") && first.stderr.contains("6/6 "), "{}", first.stderr);
    let results = files(&place.path().join("experiments/results/ratings"));
    assert_eq!(results.len(), 6, "{results:?}");
    assert!(results[0].starts_with("mf-paper-2022-") && results[0].ends_with(".json"));
    let again = place.ok(RUN);
    assert!(again.stderr.contains("everything is finished"), "{}", again.stderr);
    let list = place.ok("experiment list");
    assert!(list.stdout.contains("small\t4/4\tTable 9: small"), "{}", list.stdout);
    let status = place.ok("experiment status small --json");
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status.as_array().unwrap().len(), 4);
    assert_eq!(status[0]["state"], "finished");

    let report = place.ok("experiment report --out out");
    assert_eq!(report.stdout.trim(), "out/report.html");
    let html = place.read("out/report.html");
    for text in [
        "Table 9: small",
        "TwoBP &#60;two&#62;",
        "too round",
        "<svg",
        "onebp is ahead of",
        "protocol <code>paper</code>",
    ] {
        assert!(html.contains(text), "{text}");
    }
    for ending in ["md", "tex", "csv", "json"] {
        assert!(!place.read(&format!("out/tables/small-ratings-paper.{ending}")).is_empty());
    }
    let csv = place.read("out/tables/small-ratings-paper.csv");
    assert!(
        csv.starts_with("group,row,kind,column,value,text,detail\n") && csv.contains("<two>,paper,P@5,0.5,.5000,"),
        "{csv}"
    );
    let tests = place.read("out/tables/small-ratings-validated-tests.md");
    assert!(tests.contains("95 % interval"), "{tests}");
    assert_eq!(
        place.ok("experiment report small --markdown").stdout,
        place.ok("experiment report small --markdown").stdout
    );
}

/// Seconds of runs on different numbers of threads do not compare; epochs do.
#[test]
fn curves_compare_seconds_of_rows_that_were_run_alike() {
    let place = lab();
    let small = place.read("experiments/small.toml");
    place.file("experiments/curves.toml", small.replace("comparison", "curves").replace("Table 9", "Curves"));
    let run = |row: &str, threads: u32| {
        place.ok(&format!("experiment run curves --protocols paper --device ndarray --threads {threads} --rows {row}"))
    };
    run("mf", 2);
    run("onebp", 1);
    let report = || place.ok("experiment report curves --protocols paper --markdown").stdout;
    let unlike = report();
    assert!(unlike.contains("**Epochs until NDCG@20 first reaches") && unlike.contains("not compared"), "{unlike}");
    assert!(!unlike.contains("s/epoch"), "{unlike}");
    std::fs::remove_dir_all(place.path().join("experiments/results")).unwrap();
    std::fs::remove_dir_all(place.path().join("runs")).unwrap();
    run("mf,onebp", 2);
    let alike = report();
    assert!(alike.contains("**Seconds of training until NDCG@20 first") && alike.contains("s/epoch"), "{alike}");
}

/// Experiments that share a run add to what is measured of it, and do not undo each other.
#[test]
fn measurements_add_up() {
    let place = lab();
    let small = place.read("experiments/small.toml");
    place.file("experiments/more.toml", small.replace("per-user", "types").replace("Table 9", "Table 10"));
    let genres = small.replace("per-user", "genres").replace("[\"paper\", \"validated\"]", "[\"paper\"]");
    place.file("experiments/genres.toml", genres);
    place.ok(&format!("{RUN} small"));
    let more = place.ok(&format!("{RUN} more"));
    assert!(more.stderr.contains("4 of 4 runs are to be done"), "{}", more.stderr);
    for name in ["small", "more"] {
        let again = place.ok(&format!("{RUN} {name}"));
        assert!(again.stderr.contains("everything is finished"), "{name}: {}", again.stderr);
    }
    // What cannot be measured is told, and costs nothing of the rest.
    let unknown = place.run(&format!("{RUN} genres"));
    assert!(
        unknown.code == 3 && unknown.stderr.contains("genres of the items are not known; put u.item"),
        "{}",
        unknown.stderr
    );
    let status = place.ok("experiment status genres");
    assert!(
        status.stdout.contains("\tunmeasured\t") && status.stdout.contains("genres could not be measured"),
        "{}",
        status.stdout
    );
    assert_eq!(place.run(&format!("{RUN} genres")).code, 3, "not again without --retry");
    assert!(place.ok("experiment status small").stdout.contains("\tfinished\t"));
}

/// Runs on data that has changed under its name are other runs, and are not averaged with the old ones.
#[test]
fn results_of_other_data_are_told_apart() {
    let place = lab();
    place.ok(&format!("{RUN} small --protocols paper"));
    let value = |place: &Place| {
        let report = place.ok("experiment report small --protocols paper --json");
        serde_json::from_str::<serde_json::Value>(&report.stdout).unwrap()[0]["blocks"].to_string()
    };
    let before = value(&place);
    place.file("ratings.csv", ratings().replace("u1,", "u2,"));
    let again = place.ok(&format!("{RUN} small --protocols paper"));
    assert!(again.stderr.contains("2 of 2 runs are to be done"), "{}", again.stderr);
    assert_ne!(value(&place), before);
    place.file("ratings.csv", ratings());
    assert_eq!(value(&place), before, "the data decides which results are meant");
    std::fs::remove_file(place.path().join("ratings.csv")).unwrap();
    let refused = place.run("experiment report small --protocols paper");
    assert!(
        refused.code == 5 && refused.stderr.contains("results of different data under this name"),
        "{}",
        refused.stderr
    );
}

/// Stopped by its budget, a grid goes on where it was; shares of it make the whole; and numbers do not depend on it.
#[test]
fn grids_stop_go_on_and_are_shared() {
    let place = lab();
    let stopped = place.ok(&format!("{RUN} --budget 0s"));
    assert!(
        stopped.stderr.contains("the budget is used up") && stopped.stderr.contains("6 runs are left"),
        "{}",
        stopped.stderr
    );
    place.ok(&format!("{RUN} --results one --shard 1/2"));
    place.ok(&format!("{RUN} --results two --shard 2/2 --work other"));
    let (one, two) = (files(&place.path().join("one/ratings")), files(&place.path().join("two/ratings")));
    assert_eq!((one.len(), two.len()), (3, 3));
    place.ok(&format!("{RUN} --discard"));
    let all = files(&place.path().join("experiments/results/ratings"));
    let mut both = [one.clone(), two].concat();
    both.sort();
    assert_eq!(all, both);
    let values = |folder: &str| {
        let text = place.read(&format!("{folder}/ratings/{}", one[0]));
        let result: serde_json::Value = serde_json::from_str(&text).unwrap();
        (
            result["best"].clone(),
            result["final"].clone(),
            result["measurements"].clone(),
            result["curve"]["loss"].clone(),
        )
    };
    assert_eq!(values("one"), values("experiments/results"));
    assert_eq!(files(&place.path().join("runs/experiments/ratings")).len(), 0, "nothing is kept");
    let quick = place.ok(&format!("{RUN} small --profile quick"));
    assert!(quick.stderr.contains("2 of 2 runs are to be done"), "{}", quick.stderr);
}

/// A run that fails is kept as one, shown, skipped, and run again when asked for.
#[test]
fn failures_are_kept_and_shown() {
    let place = lab();
    let diverging = place.read("experiments/small.toml").replace("method = \"mf\" }", "method = \"mf\", lr = 1e30 }");
    place.file("experiments/small.toml", diverging);
    let failed = place.run(&format!("{RUN} small --protocols paper"));
    assert_eq!(failed.code, 6, "{}", failed.stderr);
    assert!(failed.stderr.contains("1 of the runs failed") && failed.stderr.contains("2/2 "), "{}", failed.stderr);
    let status = place.ok("experiment status small --protocols paper");
    assert!(status.stdout.contains("\tfailed\t") && status.stdout.contains("\tfinished\t"), "{}", status.stdout);
    assert!(place.ok("experiment list small --protocols paper").stdout.contains("1/2, 1 failed"));
    let skipped = place.run(&format!("{RUN} small --protocols paper"));
    assert_eq!(skipped.code, 5, "{}", skipped.stderr);
    assert!(skipped.stderr.contains("skipped, it failed before: ratings mf, paper"), "{}", skipped.stderr);
    assert_eq!(place.run(&format!("{RUN} small --protocols paper --retry")).code, 6);
    place.ok("experiment report small --protocols paper");
    assert!(place.read("report/report.html").contains("failed: "));
}

#[test]
fn wrong_experiments_are_refused() {
    let place = lab();
    let refused = |arguments: &str, code: i32, text: &str| {
        let Ended { code: found, stderr, .. } = place.run(arguments);
        assert!(found == code && stderr.contains(text), "{arguments}: {found} {stderr}");
    };
    refused("experiment run smal", 2, "there is no experiment `smal` in experiments; did you mean `small`?");
    refused("experiment run small --profile fast", 2, "there is no profile `fast`; it has quick");
    refused("experiment run small --rows dcl", 2, "there is no row `dcl`; rows are mf, onebp");
    refused("experiment run small --shard 3/2", 2, "write I/N with I from 1 to N");
    refused("experiment run small --budget 2d", 2, "write a number with s, m or h");
    refused("experiment run small --data nowhere", 3, "nowhere: no such file or folder");
    refused(
        "experiment run --experiments nowhere",
        2,
        "nowhere: no such folder of experiments; give it by --experiments",
    );
    refused("experiment report small", 5, "none of these runs is finished; run them first: onebp experiment run");
    place.file("experiments/bad.toml", "title = 1\n");
    refused("experiment list", 2, "experiments/bad.toml:1: `title`: invalid type: integer");
    refused("experiment run", 2, "experiments/bad.toml:1: `title`: invalid type: integer");
    place.file("experiments/bad.toml", place.read("experiments/small.toml").replace("dim = 8", "dims = 8"));
    refused("experiment list", 2, "bad.toml: ratings mf, paper, seed 2022: unknown key `dims`; did you mean `dim`?");
    place.file("experiments/bad.toml", place.read("experiments/small.toml").replace("batch-size = 64", "lr = -1"));
    refused("experiment list", 2, "bad.toml: ratings mf, paper, seed 2022: ");
    place.file("experiments/bad.toml", place.read("experiments/small.toml").replace("paper.json", "none.json"));
    refused("experiment list", 2, "none.json: ");
    std::fs::remove_file(place.path().join("experiments/bad.toml")).unwrap();
    place.file("experiments/results/ratings/x.json", "{}");
    refused("experiment list", 5, "x.json: missing field `config`");
}

/// One damaged file hides none of the others, and is not written over.
#[test]
fn damaged_files_are_told_beside_the_others() {
    let place = lab();
    let run = place.ok(&format!("{RUN} small sweep --protocols paper --json"));
    let runs: Vec<serde_json::Value> = serde_json::from_str(&run.stdout).unwrap();
    assert!(runs.len() == 4 && runs.iter().all(|run| run["state"] == "finished"), "{}", run.stdout);
    place.file("experiments/bad.toml", "title = 1\n");
    let results = files(&place.path().join("experiments/results/ratings"));
    let of_small = results.iter().find(|name| name.starts_with("onebp-")).unwrap();
    let damaged = format!("experiments/results/ratings/{of_small}");
    place.file(&damaged, "{");
    for command in ["list", "status", "report"] {
        let shown = place.run(&format!("experiment {command} --protocols paper"));
        assert_eq!(shown.code, 5, "{command}: {}", shown.stderr);
        for text in ["bad.toml:1: `title`: invalid type", &damaged, "remove it and run the experiment again"] {
            assert!(shown.stderr.contains(text), "{command}: {text}: {}", shown.stderr);
        }
        assert!(!shown.stdout.is_empty(), "{command}");
    }
    assert!(place.run("experiment list --protocols paper").stdout.contains("small\t1/2\tTable 9: small"));
    let again = place.run(&format!("{RUN} small sweep --protocols paper"));
    assert!(again.code == 5 && again.stderr.contains(&damaged), "{}", again.stderr);
    assert_eq!(place.read(&damaged), "{");
    std::fs::remove_file(place.path().join(&damaged)).unwrap();
    assert!(place.ok(&format!("{RUN} small sweep --protocols paper")).stderr.contains("1 of 4 runs are to be done"));
}

/// The experiments of the repository are well-formed, whatever is finished of them.
#[test]
fn experiments_of_the_repository() {
    let place = Place::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments");
    let listed = place.ok(&format!("experiment list --json --experiments {folder}"));
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    for name in [
        "table-1", "table-2", "table-3", "table-4", "table-5", "figure-3", "figure-4", "figure-6", "figure-7",
        "figure-8",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    place.ok(&format!("experiment list --profile quick --experiments {folder}"));
}

#[test]
fn runs_of_ones_own_are_reported() {
    let place = lab();
    let train = "train --data ./ratings.csv --dim 8 --epochs 4 --batch-size 64 --device ndarray --compare popularity";
    place.ok(&format!("{train} --out runs/a"));
    place.ok(&format!("{train} --out runs/b --method mf --protocol paper"));
    let one = place.ok("report runs/a");
    assert_eq!(one.stdout.trim(), "runs/a/report.html");
    let both = place.ok("report runs/a runs/b --out both");
    assert_eq!(both.stdout.trim(), "both/report.html");
    let html = place.read("both/report.html");
    for text in ["2 runs", "NDCG@20 by epochs", "dim = 8", "test at the one epoch that is best on validation", "<svg"] {
        assert!(html.contains(text), "{text}");
    }
    for (arguments, code, text) in [
        ("report runs/a runs/b", 2, "give it by --out"),
        ("report runs/none", 5, "no such folder"),
        ("report", 2, "required"),
    ] {
        let ended = place.run(arguments);
        assert!(ended.code == code && ended.stderr.contains(text), "{arguments}: {}", ended.stderr);
    }
}

/// Tables of README.md and docs/ are those of the results that lie in the repository (`scripts/update-tables`).
#[test]
fn tables_in_the_documentation_are_the_results() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let place = Place::new();
    place.ok(&format!("experiment report --experiments {} --out out", root.join("experiments").display()));
    let findings = std::fs::read_to_string(root.join("docs/findings.md")).unwrap();
    let same = |written: &str, measured: &str, what: &str| {
        let (old, new): (Vec<&str>, Vec<&str>) = (written.lines().collect(), measured.lines().collect());
        let differs = (0..old.len().max(new.len())).find(|&line| old.get(line) != new.get(line));
        if let Some(line) = differs {
            let (old, new) = (old.get(line), new.get(line));
            panic!("{what}, line {}: {old:?} is not {new:?}; scripts/update-tables puts it right", line + 1);
        }
    };
    same(&findings, &place.read("out/report.md"), "docs/findings.md");
    let docs =
        files(&root.join("docs")).into_iter().filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    let mut tables = 0;
    for page in docs.chain(["README.md".to_string()]) {
        let text = std::fs::read_to_string(root.join(&page)).unwrap();
        for (_, rest) in text.match_indices("<!-- end of ").map(|(at, _)| text.split_at(at)) {
            let name = rest["<!-- end of ".len()..].split(" -->").next().unwrap();
            let start = format!("<!-- {name} -->\n");
            let from = text.find(&start).unwrap_or_else(|| panic!("{page}: `{start}` is missing")) + start.len();
            let to = text.find(&format!("<!-- end of {name} -->")).unwrap();
            let measured = place.read(&format!("out/tables/{name}.md"));
            same(&text[from..to], &measured, &format!("{page}: {name}"));
            tables += 1;
        }
    }
    assert!(tables > 0);
}
