//! LightGCN (He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020).
//!
//! With E_0 the tables, users above items, and E_{k+1} = A^ E_k:
//!
//! out = (E_0 + E_1 + .. + E_K) / (K + 1)
//!
//! by Horner's rule, H <- A^ H + E_0 repeated K times, so that no layer is kept. The map is linear and A^ symmetric: it is its
//! own adjoint, and gradients take the same way. An isolated node's embedding is E_0 / (K + 1). K = 0 is table lookup.

use crate::{Error, error::within};
use burn::tensor::Tensor;
use onebp_table::SparseProduct;
use serde::{Deserialize, Serialize};

/// Parameters of `lightgcn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct LightGcn {
    /// K, steps through the graph. Default 3.
    pub layers: usize,
}

impl Default for LightGcn {
    fn default() -> Self {
        Self { layers: 3 }
    }
}

impl LightGcn {
    pub(super) fn check(&self) -> Result<(), Error> {
        within(self.layers <= 64, "layers", &self.layers, "at most 64")
    }

    /// The mean over the layers of rows `[M + N, d]`; or of gradients, which is the adjoint.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    pub fn propagate<P: SparseProduct>(&self, rows: &Tensor<2>, matrix: &P) -> Result<Tensor<2>, Error> {
        let mean = 1.0 / (self.layers + 1) as f32;
        let mut sum = rows.clone();
        for layer in 1..=self.layers {
            // The last step brings the mean.
            sum = matrix.product(&sum, Some(rows), if layer == self.layers { mean } else { 1.0 })?;
        }
        Ok(sum)
    }

    /// [`LightGcn::propagate`] through a dense matrix, for autodiff.
    pub(crate) fn encode(&self, rows: Tensor<2>, matrix: &Tensor<2>) -> Tensor<2> {
        let layers = std::iter::successors(Some(rows), |layer| Some(matrix.clone().matmul(layer.clone())));
        let sum = layers.take(self.layers + 1).reduce(|sum, layer| sum + layer);
        // There is at least the first one.
        sum.map_or_else(|| matrix.clone(), |sum| sum.div_scalar((self.layers + 1) as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Encoder,
        testing::{DIM, NODES, assert_close, devices, matrices, wave},
    };
    use super::*;

    /// T21: steps through the sparse matrix, forward and backward, are those of autodiff through the dense one.
    #[test]
    fn the_adjoint_is_that_of_autodiff() {
        for device in devices() {
            for layers in 0..4 {
                let lightgcn = LightGcn { layers };
                let (sparse, _, dense) = matrices(Encoder::LightGcn(lightgcn), &device);
                let (rows, gradient) = (wave([NODES, DIM], 0.7, &device), wave([NODES, DIM], 1.9, &device));
                let tracked = Tensor::from_inner(rows.clone()).require_grad();
                let outputs = lightgcn.encode(tracked.clone(), &dense);
                let what = format!("{layers} layers");
                let found = lightgcn.propagate(&rows, &sparse).unwrap();
                assert_close(found, outputs.clone().inner(), 1e-6, &what);
                let expected = (outputs * Tensor::from_inner(gradient.clone())).sum().backward();
                let found = lightgcn.propagate(&gradient, &sparse).unwrap();
                assert_close(found, tracked.grad(&expected).unwrap(), 1e-6, &what);
            }
        }
    }
}
