//! One cell: training in a folder of its own, measuring, and what is kept.

use super::{measure, plan::Plan};
use crate::{
    failure::{Exit, Failure},
    options::TrainOptions,
    run_folder,
};
use onebp_data::{Dataset, Genres, Statistics};
use onebp_lab::{
    CellResult,
    experiment::Wanted,
    result::{Curve, Machine, Reported, rounded},
};
use onebp_model::{Tables, device::Found};
use onebp_train::{CheckpointFolder, Observer, Parts, Row, Run, Settings, Summary, atomic};
use std::{collections::BTreeMap, path::Path, sync::atomic::AtomicBool};

/// What a cell is computed with.
pub struct CellRun<'a> {
    /// The cell.
    pub plan: &'a Plan,
    /// What is measured beside metrics.
    pub wanted: &'a [Wanted],
    /// Its data.
    pub data: &'a Dataset,
    /// Genres of its items, where they are known.
    pub genres: Option<&'a Genres>,
    /// The device.
    pub found: &'a Found,
    /// Runs that share the machine.
    pub jobs: usize,
}

/// What came of a cell.
pub enum Outcome {
    /// It is finished.
    Finished(Box<CellResult>),
    /// It was asked to stop.
    Stopped,
    /// Another process trains it.
    Busy,
}

/// Digits of a curve.
const CURVE_DIGITS: i32 = 4;

impl CellRun<'_> {
    /// Trains in `folder`, from its checkpoint where it has one, and measures.
    ///
    /// # Errors
    /// As `onebp train`.
    pub fn run(
        &self,
        folder: &Path,
        stop: &AtomicBool,
        observer: &mut (dyn Observer + Send),
    ) -> Result<Outcome, Failure> {
        let mut options = self.plan.options.clone();
        options.device = Some(self.found.name);
        let settings = options.settings()?;
        let parts = settings.arrange(self.data)?;
        if self.plan.cell.untrained {
            return Ok(Outcome::Finished(Box::new(self.untrained(&settings, &parts)?)));
        }
        atomic::create_folder(folder)?;
        let Ok(_lock) = run_folder::lock(folder) else { return Ok(Outcome::Busy) };
        let Some(summary) = self.train(&settings, &options, &parts, folder, stop, observer)? else {
            return Ok(Outcome::Stopped);
        };
        let curve = curve(folder)?;
        let mut result = self.result(&summary.best, summary.last.iter(), &curve.0);
        result.epochs = summary.epochs;
        result.seconds_per_epoch = summary.seconds_per_epoch;
        result.seconds = curve.1;
        result.seconds_per_evaluation = curve.2;
        if !self.wanted.is_empty() {
            let checkpoint = CheckpointFolder::open(folder).load(settings.method.loss.score())?;
            let model = checkpoint.model(settings.method, &settings.hyper, &parts.fit)?;
            measure::all(self, &parts, &model.tables, &mut result);
        }
        Ok(Outcome::Finished(Box::new(result)))
    }

    fn train(
        &self,
        settings: &Settings,
        options: &TrainOptions,
        parts: &Parts,
        folder: &Path,
        stop: &AtomicBool,
        observer: &mut (dyn Observer + Send),
    ) -> Result<Option<Summary>, Failure> {
        let run = Run::start(settings, self.data, parts, self.found, folder)?.resumed()?;
        run_folder::save_options(folder, options)?;
        match run.train(stop, observer)? {
            onebp_train::Outcome::Finished(summary) => Ok(Some(*summary)),
            onebp_train::Outcome::Interrupted { .. } => Ok(None),
        }
    }

    /// The tables as they are drawn.
    fn untrained(&self, settings: &Settings, parts: &Parts) -> Result<CellResult, Failure> {
        let (users, items) = (self.data.users.len(), self.data.items.len());
        let tables = Tables::init(users, items, settings.hyper.dim, settings.seed);
        let last = parts.evaluate(&tables, self.found, &parts.test)?;
        let mut result = self.result(&BTreeMap::new(), last.iter(), &Curve::default());
        measure::all(self, parts, &tables, &mut result);
        Ok(result)
    }

    fn result<'b>(
        &self,
        best: &BTreeMap<String, onebp_train::Reported>,
        last: impl Iterator<Item = (&'b str, f64)>,
        curve: &Curve,
    ) -> CellResult {
        let reported = |value: &onebp_train::Reported| Reported { value: rounded(value.value, 6), epoch: value.epoch };
        let protocol = self.plan.options.protocol.unwrap_or_default();
        CellResult {
            config: self.plan.config.clone(),
            config_address: self.plan.address.clone(),
            data_fingerprint: format!("{:016x}", self.data.fingerprint()),
            split: self.data.split.clone(),
            statistics: serde_json::to_value(Statistics::of(self.data)).unwrap_or_default(),
            versions: onebp_train::versions(),
            machine: Machine {
                processor: onebp_lab::machine::processor(),
                system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
                device: self.found.description.clone(),
                threads: rayon::current_num_threads(),
                jobs: self.jobs,
            },
            protocol_text: protocol.describe().into(),
            epochs: 0,
            seconds_per_epoch: 0.0,
            seconds_per_evaluation: 0.0,
            seconds: 0.0,
            best: best.iter().map(|(name, value)| (name.clone(), reported(value))).collect(),
            last: last.map(|(name, value)| (name.to_string(), rounded(value, 6))).collect(),
            curve: curve.clone(),
            measurements: BTreeMap::new(),
            unmeasured: BTreeMap::new(),
        }
    }
}

/// The evaluated epochs of the run in `folder`, the seconds of training and evaluation together, and those of an evaluation.
///
/// # Errors
/// A run failure where its log cannot be read.
pub fn curve(folder: &Path) -> Result<(Curve, f64, f64), Failure> {
    let path = folder.join("metrics.jsonl");
    let text = String::from_utf8_lossy(&atomic::read(&path)?).into_owned();
    let mut curve = Curve::default();
    let mut evaluating = 0.0;
    // Training is timed at evaluated epochs alone: those between are taken to be like them.
    let (mut training, mut epoch) = (0.0, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let row: Row = match serde_json::from_str(line) {
            Ok(row) => row,
            // A run that is writing, or was killed while it wrote.
            Err(_) if !line.ends_with('\n') => break,
            Err(error) => {
                let problem = format!(
                    "{}:{number}: {}",
                    path.display(),
                    error.to_string().split(" at line").next().unwrap_or_default()
                );
                return Err(Failure::new(Exit::Run, format!("{problem}; put the file back as it was")));
            }
        };
        training += row.train_seconds * f64::from(row.epoch - epoch);
        evaluating += row.eval_seconds;
        epoch = row.epoch;
        curve.part = row.part;
        curve.epoch.push(row.epoch);
        curve.seconds.push(significant(training));
        curve.loss.push(rounded(row.loss, CURVE_DIGITS));
        for (name, value) in row.metrics.iter().filter(|(name, _)| CURVES.contains(name)) {
            curve.metrics.entry(name.to_string()).or_default().push(rounded(value, CURVE_DIGITS));
        }
    }
    let evaluations = curve.epoch.len().max(1) as f64;
    Ok((curve, rounded(training + evaluating, 3), rounded(evaluating / evaluations, 5)))
}

/// Seconds to four digits, however few they are.
fn significant(seconds: f64) -> f64 {
    if seconds > 0.0 { rounded(seconds, (3 - seconds.log10().floor() as i32).max(0)) } else { seconds }
}

/// Metrics whose curves are kept.
const CURVES: [&str; 3] = ["P@5", "R@20", "NDCG@20"];
