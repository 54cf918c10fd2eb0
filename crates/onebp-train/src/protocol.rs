//! Reporting protocols: what is trained on, what is looked at while training, and which epoch is reported.

use onebp_eval::Report;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The metric that selects an epoch and that patience watches.
pub const GUIDE: &str = "NDCG@20";

/// Metrics, without their cutoffs, of which more is better. Only these can have a best epoch.
const LARGER_IS_BETTER: [&str; 8] = ["P", "R", "F1", "NDCG", "HR", "MRR", "MAP", "AUC"];

/// How a result comes about. Results of different protocols are not comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Train on train minus a validation part; one epoch is selected by NDCG@20 on validation (first maximum), and test is
    /// reported at that epoch. The one to make claims with.
    #[default]
    Validated,
    /// Train on all of train; test is evaluated while training and each metric reports its own best epoch. This is how the
    /// paper's tables were made; it selects on test and is optimistic.
    Paper,
    /// Train on all of train for a fixed number of epochs; the last epoch is reported.
    Final,
}

impl Protocol {
    /// All protocols, in the order in which help texts list them.
    pub const ALL: [Protocol; 3] = [Self::Validated, Self::Paper, Self::Final];

    /// The name on the command line and in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validated => "validated",
            Self::Paper => "paper",
            Self::Final => "final",
        }
    }

    /// The sentence that goes with every number.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Validated => {
                "test at the one epoch that is best on validation by NDCG@20; trained without validation"
            }
            Self::Paper => "best epoch on test, each metric by itself, as in the paper (optimistic)",
            Self::Final => "test at the last epoch",
        }
    }
}

/// A value and the epoch that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The metric's value.
    #[serde(with = "exact")]
    pub value: f64,
    /// The epoch, from 1.
    pub epoch: u32,
}

/// The best values so far, and for how long there has been none better.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Best value and epoch of every metric of which more is better, each by itself.
    pub best: BTreeMap<String, Best>,
    /// Evaluations since [`GUIDE`] last improved.
    pub stale: u32,
}

impl Selection {
    /// Takes in the metrics of `epoch`; says whether [`GUIDE`] improved. Only strictly larger values count, from 0, so the
    /// first of equal maxima stays.
    pub fn observe(&mut self, epoch: u32, report: &Report) -> bool {
        for (name, value) in report.iter() {
            let best = self.best.get(name).map_or(0.0, |best| best.value);
            let kind = name.split('@').next().unwrap_or(name);
            if LARGER_IS_BETTER.contains(&kind) && value > best {
                self.best.insert(name.to_string(), Best { value, epoch });
            }
        }
        let improved = self.guide().is_some_and(|best| best.epoch == epoch);
        self.stale = if improved { 0 } else { self.stale + 1 };
        improved
    }

    /// The best of [`GUIDE`].
    pub fn guide(&self) -> Option<Best> {
        self.best.get(GUIDE).copied()
    }
}

/// Floats as decimal text: the JSON parser in use may be off by one unit in the last place, and a resumed run must compare
/// the very same numbers.
pub(crate) mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ndcg: f64, precision: f64) -> Report {
        serde_json::from_value(serde_json::json!({ "P@5": precision, "NDCG@20": ndcg, "Gini@20": 0.9 })).unwrap()
    }

    /// T40: each metric has its own best epoch, and the first maximum stays.
    #[test]
    fn best_over_a_sequence() {
        let mut selection = Selection::default();
        let improved: Vec<bool> = [(0.2, 0.5), (0.4, 0.5), (0.4, 0.6), (0.3, 0.6)]
            .into_iter()
            .zip(1..)
            .map(|((ndcg, precision), epoch)| selection.observe(epoch, &report(ndcg, precision)))
            .collect();
        assert_eq!(improved, [true, true, false, false]);
        assert_eq!(selection.best["NDCG@20"], Best { value: 0.4, epoch: 2 });
        assert_eq!(selection.best["P@5"], Best { value: 0.6, epoch: 3 });
        assert_eq!(selection.stale, 2);
        assert!(!selection.best.contains_key("Gini@20"), "more of it is not better");
    }

    #[test]
    fn values_survive_storing_exactly() {
        for value in [0.1 + 0.2, f64::MIN_POSITIVE, 1.0 / 3.0, 0.445_301_234_567_890_1] {
            let best = Best { value, epoch: 1 };
            let text = serde_json::to_string(&best).unwrap();
            assert_eq!(serde_json::from_str::<Best>(&text).unwrap().value.to_bits(), value.to_bits());
        }
    }
}
