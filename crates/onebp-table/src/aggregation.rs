//! The no-grad moving aggregation of equation 6: x <- beta x + (1 - beta) y for every row of the batch.
//!
//! A batch often holds a user several times (ML-100k: 1024 rows over 943 users). [`Duplicates`] says what happens then.
//! For a row that occurs m times, every rule is a keep factor and one weight for each occurrence:
//!
//! new row = keep * old row + sum over r = 0 .. m - 1 of weight(r) * y_r

use serde::{Deserialize, Serialize};

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

impl Aggregation {
    /// Factor of the old row where it occurs `times` times.
    #[inline]
    pub fn keep(&self, times: usize) -> f32 {
        match self.duplicates {
            Duplicates::Sequential => self.beta.powi(times as i32) as f32,
            Duplicates::Last | Duplicates::Mean => self.beta as f32,
        }
    }

    /// Factor of the vector at occurrence `which` (from 0, in batch order) of `times`.
    #[inline]
    pub fn weight(&self, which: usize, times: usize) -> f32 {
        let left = times - 1 - which;
        let share = match self.duplicates {
            Duplicates::Sequential => self.beta.powi(left as i32),
            Duplicates::Last => f64::from(left == 0),
            Duplicates::Mean => 1.0 / times as f64,
        };
        ((1.0 - self.beta) * share) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coefficients(duplicates: Duplicates, times: usize) -> (f32, Vec<f32>) {
        let aggregation = Aggregation { beta: 0.75, duplicates };
        (aggregation.keep(times), (0..times).map(|which| aggregation.weight(which, times)).collect())
    }

    /// T16: a row that occurs twice, in closed form.
    #[test]
    fn coefficients_of_the_three_rules() {
        assert_eq!(coefficients(Duplicates::Sequential, 2), (0.5625, vec![0.1875, 0.25]));
        assert_eq!(coefficients(Duplicates::Last, 2), (0.75, vec![0.0, 0.25]));
        assert_eq!(coefficients(Duplicates::Mean, 2), (0.75, vec![0.125, 0.125]));
    }

    /// T16: without repetition the three rules are one.
    #[test]
    fn rules_agree_on_distinct_rows() {
        for duplicates in Duplicates::ALL {
            assert_eq!(coefficients(duplicates, 1), (0.75, vec![0.25]));
        }
    }
}
