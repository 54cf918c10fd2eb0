//! Embedding tables on a device, and what may happen to their rows.
//!
//! A step of a recommender touches a few thousand of perhaps millions of rows. This crate gathers those rows, accumulates
//! their gradients in a fixed order, moves them by a row optimizer, or by the moving aggregation of OneBP, and knows the
//! whole step of table lookup with InfoNCE as one. The only crate that names a backend's memory.
//!
//! One interface, [`Embedding`] and [`FusedStep`], and three implementations: [`portable`] (plain Burn tensor
//! operations, any backend: slow, obvious, the oracle), [`host`] (SIMD and threads in the memory of the CPU backends) and
//! [`cube`] (CubeCL kernels on the GPU). One conformance suite runs over all three.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod aggregation;
mod batch;
pub mod cube;
mod embedding;
mod error;
mod grouping;
pub mod hardest;
pub mod host;
pub mod optimizer;
pub mod portable;
mod ranking;
mod score;
mod sparse;
mod table;
mod total;
mod touched;

pub use aggregation::{Aggregation, Duplicates};
pub use batch::Batch;
pub use embedding::{
    AllItems, CatalogueLoss, Embedding, Follow, FusedStep, OfUser, Outcome, RowLoss, Spread, TableState,
};
pub use error::Error;
pub use grouping::Grouping;
pub use hardest::{Hardness, Keep};
pub use optimizer::{Onto, Optimizer, Projection, Rule};
pub use ranking::{Lists, Ranked, Ranking};
pub use score::Score;
pub use sparse::{Sparse, SparseProduct};
pub use table::Table;
pub use touched::Touched;
