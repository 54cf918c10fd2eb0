//! InfoNCE (van den Oord, Li, Vinyals, 2018), the loss of OneBP (equation 4) and of matrix factorisation.
//!
//! With z = (s+, s-_1 .. s-_S) / T and row weights w,
//!
//! L = sum_b w_b (LSE(z_b) - z_b0) / sum_b w_b
//!
//! computed through log-softmax, so scores of any size stay finite. Closed-form gradient with p = softmax(z): dL/dv_j =
//! (p_j - [j = +]) u / (T B). For S = 1 this is BPR, softplus(s- - s+) (Rendle et al., 2009). The negatives are summed
//! inside the logarithm; nothing is averaged over S.

use super::{ClosedForm, LossRows, LossSetting, Objective, RowValues, Value, objective::OfScores};
use burn::tensor::{Tensor, activation::log_softmax};
use serde::{Deserialize, Serialize};

/// InfoNCE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfoNce {}

impl Objective for InfoNce {
    fn forward(&self, setting: LossSetting, rows: LossRows) -> Value {
        self.mean(setting, rows)
    }

    fn in_closed_form(&self, _: LossSetting) -> Option<ClosedForm> {
        Some(ClosedForm::InfoNce)
    }
}

impl OfScores for InfoNce {
    fn of_scores(&self, scores: Tensor<2>, _: LossSetting) -> RowValues {
        let batch = scores.dims()[0];
        log_softmax(scores, 1).slice([0..batch, 0..1]).neg().into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Loss,
        testing::{close, golden, of_scores},
    };
    use crate::device::ndarray;
    use burn::tensor::Device;

    fn loss_of_scores(scores: &[f64], columns: usize, temperature: f64) -> (f64, Vec<f32>) {
        of_scores(Loss::INFO_NCE, scores, columns, temperature)
    }

    #[test]
    fn golden_values() {
        for device in [ndarray(), Device::flex()] {
            for (negatives, temperature, expected) in [(3, 1.0, 1.15899291), (3, 0.5, 1.42532455), (1, 1.0, 0.92930426)]
            {
                close(golden(Loss::INFO_NCE, temperature, negatives, &device), expected, 1e-6);
            }
        }
    }

    /// T1: one negative is BPR.
    #[test]
    fn one_negative_is_bpr() {
        let scores = [0.3f64, -1.2, 2.0, 2.5, -0.7, 0.1];
        let bpr = scores.chunks(2).map(|s| (s[1] - s[0]).exp().ln_1p()).sum::<f64>() / 3.0;
        close(loss_of_scores(&scores, 2, 1.0).0, bpr, 1e-6);
    }

    /// T3: equal scores give log(1 + S); a constant added to a row changes nothing.
    #[test]
    fn equal_scores_and_shifts() {
        close(loss_of_scores(&[0.4; 12], 6, 1.0).0, 6f64.ln(), 1e-6);
        let scores = [0.3, -1.2, 2.0, 0.5, -0.7, 0.1];
        let shifted: Vec<f64> = scores.iter().enumerate().map(|(i, s)| s + if i < 3 { 5.0 } else { -3.0 }).collect();
        close(loss_of_scores(&scores, 3, 1.0).0, loss_of_scores(&shifted, 3, 1.0).0, 1e-5);
    }

    /// T4: huge scores stay finite; T = 0.5 is T = 1 on doubled scores, with a doubled gradient.
    #[test]
    fn huge_scores_and_temperature() {
        let (loss, gradient) = loss_of_scores(&[1e4, -1e4, 0.0, -1e4, 1e4, 0.0], 3, 1.0);
        assert!(loss.is_finite() && gradient.iter().all(|g| g.is_finite()));
        close(loss, 1e4, 1e-6);

        let scores = [0.3, -1.2, 2.0, 0.5, -0.7, 0.1];
        let doubled: Vec<f64> = scores.iter().map(|s| 2.0 * s).collect();
        let (half, half_gradient) = loss_of_scores(&scores, 3, 0.5);
        let (one, one_gradient) = loss_of_scores(&doubled, 3, 1.0);
        close(half, one, 1e-6);
        for (a, b) in half_gradient.iter().zip(one_gradient) {
            close(*a as f64, 2.0 * b as f64, 1e-6);
        }
    }
}
