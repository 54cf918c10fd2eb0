//! What is kept of a finished run: enough to show it and to repeat it, and nothing that needs the run's folder.

use crate::experiment::Wanted;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CellResult {
    /// What decides what is computed: the resolved options, but for threads, device and folders.
    pub config: Value,
    /// Address of the configuration: [`address`] of it.
    pub config_address: String,
    /// Fingerprint of the data's pairs, hexadecimal.
    pub data_fingerprint: String,
    /// How train and test came about.
    pub split: String,
    /// Counts of the data.
    #[serde(default)]
    pub statistics: Value,
    /// Versions of the programs that matter to the numbers.
    pub versions: BTreeMap<String, String>,
    /// Where it ran.
    pub machine: Machine,
    /// The protocol in words.
    pub protocol_text: String,
    /// Completed epochs.
    pub epochs: u32,
    /// Median training seconds of an epoch, without evaluation.
    pub seconds_per_epoch: f64,
    /// Mean seconds of an evaluation.
    pub seconds_per_evaluation: f64,
    /// Seconds of training and evaluation together.
    pub seconds: f64,
    /// Test values as the protocol reports them, with their epochs; empty under `final` and where nothing was trained.
    pub best: BTreeMap<String, Reported>,
    /// Test values at the last epoch.
    #[serde(rename = "final")]
    pub last: BTreeMap<String, f64>,
    /// The evaluated epochs.
    pub curve: Curve,
    /// Measurements by [`Wanted::key`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measurements: BTreeMap<String, Value>,
    /// Why measurements could not be made, by the same names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unmeasured: BTreeMap<String, String>,
}

/// A value with its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    /// The metric's value on test.
    pub value: f64,
    /// The epoch, from 1.
    pub epoch: u32,
}

/// Where a run ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// The operating system and the instruction set.
    pub system: String,
    /// The device that computed.
    pub device: String,
    /// Threads of the run.
    pub threads: usize,
    /// Runs that shared the machine; times are only good with 1.
    pub jobs: usize,
}

/// The evaluated epochs, one element each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// What was evaluated: `valid` or `test`.
    pub part: String,
    /// The epochs, from 1.
    pub epoch: Vec<u32>,
    /// Seconds of training until then, evaluation left out.
    pub seconds: Vec<f64>,
    /// Mean training loss of the epoch.
    pub loss: Vec<f64>,
    /// Metrics.
    pub metrics: BTreeMap<String, Vec<f64>>,
}

impl CellResult {
    /// A value as the protocol reports it.
    pub fn reported(&self, metric: &str) -> Option<f64> {
        self.best.get(metric).map(|best| best.value).or_else(|| self.last.get(metric).copied())
    }

    /// The epoch of a reported value; the last one under `final`.
    pub fn epoch_of(&self, metric: &str) -> u32 {
        self.best.get(metric).map_or(self.epochs, |best| best.epoch)
    }

    /// A measurement, if it was made.
    pub fn measurement<T: serde::de::DeserializeOwned>(&self, wanted: &Wanted) -> Option<T> {
        T::deserialize(self.measurements.get(&wanted.key())?).ok()
    }

    /// The seed.
    pub fn seed(&self) -> Option<u64> {
        self.config.get("seed")?.as_u64()
    }
}

/// The metric whose values of single users are kept and compared.
pub const TESTED: &str = "NDCG@20";

/// Metrics of single users with a truth item, ascending by user, in units of 1e-4: what a paired test compares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerUserValues {
    /// Values by metric.
    pub values: BTreeMap<String, Vec<u16>>,
}

impl PerUserValues {
    /// Keeps values between 0 and 1.
    pub fn insert(&mut self, metric: &str, values: &[f32]) {
        let kept = values.iter().map(|value| (f64::from(*value).clamp(0.0, 1.0) * 1e4).round() as u16).collect();
        self.values.insert(metric.into(), kept);
    }

    /// The values of a metric.
    pub fn get(&self, metric: &str) -> Option<Vec<f32>> {
        Some(self.values.get(metric)?.iter().map(|&value| f32::from(value) / 1e4).collect())
    }
}

/// A run that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FailedCell {
    /// What people call the cell.
    pub name: String,
    /// Address of its configuration.
    pub config_address: String,
    /// Why it failed.
    pub problem: String,
}

/// The address of `config` among others: 16 hexadecimal digits of the hash of its JSON text, whose keys are sorted.
pub fn address(config: &Value) -> String {
    let hash = blake3::hash(config.to_string().as_bytes());
    hash.to_hex().as_str()[..16].to_string()
}

/// Values rounded to `digits` after the point, for files that people keep.
pub fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    if value.is_finite() { (value * scale).round() / scale } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The order of keys does not matter; every value does.
    #[test]
    fn addresses() {
        let one = address(&json!({ "lr": 0.1, "method": { "loss": "dcl", "beta": 1 } }));
        assert_eq!(one, address(&json!({ "method": { "beta": 1, "loss": "dcl" }, "lr": 0.1 })));
        assert_ne!(one, address(&json!({ "method": { "beta": 2, "loss": "dcl" }, "lr": 0.1 })));
        assert_eq!(one.len(), 16);
    }

    #[test]
    fn rounding() {
        assert_eq!(rounded(0.123_456, 4), 0.1235);
        assert!(rounded(f64::NAN, 4).is_nan());
    }
}
