//! Loss computing: what the scores of a positive and its negatives are worth.
//!
//! | loss | of a row with positive s+ and negatives s-, scores over T | score | source |
//! |---|---|---|---|
//! | `info-nce` | -log(e^s+ / (e^s+ + R)), R = sum e^s- | <u, v> | van den Oord et al., 2018 |
//! | `bpr` | mean log(1 + e^(s- - s+)) | <u, v> | Rendle et al., UAI 2009 |
//! | `dcl` | R without the positives that hide among negatives | <u, v> | Chuang et al., NeurIPS 2020 |
//! | `hcl` | the same, R weighted towards hard negatives | <u, v> | Robinson et al., ICLR 2021 |
//! | `cml` | mean max(0, m - s+ + s-) | -\|u - v\|^2 | Hsieh et al., WWW 2017 |
//! | `dpcml` | the same, and users whose vectors differ as much as they should | -\|u - v\|^2 | Bao et al., NeurIPS 2022 |
//! | `sfcml` | squared margins against all items, without sampling | -\|u - v\|^2 | Bao et al., TPAMI 2022 |
//! | `buir` | cosines of online with target vectors, without negatives | <u, v> | Lee et al., SIGIR 2021 |
//!
//! A loss is a file with a type that implements [`Objective`], and its line in the list below.

mod bpr;
mod buir;
mod cml;
mod dcl;
mod dpcml;
mod hcl;
mod info_nce;
mod objective;
mod sfcml;

pub use bpr::Bpr;
pub use buir::Buir;
pub use cml::Cml;
pub use dcl::Dcl;
pub use dpcml::Dpcml;
pub use hcl::Hcl;
pub use info_nce::InfoNce;
pub use objective::{ClosedForm, Draws, LossRows, LossSetting, Objective, RowValues, Value};
pub use sfcml::{CatalogueGradients, Form, Sfcml, Users};

use serde::{Deserialize, Serialize};

/// The losses by name, each with its own parameters.
macro_rules! losses {
    ($($(#[$doc:meta])* $loss:ident,)*) => {
        /// The loss of a method.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "kebab-case")]
        pub enum Loss { $($(#[$doc])* $loss($loss),)* }

        impl Loss {
            /// All losses, with their default parameters.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$loss($loss::default()),)*]
            }
        }

        impl std::ops::Deref for Loss {
            type Target = dyn Objective;

            fn deref(&self) -> &Self::Target {
                match self { $(Self::$loss(loss) => loss,)* }
            }
        }
    };
}

losses! {
    /// InfoNCE.
    InfoNce,
    /// Pairs of a positive and a negative, each by itself.
    Bpr,
    /// Debiased contrastive loss.
    Dcl,
    /// Hard contrastive loss.
    Hcl,
    /// Hinge of distances, collaborative metric learning.
    Cml,
    /// The same with several vectors for each user.
    Dpcml,
    /// Squared margins of distances against all items.
    Sfcml,
    /// Bootstrapped cosines.
    Buir,
}

impl Default for Loss {
    fn default() -> Self {
        Self::INFO_NCE
    }
}

impl Loss {
    /// InfoNCE, which has no parameters.
    pub const INFO_NCE: Self = Self::InfoNce(InfoNce {});
}

#[cfg(test)]
pub(crate) mod testing {
    //! Inputs of the golden values: U[b,c] = sin(0.7(4b+c)+0.1), P[b,c] = cos(0.5(4b+c)+0.2), E[b,c] = cos(0.9(4b+c)),
    //! Q[b,k,c] = sin(0.3(12b+4k+c)+0.5), B = S = 3, d = 4. The values were evaluated in f64 outside this program.

    use super::{ClosedForm, Loss, LossRows, LossSetting};
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
        let (users, items) = golden_inputs(loss.draws().positives() > 1, negatives, device);
        f64::from(value(loss, temperature, users, items).into_scalar::<f32>())
    }

    /// The mean loss of `users` `[B, C d]` and `items` `[B, W, d]`, where no user occurs twice.
    pub fn value(loss: Loss, temperature: f64, users: Tensor<2>, items: Tensor<3>) -> Tensor<1> {
        let shares = mean(users.dims()[0], &users.device());
        let rows = LossRows { users, items, shares: shares.clone(), user_shares: shares, chosen: None };
        loss.forward(LossSetting { temperature, items: 100 }, rows).loss
    }

    /// The loss and its slopes at scores `[B, columns]` given directly: d = 1 and u = 1.
    pub fn of_scores(loss: Loss, scores: &[f64], columns: usize, temperature: f64) -> (f64, Vec<f32>) {
        let device = ndarray().autodiff();
        let batch = scores.len() / columns;
        let items = tensor(scores, [batch, columns, 1], &device).require_grad();
        let users = tensor(&vec![1.0; batch], [batch, 1], &device);
        let value = value(loss, temperature, users, items.clone());
        let gradient = items.grad(&value.backward()).unwrap();
        (value.into_scalar::<f32>() as f64, gradient.into_data().try_to_vec().unwrap())
    }

    /// The closed form of a loss that has one of its own.
    pub fn closed_form(loss: Loss, temperature: f64) -> Box<dyn onebp_table::RowLoss> {
        match loss.in_closed_form(LossSetting { temperature, items: 100 }) {
            Some(ClosedForm::Rows(form)) => form,
            _ => panic!("{loss:?} has no closed form of its own"),
        }
    }

    pub fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{a} is not {b}");
    }

    /// The closed form against autodiff, where the loss is smooth, for a row of `scores`.
    pub fn closed_form_agrees(loss: Loss, scores: &[f64], temperature: f64) {
        let (expected, slopes) = of_scores(loss, scores, scores.len(), temperature);
        let mut found: Vec<f32> = scores.iter().map(|&score| (score / temperature) as f32).collect();
        let outcome = closed_form(loss, temperature).slopes(&mut found);
        close(f64::from(outcome.loss), expected, 2e-5);
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
