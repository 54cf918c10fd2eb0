//! Methods as data: each is one choice of sampler, loss and update.

use crate::{
    Error,
    error::within,
    loss::Loss,
    part,
    sampler::Sampler,
    update::{Aggregation, Duplicates, Update, UpdateName},
};
use onebp_table::{Optimizer, Rule};
use serde::{Deserialize, Serialize};

/// One choice from each box of the paper's Figure 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Method {
    /// Negative sampling.
    #[serde(with = "part")]
    pub sampler: Sampler,
    /// Loss computing.
    #[serde(with = "part")]
    pub loss: Loss,
    /// Updating.
    pub update: UpdateName,
}

impl Method {
    /// The paper's method: table lookup, uniform negatives, InfoNCE, backpropagation into the items alone.
    pub const ONE_BP: Self = Self::of(UpdateName::OneBp);
    /// Backpropagation into both towers: `MF` of Table 2.
    pub const TWO_BP: Self = Self::of(UpdateName::TwoBp);
    /// Backpropagation into the users, items follow: `user only` of Table 3.
    pub const USER_ONLY: Self = Self::of(UpdateName::UserOnly);

    const fn of(update: UpdateName) -> Self {
        Self { sampler: Sampler::Uniform, loss: Loss::InfoNce, update }
    }

    /// The update rule under these hyper-parameters.
    pub fn update(&self, hyper: &Hyperparameters) -> Update {
        self.update.with(Aggregation { beta: hyper.beta, duplicates: hyper.duplicates })
    }

    /// Items that are drawn for a row: Mp positives and S negatives, or the pool X that these are chosen from.
    pub fn columns(&self, hyper: &Hyperparameters) -> usize {
        self.loss.positives() + self.sampler.pool().map_or(hyper.negatives, |pool| pool.size)
    }

    /// Checks the parameters of every part, beside these hyper-parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first one out of range.
    pub fn check(&self, hyper: &Hyperparameters) -> Result<(), Error> {
        self.sampler.check(hyper.negatives)?;
        self.loss.check()
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
        Optimizer {
            rule: self.optimizer,
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            projection: None,
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first value out of range.
    pub fn check(&self) -> Result<(), Error> {
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
