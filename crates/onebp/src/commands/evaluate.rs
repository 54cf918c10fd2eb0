//! `onebp evaluate`.

use crate::{
    data_source::{Source, directory, load_and_tell},
    failure::{Exit, Failure},
    options::{DataOptions, DeviceOption},
    output::{self, Terminal},
    run_folder::{self, Trained},
};
use onebp_data::{Csr, Dataset};
use onebp_train::Part;
use serde::Serialize;
use std::path::PathBuf;

/// Evaluate a trained model on test, or on other interactions.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder of the run.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Other interactions with the same ids: a split (its test part counts) or a single file (all of it counts).
    #[arg(long, value_name = "NAME|PATH")]
    data: Option<String>,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    reading: DataOptions,
}

#[derive(Serialize)]
struct Printed<'a> {
    run: PathBuf,
    epoch: u32,
    data: &'a str,
    metrics: &'a onebp_eval::Report,
}

pub fn run(arguments: Arguments, terminal: Terminal) -> Result<(), Failure> {
    if arguments.data.is_none() && arguments.reading != DataOptions::default() {
        return Err(Failure::usage("options for reading data say nothing without --data; add it, or leave them out"));
    }
    let trained = run_folder::open(&arguments.run, &terminal)?;
    let found = arguments.device.find(&terminal)?;
    let evaluate = |part: &Part| trained.parts.evaluate(&trained.tables, &found, part);
    let (name, report) = match &arguments.data {
        None => (trained.data.name.clone(), evaluate(&trained.parts.test)?),
        Some(data) => {
            let source = Source::find(data, &directory(None))?;
            let options = arguments.reading.load_options();
            let other = load_and_tell(&source, &options, &terminal)?;
            let truth = translate(&other.dataset, &trained, other.sources.len() == 1, &terminal)?;
            let part = Part { name: "test", seen: trained.parts.test.seen.clone(), truth };
            (source.short_name(), evaluate(&part)?)
        }
    };
    if terminal.json {
        let printed = Printed { run: arguments.run, epoch: trained.epoch, data: &name, metrics: &report };
        return output::json(&printed);
    }
    let rows: Vec<_> = report.iter().map(|(name, value)| (name.to_string(), vec![format!("{value:.4}")])).collect();
    output::rows(&["metric", "value"], &rows)
}

/// The pairs of `other` in the ids of the run: its test part, or everything where it came as one file.
fn translate(other: &Dataset, trained: &Trained, everything: bool, terminal: &Terminal) -> Result<Csr, Failure> {
    let (users, items) = (&trained.data.users, &trained.data.items);
    let parts = if everything { vec![&other.train, &other.test] } else { vec![&other.test] };
    let (mut pairs, mut unknown, mut known) = (Vec::new(), 0, 0);
    for (user, item) in parts.into_iter().flat_map(Csr::pairs) {
        match (users.dense(other.users.raw(user)), items.dense(other.items.raw(item))) {
            (Some(user), Some(item)) if trained.parts.test.seen.contains(user, item) => known += 1,
            (Some(user), Some(item)) => pairs.push((user, item)),
            _ => unknown += 1,
        }
    }
    for (count, what) in [(unknown, "have a user or an item that the model does not know"), (known, "are in train")] {
        if count > 0 {
            terminal.tell(&format!("warning: {count} pairs {what}; they are left out"));
        }
    }
    if pairs.is_empty() {
        let message = "no pair of this data is new to the model and made of ids it knows; check the ids";
        return Err(Failure::new(Exit::Data, message));
    }
    Ok(Csr::from_pairs(users.len(), items.len(), &pairs)?)
}
