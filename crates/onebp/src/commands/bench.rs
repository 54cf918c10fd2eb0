//! `onebp bench`.

use super::train::limit_threads;
use crate::{
    data_source::{Source, directory, load_and_tell},
    failure::Failure,
    layers,
    methods::MethodName,
    options::TrainOptions,
    output::{self, Terminal},
};
use onebp_data::scaled;
use onebp_model::device;
use onebp_train::{Bench, Protocol, Settings, Workload};
use serde::Serialize;

/// Time epochs of training, and tell how much of the machine they use.
///
/// As many epochs as have a million pairs warm up, 16 at most, then at least 5 are timed, as in training but without
/// evaluation. Trains on all of train.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: TrainOptions,
    /// Use random interactions of this size instead: users x items x pairs, such as 5000000x1000000x50000000.
    #[arg(long, value_name = "MxNxPAIRS", value_parser = size, conflicts_with = "data")]
    random: Option<(u32, u32, usize)>,
    /// Leave out the evaluation (there is none on random interactions).
    #[arg(long)]
    no_eval: bool,
}

/// Epochs that are timed where no number is given, and at least.
const EPOCHS: u32 = 5;

/// Options of training that change nothing here.
const IDLE: [&str; 6] = ["checkpoint-every", "protocol", "eval-every", "patience", "valid-ratio", "compare"];

/// Hides what says nothing here, and tells what `--epochs` means.
pub fn with_help(bench: clap::Command) -> clap::Command {
    layers::with_defaults(bench).mut_args(|argument| match argument.get_long() {
        Some("epochs") => argument.help(format!("Epochs to time, at least {EPOCHS} [default: {EPOCHS}]")),
        Some(name) if IDLE.contains(&name) => argument.hide(true),
        _ => argument,
    })
}

fn size(text: &str) -> Result<(u32, u32, usize), String> {
    let parts: Vec<&str> = text.split('x').collect();
    let [users, items, pairs] = parts[..] else {
        return Err("three numbers are needed, such as 6040x3706x800000".into());
    };
    let number = |text: &str| text.parse::<u32>().map_err(|error| format!("`{text}`: {error}"));
    Ok((number(users)?, number(items)?, number(pairs)? as usize))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    data: &'a str,
    users: usize,
    items: usize,
    device: &'a str,
    threads: usize,
    settings: &'a Settings,
    #[serde(flatten)]
    bench: &'a Bench,
    paper_epoch_seconds: Option<f64>,
}

pub fn run(arguments: Arguments, terminal: Terminal) -> Result<(), Failure> {
    let Arguments { options: mut flags, random, no_eval } = arguments;
    if let Some(key) = flags.to_table()?.keys().find(|key| IDLE.contains(&key.as_str())) {
        return Err(Failure::usage(format!("--{key} says nothing to a benchmark; leave it out")));
    }
    let epochs = flags.epochs.take().unwrap_or(EPOCHS);
    if epochs < EPOCHS {
        return Err(Failure::usage(format!("epochs = {epochs} is too few for a median; give at least {EPOCHS}")));
    }
    flags.protocol = Some(Protocol::Final);
    let directory = directory(flags.data_directory.as_deref());
    let preset_of = |data: &str| Source::find(data, &directory).ok()?.preset().filter(|_| random.is_none());
    let options = TrainOptions::resolve(&flags, &TrainOptions::default(), preset_of)?.options;
    limit_threads(options.threads)?;
    let settings = options.settings()?;
    settings.check()?;
    let found = device::find(options.device.unwrap_or_default())?;

    let (name, fit, parts) = match random {
        Some((users, items, pairs)) => {
            settings.check_memory(users as usize, items as usize, pairs)?;
            terminal.tell("drawing random interactions");
            (format!("random {users}x{items}x{pairs}"), scaled(users, items, pairs, settings.seed)?, None)
        }
        None => {
            let source = Source::find(options.data.as_deref().unwrap_or_default(), &directory)?;
            let data = load_and_tell(&source, &options.reading.load_options(), &terminal)?.dataset;
            let parts = settings.arrange(&data)?;
            (source.short_name(), parts.fit.clone(), Some(parts))
        }
    };
    let workload =
        Workload { settings: &settings, fit: &fit, parts: parts.as_ref().filter(|_| !no_eval), found: &found, epochs };
    let bench = workload.measure(|stage| terminal.tell(stage))?;
    let printed = Printed {
        data: &name,
        users: fit.rows(),
        items: fit.columns(),
        device: &found.description,
        threads: rayon::current_num_threads(),
        settings: &settings,
        bench: &bench,
        paper_epoch_seconds: options
            .method
            .filter(|_| random.is_none())
            .and_then(|method| paper_seconds(method, &settings, &fit)),
    };
    if terminal.json { output::json(&printed) } else { print(&printed) }
}

/// Seconds of an epoch in Table 2 of the paper, for data and tables of the same size and the method as it is there.
fn paper_seconds(method: MethodName, settings: &Settings, fit: &onebp_data::Csr) -> Option<f64> {
    let sizes = [(943, 1682, 32), (6040, 3706, 128), (29_858, 40_981, 1024), (31_668, 38_048, 2048)];
    let place = sizes.into_iter().position(|size| size == (fit.rows(), fit.columns(), settings.hyper.dim))?;
    let unchanged = method.method().is_ok_and(|method| method == settings.method);
    method.named()?.paper_seconds.filter(|_| unchanged).map(|seconds| seconds[place])
}

fn print(printed: &Printed) -> Result<(), Failure> {
    let Printed { bench, settings, .. } = printed;
    let seconds = |value: f64| format!("{value:.4} s");
    let range = |values: &[f64]| {
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &x| (low.min(x), high.max(x)));
        format!("{low:.4} to {high:.4} s")
    };
    let share = |share: Option<f64>| share.map_or_else(|| "-".into(), |share| format!("{:.0} %", 100.0 * share));
    let giga = |value: f64, unit: &str| format!("{:.1} G{unit}", value / 1e9);
    let mut rows = vec![
        (
            "data".to_string(),
            vec![format!("{}: {} users, {} items, {} pairs", printed.data, printed.users, printed.items, bench.pairs)],
        ),
        (
            "method".into(),
            vec![format!(
                "{}, {}, d {}, S {}, batch {}, engine {}",
                settings.name,
                settings.hyper.optimizer.as_str(),
                settings.hyper.dim,
                settings.hyper.negatives,
                settings.hyper.batch_size,
                settings.engine.as_str()
            )],
        ),
        ("device".into(), vec![format!("{}, {} threads", printed.device, printed.threads)]),
        ("epoch, median".into(), vec![seconds(bench.epoch_seconds)]),
        (format!("epoch, {} runs", bench.epochs.len()), vec![range(&bench.epochs)]),
    ];
    let mut add = |name: &str, value: String| rows.push((name.into(), vec![value]));
    if let Some(paper) = printed.paper_epoch_seconds {
        add(
            "epoch, paper",
            format!("{paper:.2} s on the authors' GPU ({:.0} times as long)", paper / bench.epoch_seconds),
        );
    }
    if let (Some(bound), Some(unit), Some(times)) = (bench.bound_seconds, bench.bound_unit, bench.times_bound) {
        add("epoch, at least", format!("{} for its {}; measured {times:.2} times that", seconds(bound), unit.as_str()));
    }
    if let (Some(plain), Some(unit), Some(times)) = (bench.plain_seconds, bench.plain_unit, bench.times_plain) {
        add(
            "epoch, plain form",
            format!("{} for its {}; measured {times:.2} times that", seconds(plain), unit.as_str()),
        );
    }
    add("sampling alone", seconds(bench.sampling_seconds));
    add("steps alone", seconds(bench.step_seconds));
    for (name, time) in &bench.pass_seconds {
        add(&format!("  {name}"), seconds(*time));
    }
    if let Some(time) = bench.eval_seconds {
        add("evaluation", seconds(time));
    }
    add("pairs a second", format!("{:.3} M", bench.pairs_per_second / 1e6));
    add("rows moved a second", format!("{:.3} M", bench.rows_per_second / 1e6));
    add("bytes an epoch", format!("{}, {} of the bandwidth", giga(bench.bytes, "B"), share(bench.bandwidth_share)));
    if bench.gathered_bytes > 0.0 {
        add("  gathered", format!("{}, counted as from memory", giga(bench.gathered_bytes, "B")));
    }
    add(
        "operations an epoch",
        format!("{}, {} of the peak", giga(bench.operations, "Flop"), share(bench.arithmetic_share)),
    );
    add(
        "roots and divisions",
        format!("{}, {} of the peak", giga(bench.roots_and_divisions, ""), share(bench.roots_and_divisions_share)),
    );
    if bench.silent_roots_and_divisions > 0.0 {
        add("  in silent steps", format!("at most {} more, not counted", giga(bench.silent_roots_and_divisions, "")));
    }
    if let (Some(read), Some(update), Some(operations), Some(roots)) = (
        bench.machine_bytes_per_second,
        bench.machine_update_bytes_per_second,
        bench.machine_operations_per_second,
        bench.machine_roots_and_divisions_per_second,
    ) {
        add(
            "machine",
            format!(
                "{} read, {} updated, {}, {} roots and divisions a second",
                giga(read, "B"),
                giga(update, "B"),
                giga(operations, "Flop"),
                giga(roots, "")
            ),
        );
    }
    if let Some(bytes) = bench.peak_rss_bytes {
        add("peak memory", format!("{:.0} MB", bytes as f64 / 1e6));
    }
    output::rows(&["benchmark", ""], &rows)
}
