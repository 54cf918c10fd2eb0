//! CML, collaborative metric learning (Hsieh et al., "Collaborative Metric Learning", WWW 2017; every triplet by itself, as
//! its follow-ups have it).
//!
//! A user shall be nearer to what they chose than to what they did not, by a margin m. With scores s = -|u - v|^2,
//!
//! L = mean over rows and their S negatives of max(0, m - s+ + s-_k)
//!
//! and after every step each row longer than 1 is shortened to 1. Gradient: dL/ds-_k = a_k = 1 / S where the margin is
//! violated, else 0; dL/ds+ = -sum_k a_k. Switches of the original: `hardest` takes the nearest negative alone; `rank-weight`
//! multiplies the loss of a row by log(1 + N violated / S), an estimate of the positive's rank in the catalogue; `covariance`
//! adds that weight times (|C|_F^2 - |diag C|^2) / R, C being the covariance of the R vectors of the batch (the Frobenius form
//! of the paper; its code sums the entries, which may be negative).

use super::{ClosedForm, LossRows, LossSetting, Objective, RowValues, Value, objective::OfScores};
use crate::{Error, error::within};
use burn::tensor::Tensor;
use onebp_table::{Onto, Outcome, RowLoss, Score, Spread};
use serde::{Deserialize, Serialize};

/// Parameters of `cml`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Cml {
    /// m, by how much a negative must be farther than the positive. Default 1.
    pub margin: f64,
    /// Only the nearest negative of a row counts. Default false.
    pub hardest: bool,
    /// Rows count by the estimated rank of their positive. Default false.
    pub rank_weight: bool,
    /// Weight of the covariance penalty. Default 0.
    pub covariance: f64,
}

impl Default for Cml {
    fn default() -> Self {
        Self { margin: 1.0, hardest: false, rank_weight: false, covariance: 0.0 }
    }
}

/// What rows with a violated margin are called in the metrics log.
pub(super) const MARGIN_ACTIVE: &str = "margin_active";

impl Objective for Cml {
    fn check(&self) -> Result<(), Error> {
        check_margin(self.margin)?;
        let covariance = self.covariance >= 0.0 && self.covariance.is_finite();
        within(covariance, "covariance", &self.covariance, "a number of at least 0")
    }

    fn score(&self) -> Score {
        Score::Distance
    }

    fn projections(&self) -> [Option<Onto>; 2] {
        [Some(Onto::Ball), Some(Onto::Ball)]
    }

    fn has_temperature(&self) -> bool {
        false
    }

    fn counts(&self) -> Option<&'static str> {
        Some(MARGIN_ACTIVE)
    }

    fn forward(&self, setting: LossSetting, rows: LossRows) -> Value {
        let penalty = self.penalty(&rows);
        let value = self.mean(setting, rows);
        Value { loss: penalty.into_iter().fold(value.loss, |loss, penalty| loss + penalty), ..value }
    }

    fn in_closed_form(&self, setting: LossSetting) -> Option<ClosedForm> {
        let hinge = Hinge {
            margin: self.margin as f32,
            hardest: self.hardest,
            catalogue: self.rank_weight.then_some(setting.items as f32),
            spread: None,
        };
        (self.covariance == 0.0).then(|| ClosedForm::Rows(Box::new(hinge)))
    }
}

impl OfScores for Cml {
    fn of_scores(&self, scores: Tensor<2>, setting: LossSetting) -> RowValues {
        let [batch, columns] = scores.dims();
        let own = scores.clone().slice([0..batch, 0..1]);
        let violations = (scores.slice([0..batch, 1..columns]) - own).add_scalar(self.margin).clamp_min(0.0);
        let violated = violations.clone().detach().greater_elem(0.0).float().mean_dim(1);
        let losses = if self.hardest { violations.max_dim(1) } else { violations.mean_dim(1) };
        let losses = match self.rank_weight {
            true => losses * violated.clone().mul_scalar(setting.items as f64).log1p(),
            false => losses,
        };
        let counted = violated.greater_elem(0.0).float();
        RowValues { losses, counted: Some(counted) }
    }
}

impl Cml {
    /// What rows cost beside their scores, `[1]`.
    fn penalty(&self, rows: &LossRows) -> Option<Tensor<1>> {
        (self.covariance > 0.0).then(|| {
            let [batch, columns, dim] = rows.items.dims();
            let items = rows.items.clone().reshape([batch * columns, dim]);
            let vectors = rows.users.dims()[1] / dim;
            let users = rows.users.clone().reshape([batch * vectors, dim]);
            let all = Tensor::cat(vec![users, items], 0);
            covariance(all).mul_scalar(self.covariance)
        })
    }
}

pub(super) fn check_margin(margin: f64) -> Result<(), Error> {
    within(margin >= 0.0 && margin.is_finite(), "margin", &margin, "a number of at least 0")
}

/// (|C|_F^2 - |diag C|^2) / R of the covariance C of `rows` `[R, d]`, as `[1]`.
fn covariance(rows: Tensor<2>) -> Tensor<1> {
    let [count, _] = rows.dims();
    let centred = rows.clone() - rows.mean_dim(0);
    let covariance = centred.clone().transpose().matmul(centred.clone()).div_scalar(count as f64);
    let variances = (centred.clone() * centred).mean_dim(0);
    let off = (covariance.clone() * covariance).sum() - (variances.clone() * variances).sum();
    off.div_scalar(count as f64)
}

/// The hinge of one row, in closed form.
pub(super) struct Hinge {
    pub margin: f32,
    pub hardest: bool,
    /// N, where rows are weighted by the estimated rank.
    pub catalogue: Option<f32>,
    pub spread: Option<Spread>,
}

impl RowLoss for Hinge {
    fn score(&self) -> Score {
        Score::Distance
    }

    fn spread(&self) -> Option<Spread> {
        self.spread
    }

    fn slopes(&self, scores: &mut [f32]) -> Outcome {
        let own = scores[0];
        let (mut total, mut violated) = (0.0, 0.0);
        let (mut worst, mut place) = (0.0, 0);
        for (at, score) in scores.iter_mut().enumerate().skip(1) {
            let violation = self.margin - own + *score;
            // What is not a number is a violation, so that it shows.
            let active = violation > 0.0 || violation.is_nan();
            *score = 0.0;
            if active {
                (total, violated, *score) = (total + violation, violated + 1.0, 1.0);
                if violation > worst || violation.is_nan() {
                    (worst, place) = (violation, at);
                }
            }
        }
        let negatives = (scores.len() - 1) as f32;
        let weight = self.catalogue.map_or(1.0, |items| (items * violated / negatives).ln_1p());
        let (loss, share) = if self.hardest { (worst, 1.0) } else { (total / negatives, 1.0 / negatives) };
        let mut sum = 0.0;
        for (at, slope) in scores.iter_mut().enumerate().skip(1) {
            *slope *= if self.hardest && at != place { 0.0 } else { weight * share };
            sum += *slope;
        }
        scores[0] = -sum;
        Outcome { loss: weight * loss, counted: violated > 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Loss,
        testing::{close, closed_form, golden, golden_inputs, tensor, value},
    };
    use super::*;
    use crate::device::ndarray;
    use burn::tensor::Device;

    fn cml(hardest: bool, rank_weight: bool) -> Loss {
        Loss::Cml(Cml { hardest, rank_weight, ..Cml::default() })
    }

    #[test]
    fn golden_values() {
        for device in [ndarray(), Device::flex()] {
            for (hardest, rank_weight, expected) in
                [(false, false, 0.60918700), (true, false, 1.13501975), (true, true, 4.66317527)]
            {
                close(golden(cml(hardest, rank_weight), 1.0, 3, &device), expected, 1e-6);
            }
        }
    }

    /// T8: with one negative the nearest is the only one; without violations there is no loss; a motion of all rows together
    /// changes nothing.
    #[test]
    fn identities() {
        let device = ndarray();
        close(golden(cml(true, false), 1.0, 1, &device), golden(cml(false, false), 1.0, 1, &device), 1e-7);
        let (users, items) = golden_inputs(false, 3, &device);
        let plain = value(cml(false, false), 1.0, users.clone(), items.clone());
        let (sin, cos) = (0.6, 0.8);
        let turn = [cos, sin, 0.0, 0.0, -sin, cos, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, -1.0, 0.0];
        let turn: Tensor<2> = tensor(&turn, [4, 4], &device);
        let turned_items = items.reshape([12, 4]).matmul(turn.clone()).reshape([3, 4, 4]);
        let turned = value(cml(false, false), 1.0, users.matmul(turn), turned_items);
        close(turned.into_scalar::<f32>().into(), plain.into_scalar::<f32>().into(), 1e-5);
        let far: Tensor<3> = tensor(&[0.0, 0.0, 2.0, 0.0, 0.0, -1.5], [1, 3, 2], &device);
        let settled = value(cml(false, false), 1.0, tensor(&[0.0, 0.0], [1, 2], &device), far);
        assert_eq!(settled.into_scalar::<f32>(), 0.0);
    }

    /// A margin so large that every triplet violates it: L = m + mean(d+ - d-).
    #[test]
    fn large_margins_are_linear() {
        let device = ndarray();
        let loss = |margin| golden(Loss::Cml(Cml { margin, ..Cml::default() }), 1.0, 3, &device);
        close(loss(101.0) - loss(100.0), 1.0, 1e-4);
    }

    /// Gradients of distances by autodiff, by differences, and in closed form: dU = 2 sum a_k (Q_k - P), dP = -2 (sum a_k)
    /// (U - P), dQ_k = 2 a_k (U - Q_k).
    #[test]
    fn the_closed_form_is_the_gradient() {
        let device = ndarray().autodiff();
        for (hardest, rank_weight) in [(false, false), (true, false), (true, true), (false, true)] {
            let loss = cml(hardest, rank_weight);
            let (users, items) = golden_inputs(false, 3, &device);
            let (users, items) = (users.require_grad(), items.require_grad());
            let gradients = value(loss, 1.0, users.clone(), items.clone()).backward();
            let read = |data: burn::tensor::TensorData| data.try_to_vec::<f32>().unwrap();
            let found =
                [read(users.grad(&gradients).unwrap().into_data()), read(items.grad(&gradients).unwrap().into_data())];
            let (u, v) = (read(users.into_data()), read(items.into_data()));
            let form = closed_form(loss, 1.0);
            let mut expected = [vec![0.0; u.len()], vec![0.0; v.len()]];
            for row in 0..3 {
                let user = &u[4 * row..4 * row + 4];
                let item = |k: usize| &v[16 * row + 4 * k..16 * row + 4 * k + 4];
                let mut slopes: Vec<f32> =
                    (0..4).map(|k| -user.iter().zip(item(k)).map(|(a, b)| (a - b).powi(2)).sum::<f32>()).collect();
                form.slopes(&mut slopes);
                for (k, slope) in slopes.iter().enumerate() {
                    for c in 0..4 {
                        let apart = 2.0 * slope / 3.0 * (user[c] - item(k)[c]);
                        expected[0][4 * row + c] -= apart;
                        expected[1][16 * row + 4 * k + c] += apart;
                    }
                }
            }
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                close((*found).into(), (*expected).into(), 1e-5);
            }
        }
    }

    #[test]
    fn slopes_are_differences() {
        let form = closed_form(cml(false, false), 1.0);
        let scores = [-0.4f32, -0.9, -0.1, -3.0];
        let mut slopes = scores;
        form.slopes(&mut slopes);
        for place in 0..4 {
            let at = |step: f32| {
                let mut moved = scores;
                moved[place] += step;
                form.slopes(&mut moved).loss
            };
            close(slopes[place].into(), f64::from((at(1e-2) - at(-1e-2)) / 2e-2), 1e-3);
        }
    }

    #[test]
    fn what_is_not_a_number_shows() {
        for (place, hardest) in [(0, false), (1, false), (2, true), (0, true)] {
            let mut scores = [-0.1, -0.2, -0.3];
            scores[place] = f32::NAN;
            assert!(closed_form(cml(hardest, false), 1.0).slopes(&mut scores).loss.is_nan(), "{place} {hardest}");
        }
    }

    /// Independent columns cost nothing, equal ones do.
    #[test]
    fn covariance_penalty() {
        let device = ndarray();
        let apart: Tensor<2> = tensor(&[1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0], [4, 2], &device);
        close(covariance(apart).into_scalar::<f32>().into(), 0.0, 1e-7);
        let equal: Tensor<2> = tensor(&[1.0, 1.0, -1.0, -1.0], [2, 2], &device);
        close(covariance(equal).into_scalar::<f32>().into(), 1.0, 1e-6);
    }

    /// Every vector of a user is a row of the covariance: here the four of the one user beside two items at their mean.
    #[test]
    fn the_covariance_is_of_vectors() {
        let device = ndarray();
        let users: Tensor<2> = tensor(&[1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0], [1, 8], &device);
        let items: Tensor<3> = tensor(&[0.0; 4], [1, 2, 2], &device);
        let loss = |covariance| Loss::Cml(Cml { covariance, margin: 0.0, ..Cml::default() });
        close(value(loss(1.0), 1.0, users, items).into_scalar::<f32>().into(), 0.0, 1e-7);
        let (users, items) = (tensor(&[1.0, 1.0, -1.0, -1.0], [1, 4], &device), tensor(&[0.0; 4], [1, 2, 2], &device));
        // C = 2 / 4 everywhere: 2 (1 / 2)^2 / 4.
        close(value(loss(1.0), 1.0, users, items).into_scalar::<f32>().into(), 0.125, 1e-6);
    }
}
