//! The paper's own numbers, beside which ours are shown.
//!
//! ```json
//! {"source": "Table 2 of arXiv 2403.18227",
//!  "rows": [{"data": "ml-100k", "row": "mf", "P@5": 0.4155, "seconds": 1.19}],
//!  "suspicious": [{"data": "ml-1m", "row": "lightgcn", "columns": ["R@10"], "reason": "identical to MF's"}]}
//! ```

use crate::{Error, store};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

/// Published numbers of one table or figure.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// Where they are from.
    pub source: String,
    /// The rows.
    pub rows: Vec<PaperRow>,
    /// Cells that are likely to be wrong.
    #[serde(default)]
    pub suspicious: Vec<Suspicion>,
}

/// A row of the paper's table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PaperRow {
    /// Short name of the data set.
    pub data: String,
    /// Name of the row in the experiment.
    pub row: String,
    /// Values by column.
    #[serde(flatten)]
    pub values: BTreeMap<String, f64>,
}

/// Cells that are likely to be wrong, and why.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspicion {
    /// Short name of the data set.
    pub data: String,
    /// Name of the row.
    pub row: String,
    /// The columns.
    pub columns: Vec<String>,
    /// Why.
    pub reason: String,
}

impl Paper {
    /// Reads a file of numbers.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Result`] naming the file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        store::read(path)
    }

    /// A value of the table.
    pub fn get(&self, data: &str, row: &str, column: &str) -> Option<f64> {
        let found = self.rows.iter().find(|own| own.data == data && own.row == row)?;
        found.values.get(column).copied()
    }

    /// Why a value should not be trusted.
    pub fn suspicion(&self, data: &str, row: &str, column: &str) -> Option<&str> {
        let of_cell = |own: &&Suspicion| own.data == data && own.row == row && own.columns.iter().any(|c| c == column);
        self.suspicious.iter().find(of_cell).map(|own| own.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_doubts() {
        let paper: Paper = serde_json::from_str(
            r#"{"source": "s", "rows": [{"data": "d", "row": "mf", "P@5": 0.5}],
                "suspicious": [{"data": "d", "row": "mf", "columns": ["R@5"], "reason": "why"}]}"#,
        )
        .unwrap();
        assert_eq!(
            (paper.get("d", "mf", "P@5"), paper.get("d", "mf", "P@6"), paper.get("e", "mf", "P@5")),
            (Some(0.5), None, None)
        );
        assert_eq!((paper.suspicion("d", "mf", "R@5"), paper.suspicion("d", "mf", "P@5")), (Some("why"), None));
    }
}
