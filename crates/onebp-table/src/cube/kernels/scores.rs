//! The scores of a batch, their softmax, losses and factors: one cube for each row of the batch.
//!
//! The units of a cube form `groups` groups of `width` lanes; a group takes every `groups`-th item of the row and adds up
//! its dot product, lane by lane, then over the lanes. Scores meet in workgroup memory, where every unit computes the
//! whole softmax for itself: 1 + S exponentials at once cost less than another round of reductions.

use super::{Window, adam::float};
use cubecl::prelude::*;

/// How the units of a cube add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lanes {
    /// Units that work on one sum: a plane, or a power of two.
    pub width: usize,
    /// Groups of lanes in a cube.
    pub groups: usize,
    /// Whether the lanes of a group are a plane and can add up without memory.
    pub planes: bool,
}

/// Workgroup memory for `sum_of_lanes`: a number for each unit of a cube, where there are no planes.
#[cube]
pub fn memory_of_lanes(#[comptime] lanes: Lanes) -> Shared<[f32]> {
    Shared::<[f32]>::new_slice(comptime!(if lanes.planes { 1 } else { lanes.width * lanes.groups }))
}

/// The sum of `value` over the lanes of a group, known to all of them. Every unit of the cube must come here.
#[cube]
pub fn sum_of_lanes(value: f32, sums: &mut Shared<[f32]>, #[comptime] lanes: Lanes) -> f32 {
    if comptime!(lanes.planes) {
        plane_sum(value)
    } else {
        let unit = UNIT_POS as usize;
        let lane = UNIT_POS_X as usize;
        // The last round's sums may still be read.
        sync_cube();
        sums[unit] = value;
        sync_cube();
        #[unroll]
        for round in 0..comptime!(lanes.width.ilog2() as usize) {
            let half = comptime!(lanes.width >> (round + 1));
            if lane < half {
                sums[unit] += sums[unit + half];
            }
            sync_cube();
        }
        sums[unit - lane]
    }
}

/// Words of the head of `scores`.
#[derive(Clone, Copy, Debug)]
pub struct ScoresHead {
    /// Rows of the batch, B.
    pub count: u32,
    /// Section of users, `[B]`.
    pub users: u32,
    /// Section of items, `[B, 1 + S]`.
    pub items: u32,
    /// Section of each row's share in the loss, `[B]`.
    pub shares: u32,
    /// Where this step's losses begin.
    pub losses: u32,
}

impl ScoresHead {
    /// The words in their order.
    pub fn words(&self) -> [u32; 5] {
        let Self { count, users, items, shares, losses } = *self;
        [count, users, items, shares, losses]
    }
}

/// Adds the scores of one window of columns to `factors` `[B, items]` (from zero for the `first` window) and turns them,
/// at the `last` one, into factors, and writes the losses of the rows.
#[cube(launch_unchecked)]
pub fn scores<N: Size>(
    plan: &[u32],
    users: &[Vector<f32, N>],
    table: &[Vector<f32, N>],
    factors: &mut [f32],
    losses: &mut [f32],
    window: Window,
    head: u32,
    sharpness: f32,
    #[comptime] items: usize,
    #[comptime] lanes: Lanes,
    #[comptime] first: bool,
    #[comptime] last: bool,
) {
    let head = head as usize;
    let count = plan[head] as usize;
    // The grid may be larger than the batch: the surplus repeats the last row and writes nothing.
    let row = min(CUBE_POS, count - 1);
    let inside = CUBE_POS < count;
    let lane = UNIT_POS_X as usize;
    let width = window.width as usize;
    let user = window.at(plan[plan[head + 1] as usize + row], 0);
    let ids = plan[head + 2] as usize + row * items;
    let mut shared = Shared::<[f32]>::new_slice(items);
    let mut sums = memory_of_lanes(lanes);

    #[unroll(items <= 16)]
    for round in 0..comptime!(items.div_ceil(lanes.groups)) {
        let which = round * lanes.groups + UNIT_POS_Y as usize;
        let mut sum = Vector::<f32, N>::new(0.0f32);
        if which < items {
            let item = window.other(plan[ids + which], 0);
            for x in range_stepped(lane, width, lanes.width) {
                sum = fma(users[user + x], table[item + x], sum);
            }
        }
        let sum = sum_of_lanes(sum.vector_sum(), &mut sums, lanes);
        if which < items && lane == 0 {
            let mut score = sum;
            if comptime!(!first) {
                score += factors[row * items + which];
            }
            shared[which] = score;
        }
    }
    sync_cube();

    let units = comptime!(lanes.width * lanes.groups);
    if comptime!(last) {
        let mut highest = shared[0] * sharpness;
        for which in 1..items {
            highest = max(highest, shared[which] * sharpness);
        }
        let mut total = 0.0f32;
        for which in 0..items {
            total += (shared[which] * sharpness - highest).exp();
        }
        let share = float(plan, plan[head + 3] as usize + row);
        if inside {
            for which in range_stepped(UNIT_POS as usize, items, units) {
                let mut factor = (shared[which] * sharpness - highest).exp() / total;
                if which == 0 {
                    factor -= 1.0f32;
                }
                factors[row * items + which] = factor * (share * sharpness);
            }
            if UNIT_POS == 0 {
                let loss = total.ln() + highest - shared[0] * sharpness;
                losses[plan[head + 4] as usize + row] = share * loss;
            }
        }
    } else if inside {
        for which in range_stepped(UNIT_POS as usize, items, units) {
            factors[row * items + which] = shared[which];
        }
    }
}
