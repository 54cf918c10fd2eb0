//! `onebp train`.

use crate::{
    data_source::{self, Source, load_and_tell},
    failure::{Exit, Failure},
    layers::Resolved,
    methods::MethodName,
    options::TrainOptions,
    output::{self, Progress, Terminal},
    run_folder,
};
use onebp_data::Dataset;
use onebp_eval::Report;
use onebp_model::device::{self, Found};
use onebp_train::{Outcome, Parts, Protocol, Run, Settings, Summary};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Train a model and evaluate it.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: TrainOptions,
    /// Take options from a TOML file; flags win.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the run; a free one under runs/ otherwise.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in this folder; only --epochs, --patience, --threads and
    /// --checkpoint-every may change. The last epoch is always evaluated, also one that is extended later.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "out"])]
    resume: Option<PathBuf>,
}

/// Options that do not change what a run has computed so far.
const CHANGEABLE: [&str; 4] = ["epochs", "patience", "threads", "checkpoint-every"];

/// A row of the result table.
enum Line {
    Popularity(Report),
    Trained(Box<Summary>),
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    run: &'a Path,
    #[serde(flatten)]
    summary: &'a Summary,
    compare: std::collections::BTreeMap<&'a str, serde_json::Value>,
}

pub fn run(arguments: Arguments, terminal: Terminal) -> Result<(), Failure> {
    let Arguments { options: flags, config, out, resume } = arguments;
    let (mut resolved, resumed) = match &resume {
        Some(folder) => (Resolved::unchanged(continued(&flags, folder)?), true),
        None => {
            let file = config.as_deref().map_or_else(|| Ok(TrainOptions::default()), TrainOptions::from_file)?;
            let directory = data_source::directory(flags.data_directory.as_deref().or(file.data_directory.as_deref()));
            let preset_of = |data: &str| Source::find(data, &directory).ok()?.preset();
            (TrainOptions::resolve(&flags, &file, preset_of)?, false)
        }
    };
    let options = &mut resolved.options;
    limit_threads(options.threads)?;
    let settings = options.settings()?;
    let directory = data_source::directory(options.data_directory.as_deref());
    let source = Source::find(options.data.as_deref().unwrap_or_default(), &directory)?;
    let data = load_and_tell(&source, &options.reading.load_options(), &terminal)?.dataset;
    let parts = settings.arrange(&data)?;
    let found = device::find(options.device.unwrap_or_default())?;

    // What the words of this moment stand for, so that the saved options mean the same anywhere, later.
    options.data = Some(source.canonical());
    options.data_directory = matches!(source, Source::Named { .. }).then_some(directory);
    options.device = Some(found.name);
    tell_settings(&resolved, &found, &terminal);

    let folder = match &resume {
        Some(folder) => folder.clone(),
        None => run_folder::create(out.as_deref(), &source.short_name(), &settings.name)?,
    };
    let _lock = run_folder::lock(&folder)?;
    let stop = stop_on_interrupt()?;
    let context = Context { data: &data, parts: &parts, found: &found, terminal, stop: &stop, root: &folder };
    let summary = context.train(&resolved.options, &folder, resumed)?;

    let mut lines = vec![(settings.name.clone(), Line::Trained(Box::new(summary)))];
    for name in resolved.options.compare.iter().flatten() {
        let (name, line) = match name.parse::<MethodName>() {
            Ok(method) if method.as_str() == settings.name => continue,
            Ok(method) => {
                let folder = folder.join("compare").join(method.as_str());
                let begun = folder.join("config.toml").exists();
                onebp_train::atomic::create_folder(&folder)?;
                let mut options = TrainOptions { compare: None, ..resolved.options.clone() }.as_method(method)?;
                if begun {
                    // It may have come further than a main method that patience stopped.
                    options.epochs = options.epochs.max(run_folder::read_options(&folder)?.epochs);
                }
                (method.as_str(), Line::Trained(Box::new(context.train(&options, &folder, begun)?)))
            }
            Err(_) => (name.as_str(), Line::Popularity(parts.evaluate_popularity()?)),
        };
        lines.push((name.to_string(), line));
    }
    print(&folder, &settings, data.users.raw(0), &lines, &terminal)
}

/// The saved options of the run in `folder`, with what may change replaced by `flags`.
fn continued(flags: &TrainOptions, folder: &Path) -> Result<TrainOptions, Failure> {
    match flags.to_table()?.keys().find(|key| !CHANGEABLE.contains(&key.as_str())) {
        Some(key) => Err(Failure::usage(format!(
            "--{key} cannot change when a run is resumed (only {} can); start a new run for it",
            CHANGEABLE.map(|name| format!("--{name}")).join(", ")
        ))),
        None => {
            let options = flags.over(&run_folder::read_options(folder)?)?;
            let incomplete = |failure: Failure| Failure::new(Exit::Run, format!("{}: {failure}", folder.display()));
            options.settings().map_err(incomplete)?;
            Ok(options)
        }
    }
}

/// What all trainings of one command share.
struct Context<'a> {
    data: &'a Dataset,
    parts: &'a Parts,
    found: &'a Found,
    terminal: Terminal,
    stop: &'a AtomicBool,
    root: &'a Path,
}

impl Context<'_> {
    /// Trains in `folder`, from its checkpoint where asked.
    fn train(&self, options: &TrainOptions, folder: &Path, resume: bool) -> Result<Summary, Failure> {
        let settings = options.settings()?;
        let run = Run::start(&settings, self.data, self.parts, self.found, folder)?;
        let run = if resume { run.resumed()? } else { run };
        run_folder::save_options(folder, options)?;
        if resume {
            self.terminal.tell(&format!("resuming {} after epoch {}", folder.display(), run.epoch()));
        } else {
            self.terminal.tell(&format!("run folder: {}", folder.display()));
        }
        let mut progress = Progress::new(self.terminal, &settings.name, settings.epochs);
        let outcome = run.train(self.stop, &mut progress)?;
        drop(progress);
        match outcome {
            Outcome::Finished(summary) => Ok(*summary),
            Outcome::Interrupted { epoch } => Err(Failure::new(
                Exit::Interrupted,
                format!(
                    "interrupted after epoch {epoch}; a checkpoint is written, continue with: onebp train --resume {}",
                    output::shell_word(&self.root.display().to_string())
                ),
            )),
        }
    }
}

/// More threads than this only cost: no machine of today has as many cores for one process.
const MOST_THREADS: u16 = 1024;

/// Bounds every pool of threads that the libraries would start by themselves.
pub fn limit_threads(threads: Option<u16>) -> Result<(), Failure> {
    let Some(threads) = threads else { return Ok(()) };
    if threads == 0 || threads > MOST_THREADS {
        let problem = format!("threads = {threads} is out of range: it must be between 1 and {MOST_THREADS}");
        return Err(Failure::usage(format!("{problem}; leave it out for all cores")));
    }
    for name in ["MATMUL_NUM_THREADS", "POLARS_MAX_THREADS", "LP_NUM_THREADS"] {
        // SAFETY: the command has just started; no other thread of ours reads or writes the environment.
        unsafe { std::env::set_var(name, threads.to_string()) };
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads)).build_global();
    pool.map_err(|error| Failure::new(Exit::Unexpected, format!("threads: {error}")))
}

/// The first interrupt asks for a checkpoint, the second ends at once.
pub fn stop_on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(Exit::Interrupted as i32);
        }
    })
    .map_err(|error| Failure::new(Exit::Unexpected, format!("cannot listen for interrupts: {error}")))?;
    Ok(stop)
}

fn tell_settings(resolved: &Resolved, found: &Found, terminal: &Terminal) {
    terminal.tell(&format!("device: {}; threads: {}", found.description, rayon::current_num_threads()));
    if let Some(preset) = &resolved.preset {
        terminal.tell(&format!("preset: {preset}"));
    }
    for layer in ["flag", "file", "optimizer", "preset", "method", "default"] {
        let of_layer = resolved.origins.iter().filter(|(_, _, origin)| *origin == layer);
        let values: Vec<String> = of_layer.map(|(key, value, _)| format!("{key}={value}")).collect();
        if !values.is_empty() {
            terminal.tell(&format!("settings by {layer}: {}", values.join(" ")));
        }
    }
}

fn print(
    folder: &Path,
    settings: &Settings,
    some_user: &str,
    lines: &[(String, Line)],
    terminal: &Terminal,
) -> Result<(), Failure> {
    let Some((_, Line::Trained(summary))) = lines.first() else { return Ok(()) };
    if terminal.json {
        let compare = lines[1..].iter().map(|(name, line)| {
            let value = match line {
                Line::Popularity(report) => serde_json::to_value(report),
                Line::Trained(summary) => serde_json::to_value(summary),
            };
            (name.as_str(), value.unwrap_or_default())
        });
        return output::json(&Printed { run: folder, summary, compare: compare.collect() });
    }
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for (name, line) in lines {
        let cells = |value: &dyn Fn(&str) -> Option<String>| -> Vec<String> {
            output::COLUMNS.iter().map(|column| value(column).unwrap_or_else(|| "-".into())).collect()
        };
        match line {
            Line::Popularity(report) => {
                rows.push((name.clone(), cells(&|metric| Some(format!("{:.4}", report.get(metric)?)))));
            }
            Line::Trained(summary) => {
                rows.push((name.clone(), cells(&|metric| Some(format!("{:.4}", summary.reported(metric)?)))));
                if settings.protocol != Protocol::Final {
                    let epoch = |metric: &str| Some(summary.best.get(metric)?.epoch.to_string());
                    rows.push(("  epoch".into(), cells(&epoch)));
                }
            }
        }
    }
    let mut header = vec![""];
    header.extend(output::COLUMNS);
    terminal.tell(&format!("\n{}, protocol `{}`: {}", summary.data, summary.protocol.as_str(), summary.protocol_text));
    output::result(&output::table(&header, &rows))?;
    terminal.tell(&format!(
        "\n{} epochs, {:.3} s each (median, training only); everything is in {}\nnext: onebp recommend --run {} --user \
         {}",
        summary.epochs,
        summary.seconds_per_epoch,
        folder.display(),
        output::shell_word(&folder.display().to_string()),
        output::shell_word(some_user),
    ));
    Ok(())
}
