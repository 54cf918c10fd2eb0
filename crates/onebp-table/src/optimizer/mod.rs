//! Optimizers of rows: how a row moves along its accumulated gradient g, and what happens to rows that no batch touches.
//!
//! With step t of the table (from 1), learning rate lr, weight decay l2 (coupled: g <- g + l2 w first):
//!
//! | name | state of a row | a touched row | an untouched row |
//! |---|---|---|---|
//! | `adam` | m, v `[d]` | m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; w <- w - lr m^ / (sqrt(v^) + eps) | the same with a loss gradient of zero: dense Adam, exactly |
//! | `lazy-adam` | m, v `[d]` | as `adam` | rests |
//! | `adagrad` | a `[d]` | a <- a + g^2; w <- w - lr g / (sqrt(a) + eps) | rests |
//! | `rowwise-adagrad` | a `[1]` | a <- a + mean(g^2); w <- w - lr g / (sqrt(a) + eps) | rests |
//! | `sgd` | none | w <- w - lr g | rests |
//!
//! m^ = m / (1 - b1^t), v^ = v / (1 - b2^t); b1 = 0.9, b2 = 0.999; eps = 1e-8 for Adam and 1e-10 for Adagrad. Where rows
//! rest, weight decay rests too: it reaches a row with its gradients.
//!
//! With a [`Projection`] every row that a step has moved is projected after that step: all rows under `adam`, the touched
//! ones under the other rules; see [`projection`]. The state is that of the rule alone.
//!
//! Sources: Kingma and Ba, "Adam", ICLR 2015; Duchi, Hazan, Singer, "Adaptive Subgradient Methods", JMLR 2011; the
//! row-wise form as in Mudigere et al., "Software-Hardware Co-design for Fast and Scalable Training of Deep Learning
//! Recommendation Models", ISCA 2022; lazy Adam as TensorFlow Addons and PyTorch's `SparseAdam` have it.

pub mod adam;
pub mod projection;

use crate::Error;
pub use projection::{Onto, Projection};
use serde::{Deserialize, Serialize};

/// How fast the first moment forgets, b1.
pub const BETA_1: f64 = 0.9;
/// How fast the second moment forgets, b2.
pub const BETA_2: f64 = 0.999;
/// Adam's epsilon.
pub const ADAM_EPSILON: f64 = 1e-8;
/// Adagrad's epsilon.
pub const ADAGRAD_EPSILON: f64 = 1e-10;

/// An optimizer by its name on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The paper's: dense Adam, exactly.
    #[default]
    Adam,
    /// Adam on touched rows only.
    LazyAdam,
    /// One accumulator for every element.
    Adagrad,
    /// One accumulator for every row.
    RowwiseAdagrad,
    /// No state.
    Sgd,
}

impl Rule {
    /// All names, in the order in which help texts list them.
    pub const ALL: [Rule; 5] = [Self::Adam, Self::LazyAdam, Self::Adagrad, Self::RowwiseAdagrad, Self::Sgd];

    /// The name on the command line and in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adam => "adam",
            Self::LazyAdam => "lazy-adam",
            Self::Adagrad => "adagrad",
            Self::RowwiseAdagrad => "rowwise-adagrad",
            Self::Sgd => "sgd",
        }
    }

    /// The matrices of its state by name, and whether each is as wide as a row, or a single column.
    pub fn state(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Adam | Self::LazyAdam => &[("moment_1", true), ("moment_2", true)],
            Self::Adagrad => &[("accumulator", true)],
            Self::RowwiseAdagrad => &[("accumulator", false)],
            Self::Sgd => &[],
        }
    }
}

/// The optimizer of one table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer {
    /// The rule.
    pub rule: Rule,
    /// Learning rate.
    pub learning_rate: f64,
    /// Coupled L2.
    pub weight_decay: f64,
    /// What happens to rows after each step that moves them; nothing where there is none.
    pub projection: Option<Projection>,
}

impl Optimizer {
    /// Checks that it fits rows of width `dim`.
    ///
    /// # Errors
    /// [`Error::Optimizer`] where the projection does not.
    pub fn check(&self, dim: usize) -> Result<(), Error> {
        self.projection.map_or(Ok(()), |projection| projection.check(dim))
    }

    /// Whether a step carries rows over silent steps that follow it, see [`Optimizer::ahead`].
    pub fn carries(&self) -> bool {
        self.rule == Rule::Adam && self.projection.is_none()
    }

    /// Over how many of the `rest` silent steps that follow a step a row is carried at once: over none where rows are
    /// projected, for there is no way back from a projection for a look at the row.
    pub fn ahead(&self, rest: u32) -> u32 {
        if self.projection.is_some() { 0 } else { rest }
    }

    /// Whether silent steps of `adam` move a row that stands at step `time`: one that no step has moved has no momentum, and
    /// weight decay alone moves it. Projected it is nevertheless.
    pub fn drifts(&self, time: u32) -> bool {
        time > 0 || self.weight_decay != 0.0
    }

    /// Whether a row that stands at step `time` of `adam` stays as it is over silent steps.
    pub fn rests(&self, time: u32) -> bool {
        self.projection.is_none() && !self.drifts(time)
    }
}
