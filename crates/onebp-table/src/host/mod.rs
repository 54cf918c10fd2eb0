//! Rows on the CPU: threads and SIMD over the memory of Burn's CPU backends.
//!
//! Work is cut by row: each distinct row of a batch is read and written by one thread, in one place, with its gradients
//! added up in the order of the batch. So the bytes do not depend on the number of threads, and nothing waits for a lock.

mod ahead;
mod bootstrap;
mod by_item;
mod catalogue;
mod crew;
mod follow;
mod fused;
mod gradients;
mod layers;
mod lent;
mod machine;
mod memory;
mod narrow;
mod pace;
mod product;
mod projection;
mod rules;
mod scores;
mod shared;
mod simd;
mod sparse;
mod state;
mod sum;
mod table;

pub use bootstrap::HostBootstrap;
pub use fused::HostStep;
pub use gradients::HostGradients;
pub use layers::{HostLayers, LayerGradients, LayerTrace};
pub use machine::{Machine, peak_memory};
pub use sparse::HostSparse;
pub use table::{HostTable, view_of};
