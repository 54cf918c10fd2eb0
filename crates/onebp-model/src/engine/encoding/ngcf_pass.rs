//! The passes of NGCF, forward and backward: as tensor operations on any device, or in one go over the rows on the CPU.

use crate::{
    Error,
    encoder::{Ngcf, Trace, WEIGHTS},
};
use burn::tensor::{Device, Tensor};
use onebp_table::{
    SparseProduct,
    host::{HostLayers, HostSparse, LayerGradients, LayerTrace},
};

/// Forward and backward passes of a network, one after the other.
pub(in crate::engine) trait NgcfPass<P>: Send {
    /// Embeddings `[M + N, (L + 1) d]` of rows `[M + N, d]`.
    fn forward(
        &mut self,
        ngcf: &Ngcf,
        rows: Tensor<2>,
        weights: &[Tensor<2>],
        matrix: &P,
        masks: &[Tensor<2>],
    ) -> Result<Tensor<2>, Error>;

    /// Gradients of the rows and of the weights, from that of the embeddings of the last forward pass.
    fn backward(
        &mut self,
        ngcf: &Ngcf,
        gradient: Tensor<2>,
        weights: &[Tensor<2>],
        adjoint: &P,
    ) -> Result<(Tensor<2>, Vec<Tensor<2>>), Error>;
}

fn before_forward() -> Error {
    Error::Execution("a backward pass before the forward one".into())
}

/// As tensor operations.
#[derive(Default)]
pub(in crate::engine) struct TensorPass(Option<Trace>);

impl<P: SparseProduct> NgcfPass<P> for TensorPass {
    fn forward(
        &mut self,
        ngcf: &Ngcf,
        rows: Tensor<2>,
        weights: &[Tensor<2>],
        matrix: &P,
        masks: &[Tensor<2>],
    ) -> Result<Tensor<2>, Error> {
        let (outputs, trace) = ngcf.forward(rows, weights, matrix, masks)?;
        self.0 = Some(trace);
        Ok(outputs)
    }

    fn backward(
        &mut self,
        ngcf: &Ngcf,
        gradient: Tensor<2>,
        weights: &[Tensor<2>],
        adjoint: &P,
    ) -> Result<(Tensor<2>, Vec<Tensor<2>>), Error> {
        ngcf.backward(gradient, self.0.take().ok_or_else(before_forward)?, weights, adjoint)
    }
}

/// In one go over the rows, on the CPU.
pub(in crate::engine) struct HostPass {
    layers: HostLayers,
    traces: Vec<LayerTrace>,
}

impl HostPass {
    /// For rows of width `dim`.
    pub fn new(dim: usize, device: &Device) -> Self {
        Self { layers: HostLayers::new(dim, device), traces: Vec::new() }
    }
}

impl NgcfPass<HostSparse> for HostPass {
    fn forward(
        &mut self,
        ngcf: &Ngcf,
        rows: Tensor<2>,
        weights: &[Tensor<2>],
        matrix: &HostSparse,
        masks: &[Tensor<2>],
    ) -> Result<Tensor<2>, Error> {
        self.traces.clear();
        let mut outputs = self.layers.begin(&rows, ngcf.layers)?;
        let mut input = rows;
        for (layer, weights) in weights.chunks(WEIGHTS).enumerate() {
            let passed = matrix.product(&input, None, 1.0)?;
            let trace = self.layers.forward(layer, (input, passed), weights, masks.get(layer), &mut outputs)?;
            input = trace.hidden.clone();
            self.traces.push(trace);
        }
        Ok(self.layers.finish(outputs))
    }

    fn backward(
        &mut self,
        ngcf: &Ngcf,
        gradient: Tensor<2>,
        weights: &[Tensor<2>],
        adjoint: &HostSparse,
    ) -> Result<(Tensor<2>, Vec<Tensor<2>>), Error> {
        let kept = 1.0 / (1.0 - ngcf.dropout);
        let mut of_weights = Vec::new();
        let mut above: Option<Tensor<2>> = None;
        for (layer, weights) in weights.chunks(WEIGHTS).enumerate().rev() {
            let trace = self.traces.pop().ok_or_else(before_forward)?;
            let LayerGradients { passed, rest, weights } =
                self.layers.backward(layer, &gradient, above.as_ref(), trace, weights, kept)?;
            of_weights.push(weights);
            above = Some(adjoint.product(&passed, Some(&rest), 1.0)?);
        }
        let ([nodes, width], layers) = (gradient.dims(), ngcf.layers + 1);
        let own = gradient.slice([0..nodes, 0..width / layers]);
        let gradient = above.into_iter().fold(own, |sum, above| sum + above);
        Ok((gradient, of_weights.into_iter().rev().flatten().collect()))
    }
}
