//! The folder of a run: a free name for a new one, its configuration, and a trained model read back from it.

use crate::{
    data_source::{self, Source},
    failure::{Exit, Failure},
    options::TrainOptions,
    output::Terminal,
};
use onebp_data::Dataset;
use onebp_model::Tables;
use onebp_train::{BestTables, CheckpointFolder, Parts, atomic};
use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

const CONFIG: &str = "config.toml";

/// Creates the folder of a new run: `out`, or the first free `runs/DATA-METHOD[-K]`.
///
/// # Errors
/// A run failure where `out` already holds a run.
pub fn create(out: Option<&Path>, data: &str, method: &str) -> Result<PathBuf, Failure> {
    let path = match out {
        Some(path) => path.to_path_buf(),
        None => {
            let base = format!("{}-{method}", data.replace(['/', '\\'], "-"));
            let candidates = (1..).map(|k| if k == 1 { base.clone() } else { format!("{base}-{k}") });
            let free = candidates.map(|name| Path::new("runs").join(name)).find(|path| !path.exists());
            free.unwrap_or_else(|| Path::new("runs").join(base))
        }
    };
    // Whatever a run leaves: adopting a part of another one would mix their results.
    let left = [CONFIG, "metrics.jsonl", "summary.json", "checkpoints", "compare"];
    if let Some(file) = left.iter().find(|file| path.join(file).exists()) {
        let remedy =
            if *file == CONFIG { format!("continue it with --resume {}, or ", path.display()) } else { String::new() };
        let problem = format!("{}: there is a run already ({file})", path.display());
        return Err(Failure::new(Exit::Run, format!("{problem}; {remedy}choose another folder with --out")));
    }
    if path.exists() && !path.is_dir() {
        return Err(Failure::new(Exit::Run, format!("{}: not a folder; choose another with --out", path.display())));
    }
    Ok(atomic::create_folder(&path)?)
}

/// Saves the resolved options.
///
/// # Errors
/// A run failure where the folder cannot be written.
pub fn save_options(folder: &Path, options: &TrainOptions) -> Result<(), Failure> {
    let text = format!("# Resolved options of this run; `onebp train --config` repeats it.\n{}", options.to_toml()?);
    Ok(atomic::write(&folder.join(CONFIG), text.as_bytes())?)
}

/// Reads the options of an existing run.
///
/// # Errors
/// A run failure where `folder` holds no run.
pub fn read_options(folder: &Path) -> Result<TrainOptions, Failure> {
    let path = folder.join(CONFIG);
    if !path.exists() {
        let problem = if folder.exists() { "no run is in this folder (no config.toml)" } else { "no such folder" };
        let remedy = "give the folder that `onebp train` named";
        return Err(Failure::new(Exit::Run, format!("{}: {problem}; {remedy}", folder.display())));
    }
    TrainOptions::from_file(&path).map_err(|failure| Failure::new(Exit::Run, failure.message))
}

/// Keeps other processes from training in the same folder for as long as the result lives.
///
/// # Errors
/// A run failure where another process holds it.
pub fn lock(folder: &Path) -> Result<File, Failure> {
    let path = folder.join(".lock");
    let failure = |problem: String| Failure::new(Exit::Run, format!("{}: {problem}", path.display()));
    let file = File::create(&path).map_err(|error| failure(error.to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(failure("another process trains in this folder; wait for it, or choose another with --out".into()))
        }
        Err(TryLockError::Error(error)) => Err(failure(error.to_string())),
    }
}

/// A trained model with the data it was trained on.
pub struct Trained {
    /// The data, checked to be the same.
    pub data: Dataset,
    /// The data under the run's protocol.
    pub parts: Parts,
    /// The embeddings.
    pub tables: Tables,
    /// The epoch they come from, from 1.
    pub epoch: u32,
}

/// Reads the model of a run: the best epoch under protocols that select one, else the last.
///
/// # Errors
/// A failure naming what is missing, damaged or different.
pub fn open(folder: &Path, terminal: &Terminal) -> Result<Trained, Failure> {
    let options = read_options(folder)?;
    let source = Source::find(
        options.data.as_deref().unwrap_or_default(),
        &data_source::directory(options.data_directory.as_deref()),
    )?;
    let data = source.load(&options.reading.load_options())?.dataset;
    let settings = options.settings()?;
    let checkpoint = CheckpointFolder::open(folder).load(settings.method.loss.score())?;
    checkpoint.check_data(data.fingerprint(), folder)?;
    checkpoint.check_settings(settings.identity()?, folder)?;
    if checkpoint.progress.epoch == 0 {
        let problem = "no epoch was finished, the tables are as they were drawn; train first";
        return Err(Failure::new(Exit::Run, format!("{}: {problem}", folder.display())));
    }
    let parts = Parts::new(&data, settings.protocol, settings.valid_ratio, settings.seed)?;
    let BestTables { epoch, tables } = checkpoint.model(settings.method, &settings.hyper, &parts.fit)?;
    let fits = tables.users.rows == data.users.len() && tables.items.rows == data.items.len();
    if !fits || tables.vectors() * tables.items.dim != tables.users.dim {
        let problem = "the tables of the checkpoint do not fit the data; train anew";
        return Err(Failure::new(Exit::Run, format!("{}: {problem}", folder.display())));
    }
    terminal.tell(&format!("model: {}, epoch {epoch}", folder.display()));
    Ok(Trained { data, parts, tables, epoch })
}
