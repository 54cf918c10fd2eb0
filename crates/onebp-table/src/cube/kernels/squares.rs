//! Squared norms of the gradients of rows: one group of lanes for each distinct row.
//!
//! Row-wise Adagrad needs the norm of a row's whole gradient before it can move any element of it.

use super::{
    Window,
    scores::{Lanes, memory_of_lanes, sum_of_lanes},
    update::{Source, gradient},
};
use cubecl::prelude::*;

/// Adds the squares of one window of columns to `squares` `[Q]`, from zero for the `first` window; weight decay is added to
/// the gradient first. The last window adds the mean over `dim` columns to the row's accumulator in `table` `[rows]`. Head
/// as for `update`.
#[cube(launch_unchecked)]
pub fn squares<N: Size>(
    plan: &[u32],
    factors: &[f32],
    others: &[Vector<f32, N>],
    weights: &[Vector<f32, N>],
    squares: &mut [f32],
    table: &mut [f32],
    window: Window,
    head: u32,
    decay: f32,
    dim: f32,
    #[comptime] source: Source,
    #[comptime] lanes: Lanes,
    #[comptime] first: bool,
    #[comptime] last: bool,
) {
    let head = head as usize;
    let count = plan[head] as usize;
    let place = CUBE_POS * lanes.groups + UNIT_POS_Y as usize;
    // The grid may be larger than the batch: the surplus repeats the last row and writes nothing.
    let q = min(place, count - 1);
    let lane = UNIT_POS_X as usize;
    let row = plan[plan[head + 1] as usize + q];
    let mut sum = Vector::<f32, N>::new(0.0f32);
    for x in range_stepped(lane, window.width as usize, lanes.width) {
        let w = weights[window.at(row, x)];
        let g = gradient::<N>(plan, head, q, x, factors, others, &window, source);
        let g = fma(Vector::new(decay), w, g);
        sum = fma(g, g, sum);
    }
    let mut sums = memory_of_lanes(lanes);
    let mut sum = sum_of_lanes(sum.vector_sum(), &mut sums, lanes);
    if place < count && lane == 0 {
        if comptime!(!first) {
            sum += squares[q];
        }
        squares[q] = sum;
        if comptime!(last) {
            table[row as usize] += sum / dim;
        }
    }
}
