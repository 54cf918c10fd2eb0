//! DCL, the debiased contrastive loss (Chuang et al., NeurIPS 2020; without cosines, as the OneBP group uses it).
//!
//! Items drawn as negatives are positives with probability tau+. With R = sum of e^s- over S negatives and Qm = mean of
//! e^s+ over Mp positives of the user,
//!
//! g = max((R - S tau+ Qm) / (1 - tau+), S e^(-1/T)),  L = -log(e^s+ / (e^s+ + g))
//!
//! in logarithms: log g = log R + log(1 - exp(log Q - log R)) - log(1 - tau+) with Q = S tau+ Qm, and L = softplus(log g -
//! s+). Where the floor S e^(-1/T) holds, no gradient reaches negatives or further positives. The floor is what a score of
//! at least -1 can reach; for dot products, which have no such bound, it only keeps g positive. With tau+ = 0 this is InfoNCE wherever
//! the floor is not reached.

use super::{
    ClosedForm, Draws, LossRows, LossSetting, Objective, RowValues, Value,
    objective::{OfScores, log_sum_exp},
};
use crate::{Error, error::within};
use burn::tensor::{Tensor, activation::softplus};
use onebp_table::{Outcome, RowLoss};
use serde::{Deserialize, Serialize};

/// What rows at the floor are called in the metrics log.
pub(super) const FLOOR_ACTIVE: &str = "floor_active";

/// Parameters of `dcl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Dcl {
    /// tau+, the share of positives among negatives. Default .07.
    pub tau_plus: f64,
    /// Mp, positives of a row, its own among them. Default 5.
    pub positives: usize,
}

impl Default for Dcl {
    fn default() -> Self {
        Self { tau_plus: 0.07, positives: 5 }
    }
}

impl Objective for Dcl {
    fn check(&self) -> Result<(), Error> {
        within((0.0..1.0).contains(&self.tau_plus), "tau-plus", &self.tau_plus, "at least 0 and below 1")?;
        within((1..=1024).contains(&self.positives), "positives", &self.positives, "between 1 and 1024")
    }

    fn draws(&self) -> Draws {
        Draws::Negatives { positives: self.positives }
    }

    fn counts(&self) -> Option<&'static str> {
        Some(FLOOR_ACTIVE)
    }

    fn forward(&self, setting: LossSetting, rows: LossRows) -> Value {
        self.mean(setting, rows)
    }

    fn in_closed_form(&self, setting: LossSetting) -> Option<ClosedForm> {
        Some(ClosedForm::Rows(Box::new(self.row(0.0, setting.temperature))))
    }
}

impl OfScores for Dcl {
    fn of_scores(&self, scores: Tensor<2>, setting: LossSetting) -> RowValues {
        let [batch, columns] = scores.dims();
        let log_r = log_sum_exp(scores.clone().slice([0..batch, self.positives..columns]));
        self.debiased(scores, log_r, setting.temperature)
    }
}

impl Dcl {
    /// The loss of each row of `scores` `[B, Mp + S]` whose negatives add up to exp(`log_r`) `[B, 1]`.
    pub(super) fn debiased(&self, scores: Tensor<2>, log_r: Tensor<2>, temperature: f64) -> RowValues {
        let [batch, columns] = scores.dims();
        let negatives = (columns - self.positives) as f64;
        let positives = scores.clone().slice([0..batch, 0..self.positives]);
        let log_q = log_sum_exp(positives).add_scalar((negatives * self.tau_plus / self.positives as f64).ln());
        let floor = negatives.ln() - 1.0 / temperature;
        // Where Q is not below R there is no logarithm; what stands there instead lies below the floor.
        let ratio = log_q - log_r.clone();
        let none = ratio.clone().greater_equal_elem(0.0);
        let rest = ratio.mask_fill(none.clone(), -1.0).exp().neg().log1p();
        let log_g = (log_r + rest).sub_scalar((1.0 - self.tau_plus).ln()).mask_fill(none, floor);
        let floored = log_g.clone().lower_equal_elem(floor);
        let losses = softplus(log_g.mask_fill(floored.clone(), floor) - scores.slice([0..batch, 0..1]), 1.0);
        let counted = losses.clone().detach().zeros_like().mask_fill(floored, 1.0);
        RowValues { losses, counted: Some(counted) }
    }
}

/// [`Dcl`] and [`Hcl`](super::Hcl) of one row, in closed form.
///
/// With x = log Q - log R and pi = sigmoid(log g - s+): dL/ds+ = -pi, and above the floor dL/d log R = pi / (1 - e^x), dL/d
/// log Q = -pi e^x / (1 - e^x), where d log R / ds-_k = (1 + b) softmax((1 + b) s-)_k - b softmax(b s-)_k and d log Q / ds+_m
/// = softmax(s+)_m.
pub(super) struct Row {
    positives: usize,
    hardness: f32,
    /// log(tau+ / Mp).
    log_prior: f32,
    /// log(1 - tau+).
    log_rest: f32,
    /// 1 / T.
    sharpness: f32,
}

impl Dcl {
    /// The closed form with hardness b.
    pub(super) fn row(&self, hardness: f64, temperature: f64) -> Row {
        Row {
            positives: self.positives,
            hardness: hardness as f32,
            log_prior: (self.tau_plus / self.positives as f64).ln() as f32,
            log_rest: (1.0 - self.tau_plus).ln() as f32,
            sharpness: (1.0 / temperature) as f32,
        }
    }
}

impl RowLoss for Row {
    fn slopes(&self, scores: &mut [f32]) -> Outcome {
        let (positives, negatives) = scores.split_at_mut(self.positives);
        let highest = |scores: &[f32]| scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (top, bottom) = (highest(negatives), highest(positives));
        let log_count = (negatives.len() as f32).ln();
        let b = self.hardness;
        // e^(b s) and e^((1 + b) s), relative to the highest.
        let parts = |score: f32| {
            let (one, weight) = ((score - top).exp(), if b > 0.0 { (b * (score - top)).exp() } else { 1.0 });
            (weight, weight * one)
        };
        let (weights, raised) = negatives.iter().fold((0.0, 0.0), |(weights, raised), &score| {
            let (weight, part) = parts(score);
            (weights + weight, raised + part)
        });
        let log_r = top + raised.ln() + if b > 0.0 { log_count - weights.ln() } else { 0.0 };
        let own = positives[0];
        let chosen: f32 = positives.iter().map(|score| (score - bottom).exp()).sum();
        let x = (log_count + self.log_prior + bottom + chosen.ln()) - log_r;
        let (share, floor) = (x.exp(), log_count - self.sharpness);
        // What is not a number is active, so that it shows.
        let log_g = if x >= 0.0 { floor } else { log_r + (-share).ln_1p() - self.log_rest };
        let floored = log_g <= floor;
        let margin = if floored { floor } else { log_g } - own;
        // softplus and its slope, for any size.
        let loss = (margin + margin.abs()) / 2.0 + (-margin.abs()).exp().ln_1p();
        let pi = 1.0 / (1.0 + (-margin).exp());
        let (of_r, of_q) = if floored { (0.0, 0.0) } else { (pi / (1.0 - share), -pi * share / (1.0 - share)) };
        for score in negatives {
            let (weight, part) = parts(*score);
            *score = of_r * ((1.0 + b) * part / raised - if b > 0.0 { b * weight / weights } else { 0.0 });
        }
        for score in &mut *positives {
            *score = of_q * (*score - bottom).exp() / chosen;
        }
        positives[0] -= pi;
        Outcome { loss, counted: floored }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Loss,
        testing::{close, closed_form, closed_form_agrees, differences, golden, of_scores},
    };
    use super::*;
    use crate::device::ndarray;
    use burn::tensor::Device;

    fn dcl(tau_plus: f64, positives: usize) -> Loss {
        Loss::Dcl(Dcl { tau_plus, positives })
    }

    #[test]
    fn golden_values() {
        for device in [ndarray(), Device::flex()] {
            for (tau, expected) in [(0.07, 1.16127289), (0.0, 1.15899291), (0.5, 1.17162780)] {
                close(golden(dcl(tau, 2), 1.0, 3, &device), expected, 1e-6);
            }
        }
    }

    /// Scores of two rows, with two positives and three negatives; at tau+ = .5 the second row is at its floor.
    const SCORES: [f64; 10] = [0.3, -0.2, 1.0, 0.4, 0.8, 2.0, 1.5, -1.0, -0.7, -1.2];

    /// T5.
    #[test]
    fn without_prior_it_is_info_nce() {
        let plain: Vec<f64> = SCORES.chunks(5).flat_map(|row| [&row[..1], &row[2..]].concat()).collect();
        // The second row lies below the floor; shifted up it does not.
        let (lifted, plain): (Vec<f64>, Vec<f64>) =
            (SCORES.map(|s| s + 3.0).into(), plain.iter().map(|s| s + 3.0).collect());
        let (loss, slopes) = of_scores(dcl(0.0, 2), &lifted, 5, 1.0);
        let (expected, expected_slopes) = of_scores(Loss::INFO_NCE, &plain, 4, 1.0);
        close(loss, expected, 1e-6);
        for (row, expected) in slopes.chunks(5).zip(expected_slopes.chunks(4)) {
            assert_eq!(row[1], 0.0, "nothing is subtracted");
            [row[0], row[2], row[3], row[4]]
                .iter()
                .zip(expected)
                .for_each(|(a, b)| close(f64::from(*a), f64::from(*b), 1e-5));
        }
    }

    /// T5.
    #[test]
    fn slopes_are_differences_and_stop_at_the_floor() {
        for temperature in [1.0, 0.5] {
            let (_, slopes) = of_scores(dcl(0.2, 2), &SCORES, 5, temperature);
            for (slope, difference) in slopes.iter().zip(differences(dcl(0.2, 2), &SCORES, 5, temperature)) {
                assert!((f64::from(*slope) - difference).abs() < 2e-3, "{slopes:?}");
            }
        }
        let (_, slopes) = of_scores(dcl(0.5, 2), &SCORES, 5, 1.0);
        assert!(slopes[5] < 0.0 && slopes[6..].iter().all(|slope| *slope == 0.0), "{slopes:?}");
        assert!(slopes[1] < 0.0, "further positives are raised where the floor is not reached");
    }

    #[test]
    fn the_closed_form_is_the_gradient() {
        for (tau, temperature) in [(0.0, 1.0), (0.07, 1.0), (0.2, 0.5), (0.5, 1.0)] {
            SCORES.chunks(5).for_each(|row| closed_form_agrees(dcl(tau, 2), row, temperature));
        }
        for row in [[200.0, 200.0, -200.0, -200.0], [-200.0, -200.0, 200.0, 200.0]] {
            closed_form_agrees(dcl(0.3, 2), &row, 1.0);
        }
    }

    #[test]
    fn what_is_not_a_number_shows() {
        for place in 0..4 {
            let mut scores = [0.1, 0.2, 0.3, 0.4];
            scores[place] = f32::NAN;
            assert!(closed_form(dcl(0.3, 2), 1.0).slopes(&mut scores).loss.is_nan(), "{place}");
        }
    }

    #[test]
    fn extremes_stay_finite() {
        for scores in [[200.0, 200.0, -200.0, -200.0], [-200.0, -200.0, 200.0, 200.0], [90.0; 4]] {
            let (loss, slopes) = of_scores(dcl(0.3, 2), &scores, 4, 1.0);
            assert!(loss.is_finite() && slopes.iter().all(|slope| slope.is_finite()), "{loss} {slopes:?}");
        }
    }
}
