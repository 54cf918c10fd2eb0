//! From a cell of a grid to the options of its run, and to the address that they are found under.

use super::{Selection, usage};
use crate::{
    data_source::{self, Source},
    failure::{Exit, Failure},
    options::TrainOptions,
};
use onebp_lab::{
    Cell, Experiment, Paper, Store,
    experiment::{is_path, short_name},
    report::{Gathered, Placed},
    result::address,
};
use serde_json::Value;

/// Options that do not change what a run computes, or that say where it lies.
const ASIDE: [&str; 6] = ["threads", "device", "checkpoint-every", "data-directory", "compare", "preset"];

/// A cell with its options resolved.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cell.
    pub cell: Cell,
    /// The options of its run.
    pub options: TrainOptions,
    /// What decides what is computed.
    pub config: Value,
    /// Its address.
    pub address: String,
}

impl Plan {
    /// Resolves the options of `cell`, as `onebp train --config` would.
    ///
    /// # Errors
    /// A usage failure naming the experiment, the cell and what is wrong.
    pub fn new(experiment: &Experiment, cell: Cell) -> Result<Self, Failure> {
        let named =
            |problem: String| Failure::usage(format!("{}: {}: {problem}", experiment.path.display(), cell.name()));
        let text = toml::to_string(&cell.options).map_err(|error| named(error.to_string()))?;
        let given = TrainOptions::from_toml(&text)
            // The line is one of no file.
            .map_err(|problem| {
                named(problem.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit()).trim().into())
            })?;
        // By its name alone: a report is made where the data need not be.
        let preset_of = |data: &str| (!is_path(data)).then(|| short_name(data).to_string());
        let mut options = TrainOptions::resolve(&TrainOptions::default(), &given, preset_of)
            .map_err(|failure| named(failure.message))?
            .options;
        options.compare = None;
        options
            .settings()
            .map_err(|failure| named(failure.message))?
            .check()
            .map_err(|error| named(error.to_string()))?;
        let table = options.to_table()?.into_iter().filter(|(key, _)| !ASIDE.contains(&key.as_str()));
        let mut config = serde_json::to_value(table.collect::<toml::Table>()).map_err(Failure::unexpected)?;
        if cell.untrained {
            config["untrained"] = Value::Bool(true);
        }
        Ok(Self { address: address(&config), cell, options, config })
    }

    /// Fingerprint of its data as it is now, hexadecimal.
    ///
    /// # Errors
    /// A run failure where the data cannot be read: finished runs of different data cannot be told apart then.
    fn fingerprint(&self) -> Result<String, Failure> {
        let name = self.options.data.as_deref().unwrap_or_default();
        let source = Source::find(name, &data_source::directory(None));
        let data = source.and_then(|source| source.load(&self.options.reading.load_options())).map_err(|failure| {
            let problem = format!("{}: there are results of different data under this name", self.cell.name());
            let remedy = "remove the files of the older ones, or bring the data";
            Failure::new(Exit::Run, format!("{problem} ({failure}); {remedy}"))
        })?;
        Ok(format!("{:016x}", data.dataset.fingerprint()))
    }

    /// The cells of `experiment`, resolved.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn all(experiment: &Experiment, selection: &Selection) -> Result<Vec<Self>, Failure> {
        let cells = experiment.cells(&selection.choice()).map_err(usage)?;
        cells.into_iter().map(|cell| Self::new(experiment, cell)).collect()
    }
}

/// The paper's numbers beside an experiment.
///
/// # Errors
/// Where its file cannot be read.
pub fn paper(experiment: &Experiment) -> Result<Paper, Failure> {
    let folder = experiment.path.parent().unwrap_or(std::path::Path::new("."));
    match &experiment.paper {
        Some(path) => Paper::read(&folder.join(path)).map_err(|error| Failure::new(Exit::Usage, error.to_string())),
        None => Ok(Paper::default()),
    }
}

/// An experiment with what is finished of it.
///
/// # Errors
/// As [`Plan::all`] and [`paper`]; and where results are of different data and the data is not there to tell which is meant.
pub fn gather<'a>(
    experiment: &'a Experiment,
    selection: &Selection,
    store: &'a Store,
) -> Result<Gathered<'a>, Failure> {
    let place = |plan: Plan| -> Result<Placed<'a>, Failure> {
        let fingerprint = if store.is_ambiguous(&plan.address) { Some(plan.fingerprint()?) } else { None };
        let result = store.get(&plan.address, fingerprint.as_deref());
        let failure = store.failure(&plan.address).filter(|_| result.is_none());
        Ok(Placed { cell: plan.cell, result, failure })
    };
    let placed = Plan::all(experiment, selection)?.into_iter().map(place).collect::<Result<_, _>>()?;
    Ok(Gathered::new(experiment, paper(experiment)?, placed))
}
