//! Wrong input gets one clear message that names the place and the remedy, and the documented exit code.

use super::*;

/// Runs, expects the code, one line that starts with `error: `, every fragment in it, and no trace of a panic.
fn refused(place: &Place, arguments: &str, code: i32, fragments: &[&str]) {
    let ended = place.run(arguments);
    assert_eq!(ended.code, code, "onebp {arguments}\n{}", ended.stderr);
    let errors: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "onebp {arguments}\n{}", ended.stderr);
    for fragment in fragments {
        assert!(errors[0].contains(fragment), "onebp {arguments}\nwants {fragment:?} in {}", errors[0]);
    }
    assert!(!ended.stderr.contains("panicked") && !ended.stderr.contains("internal error"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "nothing on stdout");
}

fn data_refused(content: impl AsRef<[u8]>, options: &str, fragments: &[&str]) {
    let place = Place::new();
    place.file("bad.csv", content);
    refused(&place, &format!("data stats bad.csv {options}"), 3, fragments);
    refused(&place, &format!("train --data bad.csv {options}"), 3, fragments);
    assert!(!place.path().join("runs").exists(), "no run folder is left behind");
}

#[test]
fn wrong_separator() {
    data_refused("user,item\na,b\nc,d\n", "--format delimited --separator ;", &["bad.csv", "separator"]);
}

#[test]
fn missing_column() {
    let fragments = ["bad.csv", "movie", "user", "thing"];
    data_refused("user,thing\na,b\nc,d\n", "--item-column movie", &fragments);
}

#[test]
fn missing_field_in_a_line() {
    data_refused("user,item,rating\na,b,1\nc,d\ne,f,2\n", "", &["bad.csv:3"]);
}

#[test]
fn text_where_a_number_must_be() {
    let text = "user,item,rating\na,b,5\na,c,five\nb,c,4\n";
    data_refused(text, "--min-rating 3", &["bad.csv:3", "five"]);
}

#[test]
fn empty_file_and_header_only() {
    data_refused("", "", &["bad.csv", "empty"]);
    data_refused("user,item\n", "", &["bad.csv"]);
}

#[test]
fn invalid_utf_8() {
    data_refused(b"user,item\na,b\nc,d\xff\xfe\n", "", &["bad.csv:3", "UTF-8"]);
}

#[test]
fn truncated_parquet() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    let options = "--dim 2 --batch-size 64 --epochs 1 --device ndarray --quiet";
    place.ok(&format!("train --data small.csv {options} --out run"));
    place.ok("recommend --run run --all --output whole.parquet");
    let whole = std::fs::read(place.path().join("whole.parquet")).unwrap();
    place.file("half.parquet", &whole[..whole.len() / 2]);
    refused(&place, "data stats half.parquet", 3, &["half.parquet", "Parquet"]);
    place.file("fake.parquet", "user,item\na,b\n");
    refused(&place, "data stats fake.parquet --format parquet", 3, &["fake.parquet", "Parquet"]);
}

/// Ids are names: their size costs nothing.
#[test]
fn absurdly_large_ids_are_only_names() {
    let place = Place::new();
    place.file("big.csv", "user,item\n18446744073709551616,99999999999999999999999\n2,99999999999999999999999\n2,3\n");
    place.ok("data stats big.csv");
    place.file("split/train.txt", "0 4000000000 4294967296\n7 1\n");
    place.file("split/test.txt", "0 1\n7 4000000000\n");
    let stats: serde_json::Value = serde_json::from_str(&place.ok("data stats split --json").stdout).unwrap();
    assert_eq!((&stats["users"], &stats["items"]), (&2.into(), &3.into()));
}

#[test]
fn users_with_everything_or_nothing() {
    let place = Place::new();
    // User 0 owns the whole catalogue, user 1 has no item at all, in the LightGCN format.
    place.file("split/train.txt", "0 0 1 2 3\n1\n2 0 3\n");
    place.file("split/test.txt", "2 1\n");
    let options = "--dim 2 --batch-size 2 --negatives 2 --epochs 2 --protocol final --device ndarray";
    let ended = place.ok(&format!("train --data split {options} --out run"));
    assert!(ended.stderr.contains("warning"), "{}", ended.stderr);
    let lists = place.ok("recommend --run run --all -k 5").stdout;
    assert!(lists.lines().skip(1).all(|line| !line.starts_with("0\t")), "nothing is new to user 0: {lists}");
}

#[test]
fn test_items_unknown_to_train_and_overlap() {
    let place = Place::new();
    place.file("split/train.csv", "user,item\na,x\na,y\nb,x\nb,y\n");
    place.file("split/test.csv", "user,item\na,new\nb,x\nb,z\n");
    let ended = place.ok("data stats split");
    let warnings: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert!(warnings.iter().any(|line| line.contains("test.csv:2")), "first unknown item: {warnings:?}");
    assert!(warnings.iter().any(|line| line.contains("test.csv:3")), "first overlap: {warnings:?}");
    let strict = place.run("data stats split --strict");
    assert_eq!(strict.code, 3);
    assert!(strict.stderr.contains("test.csv:"), "{}", strict.stderr);
}

#[test]
fn missing_and_ambiguous_paths() {
    let place = Place::new();
    refused(&place, "train --data nowhere.csv", 3, &["nowhere.csv", "no such file or folder", "synthetic"]);
    place.file("two/a.csv", "user,item\na,b\n");
    place.file("two/b.csv", "user,item\na,b\n");
    refused(&place, "train --data two", 3, &["a.csv", "b.csv"]);
    place.file("none/readme.md", "hello");
    refused(&place, "train --data none", 3, &["none"]);
}

#[test]
fn preparation_that_leaves_nothing() {
    data_refused("user,item,rating\na,b,1\na,c,2\n", "--min-rating 9", &["rating"]);
    data_refused("user,item\na,b\na,c\nb,c\n", "--user-core 5", &["core"]);
    data_refused("user,item\na,b\na,c\nb,c\n", "--split time", &["time"]);
    data_refused("user,item\na,b\na,c\nb,c\n", "--test-ratio 1.5", &["ratio"]);
    let place = Place::new();
    place.file("few.csv", "user,item\na,b\nb,c\n");
    refused(&place, "train --data few.csv", 3, &["few", "no test interactions"]);
    assert!(!place.path().join("runs").exists(), "no run folder is left behind");
}

#[test]
fn wrong_settings() {
    let place = Place::new();
    for (options, name) in [
        ("--dim 0", "dim"),
        ("--lr 0", "lr"),
        ("--lr nan", "lr"),
        ("--beta 1.5", "beta"),
        ("--negatives 0", "negatives"),
        ("--temperature 0", "temperature"),
        ("--weight-decay=-1", "weight-decay"),
        ("--batch-size 0", "batch-size"),
        ("--epochs 0", "epochs"),
        ("--eval-every 0", "eval-every"),
        ("--threads 0", "threads"),
        ("--threads 5000", "threads"),
        ("--dim 65536 --batch-size 16777216 --negatives 65536", "memory"),
        ("--valid-ratio 1", "valid-ratio"),
        ("--protocol paper --patience 3", "patience"),
        ("--preset ml-100", "did you mean `ml-100k`"),
    ] {
        refused(&place, &format!("train {options}"), 2, &[name]);
    }
    let unknown = place.run("train --metod onebp");
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("--method"), "clap suggests the nearest flag: {}", unknown.stderr);
}

/// Parameters of every part: out of range, of a wrong kind, or unknown.
#[test]
fn wrong_parameters_of_parts() {
    let place = Place::new();
    for (options, fragment) in [
        ("--encoder lightgcn,layers=65", "layers = 65 is out of range: it must be at most 64"),
        ("--encoder lightgcn,layers=-1", "'--encoder <NAME[,KEY=VALUE...]>': invalid value: integer `-1`"),
        ("--encoder ngcf,layers=0", "layers = 0 is out of range: it must be between 1 and 16"),
        ("--encoder ngcf,dropout=1", "dropout = 1 is out of range: it must be at least 0 and below 1"),
        ("--encoder ngcf,rw_self=true", "unknown field `rw_self`, expected one of `layers`, `dropout`, `rw-self`"),
        ("--encoder mf,vectors=0", "vectors = 0 is out of range: it must be between 1 and 64"),
        (
            "--method buir --encoder bootstrap,momentum=1.5",
            "momentum = 1.5 is out of range: it must be between 0 and 1",
        ),
        ("--encoder gcn", "unknown variant `gcn`, expected one of `mf`, `lightgcn`, `ngcf`, `bootstrap`"),
        ("--sampler popularity,exponent=-1", "exponent = -1 is out of range: it must be between 0 and 4"),
        ("--loss hcl,hardness=-1", "hardness = -1 is out of range: it must be between 0 and 100"),
        ("--loss dcl,positives=0", "positives = 0 is out of range: it must be between 1 and 1024"),
        ("--method cml --loss cml,margin=-1", "margin = -1 is out of range: it must be a number of at least 0"),
        ("--method cml --loss cml,covariance=-1", "covariance = -1 is out of range: it must be a number of at least 0"),
        ("--method cml --loss cml,hardest=1", "invalid type: integer `1`, expected a boolean"),
        (
            "--method dpcml --loss dpcml,low=0.5,high=0.2",
            "high = 0.2 is out of range: it must be a number of at least `low`",
        ),
        ("--method dpcml --loss dpcml,eta=-1", "eta = -1 is out of range: it must be a number of at least 0"),
        ("--method sfcml --loss sfcml,margin=nan", "invalid type: string \"nan\", expected f64"),
        ("--method sfcml --loss sfcml,margin=-2", "margin = -2 is out of range: it must be a number of at least 0"),
        ("--method buir --loss buir,x=1", "unknown field `x`"),
        ("--update onebp,order=late", "unknown variant `late`, expected `pre` or `post`"),
        ("--update onebp,cut=middle", "unknown variant `middle`, expected `input` or `output`"),
        ("--update two-bp,order=pre", "unknown field `order`: there are no parameters"),
        ("--update three-bp", "unknown variant `three-bp`, expected one of `onebp`, `two-bp`, `user-only`"),
    ] {
        refused(&place, &format!("train {options}"), 2, &[fragment]);
    }
    assert!(!place.path().join("runs").exists(), "no run folder is left behind");
}

/// Parts that do not go together: why, and what would.
#[test]
fn parts_that_do_not_go_together() {
    let place = Place::new();
    for (options, why, remedy) in [
        ("--loss buir", "compares predictions with targets", "use --encoder bootstrap together with --loss buir"),
        ("--encoder bootstrap", "nothing for other losses", "use --encoder bootstrap together with --loss buir"),
        (
            "--method buir --encoder lightgcn",
            "bootstrap alone has",
            "use --encoder bootstrap together with --loss buir",
        ),
        ("--sampler none", "the loss needs negatives", "choose a sampler, such as --sampler uniform"),
        ("--method sfcml --sampler uniform", "no negatives to be sampled", "use --sampler none"),
        ("--method buir --sampler dns", "no negatives to be sampled", "use --sampler none"),
        ("--method cml --update onebp", "unit ball", "use --update two-bp"),
        ("--method sfcml --update user-only", "on the sphere", "use --update two-bp"),
        ("--method buir --update onebp", "targets of the encoder bootstrap", "use --update two-bp"),
        ("--encoder mf,vectors=2", "a user of several vectors", "use --update two-bp, or --encoder mf"),
        ("--encoder mf,vectors=2 --update user-only", "several vectors", "use --update two-bp, or --encoder mf"),
        ("--method sfcml --encoder lightgcn", "the whole catalogue", "use --encoder mf"),
        ("--method sfcml --encoder mf,vectors=2", "the whole catalogue", "use --encoder mf"),
        ("--update onebp,order=pre", "before a graph encoder", "use --update onebp, or --encoder lightgcn or ngcf"),
        ("--update onebp,cut=output", "before a graph encoder", "use --update onebp, or --encoder lightgcn or ngcf"),
        ("--method cml --temperature 0.5", "divide scores by a temperature", "leave --temperature at 1"),
        ("--method buir --temperature 2", "divide scores by a temperature", "leave --temperature at 1"),
        ("--method sfcml --engine fused", "engine = fused", "auto, rows or autodiff"),
    ] {
        refused(&place, &format!("train {options} --device ndarray"), 2, &[why, remedy]);
    }
}

#[test]
fn wrong_configuration_files() {
    let place = Place::new();
    place.file("typo.toml", "dim = 8\nlearning-rate = 0.1\nbatchsize = 3\n");
    refused(&place, "train --config typo.toml", 2, &["typo.toml:", "unknown key", "did you mean `batch-size`"]);
    place.file("type.toml", "dim = 8\nepochs = \"many\"\n");
    refused(&place, "train --config type.toml", 2, &["type.toml:2", "epochs"]);
    place.file("syntax.toml", "dim = 8\nepochs == 3\n");
    refused(&place, "train --config syntax.toml", 2, &["syntax.toml:2"]);
    refused(&place, "train --config absent.toml", 2, &["absent.toml"]);
    for (text, fragment) in [
        (
            "[method]\nname = \"mf\"\nlos = \"dcl\"\n",
            "table.toml:3: unknown key `los` of [method]; did you mean `loss`?",
        ),
        (
            "[method]\nencoder = { name = \"ngcf\", layer = 2 }\n",
            "table.toml:2: encoder = { layer = 2, name = \"ngcf\" }: unknown field `layer`",
        ),
        ("[method]\nencoder = { layers = 2 }\n", "missing field `name`"),
        ("method = \"mf\"\nloss = \"dcl,tau-plus=1\"\n", "tau-plus = 1 is out of range"),
    ] {
        place.file("table.toml", text);
        refused(&place, "train --config table.toml", 2, &[fragment]);
    }
}

#[test]
fn wrong_run_folders_and_ids() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    refused(&place, "evaluate --run nowhere", 5, &["nowhere", "no such folder"]);
    refused(&place, "train --resume nowhere", 5, &["nowhere"]);
    place.file("empty/readme", "");
    refused(&place, "recommend --run empty --all", 5, &["empty", "no config.toml"]);
    let options = "--dim 2 --batch-size 64 --epochs 1 --device ndarray --quiet";
    place.ok(&format!("train --data small.csv {options} --out run"));
    refused(&place, "recommend --run run --user nobody", 3, &["user `nobody` does not occur"]);
    refused(&place, "similar --run run --item nothing", 3, &["item `nothing` does not occur"]);
    refused(&place, "recommend --run run --user u1 -k 0", 2, &["-k 0"]);

    let record = place.path().join("run/checkpoints/checkpoint.json");
    let whole = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, &whole[..100]).unwrap();
    refused(&place, "evaluate --run run", 5, &["checkpoint.json", "damaged"]);
    std::fs::remove_file(&record).unwrap();
    refused(&place, "train --resume run", 5, &["metrics.jsonl", "checkpoint that goes with them is missing"]);
    std::fs::write(&record, &whole).unwrap();
    for entry in std::fs::read_dir(record.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "safetensors") {
            std::fs::write(path, b"not tensors").unwrap();
        }
    }
    refused(&place, "evaluate --run run", 5, &["safetensors", "size or checksum"]);
    std::fs::remove_file(place.path().join("small.csv")).unwrap();
    refused(&place, "evaluate --run run", 3, &["small.csv"]);
}

#[test]
fn training_that_diverges_says_so() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    let options = "--dim 4 --batch-size 64 --epochs 30 --method two-bp --lr 1e30 --device ndarray";
    refused(&place, &format!("train --data small.csv {options} --out run"), 6, &["diverged", "--lr"]);
    for command in ["evaluate", "recommend --all"] {
        refused(&place, &format!("{command} --run run"), 5, &["no epoch was finished", "train first"]);
    }
    refused(&place, &format!("bench --data small.csv {options} --no-eval"), 6, &["diverged"]);
}

/// What a run was trained with belongs to it, and so does its log.
#[test]
fn runs_that_were_tampered_with() {
    let place = Place::new();
    place.file("small.csv", small_csv());
    place.ok("train --data small.csv --dim 4 --batch-size 64 --epochs 6 --device ndarray --out run --quiet");
    let config = place.read("run/config.toml");
    place.file("run/config.toml", config.replace("lr = 0.001", "lr = 0.002"));
    refused(&place, "evaluate --run run", 5, &["lr was changed", "put it back"]);
    place.file("run/config.toml", config);
    place.ok("evaluate --run run --quiet");
    let rows = place.read("run/metrics.jsonl");
    let first = rows.lines().next().unwrap().to_string() + "\n";
    place.file("run/metrics.jsonl", first);
    refused(
        &place,
        "train --resume run --epochs 7",
        5,
        &["metrics.jsonl", "1 of the rows up to epoch 6", "put the file back"],
    );
    place.file("run/metrics.jsonl", rows);
    place.ok("train --resume run --epochs 7 --quiet");
}

#[test]
fn benchmarks_refuse_what_says_nothing_to_them() {
    let place = Place::new();
    refused(&place, "bench --patience 3", 2, &["--patience", "leave it out"]);
    refused(&place, "bench --epochs 2", 2, &["epochs = 2", "at least 5"]);
    refused(&place, "bench --random 4000000000x4000000000x10", 2, &["MB of memory are needed"]);
    refused(&place, "bench --random 0x5x10", 3, &["0 users"]);
    let ended = place.run("bench --random 5x5");
    assert!(ended.code == 2 && ended.stderr.contains("three numbers"), "{}", ended.stderr);
}
