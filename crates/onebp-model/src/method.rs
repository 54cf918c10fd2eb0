//! Methods as data: each is one choice of encoder, sampler, loss and update.

use crate::{
    Error,
    update::{Aggregation, Duplicates, Update},
};
use onebp_table::{Optimizer, Rule};
use serde::{Deserialize, Serialize};

/// A method of the paper, by its name on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The paper's method: backpropagation into the items, users follow by aggregation.
    #[default]
    #[serde(rename = "onebp")]
    OneBp,
    /// Backpropagation into both towers (`MF` in Table 2).
    TwoBp,
    /// Backpropagation into the users, items follow (`user only` in Table 3).
    UserOnly,
}

impl Method {
    /// All methods, in the order in which help texts list them.
    pub const ALL: [Method; 3] = [Self::OneBp, Self::TwoBp, Self::UserOnly];

    /// The name on the command line and in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneBp => "onebp",
            Self::TwoBp => "two-bp",
            Self::UserOnly => "user-only",
        }
    }

    /// The update rule under these hyper-parameters.
    pub fn update(self, hyper: &Hyperparameters) -> Update {
        let aggregation = Aggregation { beta: hyper.beta, duplicates: hyper.duplicates };
        match self {
            Self::OneBp => Update::OneBp(aggregation),
            Self::TwoBp => Update::TwoBp,
            Self::UserOnly => Update::UserOnly(aggregation),
        }
    }
}

/// What a method can be tuned by. Symbols as in the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hyperparameters {
    /// Embedding width d.
    pub dim: usize,
    /// Interactions per step, B.
    pub batch_size: usize,
    /// The optimizer of tables that learn.
    pub optimizer: Rule,
    /// Its learning rate.
    #[serde(rename = "lr")]
    pub learning_rate: f64,
    /// Coupled L2 on the tables that learn.
    pub weight_decay: f64,
    /// How much of an aggregated row stays at each interaction.
    pub beta: f64,
    /// Negatives per positive, S.
    pub negatives: usize,
    /// Softmax temperature T.
    pub temperature: f64,
    /// Rule for rows that a batch aggregates into more than once.
    pub duplicates: Duplicates,
    /// Keep the incomplete last batch of an epoch.
    pub keep_last: bool,
}

impl Hyperparameters {
    /// The optimizer of a table that learns.
    pub fn optimizer(&self) -> Optimizer {
        Optimizer { rule: self.optimizer, learning_rate: self.learning_rate, weight_decay: self.weight_decay }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first value out of range.
    pub fn check(&self) -> Result<(), Error> {
        let within = |ok: bool, name, value: &dyn ToString, expected| {
            if ok { Ok(()) } else { Err(Error::Parameter { name, value: value.to_string(), expected }) }
        };
        let positive = |x: f64| x > 0.0 && x.is_finite();
        within((1..=65_536).contains(&self.dim), "dim", &self.dim, "between 1 and 65536")?;
        within((1..=1 << 24).contains(&self.batch_size), "batch-size", &self.batch_size, "between 1 and 16777216")?;
        within(positive(self.learning_rate), "lr", &self.learning_rate, "a positive number")?;
        let decay = self.weight_decay >= 0.0 && self.weight_decay.is_finite();
        within(decay, "weight-decay", &self.weight_decay, "a number of at least 0")?;
        within((0.0..=1.0).contains(&self.beta), "beta", &self.beta, "between 0 and 1")?;
        within((1..=65_536).contains(&self.negatives), "negatives", &self.negatives, "between 1 and 65536")?;
        within(positive(self.temperature), "temperature", &self.temperature, "a positive number")
    }
}
