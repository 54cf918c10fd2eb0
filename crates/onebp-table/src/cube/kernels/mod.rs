//! The kernels. What they have in common:
//!
//! - **One upload.** Everything about a batch that a kernel needs (ids, groups, ways) lies in one buffer of words, the
//!   plan; see [`super::plan`]. A kernel finds its sections through a head, the words at `head`, so its launch arguments
//!   are the same at every step.
//! - **Flat.** Where elements of a row do not need each other, unit i works on vector `i % width` of the `i / width`-th
//!   distinct row: every unit is busy, whatever d is, and neighbours read neighbours.
//! - **Windows.** A table may be split by columns; a kernel sees one window of columns of one or two tables.
//! - **No atomics, no dense gradient.** A unit adds up what its row gets from the places of the batch, in their order,
//!   and writes once.

pub mod adam;
pub mod follow;
pub mod losses;
pub mod project;
pub mod ranking;
pub mod rows;
pub mod scores;
pub mod sparse;
pub mod squares;
pub mod update;

use cubecl::prelude::*;

/// The columns that a kernel works on, in vectors: where they are in one table and, if there is another one, in that.
#[derive(CubeType, CubeLaunch)]
pub struct Window {
    /// Number of columns.
    pub width: u32,
    /// Width of a row of the table.
    pub stride: u32,
    /// First column in the table.
    pub offset: u32,
    /// Width of a row of the other table.
    pub other_stride: u32,
    /// First column in the other table.
    pub other_offset: u32,
}

#[cube]
impl Window {
    /// Where element `x` of row `row` is.
    pub fn at(&self, row: u32, x: usize) -> usize {
        row as usize * self.stride as usize + self.offset as usize + x
    }

    /// Where element `x` of row `row` of the other table is.
    pub fn other(&self, row: u32, x: usize) -> usize {
        row as usize * self.other_stride as usize + self.other_offset as usize + x
    }
}
