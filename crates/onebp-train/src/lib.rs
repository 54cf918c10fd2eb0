//! Training runs: the loop, protocols, checkpoints and the files of a run folder.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod atomic;
mod bench;
mod checkpoint;
mod cost;
mod error;
mod memory;
mod metrics_log;
mod parts;
mod protocol;
mod settings;
mod summary;
mod train;

pub use bench::{Bench, Workload};
pub use checkpoint::{BestTables, Checkpoint, CheckpointFolder, Progress, to_safetensors};
pub use cost::Unit;
pub use error::Error;
pub use metrics_log::Row;
pub use parts::{Part, Parts, scorer};
pub use protocol::{Best, GUIDE, Protocol, Selection};
pub use settings::Settings;
pub use summary::{Reported, Summary, versions};
pub use train::{Observer, Outcome, Run};
