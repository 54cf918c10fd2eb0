//! Loss computing: what the scores of a positive and its negatives are worth.
//!
//! | loss | of a row with positive s+ and negatives s-, scores over T | source |
//! |---|---|---|
//! | `info-nce` | -log(e^s+ / (e^s+ + R)), R = sum e^s- | van den Oord et al., 2018 |
//! | `dcl` | R without the positives that hide among negatives | Chuang et al., NeurIPS 2020 |
//! | `hcl` | the same, R weighted towards hard negatives | Robinson et al., ICLR 2021 |

mod dcl;
mod hcl;
mod info_nce;

pub use dcl::Dcl;
pub use hcl::Hcl;
pub use info_nce::InfoNce;

use crate::Error;
use burn::tensor::Tensor;
use onebp_table::RowLoss;
use serde::{Deserialize, Serialize};

/// The loss of a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Loss {
    /// InfoNCE.
    #[default]
    InfoNce,
    /// Debiased contrastive loss.
    Dcl(Dcl),
    /// Hard contrastive loss.
    Hcl(Hcl),
}

impl Loss {
    /// All losses, with their default parameters.
    pub fn all() -> [Self; 3] {
        [Self::InfoNce, Self::Dcl(Dcl::default()), Self::Hcl(Hcl::default())]
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first one out of range.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::InfoNce => Ok(()),
            Self::Dcl(dcl) => dcl.check(),
            Self::Hcl(hcl) => hcl.check(),
        }
    }

    /// The closed form for scores over T; nothing for InfoNCE, which the fused step knows by itself.
    pub fn in_closed_form(&self, temperature: f64) -> Option<Box<dyn RowLoss>> {
        match self {
            Self::InfoNce => None,
            Self::Dcl(dcl) => Some(Box::new(dcl.row(0.0, temperature))),
            Self::Hcl(hcl) => Some(Box::new(hcl.row(temperature))),
        }
    }

    /// Positives of a row, Mp, its own first: more than one where the loss estimates what positives score.
    pub fn positives(&self) -> usize {
        match self {
            Self::InfoNce => 1,
            Self::Dcl(dcl) => dcl.positives,
            Self::Hcl(hcl) => hcl.positives,
        }
    }

    /// The loss of `users` `[B, d]` against `items` `[B, Mp + S, d]`, positives first, as `[1]`. `weights` `[B, 1]` are the
    /// rows' shares of the mean and sum to 1.
    pub fn forward(&self, temperature: f64, users: Tensor<2>, items: Tensor<3>, weights: Tensor<2>) -> Tensor<1> {
        let [batch, columns, _] = items.dims();
        let scores = (items * users.unsqueeze_dim::<3>(1)).sum_dim(2).reshape([batch, columns]);
        let scores = scores.div_scalar(temperature);
        let rows = match self {
            Self::InfoNce => InfoNce.of_rows(scores),
            Self::Dcl(dcl) => dcl.of_rows(scores, temperature),
            Self::Hcl(hcl) => hcl.of_rows(scores, temperature),
        };
        (rows * weights).sum()
    }
}

/// log of the sum of exponentials of each row of `x` `[B, K]`, as `[B, 1]`, for numbers of any size.
fn log_sum_exp(x: Tensor<2>) -> Tensor<2> {
    let highest = x.clone().detach().max_dim(1);
    (x - highest.clone()).exp().sum_dim(1).log() + highest
}

#[cfg(test)]
pub(crate) mod testing {
    //! Inputs of the golden values: U[b,c] = sin(0.7(4b+c)+0.1), P[b,c] = cos(0.5(4b+c)+0.2), E[b,c] = cos(0.9(4b+c)),
    //! Q[b,k,c] = sin(0.3(12b+4k+c)+0.5), B = S = 3, d = 4. The values were evaluated in f64 outside this program.

    use super::Loss;
    use crate::device::ndarray;
    use burn::tensor::{Device, Tensor, TensorData};

    pub fn tensor<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
        let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    pub fn mean(batch: usize, device: &Device) -> Tensor<2> {
        tensor(&vec![1.0 / batch as f64; batch], [batch, 1], device)
    }

    /// Users `[3, 4]` and items `[3, 1 + extra + negatives, 4]`.
    pub fn golden_inputs(extra: bool, negatives: usize, device: &Device) -> (Tensor<2>, Tensor<3>) {
        let (mut users, mut items) = (vec![], vec![]);
        for b in 0..3 {
            users.extend((0..4).map(|c| (0.7 * (4 * b + c) as f64 + 0.1).sin()));
            items.extend((0..4).map(|c| (0.5 * (4 * b + c) as f64 + 0.2).cos()));
            if extra {
                items.extend((0..4).map(|c| (0.9 * (4 * b + c) as f64).cos()));
            }
            for k in 0..negatives {
                items.extend((0..4).map(|c| (0.3 * (12 * b + 4 * k + c) as f64 + 0.5).sin()));
            }
        }
        let columns = 1 + usize::from(extra) + negatives;
        (tensor(&users, [3, 4], device), tensor(&items, [3, columns, 4], device))
    }

    /// The loss of the golden inputs.
    pub fn golden(loss: Loss, temperature: f64, negatives: usize, device: &Device) -> f64 {
        let (users, items) = golden_inputs(loss.positives() > 1, negatives, device);
        loss.forward(temperature, users, items, mean(3, device)).into_scalar::<f32>() as f64
    }

    /// The loss and its slopes at scores `[B, columns]` given directly: d = 1 and u = 1.
    pub fn of_scores(loss: Loss, scores: &[f64], columns: usize, temperature: f64) -> (f64, Vec<f32>) {
        let device = ndarray().autodiff();
        let batch = scores.len() / columns;
        let items = tensor(scores, [batch, columns, 1], &device).require_grad();
        let users = tensor(&vec![1.0; batch], [batch, 1], &device);
        let value = loss.forward(temperature, users, items.clone(), mean(batch, &device));
        let gradient = items.grad(&value.backward()).unwrap();
        (value.into_scalar::<f32>() as f64, gradient.into_data().try_to_vec().unwrap())
    }

    pub fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{a} is not {b}");
    }

    /// The closed form against autodiff, where the loss is smooth, for a row of `scores`.
    pub fn closed_form_agrees(loss: Loss, scores: &[f64], temperature: f64) {
        let (expected, slopes) = of_scores(loss, scores, scores.len(), temperature);
        let mut found: Vec<f32> = scores.iter().map(|&score| (score / temperature) as f32).collect();
        let value = loss.in_closed_form(temperature).unwrap().slopes(&mut found);
        close(f64::from(value), expected, 2e-5);
        for (found, slope) in found.iter().zip(slopes) {
            close(f64::from(found / temperature as f32), f64::from(slope), 1e-4);
        }
    }

    /// Slopes of the loss at `scores` by central differences.
    pub fn differences(loss: Loss, scores: &[f64], columns: usize, temperature: f64) -> Vec<f64> {
        const STEP: f64 = 1e-2;
        let at = |place: usize, step: f64| {
            let mut moved = scores.to_vec();
            moved[place] += step;
            of_scores(loss, &moved, columns, temperature).0
        };
        (0..scores.len()).map(|place| (at(place, STEP) - at(place, -STEP)) / (2.0 * STEP)).collect()
    }
}
