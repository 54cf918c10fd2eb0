//! The moving aggregation: x <- keep x + sum over the row's places of weight * y.

use super::{Window, adam::float};
use cubecl::prelude::*;

/// Words of the head of `follow`.
#[derive(Clone, Copy, Debug)]
pub struct FollowHead {
    /// Number of distinct rows, Q.
    pub count: u32,
    /// Section of distinct rows, `[Q]`.
    pub rows: u32,
    /// Section of where the places of a row begin, `[Q + 1]`.
    pub starts: u32,
    /// Section of places, `[R]`.
    pub places: u32,
    /// Section of the factor of every old row, `[Q]`.
    pub keep: u32,
    /// Section of the factor of every place, in the order of `places`, `[R]`.
    pub weights: u32,
    /// Section of the rows of the other table: place p follows number `p * step`.
    pub others: u32,
    /// See `others`.
    pub step: u32,
}

impl FollowHead {
    /// The words in their order.
    pub fn words(&self) -> [u32; 8] {
        let Self { count, rows, starts, places, keep, weights, others, step } = *self;
        [count, rows, starts, places, keep, weights, others, step]
    }
}

/// Moves every distinct row of `weights` towards the rows of `others` at its places.
#[cube(launch_unchecked)]
pub fn follow<N: Size>(
    plan: &[u32],
    others: &[Vector<f32, N>],
    weights: &mut [Vector<f32, N>],
    window: Window,
    head: u32,
) {
    let head = head as usize;
    let width = window.width as usize;
    if ABSOLUTE_POS < plan[head] as usize * width {
        let q = ABSOLUTE_POS / width;
        let x = ABSOLUTE_POS % width;
        let at = window.at(plan[plan[head + 1] as usize + q], x);
        let starts = plan[head + 2] as usize + q;
        let places = plan[head + 3];
        let pulls = plan[head + 5];
        let towards = plan[head + 6];
        let step = plan[head + 7];
        let mut row = Vector::new(float(plan, plan[head + 4] as usize + q)) * weights[at];
        for which in plan[starts]..plan[starts + 1] {
            let place = plan[(places + which) as usize];
            let other = plan[(towards + place * step) as usize];
            row = fma(Vector::new(float(plan, (pulls + which) as usize)), others[window.other(other, x)], row);
        }
        weights[at] = row;
    }
}
