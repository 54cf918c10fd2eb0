//! Rows on a GPU: CubeCL kernels over buffers of whatever runtime the device has (today wgpu: Vulkan, Metal, DirectX 12).
//!
//! Tables and the state of their optimizers stay on the device. A step uploads its batch, already grouped by row on the
//! host, and launches a handful of kernels; what depends on steps and not on values (the time of rows, bias corrections,
//! closed forms) is decided on the host. No kernel uses float atomics, so the same batches give the
//! same bytes.

mod clock;
mod columns;
mod gpu;
mod info_nce;
mod kernels;
mod losses;
mod moves;
mod parts;
mod plan;
mod ranking;
mod state;
mod table;
#[cfg(test)]
mod testing;

pub use gpu::{Limits, Traffic};
pub use info_nce::CubeInfoNce;
pub use ranking::{Best, CubeRanking, Seen};
pub use table::CubeTable;
