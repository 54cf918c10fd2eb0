//! The losses of steps from the losses of their rows, added up in the order of the rows, as the host does.

use cubecl::prelude::*;

/// `sums[at + s]` <- sum of the first `counts[s]` of `losses[s * stride ..]`, for `steps` steps.
#[cube(launch_unchecked)]
pub fn sum_losses(losses: &[f32], counts: &[u32], sums: &mut [f32], at: u32, steps: u32, stride: u32) {
    if ABSOLUTE_POS < steps as usize {
        let first = ABSOLUTE_POS * stride as usize;
        let mut sum = 0.0f32;
        for row in 0..counts[ABSOLUTE_POS] as usize {
            sum += losses[first + row];
        }
        sums[at as usize + ABSOLUTE_POS] = sum;
    }
}
