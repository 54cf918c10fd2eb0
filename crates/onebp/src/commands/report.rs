//! `onebp report`.

use super::experiment::{curve, write_report};
use crate::{
    failure::{Exit, Failure},
    output::{self, Terminal},
    run_folder,
};
use onebp_lab::{
    report::{OwnRun, of_runs},
    result::Reported,
};
use onebp_train::atomic;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Write a page about runs of your own: curves, results side by side, configuration.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folders of runs, ended or under way.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Folder of the report: report.html, report.md and tables/; the folder of the run where it is one.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What is read of `summary.json`.
#[derive(Deserialize)]
struct Summary {
    protocol_text: String,
    best: BTreeMap<String, Reported>,
    #[serde(rename = "final")]
    last: BTreeMap<String, f64>,
    epochs: u32,
    seconds_per_epoch: f64,
    split: String,
    device: String,
    threads: usize,
}

pub fn run(arguments: Arguments, terminal: Terminal) -> Result<(), Failure> {
    let mut facts = vec![("program".to_string(), format!("onebp {}", env!("CARGO_PKG_VERSION")))];
    let runs = arguments.runs.iter().map(|folder| read(folder, &mut facts)).collect::<Result<Vec<_>, _>>()?;
    let page = of_runs(&runs, facts);
    if terminal.json {
        return output::json(&page.sections);
    }
    let out = match (&arguments.out, arguments.runs.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [run]) => run.clone(),
        (None, _) => return Err(Failure::usage("several runs need a folder for their report; give it by --out")),
    };
    write_report(&page, &out, &terminal)
}

/// Reads a run folder.
///
/// # Errors
/// A run failure where it holds no run, or nothing was evaluated yet.
fn read(folder: &Path, facts: &mut Vec<(String, String)>) -> Result<OwnRun, Failure> {
    let options = run_folder::read_options(folder)?;
    // The path, for folders of one name may lie in different places.
    let name = folder.display().to_string();
    let (curve, ..) = curve(folder)?;
    let Some(&epoch) = curve.epoch.last() else {
        let problem = "no epoch has been evaluated; wait for the first, or find out by --resume why there is none";
        return Err(Failure::new(Exit::Run, format!("{}: {problem}", folder.display())));
    };
    let path = folder.join("summary.json");
    let summary: Option<Summary> = match path.exists() {
        true => Some(serde_json::from_slice(&atomic::read(&path)?).map_err(|error| {
            let remedy = "continue the run with --resume, which writes it anew";
            Failure::new(Exit::Run, format!("{}: {error}; {remedy}", path.display()))
        })?),
        false => None,
    };
    let protocol = options.protocol.unwrap_or_default();
    let config = String::from_utf8_lossy(&atomic::read(&folder.join("config.toml"))?).into_owned();
    let data = options.data.clone().unwrap_or_default();
    let mut run = OwnRun {
        name: name.clone(),
        data,
        protocol: (protocol.as_str().into(), protocol.describe().into()),
        epochs: (epoch, summary.is_some()),
        seconds_per_epoch: curve.seconds.last().copied().unwrap_or(0.0) / f64::from(epoch.max(1)),
        curve,
        config,
        ..OwnRun::default()
    };
    if let Some(summary) = summary {
        run.protocol.1 = summary.protocol_text;
        (run.best, run.last) = (summary.best, summary.last);
        (run.epochs.0, run.seconds_per_epoch) = (summary.epochs, summary.seconds_per_epoch);
        facts.push((
            name,
            format!("{}; split: {}; {}, {} threads", run.data, summary.split, summary.device, summary.threads),
        ));
    }
    Ok(run)
}
