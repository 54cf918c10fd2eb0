//! The measured values by name, in a fixed order, as a flat JSON object: `{"P@5": 0.41, "R@5": 0.14, ..., "AUC": 0.93}`.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What an evaluation measured. Serializes as one flat map of its averages; values of single users are not part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub(crate) values: Vec<(String, f64)>,
    /// Values of single users, where the evaluation was asked to keep them.
    pub per_user: Option<PerUser>,
}

impl Report {
    /// The value called `name`, such as `NDCG@20`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(own, _)| own == name).map(|&(_, value)| value)
    }

    /// All names and values: for each cutoff P, R, F1, NDCG, HR, MRR, MAP, coverage, Gini, ARP, then AUC.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.values.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = Vec<(String, f64)>;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a map of metric names to numbers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    values.push(entry);
                }
                Ok(values)
            }
        }
        Ok(Self { values: deserializer.deserialize_map(Values)?, per_user: None })
    }
}

/// P, R, F1, NDCG, HR, MRR and MAP at each cutoff, and AUC, of every user with a truth item: what a paired test between
/// two models compares, user by user.
#[derive(Clone, Debug, PartialEq)]
pub struct PerUser {
    /// The users with at least one truth item, ascending, `[U]`.
    pub users: Vec<u32>,
    pub(crate) values: Vec<(String, Vec<f32>)>,
}

impl PerUser {
    /// The values `[U]` called `name`, in the order of `users`. NaN where the metric does not exist for a user: AUC, where
    /// every candidate is in the truth.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.values.iter().find(|(own, _)| own == name).map(|(_, values)| values.as_slice())
    }

    /// All names and their values `[U]`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.values.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_object_in_order_and_back() {
        let values = [("P@5", 0.5), ("NDCG@5", 0.25), ("F1@5", 0.0), ("AUC", 0.75)];
        let values = values.map(|(name, value)| (name.to_string(), value)).to_vec();
        let per_user = PerUser { users: vec![3], values: vec![("P@5".to_string(), vec![0.5])] };
        let report = Report { values, per_user: Some(per_user) };
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(json, r#"{"P@5":0.5,"NDCG@5":0.25,"F1@5":0.0,"AUC":0.75}"#);
        let back: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(back, Report { per_user: None, ..report.clone() });
        assert_eq!((back.get("AUC"), back.get("P@10")), (Some(0.75), None));
        assert_eq!(report.per_user.unwrap().get("P@5"), Some([0.5].as_slice()));
        assert!(serde_json::from_str::<Report>(r#"[1.0]"#).is_err());
        assert!(serde_json::from_str::<Report>(r#"{"P@5": "high"}"#).is_err());
    }
}
