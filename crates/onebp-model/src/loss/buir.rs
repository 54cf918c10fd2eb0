//! BUIR (Lee et al., "Bootstrapping User and Item Representations for One-Class Collaborative Filtering", SIGIR 2021),
//! variant BUIR-ID: no negatives.
//!
//! Its encoder ([`Bootstrap`](crate::encoder::Bootstrap)) hands out rows of width 2d: the prediction q(x) of an online row
//! beside its target row. A user's prediction shall point where the item's target points, and the other way round:
//!
//! L = mean (2 - 2 cos(q(u), t(i))) + (2 - 2 cos(q(i), t(u))), in [0, 8]
//!
//! Norms are kept above 1e-12. Targets are constants.

use super::{ClosedForm, Draws, LossRows, LossSetting, Objective, Value};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The loss `buir`, which has no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buir {}

const SMALLEST_NORM: f64 = 1e-12;

impl Objective for Buir {
    fn draws(&self) -> Draws {
        Draws::Pairs
    }

    fn has_temperature(&self) -> bool {
        false
    }

    fn forward(&self, _: LossSetting, rows: LossRows) -> Value {
        let [batch, width] = rows.users.dims();
        let items = rows.items.reshape([batch, width]);
        let halves = |rows: Tensor<2>| {
            (rows.clone().slice([0..batch, 0..width / 2]), rows.slice([0..batch, width / 2..width]).detach())
        };
        let ((predicted_user, target_user), (predicted_item, target_item)) = (halves(rows.users), halves(items));
        let cosines = Tensor::cat(vec![cosine(predicted_user, target_item), cosine(predicted_item, target_user)], 1);
        let losses = cosines.sum_dim(1).mul_scalar(-2.0).add_scalar(4.0);
        Value { loss: (losses * rows.shares).sum(), counted: None }
    }

    fn in_closed_form(&self, _: LossSetting) -> Option<ClosedForm> {
        Some(ClosedForm::Cosines)
    }
}

/// Cosines of the rows of `a` and `b` `[B, d]`, as `[B, 1]`.
fn cosine(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    // The square is kept from 0, so that its root has a slope.
    let smallest = SMALLEST_NORM * SMALLEST_NORM;
    let norm = |x: Tensor<2>| (x.clone() * x).sum_dim(1).clamp_min(smallest).sqrt();
    (a.clone() * b.clone()).sum_dim(1) / (norm(a) * norm(b))
}

#[cfg(test)]
mod tests {
    use super::super::{
        Loss,
        testing::{close, tensor, value},
    };
    use super::*;
    use crate::device::ndarray;
    use burn::tensor::Device;

    fn waves(device: &Device) -> (Tensor<2>, Tensor<2>) {
        let u: Vec<f64> = (0..12).map(|at| (0.7 * at as f64 + 0.1).sin()).collect();
        let p: Vec<f64> = (0..12).map(|at| (0.5 * at as f64 + 0.2).cos()).collect();
        (tensor(&u, [3, 4], device), tensor(&p, [3, 4], device))
    }

    /// q(x) = x W + b with W[r,c] = cos(0.2(4r+c)).
    fn predict(x: Tensor<2>, bias: f64) -> Tensor<2> {
        let w: Vec<f64> = (0..16).map(|at| (0.2 * at as f64).cos()).collect();
        x.clone().matmul(tensor(&w, [4, 4], &x.device())).add_scalar(bias)
    }

    fn loss(user: [Tensor<2>; 2], item: [Tensor<2>; 2]) -> f64 {
        let [users, items] = [user, item].map(|halves| Tensor::cat(halves.into(), 1));
        value(Loss::Buir(Buir {}), 1.0, users, items.reshape([3, 1, 8])).into_scalar::<f32>().into()
    }

    /// Online user U, target item P, online item P, target user U, bias 0.1; evaluated in f64 outside this program.
    #[test]
    fn golden_value() {
        for device in [ndarray(), Device::flex()] {
            let (u, p) = waves(&device);
            let found = loss([predict(u.clone(), 0.1), u], [predict(p.clone(), 0.1), p]);
            close(found, 5.54525194, 1e-6);
        }
    }

    /// T12: the lengths of targets say nothing; those of online rows neither where there is no bias.
    #[test]
    fn lengths_say_nothing() {
        let (u, p) = waves(&ndarray());
        let of = |online: f64, target: f64, bias: f64| {
            let [a, b] = [u.clone(), p.clone()].map(|x| predict(x.mul_scalar(online), bias));
            loss([a, u.clone().mul_scalar(target)], [b, p.clone().mul_scalar(target)])
        };
        close(of(1.0, 7.0, 0.1), of(1.0, 1.0, 0.1), 1e-6);
        close(of(3.0, 1.0, 0.0), of(1.0, 1.0, 0.0), 1e-6);
        assert!((of(3.0, 1.0, 0.1) - of(1.0, 1.0, 0.1)).abs() > 1e-3);
    }

    #[test]
    fn bounds() {
        let (u, _) = waves(&ndarray());
        close(loss([u.clone(), u.clone()], [u.clone(), u.clone()]), 0.0, 1e-6);
        close(loss([u.clone().neg(), u.clone()], [u.clone().neg(), u]), 8.0, 1e-6);
    }

    /// T12: targets are constants of the loss; a zero row has a finite gradient.
    #[test]
    fn targets_get_no_gradient() {
        let device = ndarray().autodiff();
        let (u, p) = waves(&device);
        let users = Tensor::cat(vec![u.clone().mul_scalar(0.0), u], 1).require_grad();
        let items = Tensor::cat(vec![p.clone(), p], 1).reshape([3, 1, 8]).require_grad();
        let gradients = value(Loss::Buir(Buir {}), 1.0, users.clone(), items.clone()).backward();
        for gradient in [users.grad(&gradients).unwrap(), items.grad(&gradients).unwrap().reshape([3, 8])] {
            let values = gradient.into_data().try_to_vec::<f32>().unwrap();
            for row in values.chunks(8) {
                assert!(row[..4].iter().all(|x| x.is_finite()) && row[4..].iter().all(|x| *x == 0.0), "{row:?}");
            }
        }
    }
}
