//! Layers of a graph network (NGCF) on the CPU: what is done to the rows between two sparse products, in one pass over
//! them.
//!
//! ```text
//! forward   z = (S + E) W1 + (E * S) W2 + b;  h = mask * leaky(z);  unit = h / max(|h|, 1e-12)
//! backward  gh = (g - <unit, g> unit) / |h| + above;  gz = gh * slope(h)
//!           gS = gz W1^T + (gz W2^T) * E;  rest = gz W1^T + (gz W2^T) * S
//!           dW1 = (S + E)^T gz;  dW2 = (E * S)^T gz;  db = column sums of gz
//! ```
//!
//! E are rows `[R, d]`, S what the graph passed to them. As tensor operations each of these is a pass over memory by itself;
//! here a block of rows stays in the nearest caches from beginning to end. LeakyReLU's slope and the mask of dropout are read
//! off h, where 0 is an element that was left out. Sums over rows are added up chunk by chunk in an order that does not
//! depend on threads.

use super::{
    lent::{Lent, Spares, Strided},
    memory::Memory,
    product::{BLOCK, padded, parts, product},
    shared::Rows,
    simd::{MOST_LANES, dot},
};
use crate::Error;
use burn::tensor::{Device, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

const SLOPE: f32 = 0.2;
const SMALLEST_NORM: f32 = 1e-12;

/// The layers of a network of width d.
pub struct HostLayers {
    dim: usize,
    /// d, padded.
    wide: usize,
    hidden: Spares,
    norms: Spares,
    outputs: Spares,
    gradients: [Spares; 2],
    arch: Arch,
    device: Device,
}

/// Weights of a layer on the host, padded.
struct Weights {
    w: [Vec<f32>; 2],
    /// Transposed.
    t: [Vec<f32>; 2],
    bias: Vec<f32>,
}

/// What a layer needs of its forward pass.
pub struct LayerTrace {
    /// E.
    pub input: Tensor<2>,
    /// S.
    pub passed: Tensor<2>,
    /// h.
    pub hidden: Tensor<2>,
    /// |h|, `[R, 1]`.
    norms: Tensor<2>,
}

/// Embeddings under way: the input and the units of all layers side by side, `[R, (L + 1) d]`.
pub struct Outputs {
    memory: Memory,
    shape: [usize; 2],
}

/// Gradients of a layer.
pub struct LayerGradients {
    /// gS, to be passed back through the graph.
    pub passed: Tensor<2>,
    /// What else arrives at E.
    pub rest: Tensor<2>,
    /// Of W1, W2, b1 and b2.
    pub weights: Vec<Tensor<2>>,
}

/// Fills the sums and products of rows E and S, both padded `[rows, wide]`.
#[inline(always)]
fn combine(input: &Strided, passed: &Strided, rows: Range<usize>, dim: usize, wide: usize, out: [&mut [f32]; 2]) {
    let [sums, products] = out;
    for (at, row) in rows.enumerate() {
        let (e, s) = (input.row(row, 0, dim), passed.row(row, 0, dim));
        let (sums, products) = (&mut sums[at * wide..][..dim], &mut products[at * wide..][..dim]);
        for c in 0..dim {
            sums[c] = e[c] + s[c];
            products[c] = e[c] * s[c];
        }
    }
}

struct Forward<'a> {
    input: Strided<'a>,
    passed: Strided<'a>,
    mask: Option<Strided<'a>>,
    weights: &'a Weights,
    hidden: Rows<'a>,
    norms: Rows<'a>,
    outputs: Rows<'a>,
    /// Where the layer's units begin in a row of the outputs.
    column: usize,
    dim: usize,
    wide: usize,
}

struct ForwardRows<'a>(&'a Forward<'a>, Range<usize>, &'a mut [f32]);

impl WithSimd for ForwardRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(forward, rows, scratch) = self;
        let Forward { dim, wide, .. } = *forward;
        let (sums, scratch) = scratch.split_at_mut(BLOCK * wide);
        let (products, z) = scratch.split_at_mut(BLOCK * wide);
        for start in rows.clone().step_by(BLOCK) {
            let block = start..rows.end.min(start + BLOCK);
            let shape = [block.len(), dim, wide];
            combine(&forward.input, &forward.passed, block.clone(), dim, wide, [&mut *sums, &mut *products]);
            for z in z.chunks_exact_mut(wide) {
                z.copy_from_slice(&forward.weights.bias);
            }
            product(simd, (sums, [wide, 1]), shape, &forward.weights.w[0], z);
            product(simd, (products, [wide, 1]), shape, &forward.weights.w[1], z);
            for (row, z) in block.zip(z.chunks_exact(wide)) {
                // SAFETY: rows are distinct.
                let (h, norm) = unsafe { (forward.hidden.row(row), forward.norms.row(row)) };
                // SAFETY: as above.
                let unit = &mut unsafe { forward.outputs.row(row) }[forward.column..][..dim];
                for c in 0..dim {
                    h[c] = if z[c] > 0.0 { z[c] } else { SLOPE * z[c] };
                }
                if let Some(mask) = &forward.mask {
                    let mask = mask.row(row, 0, dim);
                    for c in 0..dim {
                        h[c] *= mask[c];
                    }
                }
                norm[0] = dot(simd, h, h).max(SMALLEST_NORM * SMALLEST_NORM).sqrt();
                for c in 0..dim {
                    unit[c] = h[c] / norm[0];
                }
            }
        }
    }
}

struct Backward<'a> {
    input: Strided<'a>,
    passed: Strided<'a>,
    hidden: Strided<'a>,
    norms: Strided<'a>,
    gradient: Strided<'a>,
    column: usize,
    above: Option<Strided<'a>>,
    /// 1 / (1 - share of dropout).
    kept: f32,
    weights: &'a Weights,
    passed_gradient: Rows<'a>,
    rest: Rows<'a>,
    dim: usize,
    wide: usize,
}

struct BackwardRows<'a>(&'a Backward<'a>, Range<usize>, &'a mut [f32], &'a mut [f32]);

impl WithSimd for BackwardRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(backward, rows, scratch, total) = self;
        let Backward { dim, wide, kept, column, .. } = *backward;
        let mut parts = scratch.chunks_exact_mut(BLOCK * wide);
        let [Some(sums), Some(products), Some(gz), Some(ga), Some(gb)] = std::array::from_fn(|_| parts.next()) else {
            return;
        };
        let (of_w1, rest) = total.split_at_mut(dim * wide);
        let (of_w2, of_bias) = rest.split_at_mut(dim * wide);
        for start in rows.clone().step_by(BLOCK) {
            let block = start..rows.end.min(start + BLOCK);
            let count = block.len();
            combine(&backward.input, &backward.passed, block.clone(), dim, wide, [&mut *sums, &mut *products]);
            for (row, gz) in block.clone().zip(gz.chunks_exact_mut(wide)) {
                let (h, norm) = (backward.hidden.row(row, 0, dim), backward.norms.row(row, 0, 1)[0]);
                let g = backward.gradient.row(row, column, dim);
                let along = dot(simd, h, g) / (norm * norm);
                for c in 0..dim {
                    gz[c] = (g[c] - along * h[c]) / norm;
                }
                if let Some(above) = &backward.above {
                    let above = above.row(row, 0, dim);
                    for c in 0..dim {
                        gz[c] += above[c];
                    }
                }
                for c in 0..dim {
                    // An element that was left out is 0.
                    let slope = if h[c] > 0.0 { kept } else { SLOPE * kept };
                    gz[c] = if h[c] == 0.0 { 0.0 } else { gz[c] * slope };
                    of_bias[c] += gz[c];
                }
            }
            ga.fill(0.0);
            gb.fill(0.0);
            product(simd, (gz, [wide, 1]), [count, dim, wide], &backward.weights.t[0], ga);
            product(simd, (gz, [wide, 1]), [count, dim, wide], &backward.weights.t[1], gb);
            for (at, row) in block.enumerate() {
                let (e, s) = (backward.input.row(row, 0, dim), backward.passed.row(row, 0, dim));
                let (ga, gb) = (&ga[at * wide..][..dim], &gb[at * wide..][..dim]);
                // SAFETY: rows are distinct.
                let (gs, rest) = unsafe { (backward.passed_gradient.row(row), backward.rest.row(row)) };
                for c in 0..dim {
                    gs[c] = ga[c] + gb[c] * e[c];
                    rest[c] = ga[c] + gb[c] * s[c];
                }
            }
            // Columns of the sums and products times the rows of gz.
            product(simd, (sums, [1, wide]), [dim, count, wide], gz, of_w1);
            product(simd, (products, [1, wide]), [dim, count, wide], gz, of_w2);
        }
    }
}

impl HostLayers {
    /// For rows of width `dim`, on `device`.
    pub fn new(dim: usize, device: &Device) -> Self {
        Self {
            dim,
            wide: dim.next_multiple_of(MOST_LANES),
            hidden: Spares::default(),
            norms: Spares::default(),
            outputs: Spares::default(),
            gradients: Default::default(),
            arch: Arch::new(),
            device: device.clone(),
        }
    }

    /// Embeddings of `layers` layers, `rows` `[R, d]` in front.
    ///
    /// # Errors
    /// [`Error::Execution`] where the rows are not on the device.
    pub fn begin(&self, rows: &Tensor<2>, layers: usize) -> Result<Outputs, Error> {
        let ([count, dim], width) = (rows.dims(), (layers + 1) * self.dim);
        let lent = Lent::new(rows, &self.device)?;
        let rows = lent.rows();
        let mut memory = self.outputs.take([count, width], &self.device)?;
        memory.as_mut_slice().par_chunks_exact_mut(width).enumerate().for_each(|(row, out)| {
            out[..dim].copy_from_slice(rows.row(row, 0, dim));
        });
        Ok(Outputs { memory, shape: [count, width] })
    }

    /// Layer `layer`, from 0: its units go to `outputs`. `mask` multiplies h.
    ///
    /// # Errors
    /// [`Error::Execution`] where a tensor is not on the device.
    pub fn forward(
        &self,
        layer: usize,
        (input, passed): (Tensor<2>, Tensor<2>),
        weights: &[Tensor<2>],
        mask: Option<&Tensor<2>>,
        outputs: &mut Outputs,
    ) -> Result<LayerTrace, Error> {
        let (dim, wide, [rows, width]) = (self.dim, self.wide, outputs.shape);
        let lend = |tensor: &Tensor<2>| Lent::new(tensor, &self.device);
        let (of_input, of_passed, of_mask) = (lend(&input)?, lend(&passed)?, mask.map(lend).transpose()?);
        let mut hidden = self.hidden.take([rows, dim], &self.device)?;
        let mut norms = self.norms.take([rows, 1], &self.device)?;
        let forward = Forward {
            input: of_input.rows(),
            passed: of_passed.rows(),
            mask: of_mask.as_ref().map(Lent::rows),
            weights: &self.weights(weights)?,
            hidden: Rows::new(hidden.as_mut_slice(), dim),
            norms: Rows::new(norms.as_mut_slice(), 1),
            outputs: Rows::new(outputs.memory.as_mut_slice(), width),
            column: (layer + 1) * dim,
            dim,
            wide,
        };
        let chunk = self.chunk(rows);
        (0..rows.div_ceil(chunk)).into_par_iter().for_each(|at| {
            let mut scratch = vec![0.0; 3 * BLOCK * wide];
            let range = at * chunk..rows.min((at + 1) * chunk);
            self.arch.dispatch(ForwardRows(&forward, range, &mut scratch));
        });
        Ok(LayerTrace {
            input,
            passed,
            hidden: self.hidden.lend([rows, dim], hidden),
            norms: self.norms.lend([rows, 1], norms),
        })
    }

    /// The embeddings as a tensor.
    pub fn finish(&self, outputs: Outputs) -> Tensor<2> {
        self.outputs.lend(outputs.shape, outputs.memory)
    }

    /// Gradients of layer `layer`, from that of the embeddings `gradient` `[R, (L + 1) d]` and of h from the layer `above`.
    /// `kept` is 1 / (1 - share of dropout).
    ///
    /// # Errors
    /// [`Error::Execution`] where a tensor is not on the device.
    pub fn backward(
        &self,
        layer: usize,
        gradient: &Tensor<2>,
        above: Option<&Tensor<2>>,
        trace: LayerTrace,
        weights: &[Tensor<2>],
        kept: f64,
    ) -> Result<LayerGradients, Error> {
        let (dim, wide, [rows, _]) = (self.dim, self.wide, trace.input.dims());
        let lend = |tensor: &Tensor<2>| Lent::new(tensor, &self.device);
        let (input, passed, hidden) = (lend(&trace.input)?, lend(&trace.passed)?, lend(&trace.hidden)?);
        let (norms, gradient, above) = (lend(&trace.norms)?, lend(gradient)?, above.map(lend).transpose()?);
        let [of_passed, of_rest] = &self.gradients;
        let mut passed_gradient = of_passed.take([rows, dim], &self.device)?;
        let mut rest = of_rest.take([rows, dim], &self.device)?;
        let backward = Backward {
            input: input.rows(),
            passed: passed.rows(),
            hidden: hidden.rows(),
            norms: norms.rows(),
            gradient: gradient.rows(),
            column: (layer + 1) * dim,
            above: above.as_ref().map(Lent::rows),
            kept: kept as f32,
            weights: &self.weights(weights)?,
            passed_gradient: Rows::new(passed_gradient.as_mut_slice(), dim),
            rest: Rows::new(rest.as_mut_slice(), dim),
            dim,
            wide,
        };
        let (chunk, size) = (self.chunk(rows), (2 * dim + 1) * wide);
        let chunks: Vec<Vec<f32>> = (0..rows.div_ceil(chunk))
            .into_par_iter()
            .map(|at| {
                let (mut scratch, mut total) = (vec![0.0; 5 * BLOCK * wide], vec![0.0; size]);
                let range = at * chunk..rows.min((at + 1) * chunk);
                self.arch.dispatch(BackwardRows(&backward, range, &mut scratch, &mut total));
                total
            })
            .collect();
        let mut total = vec![0.0; size];
        for chunk in &chunks {
            total.iter_mut().zip(chunk).for_each(|(total, part)| *total += part);
        }
        let part = |first: usize, rows: usize| {
            let values = total[first * wide..].chunks_exact(wide).take(rows).flat_map(|row| &row[..dim]).copied();
            let data = burn::tensor::TensorData::new(values.collect::<Vec<f32>>(), [rows, dim]);
            Tensor::<2>::from_data(data, &self.device)
        };
        let bias = part(2 * dim, 1);
        Ok(LayerGradients {
            passed: of_passed.lend([rows, dim], passed_gradient),
            rest: of_rest.lend([rows, dim], rest),
            weights: vec![part(0, dim), part(dim, dim), bias.clone(), bias],
        })
    }

    /// Rows of a chunk: as many chunks as their sums leave room for, at most 64.
    fn chunk(&self, rows: usize) -> usize {
        rows.div_ceil(parts(2 * self.dim * self.wide)).next_multiple_of(BLOCK)
    }

    /// W1, W2, b1 and b2 on the host.
    fn weights(&self, weights: &[Tensor<2>]) -> Result<Weights, Error> {
        let (dim, wide) = (self.dim, self.wide);
        let read = |tensor: &Tensor<2>| -> Result<Vec<f32>, Error> {
            let lent = Lent::new(tensor, &self.device)?;
            let rows = lent.rows();
            Ok((0..tensor.dims()[0]).flat_map(|row| rows.row(row, 0, dim).to_vec()).collect())
        };
        let padded = |values: &[f32], transposed: bool| {
            let mut out = Vec::new();
            padded(values, dim, transposed, &mut out);
            out
        };
        let [w1, w2, b1, b2] = [0, 1, 2, 3].map(|at| read(&weights[at]));
        let (w1, w2, b1, b2) = (w1?, w2?, b1?, b2?);
        let mut bias = vec![0.0; wide];
        bias.iter_mut().zip(b1.iter().zip(&b2)).for_each(|(bias, (a, b))| *bias = a + b);
        Ok(Weights { w: [padded(&w1, false), padded(&w2, false)], t: [padded(&w1, true), padded(&w2, true)], bias })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{TensorData, activation::leaky_relu};

    fn wave(rows: usize, dim: usize, step: f32, device: &Device) -> Tensor<2> {
        let values: Vec<f32> = (0..rows * dim).map(|at| (at as f32 * step).sin() * 0.5).collect();
        Tensor::from_data(TensorData::new(values, [rows, dim]), device)
    }

    fn assert_close(found: &Tensor<2>, expected: &Tensor<2>, what: &str) {
        let read = |tensor: &Tensor<2>| tensor.clone().into_data().try_to_vec::<f32>().unwrap();
        let (found, expected) = (read(found), read(expected));
        assert_eq!(found.len(), expected.len(), "{what}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 2e-5 * expected.abs().max(1.0), "{what}: {found} is not {expected}");
        }
    }

    /// The second of two layers against autodiff, over several blocks, for widths that fill four vectors, one, and none;
    /// the same bytes on one thread and on three.
    #[test]
    fn a_layer_is_its_formula_and_its_gradient() {
        #[allow(deprecated)]
        let devices = [Device::flex(), Device::ndarray()];
        for device in devices {
            for (rows, dim) in [(70, 5), (131, 70), (200, 64), (3, 16)] {
                let what = format!("{rows} rows of {dim}");
                let tensor = |step: f32, rows: usize| wave(rows, dim, step, &device);
                let (input, passed) = (tensor(0.37, rows), tensor(0.53, rows));
                let weights = [tensor(0.71, dim), tensor(0.29, dim), tensor(0.9, 1), tensor(0.4, 1)];
                let (gradient, above) = (wave(rows, 3 * dim, 0.23, &device), tensor(0.61, rows));
                // Every third element is left out.
                let mask: Vec<f32> = (0..rows * dim).map(|at| if at % 3 == 0 { 0.0 } else { 1.5 }).collect();
                let mask = Tensor::<2>::from_data(TensorData::new(mask, [rows, dim]), &device);

                let run = || {
                    let layers = HostLayers::new(dim, &device);
                    let mut outputs = layers.begin(&input, 2).unwrap();
                    let given = (input.clone(), passed.clone());
                    let trace = layers.forward(1, given, &weights, Some(&mask), &mut outputs).unwrap();
                    let (hidden, outputs) = (trace.hidden.clone(), layers.finish(outputs));
                    let back = layers.backward(1, &gradient, Some(&above), trace, &weights, 1.5).unwrap();
                    [vec![outputs, hidden, back.passed, back.rest], back.weights].concat()
                };
                let found = run();
                let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
                for (one, three) in found.iter().zip(pool.install(run)) {
                    assert_eq!(one.to_data(), three.to_data(), "{what}");
                }

                let leaf = |tensor: &Tensor<2>| Tensor::from_inner(tensor.clone()).require_grad();
                let (e, s) = (leaf(&input), leaf(&passed));
                let w: Vec<Tensor<2>> = weights.iter().map(leaf).collect();
                let linear = (s.clone() + e.clone()).matmul(w[0].clone()) + w[2].clone();
                let z = linear + (e.clone() * s.clone()).matmul(w[1].clone()) + w[3].clone();
                let h = leaky_relu(z, f64::from(SLOPE)) * Tensor::from_inner(mask.clone());
                let unit = h.clone() / (h.clone() * h.clone()).sum_dim(1).sqrt();
                let g = Tensor::from_inner(gradient.clone().slice([0..rows, 2 * dim..3 * dim]));
                let value = (unit.clone() * g).sum() + (h.clone() * Tensor::from_inner(above.clone())).sum();
                let gradients = value.backward();
                let of = |tensor: &Tensor<2>| tensor.grad(&gradients).unwrap();
                let expected = [vec![h.inner(), of(&s), of(&e)], w.iter().map(of).collect()].concat();
                assert_close(&found[0].clone().slice([0..rows, 0..dim]), &input, &what);
                assert_close(&found[0].clone().slice([0..rows, 2 * dim..3 * dim]), &unit.inner(), &what);
                for (found, expected) in found[1..].iter().zip(&expected) {
                    assert_close(found, expected, &what);
                }
            }
        }
    }
}
