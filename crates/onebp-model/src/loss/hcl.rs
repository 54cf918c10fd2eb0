//! HCL, the hard contrastive loss (Robinson et al., ICLR 2021; without cosines, as the OneBP group uses it).
//!
//! [`Dcl`] whose negatives weigh the more the higher they score: with q = softmax(b s-) over the S negatives,
//!
//! R = S sum_k q_k e^s-_k = exp(log S + LSE((1 + b) s-) - LSE(b s-)).
//!
//! q takes part in the gradient, which may so be negative for an easy negative. With b = 0 this is DCL; for large b, R tends
//! to S times the largest e^s-.

use super::{
    ClosedForm, Dcl, Draws, LossRows, LossSetting, Objective, RowValues, Value,
    dcl::FLOOR_ACTIVE,
    objective::{OfScores, log_sum_exp},
};
use crate::{Error, error::within};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Parameters of `hcl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Hcl {
    /// b, how much hard negatives count. Default .5.
    pub hardness: f64,
    /// tau+, the share of positives among negatives. Default .07.
    pub tau_plus: f64,
    /// Mp, positives of a row, its own among them. Default 5.
    pub positives: usize,
}

impl Default for Hcl {
    fn default() -> Self {
        let Dcl { tau_plus, positives } = Dcl::default();
        Self { hardness: 0.5, tau_plus, positives }
    }
}

impl Hcl {
    fn prior(&self) -> Dcl {
        Dcl { tau_plus: self.tau_plus, positives: self.positives }
    }
}

impl Objective for Hcl {
    fn check(&self) -> Result<(), Error> {
        within((0.0..=100.0).contains(&self.hardness), "hardness", &self.hardness, "between 0 and 100")?;
        self.prior().check()
    }

    fn draws(&self) -> Draws {
        self.prior().draws()
    }

    fn counts(&self) -> Option<&'static str> {
        Some(FLOOR_ACTIVE)
    }

    fn forward(&self, setting: LossSetting, rows: LossRows) -> Value {
        self.mean(setting, rows)
    }

    fn in_closed_form(&self, setting: LossSetting) -> Option<ClosedForm> {
        Some(ClosedForm::Rows(Box::new(self.prior().row(self.hardness, setting.temperature))))
    }
}

impl OfScores for Hcl {
    fn of_scores(&self, scores: Tensor<2>, setting: LossSetting) -> RowValues {
        let [batch, columns] = scores.dims();
        let negatives = scores.clone().slice([0..batch, self.positives..columns]);
        let raised = log_sum_exp(negatives.clone().mul_scalar(1.0 + self.hardness));
        let log_r = raised - log_sum_exp(negatives.mul_scalar(self.hardness));
        let log_r = log_r.add_scalar(((columns - self.positives) as f64).ln());
        self.prior().debiased(scores, log_r, setting.temperature)
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
    use burn::tensor::Device;

    fn hcl(hardness: f64, tau_plus: f64) -> Loss {
        Loss::Hcl(Hcl { hardness, tau_plus, positives: 2 })
    }

    #[test]
    fn golden_values() {
        for device in [ndarray(), Device::flex()] {
            close(golden(hcl(0.5, 0.07), 1.0, 3, &device), 1.43549752, 1e-6);
            close(golden(hcl(1.0, 0.1), 0.5, 3, &device), 1.98717910, 1e-6);
        }
    }

    const SCORES: [f64; 10] = [0.3, -0.2, 1.0, 0.4, 0.8, 2.0, 1.5, 1.0, -0.7, 1.2];

    /// T6.
    #[test]
    fn without_hardness_it_is_dcl() {
        let (loss, slopes) = of_scores(hcl(0.0, 0.07), &SCORES, 5, 1.0);
        let (expected, expected_slopes) = of_scores(Loss::Dcl(Dcl { tau_plus: 0.07, positives: 2 }), &SCORES, 5, 1.0);
        close(loss, expected, 1e-6);
        slopes.iter().zip(expected_slopes).for_each(|(a, b)| close(f64::from(*a), f64::from(b), 1e-5));
    }

    /// T7: b to infinity: only the hardest negative is left, S times. Equal negatives: no weighting at all.
    #[test]
    fn limits() {
        let hardest = [0.3, -0.2, 1.0, 1.0, 1.0, 2.0, 1.5, 1.2, 1.2, 1.2];
        close(of_scores(hcl(100.0, 0.07), &SCORES, 5, 1.0).0, of_scores(hcl(0.0, 0.07), &hardest, 5, 1.0).0, 1e-4);
        close(of_scores(hcl(0.7, 0.07), &hardest, 5, 1.0).0, of_scores(hcl(0.0, 0.07), &hardest, 5, 1.0).0, 1e-6);
    }

    #[test]
    fn slopes_are_differences() {
        let (_, slopes) = of_scores(hcl(0.5, 0.1), &SCORES, 5, 1.0);
        for (slope, difference) in slopes.iter().zip(differences(hcl(0.5, 0.1), &SCORES, 5, 1.0)) {
            assert!((f64::from(*slope) - difference).abs() < 2e-3, "{slopes:?}");
        }
    }

    /// T6.
    #[test]
    fn the_closed_form_is_the_gradient() {
        for (hardness, tau, temperature) in [(0.5, 0.07, 1.0), (1.0, 0.1, 0.5), (3.0, 0.0, 1.0), (0.0, 0.3, 2.0)] {
            SCORES.chunks(5).for_each(|row| closed_form_agrees(hcl(hardness, tau), row, temperature));
        }
        for row in [[200.0, 200.0, -200.0, -200.0], [-200.0, -200.0, 200.0, 200.0]] {
            closed_form_agrees(hcl(2.0, 0.3), &row, 0.5);
        }
    }

    #[test]
    fn extremes_stay_finite() {
        for scores in [[200.0, 200.0, -200.0, -200.0], [-200.0, -200.0, 200.0, 200.0], [90.0; 4]] {
            let (loss, slopes) = of_scores(hcl(2.0, 0.3), &scores, 4, 0.5);
            assert!(loss.is_finite() && slopes.iter().all(|slope| slope.is_finite()), "{loss} {slopes:?}");
        }
    }
}
