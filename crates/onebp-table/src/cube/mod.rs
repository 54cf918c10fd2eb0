//! Rows on a GPU: CubeCL kernels over buffers of whatever runtime the device has (today wgpu: Vulkan, Metal, DirectX 12).
//!
//! Tables and the state of their optimizers stay on the device. A step uploads its batch, already grouped by row on the
//! host, and launches a handful of kernels; what depends on steps and not on values (the time of rows, bias corrections,
//! closed forms) is decided on the host. No kernel uses float atomics, so the same batches give the same bytes.
//!
//! | file | what |
//! |---|---|
//! | `gpu` | the device: what it can do, buffers, uploads, reads |
//! | `columns`, `parts` | tables larger than a buffer, split by columns |
//! | `clock` | at which step each row stands, and how it gets to another one |
//! | `plan` | everything the kernels need to know about a batch, in one upload |
//! | `kernels` | the kernels |
//! | `moves` | the launches that move rows |
//! | `projection` | the launches that project them |
//! | `state`, `table` | [`CubeTable`] |
//! | `losses`, `info_nce` | the fused step, [`CubeInfoNce`] |
//! | `ranking` | the best items of each user and what truth items lose, [`CubeRanking`] |
//! | `sparse` | products with sparse matrices, [`CubeSparse`] |

mod clock;
mod columns;
mod gpu;
mod info_nce;
mod kernels;
mod losses;
mod moves;
mod parts;
mod plan;
mod projection;
mod ranking;
mod sparse;
mod state;
mod table;
#[cfg(test)]
mod testing;

pub use gpu::{Limits, Traffic};
pub use info_nce::CubeInfoNce;
pub use ranking::CubeRanking;
pub use sparse::CubeSparse;
pub use table::CubeTable;
