//! BPR with several negatives (Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009), the loss
//! that LightGCN and NGCF were published with (there S = 1).
//!
//! L = mean over rows and their S negatives of softplus(s-_k - s+)
//!
//! Each negative by itself: with one of them this is InfoNCE, with several a pair of near scores counts as much as it would
//! alone, where InfoNCE looks at the nearest most. dL/ds-_k = sigmoid(s-_k - s+) / S, dL/ds+ = -sum_k of these.

use super::{ClosedForm, LossRows, LossSetting, Objective, RowValues, Value, objective::OfScores};
use burn::tensor::{Tensor, activation::softplus};
use onebp_table::{Outcome, RowLoss};
use serde::{Deserialize, Serialize};

/// The loss `bpr`, which has no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bpr {}

impl Objective for Bpr {
    fn forward(&self, setting: LossSetting, rows: LossRows) -> Value {
        self.mean(setting, rows)
    }

    fn in_closed_form(&self, _: LossSetting) -> Option<ClosedForm> {
        Some(ClosedForm::Rows(Box::new(*self)))
    }
}

impl OfScores for Bpr {
    fn of_scores(&self, scores: Tensor<2>, _: LossSetting) -> RowValues {
        let [batch, columns] = scores.dims();
        let own = scores.clone().slice([0..batch, 0..1]);
        softplus(scores.slice([0..batch, 1..columns]) - own, 1.0).mean_dim(1).into()
    }
}

impl RowLoss for Bpr {
    fn slopes(&self, scores: &mut [f32]) -> Outcome {
        let (own, negatives) = scores.split_at_mut(1);
        let share = 1.0 / negatives.len() as f32;
        let (mut loss, mut sum) = (0.0, 0.0);
        for score in negatives {
            let apart = *score - own[0];
            // softplus and its slope, for any size.
            loss += share * ((apart + apart.abs()) / 2.0 + (-apart.abs()).exp().ln_1p());
            *score = share / (1.0 + (-apart).exp());
            sum += *score;
        }
        own[0] = -sum;
        Outcome { loss, counted: false }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Loss,
        testing::{close, closed_form_agrees, differences, golden, of_scores},
    };
    use super::*;
    use crate::device::ndarray;

    const BPR: Loss = Loss::Bpr(Bpr {});

    /// With one negative it is InfoNCE, whose golden value was evaluated in f64 outside this program.
    #[test]
    fn one_negative_is_info_nce() {
        close(golden(BPR, 1.0, 1, &ndarray()), 0.92930426, 1e-6);
        let scores = [0.3, -1.2, 2.0, 2.5];
        close(of_scores(BPR, &scores, 2, 0.5).0, of_scores(Loss::INFO_NCE, &scores, 2, 0.5).0, 1e-6);
    }

    #[test]
    fn the_closed_form_is_the_gradient() {
        let scores = [0.3, -1.2, 2.0, 0.4];
        closed_form_agrees(BPR, &scores, 1.0);
        closed_form_agrees(BPR, &[80.0, -80.0, 90.0], 0.5);
        let (_, slopes) = of_scores(BPR, &scores, 4, 1.0);
        for (slope, difference) in slopes.iter().zip(differences(BPR, &scores, 4, 1.0)) {
            assert!((f64::from(*slope) - difference).abs() < 2e-3, "{slopes:?}");
        }
    }
}
