//! Methods as data: each is one choice of encoder, sampler, loss and update.

use crate::{
    Error,
    encoder::Encoder,
    error::within,
    loss::{Draws, Loss},
    part,
    sampler::Sampler,
    update::{Aggregation, Duplicates, OneBp, Update, UpdateName},
};
use onebp_table::{Optimizer, Projection, Rule};
use serde::{Deserialize, Serialize};

/// One choice from each box of the paper's Figure 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Method {
    /// User-item encoding.
    #[serde(with = "part")]
    pub encoder: Encoder,
    /// Negative sampling.
    #[serde(with = "part")]
    pub sampler: Sampler,
    /// Loss computing.
    #[serde(with = "part")]
    pub loss: Loss,
    /// Updating.
    #[serde(with = "part")]
    pub update: UpdateName,
}

impl Method {
    /// The paper's method: table lookup, uniform negatives, InfoNCE, backpropagation into the items alone.
    pub const ONE_BP: Self = Self::of(UpdateName::ONE_BP);
    /// Backpropagation into both towers: `MF` of Table 2.
    pub const TWO_BP: Self = Self::of(UpdateName::TwoBp);
    /// Backpropagation into the users, items follow: `user only` of Table 3.
    pub const USER_ONLY: Self = Self::of(UpdateName::UserOnly);

    const fn of(update: UpdateName) -> Self {
        Self { encoder: Encoder::MF, sampler: Sampler::Uniform, loss: Loss::INFO_NCE, update }
    }

    /// The update rule under these hyper-parameters.
    pub fn update(&self, hyper: &Hyperparameters) -> Update {
        self.update.with(Aggregation { beta: hyper.beta, duplicates: hyper.duplicates })
    }

    /// Where rows of users and of items are projected after every step.
    pub fn projections(&self) -> [Option<Projection>; 2] {
        let [users, items] = self.loss.projections();
        let vectors = self.encoder.vectors();
        [users.map(|onto| Projection { onto, vectors }), items.map(|onto| Projection { onto, vectors: 1 })]
    }

    /// Items that are drawn for a row: Mp positives and S negatives, or the pool X that these are chosen from.
    pub fn columns(&self, hyper: &Hyperparameters) -> usize {
        match self.loss.draws() {
            Draws::Negatives { positives } => positives + self.sampler.pool().map_or(hyper.negatives, |pool| pool.size),
            Draws::Pairs | Draws::Users => 1,
        }
    }

    /// Checks the parameters of every part, beside these hyper-parameters, and whether the parts go together.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first one out of range, [`Error::Combination`] what does not go together, and why.
    pub fn check(&self, hyper: &Hyperparameters) -> Result<(), Error> {
        self.encoder.check()?;
        self.sampler.check(hyper.negatives)?;
        self.loss.check()?;
        self.check_combination()?;
        if !self.loss.has_temperature() && hyper.temperature != 1.0 {
            return self.refuse("the loss does not divide scores by a temperature", "leave --temperature at 1");
        }
        Ok(())
    }

    fn refuse(&self, problem: &str, remedy: &str) -> Result<(), Error> {
        Err(Error::Combination { problem: problem.to_string(), remedy: remedy.to_string() })
    }

    fn check_combination(&self) -> Result<(), Error> {
        let draws = self.loss.draws();
        let has_negatives = matches!(draws, Draws::Negatives { .. });
        let follows = self.update != UpdateName::TwoBp;
        let bootstraps = matches!(self.encoder, Encoder::Bootstrap(_));
        if matches!(self.loss, Loss::Buir(_)) != bootstraps {
            let problem = "the loss buir compares predictions with targets, which the encoder bootstrap alone has, and \
                           the encoder has nothing for other losses";
            return self.refuse(problem, "use --encoder bootstrap together with --loss buir");
        }
        if has_negatives && self.sampler == Sampler::None {
            return self.refuse("the loss needs negatives", "choose a sampler, such as --sampler uniform");
        }
        if !has_negatives && self.sampler != Sampler::None {
            return self.refuse("the loss has no negatives to be sampled", "use --sampler none");
        }
        if follows && self.loss.projections() != [None, None] {
            let problem = "the loss keeps rows in the unit ball or on the sphere, out of which a moving aggregation would \
                           take the rows that follow, without a gradient to bring them back";
            return self.refuse(problem, "use --update two-bp");
        }
        if follows && bootstraps {
            let problem = "targets of the encoder bootstrap follow rows that learn; rows that follow have none";
            return self.refuse(problem, "use --update two-bp");
        }
        if follows && self.encoder.vectors() > 1 {
            let problem = "a user of several vectors cannot follow an item of one, or be followed by it";
            return self.refuse(problem, "use --update two-bp, or --encoder mf");
        }
        if draws == Draws::Users && self.encoder != Encoder::MF {
            let problem = "the loss takes the whole catalogue into account by its table";
            return self.refuse(problem, "use --encoder mf");
        }
        let block = matches!(self.update, UpdateName::OneBp(block) if block != OneBp::default());
        if block && !self.encoder.is_graph() {
            let problem = "order and cut of the update say where users follow before a graph encoder; there is none";
            return self.refuse(problem, "use --update onebp, or --encoder lightgcn or ngcf");
        }
        Ok(())
    }
}

/// What a method can be tuned by. Symbols as in the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hyperparameters {
    /// Embedding width d.
    pub dim: usize,
    /// Interactions per step, B; users per step where the loss looks at whole users.
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
    /// The optimizer of a table that learns, whose rows are projected by `projection`.
    pub fn optimizer(&self, projection: Option<Projection>) -> Optimizer {
        let Self { optimizer: rule, learning_rate, weight_decay, .. } = *self;
        Optimizer { rule, learning_rate, weight_decay, projection }
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
