//! From a trained model to recommendations and files.

use super::*;

fn trained() -> Place {
    let place = Place::new();
    place.file("small.csv", small_csv());
    place.file("titles.csv", (0..60).map(|i| format!("i{i},Title {i}\n")).collect::<String>());
    let options = "--dim 4 --batch-size 64 --lr 0.05 --beta 0.9 --epochs 4 --device ndarray --protocol final --quiet";
    place.ok(&format!("train --data small.csv {options} --out run"));
    place
}

#[test]
fn recommend_gives_new_items_with_raw_ids() {
    let place = trained();
    let own: Vec<String> =
        small_csv().lines().filter_map(|line| line.strip_prefix("u7,")).map(str::to_string).collect();
    let text = place.ok("recommend --run run --user u7 u8 -k 3").stdout;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines[0], ["user", "item", "rank", "score"]);
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[1..4].iter().map(|l| (l[0], l[2])).collect::<Vec<_>>(), [("u7", "1"), ("u7", "2"), ("u7", "3")]);
    let scores: Vec<f32> = lines[1..4].iter().map(|line| line[3].parse().unwrap()).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]));
    let items_in_train: Vec<&str> = lines[1..4].iter().map(|l| l[1]).filter(|i| own.contains(&i.to_string())).collect();
    assert!(items_in_train.len() <= 2, "at most the two held-out items may come back: {items_in_train:?}");

    let titled = place.ok("recommend --run run --user u7 -k 1 --items titles.csv --json").stdout;
    let row = serde_json::from_str::<serde_json::Value>(&titled).unwrap()[0].clone();
    assert_eq!(row["title"], format!("Title {}", &row["item"].as_str().unwrap()[1..]));
    assert_eq!(row["rank"], 1);
}

/// Devices rank alike, whatever device the model was trained on.
#[test]
fn devices_recommend_and_evaluate_alike() {
    let place = trained();
    let recommend = "recommend --run run --all -k 5 --json --device";
    let evaluate = "evaluate --run run --json --device";
    let refused = place.run(&format!("{recommend} gpu"));
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("[possible values: auto, ndarray, flex, wgpu]"), "{}", refused.stderr);
    let ranked = place.run(&format!("{recommend} wgpu"));
    if ranked.code == 4 && std::env::var_os("ONEBP_REQUIRE_WGPU").is_none() {
        println!("skipped: {}", ranked.stderr);
        return;
    }
    assert!(ranked.stderr.contains("device: wgpu"), "{}", ranked.stderr);
    assert_eq!(ranked.stdout, place.ok(&format!("{recommend} ndarray")).stdout);
    let every_candidate = "recommend --run run --user u3 -k 1000 --device";
    let [here, there] = ["ndarray", "wgpu"].map(|name| place.ok(&format!("{every_candidate} {name}")).stdout);
    assert_eq!(here, there);

    let metrics = |name: &str| -> serde_json::Value {
        let printed = place.ok(&format!("{evaluate} {name}")).stdout;
        serde_json::from_str::<serde_json::Value>(&printed).unwrap()["metrics"].clone()
    };
    let (cpu, wgpu) = (metrics("ndarray"), metrics("wgpu"));
    assert!(cpu.as_object().unwrap().keys().eq(wgpu.as_object().unwrap().keys()));
    for (name, value) in cpu.as_object().unwrap() {
        let (value, other) = (value.as_f64().unwrap(), wgpu[name].as_f64().unwrap());
        assert!((value - other).abs() <= 1e-4 * value.max(1.0), "{name}: {value} {other}");
    }

    // A run on wgpu is watched there, and its last evaluation is repeated there to the bit.
    let options = "--data small.csv --dim 4 --batch-size 64 --lr 0.05 --epochs 3 --eval-every 1 --device wgpu --quiet";
    place.ok(&format!("train {options} --out there"));
    let summary: serde_json::Value = serde_json::from_str(&place.read("there/summary.json")).unwrap();
    let best = summary["best"]["NDCG@20"]["value"].as_f64().unwrap();
    let evaluated = place.ok("evaluate --run there --json --device wgpu").stdout;
    let evaluated: serde_json::Value = serde_json::from_str(&evaluated).unwrap();
    assert_eq!(evaluated["metrics"]["NDCG@20"].as_f64(), Some(best));
}

#[test]
fn recommend_writes_every_file_format() {
    let place = trained();
    for ending in ["tsv", "csv", "jsonl", "parquet"] {
        place.ok(&format!("recommend --run run --all -k 2 --output all.{ending}"));
    }
    assert_eq!(place.read("all.tsv").lines().count(), 121);
    assert_eq!(place.read("all.tsv").replace('\t', ","), place.read("all.csv"));
    assert_eq!(place.read("all.jsonl").lines().count(), 120);
    assert_eq!(&std::fs::read(place.path().join("all.parquet")).unwrap()[..4], b"PAR1");
    // Our own reader opens it again: user and item are found by name.
    let stats = place.ok("data stats all.parquet --json").stdout;
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["users"], 60);
    let refused = place.run("recommend --run run --all --output all.xlsx");
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("use .tsv, .csv, .jsonl or .parquet"));
}

#[test]
fn similar_lists_other_items() {
    let place = trained();
    let text = place.ok("similar --run run --item i3 -k 4 --items titles.csv --json").stdout;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row["item"] != "i3" && row["cosine"].as_f64().unwrap() <= 1.0 + 1e-6));
    assert_eq!(rows[0]["title"], format!("Title {}", &rows[0]["item"].as_str().unwrap()[1..]));
    // Four groups with tastes of their own: neighbours of an item come from its block of fifteen.
    assert!(rows.iter().all(|row| row["item"].as_str().unwrap()[1..].parse::<u32>().unwrap() < 15), "{text}");
}

#[test]
fn export_aligns_rows_and_ids() {
    let place = trained();
    for format in ["safetensors", "npy", "parquet", "csv"] {
        place.ok(&format!("export --run run --format {format} --output out-{format}"));
    }
    let csv = place.read("out-csv/items.csv");
    assert_eq!(csv.lines().next(), Some("id,e0,e1,e2,e3"));
    let ids: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(ids, place.read("out-npy/item-ids.txt").lines().collect::<Vec<_>>());
    assert_eq!(ids.len(), 60);

    // The same numbers in all formats.
    let values: Vec<f32> =
        csv.lines().skip(1).flat_map(|line| line.split(',').skip(1)).map(|x| x.parse().unwrap()).collect();
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    };
    let npy = std::fs::read(place.path().join("out-npy/items.npy")).unwrap();
    assert_eq!(&npy[..6], b"\x93NUMPY");
    assert_eq!(floats(&npy[npy.len() - 4 * values.len()..]), values);
    let stored = std::fs::read(place.path().join("out-safetensors/embeddings.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&stored).unwrap();
    assert_eq!(floats(tensors.tensor("items").unwrap().data()), values);
    assert_eq!(tensors.tensor("users").unwrap().shape(), [60, 4]);
}

#[test]
fn evaluate_repeats_the_summary_and_takes_other_data() {
    let place = trained();
    let summary: serde_json::Value = serde_json::from_str(&place.read("run/summary.json")).unwrap();
    let printed: serde_json::Value = serde_json::from_str(&place.ok("evaluate --run run --json").stdout).unwrap();
    assert_eq!(printed["metrics"], summary["final"]);
    assert_eq!(printed["epoch"], 4);

    place.file("later.csv", "user,item\nu7,i0\nu7,i1\nnobody,i1\n");
    let other = place.ok("evaluate --run run --data later.csv");
    assert!(other.stderr.contains("1 pairs have a user or an item that the model does not know"), "{}", other.stderr);
    assert!(other.stdout.contains("NDCG@20"));
}

#[test]
fn prepared_folders_train_as_they_are() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    place.ok("data prepare small.csv --output ready --seed 5 --item-core 3");
    let options = "--dim 4 --batch-size 64 --epochs 2 --device ndarray --quiet --json";
    let fingerprint = |arguments: &str| {
        let printed: serde_json::Value = serde_json::from_str(&place.ok(arguments).stdout).unwrap();
        printed["data_fingerprint"].clone()
    };
    let prepared = fingerprint(&format!("train --data ready {options} --out a"));
    let direct = fingerprint(&format!("train --data small.csv --seed 5 --item-core 3 {options} --out b"));
    assert_eq!(prepared, direct);
    let stats = place.ok("data prepare small.csv --output three --valid-ratio 0.1 --json").stdout;
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!((&stats["train"], &stats["valid"], &stats["test"]), (&540.into(), &60.into(), &120.into()));
    let ended = place.ok("train --data three --dim 4 --batch-size 64 --epochs 1 --device ndarray --out c");
    assert!(ended.stderr.contains("540 train + 60 valid + 120 test"), "{}", ended.stderr);
    let refused = place.run("data prepare three --output four --valid-ratio 0.1");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let refused = place.run("data prepare small.csv --output ready");
    assert_eq!(refused.code, 3, "{}", refused.stderr);
}

#[test]
fn names_live_in_the_data_directory() {
    let place = Place::new();
    place.file("sets/toy/small.csv", small_csv());
    let mut command = place.command("train --data toy --dim 4 --epochs 1 --batch-size 64 --quiet");
    let ended = Ended::of(command.env("ONEBP_DATA", place.path().join("sets")).output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(place.path().join("runs/toy-onebp/config.toml").exists());
    let missing = place.run("train --data toy");
    assert_eq!(missing.code, 3);
    assert!(missing.stderr.contains("no such file or folder, and no such name in"), "{}", missing.stderr);
}

#[test]
fn help_and_completions() {
    let place = Place::new();
    let help = place.ok("--help").stdout;
    assert!(help.contains("Exit codes") && help.contains("recommend"), "{help}");
    let help = place.ok("train --help").stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("[default: sequential; with user-only: last]"), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.ok(&format!("completions {shell}")).stdout.contains("onebp"));
    }
}
