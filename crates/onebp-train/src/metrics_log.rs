//! `metrics.jsonl`: one line of JSON per evaluated epoch, appended as it happens.

use crate::{Error, atomic};
use onebp_eval::Report;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

const FILE: &str = "metrics.jsonl";

/// One evaluated epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The epoch, from 1.
    pub epoch: u32,
    /// What was evaluated: `valid` or `test`.
    pub part: String,
    /// Mean training loss of the epoch.
    pub loss: f64,
    /// Shares of the epoch's rows that the loss counts, such as `floor_active`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, f64>,
    /// Seconds of training in the epoch, without evaluation.
    pub train_seconds: f64,
    /// Seconds of the evaluation.
    pub eval_seconds: f64,
    /// The metrics, each under its name.
    #[serde(flatten)]
    pub metrics: Report,
}

/// The open log of a run.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Refuses a folder where rows were written already.
    ///
    /// # Errors
    /// [`Error::Run`] where the file is there.
    pub fn refuse_existing(run: &Path) -> Result<(), Error> {
        let path = run.join(FILE);
        if path.exists() {
            return Err(Error::Run {
                path,
                problem: "there are rows, but the checkpoint that goes with them is missing".into(),
                remedy: "put checkpoints/checkpoint.json back, or start a new run".into(),
            });
        }
        Ok(())
    }

    /// Opens the log in `run` and drops every row after `epoch`, which the checkpoint to resume from does not know.
    ///
    /// # Errors
    /// [`Error::Write`] where it cannot be written; [`Error::Run`] where it, or a row of the epochs up to `epoch` of which
    /// every `eval_every`-th has one, is missing or damaged.
    pub fn open(run: &Path, epoch: u32, eval_every: u32) -> Result<Self, Error> {
        let path = run.join(FILE);
        let mut kept = String::new();
        let mut found = 0;
        if epoch > 0 && !path.exists() {
            return Err(Error::Run {
                path,
                problem: "the file is missing".into(),
                remedy: "put it back; the epochs so far are written there alone".into(),
            });
        }
        if path.exists() {
            let text = String::from_utf8_lossy(&atomic::read(&path)?).into_owned();
            for (number, line) in (1..).zip(text.split_inclusive('\n')) {
                match serde_json::from_str::<Row>(line) {
                    Ok(row) if row.epoch <= epoch && line.ends_with('\n') => {
                        kept.push_str(line);
                        found += u32::from(row.epoch.is_multiple_of(eval_every));
                    }
                    Ok(_) => break,
                    // Only the last line can be half-written.
                    Err(_) if !line.ends_with('\n') => break,
                    Err(error) => {
                        return Err(Error::Run {
                            path,
                            problem: format!("line {number} is damaged: {error}"),
                            remedy: "put the file back as it was".into(),
                        });
                    }
                }
            }
        }
        let expected = epoch / eval_every;
        if found < expected {
            return Err(Error::Run {
                path,
                problem: format!("{found} of the rows up to epoch {epoch} are there, {expected} were written"),
                remedy: "put the file back; the epochs so far are written there alone".into(),
            });
        }
        atomic::write(&path, kept.as_bytes())?;
        let open = OpenOptions::new().append(true).open(&path);
        let file = open.map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(Self { path, file })
    }

    /// Makes sure that the rows survive what a checkpoint survives.
    ///
    /// # Errors
    /// [`Error::Write`] where they cannot be written.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// [`Error::Write`] where it cannot be written.
    pub fn append(&mut self, row: &Row) -> Result<(), Error> {
        let io = |source| Error::Write { path: self.path.clone(), source };
        let mut line = serde_json::to_string(row).map_err(|error| io(error.into()))?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: u32) -> Row {
        let metrics = serde_json::from_str(r#"{"P@5": 0.25, "NDCG@20": 0.5}"#).unwrap();
        Row {
            epoch,
            part: "test".into(),
            loss: 1.5,
            counters: BTreeMap::new(),
            train_seconds: 0.1,
            eval_seconds: 0.2,
            metrics,
        }
    }

    #[test]
    fn rows_are_flat_and_later_ones_are_dropped_on_resume() {
        let run = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::open(run.path(), 0, 1).unwrap();
        for epoch in [1, 2, 3] {
            log.append(&row(epoch)).unwrap();
        }
        let path = run.path().join("metrics.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let first = "{\"epoch\":1,\"part\":\"test\",\"loss\":1.5,\"train_seconds\":0.1,\"eval_seconds\":0.2,\
                     \"P@5\":0.25,\"NDCG@20\":0.5}";
        assert_eq!(text.lines().next(), Some(first));
        std::fs::write(&path, format!("{text}{{\"epoch\":4,\"pa")).unwrap();
        MetricsLog::open(run.path(), 2, 1).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn damage_and_loss_are_named() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join("metrics.jsonl"), "{\"epoch\":1\n").unwrap();
        let error = MetricsLog::open(run.path(), 5, 1).unwrap_err().to_string();
        assert!(error.contains("line 1 is damaged"), "{error}");
        std::fs::remove_file(run.path().join("metrics.jsonl")).unwrap();
        let error = MetricsLog::open(run.path(), 5, 1).unwrap_err().to_string();
        assert!(error.contains("the file is missing"), "{error}");
    }
}
