//! `onebp experiment`: the grids of `experiments/*.toml`.

mod cell;
mod estimate;
mod list;
mod measure;
mod plan;
mod report;
mod run;

pub use cell::curve;
pub use report::write as write_report;

use crate::{
    failure::{Exit, Failure},
    output::Terminal,
};
use onebp_lab::{Choice, Experiment, Store};
use std::path::{Path, PathBuf};

/// Run the experiments of the paper, and your own, and report on them.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the experiments there are, and how far each is.
    List(Selection),
    /// Run what is not finished yet. Finished runs are kept one by one: stop and go on whenever you like.
    Run(Box<run::Arguments>),
    /// Tell of every run whether it is finished, failed or missing.
    Status(Selection),
    /// Write the report: one HTML page, and every table as Markdown, LaTeX, CSV and JSON.
    Report(report::Arguments),
}

/// Which experiments, and which of their runs.
#[derive(Clone, Debug, clap::Args)]
pub struct Selection {
    /// Experiments by name, or paths of their files; all of the folder otherwise.
    #[arg(value_name = "NAME|PATH")]
    names: Vec<String>,
    /// Folder of the experiments.
    #[arg(long, value_name = "DIR", default_value = "experiments")]
    experiments: PathBuf,
    /// Folder of finished runs; `results` in the folder of the experiments otherwise.
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// A smaller grid that the experiments define, such as `quick`.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Only these data sets, by name, or other ones by name or path.
    #[arg(long, value_delimiter = ',', value_name = "NAME|PATH,...")]
    data: Vec<String>,
    /// Only these rows.
    #[arg(long, value_delimiter = ',', value_name = "ROW,...")]
    rows: Vec<String>,
    /// Only these protocols.
    #[arg(long, value_delimiter = ',', value_name = "PROTOCOL,...")]
    protocols: Vec<String>,
    /// Only these seeds, or other ones.
    #[arg(long, value_delimiter = ',', value_name = "SEED,...", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seeds: Vec<u64>,
}

impl Selection {
    /// The experiments; and what is wrong with files of the folder where all of it is asked for.
    ///
    /// # Errors
    /// A usage failure for one that was named and is not there, or whose file is wrong.
    fn read(&self) -> Result<(Vec<Experiment>, Vec<Failure>), Failure> {
        let named_by_path = !self.names.is_empty() && self.names.iter().all(|name| name.ends_with(".toml"));
        if !self.experiments.is_dir() && !named_by_path {
            let problem = format!("{}: no such folder of experiments", self.experiments.display());
            return Err(Failure::usage(format!("{problem}; give it by --experiments, or the path of a .toml file")));
        }
        let all = || Experiment::read_all(&self.experiments).map_err(usage);
        if self.names.is_empty() {
            let (all, wrong) = all()?;
            let wrong: Vec<Failure> = wrong.into_iter().map(usage).collect();
            if all.is_empty() && wrong.is_empty() {
                let problem = format!("{}: there are no experiments (no .toml)", self.experiments.display());
                return Err(Failure::usage(format!("{problem}; give their folder by --experiments")));
            }
            // Where a profile or rows are asked for, those that have them.
            let has = |experiment: &Experiment| {
                let has_row = |name: &String| experiment.row(name).is_some();
                self.profile.as_ref().is_none_or(|name| experiment.profile.contains_key(name))
                    && self.rows.iter().all(has_row)
            };
            let chosen: Vec<Experiment> = all.into_iter().filter(has).collect();
            if chosen.is_empty() && wrong.is_empty() {
                let problem = format!("{}: no experiment has this profile and these rows", self.experiments.display());
                return Err(Failure::usage(format!("{problem}; name one to hear what it has")));
            }
            return Ok((chosen, wrong));
        }
        let find = |name: &String| -> Result<Experiment, Failure> {
            if name.ends_with(".toml") {
                return Experiment::read(Path::new(name)).map_err(usage);
            }
            let path = self.experiments.join(format!("{name}.toml"));
            if path.exists() {
                return Experiment::read(&path).map_err(usage);
            }
            let known: Vec<String> = all()?.0.into_iter().map(|experiment| experiment.name).collect();
            let near = crate::config_file::suggestion(name, &known);
            Err(Failure::usage(format!("there is no experiment `{name}` in {}{near}", self.experiments.display())))
        };
        let mut experiments: Vec<Experiment> = Vec::new();
        for name in &self.names {
            let experiment = find(name)?;
            if experiments.iter().all(|other| other.path != experiment.path) {
                experiments.push(experiment);
            }
        }
        Ok((experiments, Vec::new()))
    }

    /// The experiments and the store, for a look at them; `Shown` says in the end what could not be shown.
    fn open(&self) -> Result<(Vec<Experiment>, Store, Shown), Failure> {
        let (experiments, mut problems) = self.read()?;
        let (store, damaged) = Store::read(&self.results()).map_err(usage)?;
        problems.extend(damaged.into_iter().map(usage));
        Ok((experiments, store, Shown { problems }))
    }

    /// What is taken of their grids.
    fn choice(&self) -> Choice {
        Choice {
            profile: self.profile.clone(),
            data: self.data.clone(),
            rows: self.rows.clone(),
            protocols: self.protocols.clone(),
            seeds: self.seeds.clone(),
        }
    }

    /// The folder of finished runs: that of the experiments, or of the file where one is given by its path.
    fn results(&self) -> PathBuf {
        let file = self
            .names
            .iter()
            .find(|name| name.ends_with(".toml"))
            .map(|name| Path::new(name).with_file_name("results"));
        let beside = || file.unwrap_or_else(|| self.experiments.join("results"));
        self.results.clone().unwrap_or_else(beside)
    }
}

/// What is wrong with files that lie among others: those are shown first.
struct Shown {
    problems: Vec<Failure>,
}

impl Shown {
    /// The value, or nothing where it is wrong.
    fn keep<T>(&mut self, result: Result<T, Failure>) -> Option<T> {
        result.map_err(|failure| self.problems.push(failure)).ok()
    }

    /// Everything that can be shown has been.
    ///
    /// # Errors
    /// The last of what was wrong, after a line for each of the others.
    fn end(mut self) -> Result<(), Failure> {
        let last = self.problems.pop();
        self.problems.iter().for_each(Failure::print);
        last.map_or(Ok(()), Err)
    }
}

/// Data that an analysis cannot be made of.
fn unfit(error: onebp_lab::Error) -> Failure {
    Failure::new(Exit::Data, error.to_string())
}

/// An error of the lab as the outside world sees it.
fn usage(error: onebp_lab::Error) -> Failure {
    let exit = match error {
        onebp_lab::Error::Result { .. } => Exit::Run,
        _ => Exit::Usage,
    };
    Failure::new(exit, error.to_string())
}

pub fn run(arguments: Arguments, terminal: Terminal) -> Result<(), Failure> {
    match arguments.command {
        Command::List(selection) => list::list(&selection, terminal),
        Command::Status(selection) => list::status(&selection, terminal),
        Command::Run(arguments) => run::run(*arguments, terminal),
        Command::Report(arguments) => report::run(arguments, terminal),
    }
}
