//! The folder of finished runs: one JSON file each, named by what it is and where its configuration, its data and the
//! program's version place it.
//!
//! ```text
//! results/
//!   ml-100k/mf-paper-2022-1c29f0d3b4a5e687.json     a finished run
//!   ml-100k/mf-paper-2022-1c29f0d3b4a5e687.failed   why one failed
//! ```
//!
//! Files are independent of each other: a grid can be stopped, go on, and run on several machines into folders that are
//! copied together afterwards.

use crate::{
    Error,
    experiment::short_name,
    result::{CellResult, FailedCell, address},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What decides which file a run is kept in.
#[derive(Clone, Debug, PartialEq)]
pub struct Key<'a> {
    /// The data set, as for `--data`.
    pub data: &'a str,
    /// Name of the method.
    pub method: &'a str,
    /// Protocol.
    pub protocol: &'a str,
    /// Seed.
    pub seed: u64,
    /// Address of the configuration.
    pub config: &'a str,
    /// Fingerprint of the data, hexadecimal.
    pub fingerprint: &'a str,
    /// Version of the program.
    pub version: &'a str,
}

impl Key<'_> {
    /// Path of the file below the store, without its ending.
    pub fn stem(&self) -> PathBuf {
        let whole = address(&json!([self.config, self.fingerprint, self.version]));
        let folder: String = short_name(self.data)
            .chars()
            .map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' })
            .collect();
        Path::new(&folder).join(format!("{}-{}-{}-{whole}", self.method, self.protocol, self.seed))
    }
}

/// The finished runs in a folder, by address of their configuration.
#[derive(Clone, Debug, Default)]
pub struct Store {
    results: BTreeMap<String, Vec<CellResult>>,
    failed: BTreeMap<String, FailedCell>,
}

impl Store {
    /// Reads every file of `folder`; a folder that is not there holds nothing. Beside the store, what is wrong with files that
    /// are damaged: one of them must not hide the others.
    ///
    /// # Errors
    /// [`Error::Io`] where a folder cannot be listed.
    pub fn read(folder: &Path) -> Result<(Self, Vec<Error>), Error> {
        let mut store = Self::default();
        let damaged = files(folder)?.into_iter().filter_map(|path| store.add(&path).err()).collect();
        Ok((store, damaged))
    }

    fn add(&mut self, path: &Path) -> Result<(), Error> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => {
                let result: CellResult = read(path)?;
                self.results.entry(result.config_address.clone()).or_default().push(result);
            }
            Some("failed") => {
                let failed: FailedCell = read(path)?;
                self.failed.insert(failed.config_address.clone(), failed);
            }
            _ => {}
        }
        Ok(())
    }

    /// The run of a configuration on the data with `fingerprint`, or on any where that is not known; of several versions that
    /// of the newest.
    pub fn get(&self, config_address: &str, fingerprint: Option<&str>) -> Option<&CellResult> {
        let runs = self.results.get(config_address)?.iter();
        let of_data = runs.filter(|result| fingerprint.is_none_or(|own| result.data_fingerprint == own));
        of_data.max_by_key(|result| version(result))
    }

    /// Whether runs of a configuration are of different data, so that one must know which is meant.
    pub fn is_ambiguous(&self, config_address: &str) -> bool {
        let Some((first, others)) = self.results.get(config_address).and_then(|runs| runs.split_first()) else {
            return false;
        };
        others.iter().any(|other| other.data_fingerprint != first.data_fingerprint)
    }

    /// Why the run of a configuration failed, where it did.
    pub fn failure(&self, config_address: &str) -> Option<&FailedCell> {
        self.failed.get(config_address)
    }

    /// All results.
    pub fn results(&self) -> impl Iterator<Item = &CellResult> {
        self.results.values().flatten()
    }
}

/// Reads a file of results or numbers.
///
/// # Errors
/// [`Error::Io`], and [`Error::Result`] where it is damaged.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Result { path: path.into(), problem: error.to_string() })
}

/// The version of the program, to be compared.
fn version(result: &CellResult) -> Vec<u64> {
    let text = result.versions.get("onebp").map_or("", String::as_str);
    text.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// The files of a store, in order.
///
/// # Errors
/// [`Error::Io`] where a folder cannot be listed.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    if !folder.exists() {
        return Ok(files);
    }
    let list = |folder: &Path| -> Result<Vec<PathBuf>, Error> {
        let io = |source| Error::Io { path: folder.into(), source };
        std::fs::read_dir(folder).map_err(io)?.map(|entry| entry.map(|entry| entry.path()).map_err(io)).collect()
    };
    for data in list(folder)?.into_iter().filter(|path| path.is_dir()) {
        files.extend(list(&data)?);
    }
    files.sort();
    Ok(files)
}

/// A result as the text of its file: short lines, so that changes can be read; arrays of numbers on one line.
pub fn to_text(result: &CellResult) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    write_value(&serde_json::to_value(result)?, 0, &mut text);
    text.push('\n');
    Ok(text)
}

fn write_value(value: &Value, depth: usize, text: &mut String) {
    // Measurements are for programs: a line each.
    match value {
        Value::Object(fields) if depth < 2 && !fields.is_empty() => {
            text.push_str("{\n");
            for (at, (key, value)) in fields.iter().enumerate() {
                text.push_str(&" ".repeat(depth + 1));
                text.push_str(&Value::String(key.clone()).to_string());
                text.push_str(": ");
                write_value(value, depth + 1, text);
                text.push_str(if at + 1 < fields.len() { ",\n" } else { "\n" });
            }
            text.push_str(&" ".repeat(depth));
            text.push('}');
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Curve, Machine, Reported};

    pub fn result(config: Value) -> CellResult {
        CellResult {
            config_address: address(&config),
            config,
            data_fingerprint: "00ff".into(),
            split: "s".into(),
            statistics: Value::Null,
            versions: [("onebp".to_string(), "0.1.0".to_string())].into(),
            machine: Machine {
                processor: "p".into(),
                system: "linux".into(),
                device: "cpu".into(),
                threads: 1,
                jobs: 1,
            },
            protocol_text: "t".into(),
            epochs: 2,
            seconds_per_epoch: 0.5,
            seconds_per_evaluation: 0.1,
            seconds: 1.5,
            best: [("P@5".to_string(), Reported { value: 0.4, epoch: 1 })].into(),
            last: [("P@5".to_string(), 0.3), ("AUC".to_string(), 0.9)].into(),
            curve: Curve::default(),
            measurements: BTreeMap::new(),
            unmeasured: BTreeMap::new(),
        }
    }

    #[test]
    fn files_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let one = result(json!({ "lr": 0.1 }));
        let newer = CellResult { versions: [("onebp".to_string(), "0.10.0".to_string())].into(), ..one.clone() };
        for (name, result) in [("a", &one), ("b", &newer)] {
            std::fs::create_dir_all(folder.path().join("ml")).unwrap();
            std::fs::write(folder.path().join(format!("ml/{name}.json")), to_text(result).unwrap()).unwrap();
        }
        let failed = FailedCell { name: "n".into(), config_address: "x".into(), problem: "p".into() };
        std::fs::write(folder.path().join("ml/c.failed"), serde_json::to_string(&failed).unwrap()).unwrap();
        let (store, damaged) = Store::read(folder.path()).unwrap();
        assert!(damaged.is_empty(), "{damaged:?}");
        assert_eq!(store.get(&one.config_address, None), Some(&newer), "the newest version counts");
        assert_eq!(store.get(&one.config_address, Some("00ff")), Some(&newer));
        assert_eq!((store.get(&one.config_address, Some("0")), store.is_ambiguous(&one.config_address)), (None, false));
        assert_eq!(store.failure("x"), Some(&failed));
        assert_eq!((store.results().count(), store.get("y", None)), (2, None));
        let [reported, last] = ["P@5", "AUC"].map(|metric| one.reported(metric));
        assert_eq!((reported, last, one.epoch_of("P@5"), one.epoch_of("AUC")), (Some(0.4), Some(0.9), 1, 2));

        std::fs::write(folder.path().join("ml/d.json"), "{}").unwrap();
        let (store, damaged) = Store::read(folder.path()).unwrap();
        let error = damaged[0].to_string();
        assert!(damaged.len() == 1 && error.contains("ml/d.json: ") && error.contains("missing field"), "{error}");
        assert_eq!(store.results().count(), 2, "the others are there");
        assert_eq!(Store::read(Path::new("/no/such/folder")).unwrap().0.results().count(), 0);
    }

    #[test]
    fn names_of_files() {
        let key = Key {
            data: "ml-100k/split-authors",
            method: "mf",
            protocol: "paper",
            seed: 3,
            config: "c",
            fingerprint: "f",
            version: "0.1.0",
        };
        let stem = key.stem();
        assert!(stem.to_str().unwrap().starts_with("ml-100k/mf-paper-3-"), "{stem:?}");
        assert_ne!(Key { fingerprint: "g", ..key.clone() }.stem(), stem);
        assert_ne!(Key { version: "0.2.0", ..key }.stem(), stem);
    }
}
