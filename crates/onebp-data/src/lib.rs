//! From interaction files to compressed rows of positives. No tensor library here.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod csr;
mod dataset;
mod error;
pub mod random;

pub use csr::Csr;
pub use dataset::{Dataset, IdMap};
pub use error::Error;
