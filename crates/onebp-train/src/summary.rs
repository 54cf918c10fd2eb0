//! `summary.json`: what came out of a run, under which protocol, and what it cost.

use crate::{Error, Protocol, Settings, atomic, protocol::Best};
use onebp_data::Statistics;
use onebp_eval::Report;
use serde::Serialize;
use std::{collections::BTreeMap, path::Path};

const FILE: &str = "summary.json";

/// The outcome of a finished run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Name of the method.
    pub method: String,
    /// What was computed: hyper-parameters, engine, protocol, seed.
    pub settings: Settings,
    /// How the reported numbers were selected.
    pub protocol: Protocol,
    /// The protocol in words.
    pub protocol_text: String,
    /// The metric that selected an epoch, under protocols that select.
    pub selected_by: Option<String>,
    /// Test values as the protocol reports them, with their epochs; empty under `final`.
    pub best: BTreeMap<String, Reported>,
    /// Test values at the last epoch.
    #[serde(rename = "final")]
    pub last: Report,
    /// Completed epochs.
    pub epochs: u32,
    /// Median training seconds of an epoch, without evaluation.
    pub seconds_per_epoch: f64,
    /// Seed of the split, the initial tables, the shuffles and the negatives.
    pub seed: u64,
    /// Name of the data set.
    pub data: String,
    /// How train and test came about.
    pub split: String,
    /// Fingerprint of the pairs, hexadecimal.
    pub data_fingerprint: String,
    /// Counts and distributions of the data.
    pub statistics: Statistics,
    /// The device that was used.
    pub device: String,
    /// Threads that were allowed.
    pub threads: usize,
    /// Versions of the programs that matter to the numbers.
    pub versions: BTreeMap<String, String>,
}

/// A reported value and its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reported {
    /// The metric's value on test.
    pub value: f64,
    /// The epoch, from 1.
    pub epoch: u32,
}

impl From<Best> for Reported {
    fn from(Best { value, epoch }: Best) -> Self {
        Self { value, epoch }
    }
}

impl Summary {
    /// A value as the protocol reports it.
    pub fn reported(&self, metric: &str) -> Option<f64> {
        self.best.get(metric).map(|best| best.value).or_else(|| self.last.get(metric))
    }

    /// Removes the file from `run`, if it is there.
    ///
    /// # Errors
    /// [`Error::Write`] where it cannot be removed.
    pub(crate) fn remove(run: &Path) -> Result<(), Error> {
        let path = run.join(FILE);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Write { path, source }),
            _ => Ok(()),
        }
    }

    /// Writes the file into `run`.
    ///
    /// # Errors
    /// [`Error::Write`] where it cannot be written.
    pub fn write(&self, run: &Path) -> Result<(), Error> {
        let path = run.join(FILE);
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Write { path: path.clone(), source: error.into() })?;
        text.push(b'\n');
        atomic::write(&path, &text)
    }
}

/// Versions of this program and of Burn.
pub fn versions() -> BTreeMap<String, String> {
    let versions = [("onebp", env!("CARGO_PKG_VERSION")), ("burn", onebp_model::BURN_VERSION)];
    versions.into_iter().map(|(name, version)| (name.to_string(), version.to_string())).collect()
}

/// The median, 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

impl Settings {
    /// The metric that selects an epoch under these settings.
    pub fn selected_by(&self) -> Option<String> {
        match self.protocol {
            Protocol::Validated => Some(format!("{} on validation", crate::protocol::GUIDE)),
            Protocol::Paper => Some("each metric by itself, on test".into()),
            Protocol::Final => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
