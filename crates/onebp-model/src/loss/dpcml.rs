//! DPCML, diversity-promoting collaborative metric learning (Bao et al., "The Minority Matters", NeurIPS 2022).
//!
//! A user has C vectors g_c (`--encoder mf,vectors=C`) and is as far from an item as the nearest of them, the minimum taken for
//! positive and negative separately. With scores s = -min_c |g_c - v|^2,
//!
//! L = mean max(0, m - s+ + s-_k) + eta mean over users of (max(0, low - delta) + max(0, delta - high))
//!
//! delta = sum_c |g_c - mean g|^2 / (C - 1), the trace of the sample covariance of a user's vectors ([`Spread`]). The mean
//! runs over the distinct users of the batch; the released code visits all users at every step. After every step user
//! vectors are scaled to length 1 and items longer than 1 shortened to 1. With C = 1 this is CML whose users lie on the
//! sphere.

use super::{
    ClosedForm, LossRows, LossSetting, Objective, RowValues, Value,
    cml::{Cml, Hinge, MARGIN_ACTIVE, check_margin},
    objective::OfScores,
};
use crate::{Error, error::within};
use burn::tensor::Tensor;
use onebp_table::{Onto, Score, Spread};
use serde::{Deserialize, Serialize};

/// Parameters of `dpcml`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Dpcml {
    /// m, by how much a negative must be farther than the positive. Default 1.
    pub margin: f64,
    /// eta, the weight of the penalty on a user's vectors. Default 10.
    pub eta: f64,
    /// Smallest spread of a user's vectors without penalty. Default .1.
    pub low: f64,
    /// Largest spread without penalty. Default .35.
    pub high: f64,
}

impl Default for Dpcml {
    fn default() -> Self {
        Self { margin: Cml::default().margin, eta: 10.0, low: 0.1, high: 0.35 }
    }
}

impl Dpcml {
    fn hinge(&self) -> Cml {
        Cml { margin: self.margin, ..Cml::default() }
    }

    /// What rows cost beside their scores, `[1]`.
    fn penalty(&self, rows: &LossRows) -> Option<Tensor<1>> {
        let ([batch, width], [.., dim]) = (rows.users.dims(), rows.items.dims());
        let vectors = width / dim;
        (vectors > 1).then(|| {
            let delta = delta(rows.users.clone().reshape([batch, vectors, dim]));
            let below = delta.clone().neg().add_scalar(self.low).clamp_min(0.0);
            let above = delta.sub_scalar(self.high).clamp_min(0.0);
            ((below + above) * rows.user_shares.clone()).sum().mul_scalar(self.eta)
        })
    }

    fn spread(&self) -> Spread {
        Spread { weight: self.eta as f32, low: self.low as f32, high: self.high as f32 }
    }
}

impl Objective for Dpcml {
    fn check(&self) -> Result<(), Error> {
        check_margin(self.margin)?;
        within(self.eta >= 0.0 && self.eta.is_finite(), "eta", &self.eta, "a number of at least 0")?;
        within(self.low >= 0.0 && self.low.is_finite(), "low", &self.low, "a number of at least 0")?;
        within(self.high >= self.low && self.high.is_finite(), "high", &self.high, "a number of at least `low`")
    }

    fn score(&self) -> Score {
        Score::Distance
    }

    fn projections(&self) -> [Option<Onto>; 2] {
        [Some(Onto::Sphere), Some(Onto::Ball)]
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

    fn in_closed_form(&self, _: LossSetting) -> Option<ClosedForm> {
        let spread = Some(self.spread());
        Some(ClosedForm::Rows(Box::new(Hinge { margin: self.margin as f32, hardest: false, catalogue: None, spread })))
    }
}

impl OfScores for Dpcml {
    fn of_scores(&self, scores: Tensor<2>, setting: LossSetting) -> RowValues {
        self.hinge().of_scores(scores, setting)
    }
}

/// Trace of the sample covariance of each user's `vectors` `[B, C, d]`, C > 1, as `[B, 1]`.
fn delta(vectors: Tensor<3>) -> Tensor<2> {
    let [batch, count, dim] = vectors.dims();
    let apart = vectors.clone() - vectors.mean_dim(1);
    (apart.clone() * apart).reshape([batch, count * dim]).sum_dim(1).div_scalar((count - 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::super::{
        Loss,
        testing::{close, golden_inputs, tensor, value},
    };
    use super::*;
    use crate::device::ndarray;
    use burn::tensor::Device;

    const WITHOUT_PENALTY: Dpcml = Dpcml { margin: 1.0, eta: 0.0, low: 0.1, high: 0.35 };

    /// The golden users, and beside each a second vector cos(0.4(4b+c)+0.3): `[3, 8]`.
    fn two_vectors(device: &Device) -> Tensor<2> {
        let (users, _) = golden_inputs(false, 3, device);
        let second: Vec<f64> = (0..12).map(|at| (0.4 * at as f64 + 0.3).cos()).collect();
        Tensor::cat(vec![users, tensor(&second, [3, 4], device)], 1)
    }

    fn scalar(tensor: Tensor<1>) -> f64 {
        tensor.into_scalar::<f32>().into()
    }

    #[test]
    fn golden_values() {
        for device in [ndarray(), Device::flex()] {
            let (_, items) = golden_inputs(false, 3, &device);
            let preference = value(Loss::Dpcml(WITHOUT_PENALTY), 1.0, two_vectors(&device), items.clone());
            close(scalar(preference), 0.26965042, 1e-6);
            let deltas = delta(two_vectors(&device).reshape([3, 2, 4])).into_data().try_to_vec::<f32>().unwrap();
            for (delta, expected) in deltas.into_iter().zip([0.78712753, 0.18413987, 1.57847710]) {
                close(delta.into(), expected, 1e-6);
            }
            let both = value(Loss::Dpcml(Dpcml { eta: 1.0, ..WITHOUT_PENALTY }), 1.0, two_vectors(&device), items);
            close(scalar(both), 0.26965042 + 0.55520154, 1e-6);
        }
    }

    /// T11: one vector is CML, the order of vectors says nothing, and equal vectors are one with the penalty of delta = 0.
    #[test]
    fn identities() {
        let device = ndarray();
        let (users, items) = golden_inputs(false, 3, &device);
        let dpcml = |users: Tensor<2>| scalar(value(Loss::Dpcml(Dpcml::default()), 1.0, users, items.clone()));
        let cml = scalar(value(Loss::Cml(Cml::default()), 1.0, users.clone(), items.clone()));
        assert_eq!(dpcml(users.clone()), cml);
        let two = two_vectors(&device);
        let swapped = Tensor::cat(vec![two.clone().slice([0..3, 4..8]), two.clone().slice([0..3, 0..4])], 1);
        close(dpcml(swapped), dpcml(two), 1e-6);
        let twice = Tensor::cat(vec![users.clone(), users], 1);
        close(dpcml(twice), cml + 10.0 * 0.1, 1e-6);
    }

    /// T11: delta is half the mean squared distance of two different vectors: (1 / (2 C (C - 1))) sum over pairs.
    #[test]
    fn delta_is_a_mean_of_distances() {
        let device = ndarray();
        let values: Vec<f64> = (0..20).map(|at| (1.7 * at as f64).sin()).collect();
        let vectors: Vec<&[f64]> = values.chunks(4).collect();
        let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let pairs: f64 = vectors.iter().flat_map(|a| vectors.iter().map(|b| square(a, b))).sum();
        let found = delta(tensor(&values, [1, 5, 4], &device)).into_scalar::<f32>();
        close(found.into(), pairs / 40.0, 1e-6);
    }

    #[test]
    fn no_penalty_between_the_bounds() {
        let spread = Dpcml::default().spread();
        assert_eq!([0.1, 0.2, 0.35].map(|delta| spread.of(delta)), [(0.0, 0.0); 3]);
        assert_eq!(spread.of(0.0), (0.1, -1.0));
        assert!((spread.of(0.5).0 - 0.15).abs() < 1e-7 && spread.of(0.5).1 == 1.0);
        assert!(spread.of(f32::NAN).0.is_nan());
    }
}
