//! The encoder of BUIR (Lee et al., SIGIR 2021; variant BUIR-ID): predictions of slow copies.
//!
//! Beside the online tables U and V there are target tables, copies at first, which follow: T <- momentum T + (1 - momentum)
//! W for every row after every step. One predictor q(x) = x W_q + b_q, shared by users and items, maps online rows to where
//! targets are. A step sees rows [q(W), T] of width 2d; targets have no gradient.
//!
//! The score of a pair is <q(u), v> + <u, q(v)>, all of it online, which is the product of [q(U), U] and [V, q(V)].

use super::Weight;
use crate::{Error, Tables, error::within};
use burn::tensor::{Device, Tensor};
use onebp_table::portable::{to_device, to_host};
use serde::{Deserialize, Serialize};

/// Parameters of `bootstrap`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bootstrap {
    /// How much of a target stays at each step. Default .995.
    pub momentum: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { momentum: 0.995 }
    }
}

impl Bootstrap {
    pub(super) fn check(&self) -> Result<(), Error> {
        within((0.0..=1.0).contains(&self.momentum), "momentum", &self.momentum, "between 0 and 1")
    }

    pub(crate) fn weights(dim: usize) -> Vec<Weight> {
        vec![Weight::xavier("predictor", dim, dim), Weight::normal("predictor_bias", 1, dim)]
    }

    /// q of rows `[R, d]`.
    pub fn predict(rows: Tensor<2>, weights: &[Tensor<2>]) -> Tensor<2> {
        rows.matmul(weights[0].clone()) + weights[1].clone()
    }

    /// The tables whose products are scores, `[M, 2d]` and `[N, 2d]`.
    pub fn embed([users, items]: [Tensor<2>; 2], weights: &[Tensor<2>]) -> [Tensor<2>; 2] {
        let predicted = [users.clone(), items.clone()].map(|rows| Self::predict(rows, weights));
        let [of_users, of_items] = predicted;
        [Tensor::cat(vec![of_users, users], 1), Tensor::cat(vec![items, of_items], 1)]
    }

    /// [`Bootstrap::embed`] of tables on the host, by way of `device`, where the weights are.
    pub(crate) fn embed_tables(inputs: Tables, weights: &[Tensor<2>], device: &Device) -> Result<Tables, Error> {
        let [users, items] = Self::embed([to_device(&inputs.users, device), to_device(&inputs.items, device)], weights);
        Ok(Tables { users: to_host(users)?, items: to_host(items)?, ..inputs })
    }
}
