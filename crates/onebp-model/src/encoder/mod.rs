//! User-item encoding: from the two tables to the embeddings that are scored.
//!
//! | encoder | an embedding is | source |
//! |---|---|---|
//! | `mf` | its row | Koren, Bell, Volinsky, 2009 |
//! | `lightgcn` | the mean of its row and what K steps through the graph of interactions bring | He et al., SIGIR 2020 |
//! | `ngcf` | its row beside what L layers of a graph network make of it | Wang et al., SIGIR 2019 |
//! | `bootstrap` | a prediction from its row, beside a slow copy of it | Lee et al., SIGIR 2021 |
//!
//! The graph has the users 0..M and after them the items; see [`graph`].

mod bootstrap;
pub mod graph;
mod lightgcn;
mod mf;
mod ngcf;
mod weights;

pub use bootstrap::Bootstrap;
pub use lightgcn::LightGcn;
pub use mf::Mf;
pub(crate) use ngcf::WEIGHTS;
pub use ngcf::{Ngcf, Trace};
pub use weights::Weight;

use crate::{Error, Tables, engine::Tensors};
use burn::tensor::{Device, Tensor};
use onebp_data::Csr;
use onebp_table::{
    Sparse, SparseProduct, Table,
    portable::{to_device, to_host},
};
use serde::{Deserialize, Serialize};

/// The encoder of a method.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Encoder {
    /// Table lookup.
    Mf(Mf),
    /// Light graph convolution.
    LightGcn(LightGcn),
    /// Neural graph collaborative filtering.
    Ngcf(Ngcf),
    /// Predictions of slow copies.
    Bootstrap(Bootstrap),
}

impl Default for Encoder {
    fn default() -> Self {
        Self::MF
    }
}

impl Encoder {
    /// Table lookup of one vector a user.
    pub const MF: Self = Self::Mf(Mf { vectors: 1 });

    /// All encoders, with their default parameters.
    pub fn all() -> [Self; 4] {
        [
            Self::MF,
            Self::LightGcn(LightGcn::default()),
            Self::Ngcf(Ngcf::default()),
            Self::Bootstrap(Bootstrap::default()),
        ]
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first one out of range.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Mf(mf) => mf.check(),
            Self::LightGcn(lightgcn) => lightgcn.check(),
            Self::Ngcf(ngcf) => ngcf.check(),
            Self::Bootstrap(bootstrap) => bootstrap.check(),
        }
    }

    /// Vectors of a user, C: the rows of the user table are that many times as wide as those of the items.
    pub fn vectors(&self) -> usize {
        match self {
            Self::Mf(mf) => mf.vectors,
            _ => 1,
        }
    }

    /// Whether embeddings depend on the graph of interactions.
    pub fn is_graph(&self) -> bool {
        matches!(self, Self::LightGcn(_) | Self::Ngcf(_))
    }

    /// What the encoder learns beside the tables, for rows of width `dim`.
    pub fn weights(&self, dim: usize) -> Vec<Weight> {
        match self {
            Self::Mf(_) | Self::LightGcn(_) => Vec::new(),
            Self::Ngcf(ngcf) => ngcf.weights(dim),
            Self::Bootstrap(_) => Bootstrap::weights(dim),
        }
    }

    /// The embeddings that are evaluated, from the tables as they were stored; `weights` by their names. Graphs are those
    /// of `train`, and are passed through on `device`.
    ///
    /// # Errors
    /// [`Error::State`] where a weight is missing or does not fit, [`Error::Execution`] where the device fails.
    pub fn embed<P: SparseProduct>(
        &self,
        inputs: Tables,
        weights: &Tensors,
        train: &Csr,
        device: &Device,
    ) -> Result<Tables, Error> {
        if matches!(self, Self::Mf(_)) {
            return Ok(inputs);
        }
        let dim = inputs.items.dim;
        let weights = self.weights(dim).into_iter().map(|weight| weight.stored(weights, device));
        let weights = weights.collect::<Result<Vec<_>, _>>()?;
        if let Self::Bootstrap(_) = self {
            return Bootstrap::embed_tables(inputs, &weights, device);
        }
        self.encode_tables(inputs, &weights, &P::new(&self.matrix(train)?, device)?, device)
    }

    /// The embeddings of all users and items behind a graph, from their tables on the host.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    pub(crate) fn encode_tables<P: SparseProduct>(
        &self,
        inputs: Tables,
        weights: &[Tensor<2>],
        matrix: &P,
        device: &Device,
    ) -> Result<Tables, Error> {
        split(self.forward(join(&inputs, device), weights, matrix)?, inputs)
    }

    /// The matrix that a graph encoder passes rows through, `[M + N, M + N]`.
    ///
    /// # Errors
    /// [`Error::Execution`] where the graph is too large.
    pub fn matrix(&self, train: &Csr) -> Result<Sparse, Error> {
        match self {
            Self::Ngcf(ngcf) if ngcf.rw_self => graph::with_self_loops(train),
            _ => graph::symmetric(train),
        }
    }

    /// Embeddings `[M + N, D]` of all users and items from their rows `[M + N, d]`, without dropout.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    pub fn forward<P: SparseProduct>(
        &self,
        inputs: Tensor<2>,
        weights: &[Tensor<2>],
        matrix: &P,
    ) -> Result<Tensor<2>, Error> {
        match self {
            Self::LightGcn(lightgcn) => lightgcn.propagate(&inputs, matrix),
            Self::Ngcf(ngcf) => Ok(ngcf.forward(inputs, weights, matrix, &[])?.0),
            Self::Mf(_) | Self::Bootstrap(_) => Ok(inputs),
        }
    }
}

/// Users and below them items, on a device.
fn join(tables: &Tables, device: &Device) -> Tensor<2> {
    Tensor::cat(vec![to_device(&tables.users, device), to_device(&tables.items, device)], 0)
}

/// The two halves of `outputs` `[M + N, D]`, on the host.
fn split(outputs: Tensor<2>, inputs: Tables) -> Result<Tables, Error> {
    let Table { mut values, rows, dim } = to_host(outputs)?;
    let users = inputs.users.rows;
    let items = values.split_off(users * dim);
    Ok(Tables {
        users: Table { values, rows: users, dim },
        items: Table { values: items, rows: rows - users, dim },
        ..inputs
    })
}

#[cfg(test)]
mod testing {
    //! A small graph with a node without edges, and what a product through it is taken by.

    use super::{Encoder, graph};
    use crate::device::ndarray;
    use burn::tensor::{Device, Tensor};
    use onebp_data::Csr;
    use onebp_table::{Embedding, SparseProduct, host::HostTable, portable::to_device};

    /// Users 0..4 and items 0..6; item 5 has no edge.
    pub const NODES: usize = 10;
    pub const DIM: usize = 4;

    pub type Product = <HostTable as Embedding>::Sparse;

    /// The matrix of `encoder`, its transpose, and all its entries for autodiff.
    pub fn matrices(encoder: Encoder, device: &Device) -> (Product, Product, Tensor<2>) {
        let pairs = [(0, 0), (0, 2), (1, 1), (1, 2), (1, 4), (2, 0), (2, 1), (2, 3), (3, 2)];
        let sparse = encoder.matrix(&Csr::from_pairs(4, 6, &pairs).unwrap()).unwrap();
        let dense = to_device(&graph::dense(&sparse), device);
        let product = |matrix| Product::new(matrix, device).unwrap();
        (product(&sparse), product(&sparse.transposed()), Tensor::from_inner(dense))
    }

    /// sin(step k + 0.3), row after row.
    pub fn wave(shape: [usize; 2], step: f64, device: &Device) -> Tensor<2> {
        let values: Vec<f64> = (0..shape[0] * shape[1]).map(|k| (step * k as f64 + 0.3).sin()).collect();
        crate::loss::testing::tensor(&values, shape, device)
    }

    pub fn devices() -> [Device; 2] {
        [ndarray(), Device::flex()]
    }

    /// Elements of `found` are those of `expected` but for `tolerance` of the largest one, which is not 0.
    pub fn assert_close(found: Tensor<2>, expected: Tensor<2>, tolerance: f32, what: &str) {
        assert_eq!(found.dims(), expected.dims(), "{what}");
        let [found, expected] = [found, expected].map(|tensor| tensor.into_data().try_to_vec::<f32>().unwrap());
        let largest = expected.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        assert!(largest > 0.0, "{what}: all 0");
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= tolerance * largest, "{what}: {found} is not {expected}");
        }
    }
}
