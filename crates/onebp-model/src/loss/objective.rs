//! What every loss says of itself.

use super::Sfcml;
use crate::Error;
use burn::tensor::Tensor;
use onebp_table::{Onto, RowLoss, Score};

/// What the rows of a batch hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draws {
    /// Pairs with negatives: Mp positives of the user, the pair's own first, then S negatives.
    Negatives {
        /// Mp.
        positives: usize,
    },
    /// Pairs alone.
    Pairs,
    /// All pairs of a number of users; the loss looks at the whole catalogue.
    Users,
}

impl Draws {
    /// Positives of a row, Mp.
    pub fn positives(self) -> usize {
        match self {
            Self::Negatives { positives } => positives,
            Self::Pairs | Self::Users => 1,
        }
    }
}

/// What a loss is computed with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossSetting {
    /// Temperature T, which scores are divided by.
    pub temperature: f64,
    /// Size of the catalogue, N.
    pub items: usize,
}

/// The rows of a batch.
pub struct LossRows {
    /// User of each row, `[B, C d]`: C vectors.
    pub users: Tensor<2>,
    /// Items of each row, positives first, `[B, W, d]`; `[1, N, d]` where all rows look at the whole catalogue.
    pub items: Tensor<3>,
    /// Shares of the rows in the mean, `[B, 1]`; they add up to 1.
    pub shares: Tensor<2>,
    /// Shares of the rows in a mean over distinct users, `[B, 1]`; they add up to 1.
    pub user_shares: Tensor<2>,
    /// For losses of whole users: 1 for the items that each user has chosen, else 0, `[B, W]`.
    pub chosen: Option<Tensor<2>>,
}

/// Values of the rows of a batch.
pub struct RowValues {
    /// Loss of each row, `[B, 1]`.
    pub losses: Tensor<2>,
    /// 1 for rows that the loss counts, else 0, `[B, 1]`.
    pub counted: Option<Tensor<2>>,
}

impl From<Tensor<2>> for RowValues {
    fn from(losses: Tensor<2>) -> Self {
        Self { losses, counted: None }
    }
}

/// The loss of a batch.
pub struct Value {
    /// The mean loss, `[1]`.
    pub loss: Tensor<1>,
    /// Share of the rows that the loss counts, `[1]`.
    pub counted: Option<Tensor<1>>,
}

/// A gradient in closed form, for the fused step.
pub enum ClosedForm {
    /// InfoNCE, which the fused step knows by itself.
    InfoNce,
    /// Slopes of a row at its scores.
    Rows(Box<dyn RowLoss>),
    /// Cosines of predictions with targets, of which the step of a bootstrap encoder knows.
    Cosines,
}

impl ClosedForm {
    /// The loss of a row's scores, where the step does not know it by itself.
    pub(crate) fn of_rows(self) -> Option<Box<dyn RowLoss>> {
        match self {
            Self::Rows(loss) => Some(loss),
            Self::InfoNce | Self::Cosines => None,
        }
    }
}

/// A loss.
pub trait Objective {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first one out of range.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What the rows of a batch hold.
    fn draws(&self) -> Draws {
        Draws::Negatives { positives: 1 }
    }

    /// What is compared, and what items are ranked by.
    fn score(&self) -> Score {
        Score::Product
    }

    /// Where rows of users and of items are projected after every step.
    fn projections(&self) -> [Option<Onto>; 2] {
        [None, None]
    }

    /// Whether scores are divided by the temperature.
    fn has_temperature(&self) -> bool {
        true
    }

    /// What the rows are that [`RowValues::counted`] counts, as a key of the metrics log.
    fn counts(&self) -> Option<&'static str> {
        None
    }

    /// The loss of a batch.
    fn forward(&self, setting: LossSetting, rows: LossRows) -> Value;

    /// The loss itself, where it looks at the whole catalogue.
    fn catalogue(&self) -> Option<&Sfcml> {
        None
    }

    /// The closed form, where there is one.
    fn in_closed_form(&self, setting: LossSetting) -> Option<ClosedForm> {
        let _ = setting;
        None
    }
}

/// A loss of the scores of rows.
pub trait OfScores: Objective {
    /// The loss of each row of `scores` over T, `[B, Mp + S]`, positives first.
    fn of_scores(&self, scores: Tensor<2>, setting: LossSetting) -> RowValues;

    /// The mean over the rows of a batch.
    fn mean(&self, setting: LossSetting, rows: LossRows) -> Value {
        let LossRows { users, items, shares, .. } = rows;
        let scores = self.score().of_rows(users, items).div_scalar(setting.temperature);
        let RowValues { losses, counted } = self.of_scores(scores, setting);
        let counted = counted.map(|counted| (counted * shares.clone()).sum().detach());
        Value { loss: (losses * shares).sum(), counted }
    }
}

/// log of the sum of exponentials of each row of `x` `[B, K]`, as `[B, 1]`, for numbers of any size.
pub(super) fn log_sum_exp(x: Tensor<2>) -> Tensor<2> {
    let highest = x.clone().detach().max_dim(1);
    (x - highest.clone()).exp().sum_dim(1).log() + highest
}
