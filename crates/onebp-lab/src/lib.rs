//! Experiments: grids of runs, what is kept of them, analysis of what they trained, and the report.
//!
//! An [`Experiment`] is read from a file and expands into [`Cell`]s; the program runs them and keeps a [`CellResult`]
//! of each in a [`Store`]; the report is made from the store alone.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod analysis;
pub mod chart;
mod error;
pub mod experiment;
pub mod grid;
pub mod machine;
pub mod measures;
pub mod paper;
pub mod report;
pub mod result;
pub mod store;

pub use error::Error;
pub use experiment::Experiment;
pub use grid::{Cell, Choice};
pub use paper::Paper;
pub use result::CellResult;
pub use store::Store;
