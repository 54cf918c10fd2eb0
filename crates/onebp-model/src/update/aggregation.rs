//! The no-grad moving aggregation of equation 6: x <- beta x + (1 - beta) y for every row of the batch.
//!
//! A batch often holds a user several times (ML-100k: 1024 rows over 943 users). [`Duplicates`] says what happens then.
//! The rule becomes two coefficients on the host, one per distinct row and one per batch row, so that the device only
//! gathers, scales and writes distinct rows:
//!
//! new row = keep * old row + sum of weight * y over the batch rows of that user.

use crate::batch::ids;
use burn::tensor::{IndexingUpdateOp, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What happens to a row that a batch aggregates into more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// One after the other in batch order: equation 6 taken literally, once per interaction.
    #[default]
    Sequential,
    /// Only the last one counts: what the authors' indexed assignment does on a CPU.
    Last,
    /// Once, towards their mean.
    Mean,
}

impl Duplicates {
    /// All rules, in the order in which help texts list them.
    pub const ALL: [Duplicates; 3] = [Self::Sequential, Self::Last, Self::Mean];

    /// The name on the command line and in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Last => "last",
            Self::Mean => "mean",
        }
    }
}

/// The moving aggregation and its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aggregation {
    /// How much of the old row stays, in [0, 1]; the paper uses 0.99 and 0.999.
    pub beta: f64,
    /// The rule for rows that occur more than once in a batch.
    pub duplicates: Duplicates,
}

/// Which distinct rows move, and by which coefficients.
#[derive(Debug, PartialEq)]
struct Plan {
    /// Distinct rows in order of first appearance, `[Q]`.
    rows: Vec<u32>,
    /// Factor of the old row, `[Q]`.
    keep: Vec<f32>,
    /// For every batch row its place in `rows`, `[B]`.
    slots: Vec<u32>,
    /// Factor of the batch row's vector, `[B]`.
    weights: Vec<f32>,
}

impl Aggregation {
    /// Moves rows `ids` `[B]` (repetitions allowed) of `table` `[rows, d]` towards `towards` `[B, d]`.
    pub(crate) fn apply(&self, table: Tensor<2>, moving: &[u32], towards: Tensor<2>) -> Tensor<2> {
        let device = table.device();
        let plan = self.plan(moving);
        let column = |values: Vec<f32>| {
            let length = values.len();
            Tensor::<2>::from_data(TensorData::new(values, [length, 1]), &device)
        };
        let [_, dim] = table.dims();
        let rows = ids(&plan.rows, &device);
        let pull = Tensor::<2>::zeros([plan.rows.len(), dim], &device).select_assign(
            0,
            ids(&plan.slots, &device),
            towards * column(plan.weights),
            IndexingUpdateOp::Add,
        );
        let moved = table.clone().select(0, rows.clone()) * column(plan.keep) + pull;
        table.select_assign(0, rows, moved, IndexingUpdateOp::Assign)
    }

    fn plan(&self, moving: &[u32]) -> Plan {
        let mut rows = Vec::new();
        let mut counts: Vec<i32> = Vec::new();
        let mut slot_of = HashMap::with_capacity(moving.len());
        let slots: Vec<u32> = moving
            .iter()
            .map(|&row| {
                let slot = *slot_of.entry(row).or_insert_with(|| {
                    rows.push(row);
                    counts.push(0);
                    rows.len() as u32 - 1
                });
                counts[slot as usize] += 1;
                slot
            })
            .collect();
        let beta = self.beta;
        let keep = match self.duplicates {
            Duplicates::Sequential => counts.iter().map(|&m| beta.powi(m) as f32).collect(),
            Duplicates::Last | Duplicates::Mean => vec![beta as f32; rows.len()],
        };
        // `left` counts down to 0 at the last occurrence of a row.
        let mut left = counts.clone();
        let weights = slots
            .iter()
            .map(|&slot| {
                let slot = slot as usize;
                left[slot] -= 1;
                let share = match self.duplicates {
                    Duplicates::Sequential => beta.powi(left[slot]),
                    Duplicates::Last => f64::from(left[slot] == 0),
                    Duplicates::Mean => 1.0 / counts[slot] as f64,
                };
                ((1.0 - beta) * share) as f32
            })
            .collect();
        Plan { rows, keep, slots, weights }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T16: a row that occurs twice, and one that occurs once, in closed form.
    #[test]
    fn coefficients_of_the_three_rules() {
        let plan = |duplicates| Aggregation { beta: 0.75, duplicates }.plan(&[4, 2, 4]);
        let sequential = plan(Duplicates::Sequential);
        assert_eq!((sequential.rows, sequential.slots), (vec![4, 2], vec![0, 1, 0]));
        assert_eq!(sequential.keep, [0.5625, 0.75]);
        assert_eq!(sequential.weights, [0.1875, 0.25, 0.25]);
        let last = plan(Duplicates::Last);
        assert_eq!((last.keep, last.weights), (vec![0.75, 0.75], vec![0.0, 0.25, 0.25]));
        let mean = plan(Duplicates::Mean);
        assert_eq!((mean.keep, mean.weights), (vec![0.75, 0.75], vec![0.125, 0.25, 0.125]));
    }

    /// T16: without repetition the three rules are one.
    #[test]
    fn rules_agree_on_distinct_rows() {
        let plan = |duplicates| Aggregation { beta: 0.99, duplicates }.plan(&[3, 0, 7]);
        assert_eq!(plan(Duplicates::Sequential), plan(Duplicates::Last));
        assert_eq!(plan(Duplicates::Sequential), plan(Duplicates::Mean));
    }
}
