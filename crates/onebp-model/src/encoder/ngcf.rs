//! NGCF, neural graph collaborative filtering (Wang et al., SIGIR 2019), in the form of its paper.
//!
//! With E_0 the tables, users above items, and for each layer matrices W1, W2 `[d, d]` and rows b1, b2 `[1, d]`:
//!
//! ```text
//! S   = A^ E
//! z   = (S + E) W1 + b1 + (E * S) W2 + b2
//! h   = dropout(LeakyReLU(z, 0.2))                 E <- h for the next layer
//! E^l = h / max(|h|, 1e-12), row by row
//! out = [E_0, E^1, .., E^L], of width (L + 1) d
//! ```
//!
//! Backward, with G the gradient arriving at E^l and H the one arriving at h from the layer above:
//!
//! ```text
//! gh = (G - <E^l, G> E^l) / |h| + H;   gz = gh * mask * (z > 0 ? 1 : 0.2)
//! gS = gz W1^T + (gz W2^T) * E;        gE = gz W1^T + (gz W2^T) * S + A^^T gS
//! dW1 = (S + E)^T gz;  dW2 = (E * S)^T gz;  db1 = db2 = column sums of gz
//! ```
//!
//! The published code differs from its paper: with `rw-self` the matrix is the row-stochastic D~^(-1) (A + I), which is not
//! symmetric. Dropout acts in training only.

use super::Weight;
use crate::{Error, error::within};
use burn::tensor::{Tensor, activation::leaky_relu};
use onebp_table::SparseProduct;
use serde::{Deserialize, Serialize};

/// Parameters of `ngcf`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ngcf {
    /// L, layers. Default 3.
    pub layers: usize,
    /// Share of the elements of a layer that is dropped at each step of training. Default .1.
    pub dropout: f64,
    /// The row-stochastic matrix with self loops instead of the symmetric one. Default false.
    pub rw_self: bool,
}

impl Default for Ngcf {
    fn default() -> Self {
        Self { layers: 3, dropout: 0.1, rw_self: false }
    }
}

const SLOPE: f64 = 0.2;
const SMALLEST_NORM: f64 = 1e-12;

/// Weights of a layer: W1, W2, b1, b2.
pub(crate) const WEIGHTS: usize = 4;

/// What a layer leaves behind for its gradient; all `[M + N, d]`.
struct Layer {
    input: Tensor<2>,
    passed: Tensor<2>,
    /// LeakyReLU's slope times the mask of dropout.
    slope: Tensor<2>,
    /// |h|, `[M + N, 1]`.
    norm: Tensor<2>,
    unit: Tensor<2>,
}

/// What a forward pass leaves behind for its gradient.
pub struct Trace(Vec<Layer>);

impl Ngcf {
    pub(super) fn check(&self) -> Result<(), Error> {
        within((1..=16).contains(&self.layers), "layers", &self.layers, "between 1 and 16")?;
        within((0.0..1.0).contains(&self.dropout), "dropout", &self.dropout, "at least 0 and below 1")
    }

    pub(super) fn weights(&self, dim: usize) -> Vec<Weight> {
        let layer = |layer: usize| {
            [("w1", dim), ("w2", dim), ("b1", 1), ("b2", 1)]
                .map(|(name, rows)| Weight::xavier(&format!("{name}_{layer}"), rows, dim))
        };
        (0..self.layers).flat_map(layer).collect()
    }

    /// Embeddings `[M + N, (L + 1) d]` of rows `[M + N, d]`. `masks` `[M + N, d]` multiply the layers; all ones where there
    /// are none.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    pub fn forward<P: SparseProduct>(
        &self,
        rows: Tensor<2>,
        weights: &[Tensor<2>],
        matrix: &P,
        masks: &[Tensor<2>],
    ) -> Result<(Tensor<2>, Trace), Error> {
        let (mut parts, mut trace, mut input) = (vec![rows.clone()], Vec::new(), rows);
        for (layer, weights) in weights.chunks(WEIGHTS).enumerate() {
            let passed = matrix.product(&input, None, 1.0)?;
            let z = mix(&input, &passed, weights);
            let slope = z.ones_like().mask_fill(z.clone().lower_equal_elem(0.0), SLOPE);
            let slope = match masks.get(layer) {
                Some(mask) => slope * mask.clone(),
                None => slope,
            };
            let h = z * slope.clone();
            let norm = norm(&h);
            let unit = h.clone() / norm.clone();
            parts.push(unit.clone());
            trace.push(Layer { input, passed, slope, norm, unit });
            input = h;
        }
        Ok((Tensor::cat(parts, 1), Trace(trace)))
    }

    /// Gradients of the rows `[M + N, d]` and of the weights, from that of the embeddings, `[M + N, (L + 1) d]`. `adjoint` is
    /// the transposed matrix.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    pub fn backward<P: SparseProduct>(
        &self,
        gradient: Tensor<2>,
        Trace(trace): Trace,
        weights: &[Tensor<2>],
        adjoint: &P,
    ) -> Result<(Tensor<2>, Vec<Tensor<2>>), Error> {
        let [nodes, width] = gradient.dims();
        let dim = width / (self.layers + 1);
        let part = |layer: usize| gradient.clone().slice([0..nodes, layer * dim..(layer + 1) * dim]);
        let mut of_weights = Vec::new();
        let mut above: Option<Tensor<2>> = None;
        for (at, layer) in trace.into_iter().enumerate().rev() {
            let Layer { input, passed, slope, norm, unit } = layer;
            let g = part(at + 1);
            let along = (unit.clone() * g.clone()).sum_dim(1);
            let gh = (g - unit * along) / norm;
            let gh = above.take().into_iter().fold(gh, |sum, above| sum + above);
            let gz = gh * slope;
            let weights = &weights[at * WEIGHTS..];
            let ga = gz.clone().matmul(weights[0].clone().transpose());
            let gb = gz.clone().matmul(weights[1].clone().transpose());
            let gs = ga.clone() + gb.clone() * input.clone();
            let rest = ga + gb * passed.clone();
            let bias = gz.clone().sum_dim(0);
            let w1 = (passed.clone() + input.clone()).transpose().matmul(gz.clone());
            let w2 = (input * passed).transpose().matmul(gz);
            of_weights.extend([bias.clone(), bias, w2, w1]);
            above = Some(adjoint.product(&gs, Some(&rest), 1.0)?);
        }
        of_weights.reverse();
        Ok((above.into_iter().fold(part(0), |sum, above| sum + above), of_weights))
    }

    /// [`Ngcf::forward`] through a dense matrix, for autodiff.
    pub(crate) fn encode(
        &self,
        rows: Tensor<2>,
        weights: &[Tensor<2>],
        matrix: &Tensor<2>,
        masks: &[Tensor<2>],
    ) -> Tensor<2> {
        let (mut parts, mut input) = (vec![rows.clone()], rows);
        for (layer, weights) in weights.chunks(WEIGHTS).enumerate() {
            let passed = matrix.clone().matmul(input.clone());
            let h = leaky_relu(mix(&input, &passed, weights), SLOPE);
            let h = match masks.get(layer) {
                Some(mask) => h * mask.clone(),
                None => h,
            };
            parts.push(h.clone() / norm(&h));
            input = h;
        }
        Tensor::cat(parts, 1)
    }
}

/// (S + E) W1 + b1 + (E * S) W2 + b2.
fn mix(input: &Tensor<2>, passed: &Tensor<2>, weights: &[Tensor<2>]) -> Tensor<2> {
    let linear = (passed.clone() + input.clone()).matmul(weights[0].clone()) + weights[2].clone();
    linear + (input.clone() * passed.clone()).matmul(weights[1].clone()) + weights[3].clone()
}

/// Lengths of rows, `[R, 1]`, kept above [`SMALLEST_NORM`].
fn norm(rows: &Tensor<2>) -> Tensor<2> {
    (rows.clone() * rows.clone()).sum_dim(1).clamp_min(SMALLEST_NORM * SMALLEST_NORM).sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::{
        Encoder,
        testing::{DIM, NODES, assert_close, devices, matrices, wave},
    };
    use super::*;

    /// T24: embeddings and every gradient, of rows and of weights, are those of autodiff through the dense matrix: for both
    /// matrices, of which one is not symmetric, with dropout and without.
    #[test]
    fn the_backward_pass_is_that_of_autodiff() {
        for device in devices() {
            for (rw_self, drops, layers) in [(false, false, 1), (false, true, 3), (true, false, 2), (true, true, 2)] {
                let ngcf = Ngcf { layers, dropout: 0.25, rw_self };
                let (sparse, transposed, dense) = matrices(Encoder::Ngcf(ngcf), &device);
                let weights: Vec<Tensor<2>> = ngcf
                    .weights(DIM)
                    .iter()
                    .enumerate()
                    .map(|(at, weight)| wave(weight.shape, 0.9 + 0.17 * at as f64, &device))
                    .collect();
                // About a quarter of the elements are dropped.
                let mask = |layer: usize| {
                    let wave = wave([NODES, DIM], 2.3 + layer as f64, &device);
                    wave.ones_like().mul_scalar(4.0 / 3.0).mask_fill(wave.greater_elem(0.7), 0.0)
                };
                let masks: Vec<Tensor<2>> = (0..layers).filter(|_| drops).map(mask).collect();
                let (rows, gradient) =
                    (wave([NODES, DIM], 0.7, &device), wave([NODES, (layers + 1) * DIM], 1.9, &device));

                let track = |tensor: &Tensor<2>| Tensor::from_inner(tensor.clone()).require_grad();
                let (tracked_rows, tracked): (_, Vec<_>) = (track(&rows), weights.iter().map(track).collect());
                let constants: Vec<_> = masks.iter().cloned().map(Tensor::from_inner).collect();
                let outputs = ngcf.encode(tracked_rows.clone(), &tracked, &dense, &constants);
                let expected = (outputs.clone() * Tensor::from_inner(gradient.clone())).sum().backward();

                let what = |of: &str| format!("{of}, {ngcf:?}, dropout: {drops}");
                let (found, trace) = ngcf.forward(rows, &weights, &sparse, &masks).unwrap();
                assert_close(found, outputs.inner(), 1e-5, &what("embeddings"));
                let (of_rows, of_weights) = ngcf.backward(gradient, trace, &weights, &transposed).unwrap();
                assert_close(of_rows, tracked_rows.grad(&expected).unwrap(), 1e-4, &what("rows"));
                assert_eq!(of_weights.len(), tracked.len());
                for (at, (found, weight)) in of_weights.into_iter().zip(&tracked).enumerate() {
                    assert_close(found, weight.grad(&expected).unwrap(), 1e-4, &what(&format!("weight {at}")));
                }
            }
        }
    }

    /// With W1 the identity, everything else 0 and nothing below 0, a layer is (A^ + I) E scaled to length 1.
    #[test]
    fn a_linear_layer() {
        let device = &devices()[0];
        let ngcf = Ngcf { layers: 1, dropout: 0.0, rw_self: false };
        let (sparse, _, dense) = matrices(Encoder::Ngcf(ngcf), device);
        let weights: Vec<Tensor<2>> =
            ngcf.weights(DIM).iter().map(|weight| Tensor::zeros(weight.shape, device)).collect();
        let weights = [vec![Tensor::eye(DIM, device)], weights[1..].to_vec()].concat();
        let rows = wave([NODES, DIM], 0.7, device).abs();
        let (found, _) = ngcf.forward(rows.clone(), &weights, &sparse, &[]).unwrap();
        let h = dense.inner().matmul(rows.clone()) + rows;
        let expected = h.clone() / (h.clone() * h).sum_dim(1).sqrt();
        assert_close(found.slice([0..NODES, DIM..2 * DIM]), expected, 1e-6, "unit rows");
    }
}
