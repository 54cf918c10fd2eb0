//! Rows that are projected, see [`crate::optimizer::projection`]: one cube of lanes for each row, for a norm needs all of
//! its elements.

use super::{
    adam::{Moving, PROJECT, REPLAY, WAY, correction_at},
    scores::{Lanes, memory_of_lanes, sum_of_lanes},
};
use cubecl::prelude::*;

/// What a launch of `hold` does, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holding {
    /// Into the ball, or else onto the sphere.
    pub ball: bool,
    /// Whether rows go over silent steps of Adam by their ways, with a projection after each; else they are projected once.
    pub silent: bool,
    /// Whether the q-th row of the plan is row q of the matrices, and not the row that the plan names.
    pub placed: bool,
    /// Lanes of a cube.
    pub lanes: Lanes,
}

/// Projects rows of `vectors` vectors of width `width`. Head: number of rows, section of rows, section of ways, section of
/// the index of every row's way. Of each way's steps, the first `skip` are left out and at most `most` are done.
#[cube(launch_unchecked)]
pub fn hold<N: Size>(
    plan: &[u32],
    weights: &mut [Vector<f32, N>],
    first: &mut [Vector<f32, N>],
    second: &mut [Vector<f32, N>],
    corrections: &[f32],
    head: u32,
    vectors: u32,
    width: u32,
    decay: f32,
    skip: u32,
    most: u32,
    #[comptime] what: Holding,
) {
    let head = head as usize;
    let count = plan[head] as usize;
    let lane = UNIT_POS_X as usize;
    let width = width as usize;
    let q = min(CUBE_POS, count - 1);
    let mut row = q;
    if comptime!(!what.placed) {
        row = plan[plan[head + 1] as usize + q] as usize;
    }
    let begin = row * vectors as usize * width;

    let mut from = 1u32;
    let mut rounds = 1u32;
    let mut steps = false;
    if comptime!(what.silent) {
        let way = (plan[head + 2] + plan[plan[head + 3] as usize + q] * comptime!(WAY as u32)) as usize;
        steps = plan[way] == REPLAY;
        if steps {
            let end = plan[way + 2] + 1;
            from = min(plan[way + 1] + skip, end);
            rounds = min(end - from, most);
        } else if plan[way] != PROJECT || skip > 0 {
            rounds = 0u32;
        }
    }
    // The grid may be larger than the batch.
    if CUBE_POS >= count {
        rounds = 0u32;
    }
    let mut sums = memory_of_lanes(what.lanes);
    // Each unit keeps to its own elements, so that only the sum has to wait for others.
    for round in 0..rounds {
        let correction = correction_at(corrections, from + round);
        for vector in 0..vectors as usize {
            let start = begin + vector * width;
            let mut sum = Vector::<f32, N>::new(0.0f32);
            for x in range_stepped(lane, width, what.lanes.width) {
                let at = start + x;
                let mut w = weights[at];
                if comptime!(what.silent) {
                    let mut moving = Moving::<N> { w, m: first[at], v: second[at] };
                    if steps {
                        moving.step(Vector::new(0.0f32), decay, corrections[correction], corrections[correction + 1]);
                    }
                    first[at] = moving.m;
                    second[at] = moving.v;
                    weights[at] = moving.w;
                    w = moving.w;
                }
                sum = fma(w, w, sum);
            }
            let norm = sum_of_lanes(sum.vector_sum(), &mut sums, what.lanes).sqrt();
            if norm > comptime!(if what.ball { 1.0f32 } else { 0.0f32 }) {
                let factor = Vector::new(1.0f32 / norm);
                for x in range_stepped(lane, width, what.lanes.width) {
                    weights[start + x] = factor * weights[start + x];
                }
            }
        }
    }
}
