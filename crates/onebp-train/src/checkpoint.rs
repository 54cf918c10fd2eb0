//! Checkpoints: everything a run needs to continue with the same bytes.
//!
//! ```text
//! checkpoints/
//!   checkpoint.json             the commit record: names, sizes and checksums of the two files below, and the progress
//!   last-00000120-0000.safetensors   tables and moments after epoch 120, batch 0 of the next
//!   best-00000110.safetensors   tables of the best epoch so far
//! ```
//!
//! Tensor files are written first under names of their own; the small record is renamed into place last. A crash at any
//! moment leaves the old record with its files, or the new one with its own.

use crate::{Error, atomic, protocol::Selection};
use onebp_data::Csr;
use onebp_model::{
    Hyperparameters, Method, Score, Table, Tables,
    engine::{State, Tensors, Times},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The format that this version writes and reads.
const FORMAT: u32 = 1;
const RECORD: &str = "checkpoint.json";

/// How far a run has come, beside its tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Completed epochs.
    pub epoch: u32,
    /// Completed batches of the epoch under way.
    pub batch: usize,
    /// Training seconds of every completed epoch.
    pub epoch_seconds: Vec<f64>,
    /// Training seconds spent on the epoch under way.
    pub partial_seconds: f64,
    /// Best values so far.
    pub selection: Selection,
}

/// Tables of the best epoch so far.
#[derive(Clone, Debug, PartialEq)]
pub struct BestTables {
    /// The epoch, from 1.
    pub epoch: u32,
    /// The tables after it.
    pub tables: Tables,
}

/// A whole checkpoint in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Tensors and counters of the engine.
    pub state: State,
    /// How far the run has come.
    pub progress: Progress,
    /// The best tables, under protocols that select.
    pub best: Option<BestTables>,
    /// [`onebp_data::Dataset::fingerprint`] of the data.
    pub data: u64,
    /// The settings that decide what is computed, as JSON.
    pub settings: serde_json::Value,
}

impl Checkpoint {
    /// Checks that the run in `folder` was trained on the data with this fingerprint.
    ///
    /// # Errors
    /// [`Error::Run`] where it was not.
    pub fn check_data(&self, fingerprint: u64, folder: &Path) -> Result<(), Error> {
        if self.data == fingerprint {
            return Ok(());
        }
        Err(Error::Run {
            path: folder.into(),
            problem: "the data is not what this run was trained on".into(),
            remedy: "give the same files and preparation, or start a new run".into(),
        })
    }

    /// Checks that the settings that decide what is computed are those of the run in `folder`. Where `settings` name no
    /// device, the run's counts.
    ///
    /// # Errors
    /// [`Error::Run`] names the first that changed.
    pub fn check_settings(&self, mut settings: serde_json::Value, folder: &Path) -> Result<(), Error> {
        if settings["device"].is_null() {
            settings["device"] = self.settings["device"].clone();
        }
        match first_change(&self.settings, &settings) {
            None => Ok(()),
            Some(change) => Err(Error::Run {
                path: folder.into(),
                problem: format!("{change} since the run was started"),
                remedy: "put it back, or start a new run".into(),
            }),
        }
    }

    /// The model to use, fitted to `train`: the best epoch under protocols that select one, else the last, every row caught
    /// up and encoded.
    ///
    /// # Errors
    /// [`Error::Model`] where a table is missing, or is not one of this method.
    pub fn model(self, method: Method, hyper: &Hyperparameters, train: &Csr) -> Result<BestTables, Error> {
        match self.best {
            Some(best) => Ok(best),
            None => Ok(BestTables { epoch: self.progress.epoch, tables: self.state.view(method, hyper, train)? }),
        }
    }
}

/// The first setting that differs, in words.
fn first_change(stored: &serde_json::Value, now: &serde_json::Value) -> Option<String> {
    match (stored, now) {
        (serde_json::Value::Object(stored), serde_json::Value::Object(now)) => {
            let keys = now.keys().chain(stored.keys().filter(|key| !now.contains_key(*key)));
            keys.filter_map(|key| {
                let null = serde_json::Value::Null;
                let (was, is) = (stored.get(key).unwrap_or(&null), now.get(key).unwrap_or(&null));
                first_change(was, is).map(|change| if is.is_object() { change } else { format!("{key} {change}") })
            })
            .next()
        }
        _ if stored == now => None,
        _ => Some(format!("was changed from {stored} to {now}")),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    version: String,
    /// Fingerprint of the data, hexadecimal.
    data: String,
    settings: serde_json::Value,
    last: FileRecord,
    best: Option<FileRecord>,
    best_epoch: Option<u32>,
    counters: BTreeMap<String, u64>,
    progress: Progress,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRecord {
    name: String,
    bytes: u64,
    crc32: u32,
}

/// The folder that holds the checkpoint of a run.
#[derive(Debug)]
pub struct CheckpointFolder {
    path: PathBuf,
}

impl CheckpointFolder {
    /// The folder `checkpoints` of a run folder; it is created with the first checkpoint, so that a run which dies before
    /// that leaves nothing in the way of another one.
    pub fn open(run: &Path) -> Self {
        Self { path: run.join("checkpoints") }
    }

    /// Whether a checkpoint has been committed.
    pub fn exists(&self) -> bool {
        self.path.join(RECORD).exists()
    }

    /// Commits `checkpoint` and removes the files of the one before.
    ///
    /// # Errors
    /// [`Error::Write`] where the folder cannot be written; the checkpoint before is then still whole.
    pub fn store(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        atomic::create_folder(&self.path)?;
        let before = if self.exists() { Some(self.record()?) } else { None };
        let Checkpoint { state, progress, best, data, settings } = checkpoint;
        let last_name = format!("last-{:08}-{:04}.safetensors", progress.epoch, progress.batch);
        let last = self.write_tensors(&last_name, named(&state.tensors), &state.times)?;
        let best_file = match best {
            None => None,
            Some(best) => {
                let name = format!("best-{:08}.safetensors", best.epoch);
                let stored = before.as_ref().and_then(|record| record.best.clone()).filter(|file| file.name == name);
                let tables = [("items", &best.tables.items), ("users", &best.tables.users)];
                Some(stored.map_or_else(|| self.write_tensors(&name, tables.into_iter(), &Times::new()), Ok)?)
            }
        };
        let record = Record {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            data: format!("{data:016x}"),
            settings: settings.clone(),
            last,
            best: best_file,
            best_epoch: best.as_ref().map(|best| best.epoch),
            counters: state.counters.clone(),
            progress: progress.clone(),
        };
        let text = serde_json::to_vec(&record).map_err(|error| self.corrupt(RECORD, &error.to_string()))?;
        atomic::write(&self.path.join(RECORD), &text)?;
        self.remove_all_but(&record)
    }

    /// Reads the committed checkpoint and checks it. Its best tables, whose file does not say so, are scored by `score`.
    ///
    /// # Errors
    /// [`Error::Run`] where there is none, or where a file is missing, damaged or of another format.
    pub fn load(&self, score: Score) -> Result<Checkpoint, Error> {
        let mut record = self.record()?;
        loop {
            let loaded = self.load_files(&record, score);
            // A run that is being trained may have replaced the files in between.
            let now = self.record()?;
            if loaded.is_ok() || now.last == record.last {
                return loaded;
            }
            record = now;
        }
    }

    fn load_files(&self, record: &Record, score: Score) -> Result<Checkpoint, Error> {
        let (tensors, times) = self.read_tensors(&record.last)?;
        let best = match (&record.best, record.best_epoch) {
            (Some(file), Some(epoch)) => {
                let (mut tensors, _) = self.read_tensors(file)?;
                let mut table = |name: &str| {
                    let missing = || self.corrupt(&file.name, &format!("the table of {name} is missing"));
                    tensors.remove(name).ok_or_else(missing)
                };
                Some(BestTables { epoch, tables: Tables { users: table("users")?, items: table("items")?, score } })
            }
            _ => None,
        };
        let data = u64::from_str_radix(&record.data, 16)
            .map_err(|_| self.corrupt(RECORD, "the data fingerprint is not hexadecimal"))?;
        let state = State { tensors, counters: record.counters.clone(), times };
        let (progress, settings) = (record.progress.clone(), record.settings.clone());
        Ok(Checkpoint { state, progress, best, data, settings })
    }

    fn record(&self) -> Result<Record, Error> {
        let path = self.path.join(RECORD);
        if !path.exists() {
            return Err(Error::Run {
                path,
                problem: "there is no checkpoint".into(),
                remedy: "the run ended before its first one; start it again".into(),
            });
        }
        let record: Record =
            serde_json::from_slice(&atomic::read(&path)?).map_err(|error| self.corrupt(RECORD, &error.to_string()))?;
        if record.format != FORMAT {
            return Err(Error::Run {
                path,
                problem: format!("checkpoint format {} is not {FORMAT}", record.format),
                remedy: format!("use onebp {}", record.version),
            });
        }
        Ok(record)
    }

    fn write_tensors<'a>(
        &self,
        name: &str,
        tables: impl Iterator<Item = (&'a str, &'a Table)>,
        times: &Times,
    ) -> Result<FileRecord, Error> {
        let path = self.path.join(name);
        let buffer = to_safetensors(tables, times).map_err(|problem| self.corrupt(name, &problem))?;
        atomic::write(&path, &buffer)?;
        Ok(FileRecord { name: name.into(), bytes: buffer.len() as u64, crc32: crc32fast::hash(&buffer) })
    }

    fn read_tensors(&self, file: &FileRecord) -> Result<(Tensors, Times), Error> {
        // The name comes from a file that anyone may have edited: stay in this folder.
        if Path::new(&file.name).file_name() != Some(file.name.as_ref()) {
            return Err(self.corrupt(RECORD, &format!("{:?} is not a file name", file.name)));
        }
        let path = self.path.join(&file.name);
        if !path.exists() {
            return Err(self.corrupt(&file.name, "the file is missing"));
        }
        let buffer = atomic::read(&path)?;
        if buffer.len() as u64 != file.bytes || crc32fast::hash(&buffer) != file.crc32 {
            return Err(self.corrupt(&file.name, "its size or checksum is not the recorded one"));
        }
        from_safetensors(&buffer).map_err(|problem| self.corrupt(&file.name, &problem))
    }

    fn remove_all_but(&self, record: &Record) -> Result<(), Error> {
        let io = |source| Error::Write { path: self.path.clone(), source };
        for entry in std::fs::read_dir(&self.path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            let kept = [Some(&record.last), record.best.as_ref()];
            let ours =
                name.to_string_lossy().ends_with(".safetensors") || name.to_string_lossy().starts_with(".writing-");
            if ours && kept.iter().flatten().all(|file| name != file.name.as_str()) {
                std::fs::remove_file(entry.path()).map_err(io)?;
            }
        }
        Ok(())
    }

    fn corrupt(&self, name: &str, problem: &str) -> Error {
        Error::Run {
            path: self.path.join(name),
            problem: format!("the checkpoint is damaged: {problem}"),
            remedy: "restore the file from a copy, or train anew into another folder".into(),
        }
    }
}

fn named(tensors: &Tensors) -> impl Iterator<Item = (&str, &Table)> {
    tensors.iter().map(|(name, table)| (name.as_str(), table))
}

/// Names of row times begin with this in a file.
const TIME: &str = "time.";

/// Tables, and the times of their rows, as the bytes of a safetensors file.
///
/// # Errors
/// Says what safetensors refused.
pub fn to_safetensors<'a>(
    tables: impl Iterator<Item = (&'a str, &'a Table)>,
    times: &Times,
) -> Result<Vec<u8>, String> {
    let floats = tables.map(|(name, table)| {
        let bytes: Vec<u8> = table.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        (name.to_string(), Dtype::F32, vec![table.rows, table.dim], bytes)
    });
    let steps = times.iter().map(|(name, time)| {
        let bytes = time.iter().flat_map(|step| step.to_le_bytes()).collect();
        (format!("{TIME}{name}"), Dtype::U32, vec![time.len()], bytes)
    });
    let parts: Vec<_> = floats.chain(steps).collect();
    let views = parts
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| error.to_string())?;
    safetensors::serialize(views, None).map_err(|error| error.to_string())
}

fn from_safetensors(buffer: &[u8]) -> Result<(Tensors, Times), String> {
    let stored = SafeTensors::deserialize(buffer).map_err(|error| error.to_string())?;
    let (mut tensors, mut times) = (Tensors::new(), Times::new());
    for (name, view) in stored.tensors() {
        let words = view.data().chunks_exact(4).map(|four| [four[0], four[1], four[2], four[3]]);
        match (view.dtype(), view.shape(), name.strip_prefix(TIME)) {
            (Dtype::F32, &[rows, dim], None) => {
                tensors.insert(name, Table { values: words.map(f32::from_le_bytes).collect(), rows, dim });
            }
            (Dtype::U32, &[_], Some(table)) => {
                times.insert(table.into(), words.map(u32::from_le_bytes).collect());
            }
            (dtype, shape, _) => return Err(format!("tensor {name} is {dtype:?} {shape:?}, which no run stores")),
        }
    }
    Ok((tensors, times))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(epoch: u32, best: u32) -> Checkpoint {
        let tables = Tables::init(3, 4, 2, u64::from(epoch));
        let mut state = State::default();
        state.tensors.insert("users".into(), tables.users.clone());
        state.tensors.insert("items".into(), tables.items.clone());
        state.counters.insert("items.step".into(), 17);
        state.times.insert("items".into(), vec![17, 3, 0, u32::MAX]);
        let progress = Progress { epoch, epoch_seconds: vec![0.1 + 0.2; 3], ..Default::default() };
        Checkpoint {
            state,
            progress,
            best: Some(BestTables { epoch: best, tables }),
            data: 0xfeed,
            settings: serde_json::json!({}),
        }
    }

    fn names(folder: &CheckpointFolder) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(&folder.path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn stores_loads_and_cleans_up() {
        let run = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(run.path());
        assert!(!folder.exists());
        for (epoch, best) in [(1, 1), (2, 1), (3, 3)] {
            let stored = checkpoint(epoch, best);
            folder.store(&stored).unwrap();
            let loaded = folder.load(Score::Distance).unwrap();
            assert_eq!(loaded.state, stored.state);
            assert_eq!(loaded.best.map(|b| (b.epoch, b.tables.score)), Some((best, Score::Distance)));
            assert_eq!(loaded.data, stored.data);
        }
        let expected = ["best-00000003.safetensors", "checkpoint.json", "last-00000003-0000.safetensors"];
        assert_eq!(names(&folder), expected);
    }

    /// Whatever is half-written when a process dies, the committed checkpoint stays whole.
    #[test]
    fn leftovers_of_a_crash_do_no_harm() {
        let run = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(run.path());
        folder.store(&checkpoint(1, 1)).unwrap();
        std::fs::write(folder.path.join("last-00000002-0000.safetensors"), b"half a fi").unwrap();
        std::fs::write(folder.path.join(".writing-abc"), b"{").unwrap();
        assert_eq!(folder.load(Score::Distance).unwrap().progress.epoch, 1);
        folder.store(&checkpoint(2, 1)).unwrap();
        assert_eq!(folder.load(Score::Distance).unwrap().progress.epoch, 2);
        assert_eq!(names(&folder).len(), 3);
    }

    #[test]
    fn damage_is_named() {
        let run = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(run.path());
        let missing = folder.load(Score::Distance).unwrap_err().to_string();
        assert!(missing.contains("there is no checkpoint"), "{missing}");

        folder.store(&checkpoint(1, 1)).unwrap();
        let file = folder.path.join("last-00000001-0000.safetensors");
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() - 3]).unwrap();
        assert!(folder.load(Score::Distance).unwrap_err().to_string().contains("size or checksum"));
        let mut flipped = whole.clone();
        flipped[whole.len() - 1] ^= 1;
        std::fs::write(&file, &flipped).unwrap();
        assert!(folder.load(Score::Distance).unwrap_err().to_string().contains("size or checksum"));
        std::fs::remove_file(&file).unwrap();
        assert!(folder.load(Score::Distance).unwrap_err().to_string().contains("the file is missing"));
        std::fs::write(&file, &whole).unwrap();
        assert!(folder.load(Score::Distance).is_ok());

        let record = folder.path.join(RECORD);
        let text = std::fs::read_to_string(&record).unwrap();
        std::fs::write(&record, text.replace("last-00000001", "../last-00000001")).unwrap();
        assert!(folder.load(Score::Distance).unwrap_err().to_string().contains("is not a file name"));
        std::fs::write(&record, text.replace("\"format\":1", "\"format\":9")).unwrap();
        assert!(folder.load(Score::Distance).unwrap_err().to_string().contains("checkpoint format 9 is not 1"));
        std::fs::write(&record, &text[..text.len() / 2]).unwrap();
        assert!(folder.load(Score::Distance).unwrap_err().to_string().contains("damaged"));
    }
}
