//! Rows as wholes: settled, read, copied, set.

use super::{
    Window,
    adam::{Moving, WAY},
};
use cubecl::prelude::*;

/// Brings late rows to the step before the next one. Head: number of rows, section of rows, section of ways, section of
/// the index of every row's way.
#[cube(launch_unchecked)]
pub fn settle<N: Size>(
    plan: &[u32],
    weights: &mut [Vector<f32, N>],
    first: &mut [Vector<f32, N>],
    second: &mut [Vector<f32, N>],
    corrections: &[f32],
    window: Window,
    head: u32,
    decay: f32,
) {
    let head = head as usize;
    let width = window.width as usize;
    if ABSOLUTE_POS < plan[head] as usize * width {
        let q = ABSOLUTE_POS / width;
        let at = window.at(plan[plan[head + 1] as usize + q], ABSOLUTE_POS % width);
        let way = (plan[head + 2] + plan[plan[head + 3] as usize + q] * comptime!(WAY as u32)) as usize;
        let mut moving = Moving::<N> { w: weights[at], m: first[at], v: second[at] };
        moving.rest(plan, way, corrections, decay);
        weights[at] = moving.w;
        first[at] = moving.m;
        second[at] = moving.v;
    }
}

/// Copies rows as they are at the last step into `out`: row q's element x goes to `q * row_step + (first_column + x) *
/// column_step`. Nothing is written back. Head as for `settle`; without `late`, rows are copied as they are stored; with
/// `placed`, row q is row q of the matrices and not the one that the plan names.
#[cube(launch_unchecked)]
pub fn read<N: Size>(
    plan: &[u32],
    weights: &[Vector<f32, N>],
    first: &[Vector<f32, N>],
    second: &[Vector<f32, N>],
    corrections: &[f32],
    out: &mut [Vector<f32, N>],
    window: Window,
    head: u32,
    decay: f32,
    row_step: u32,
    column_step: u32,
    #[comptime] late: bool,
    #[comptime] placed: bool,
) {
    let head = head as usize;
    let width = window.width as usize;
    if ABSOLUTE_POS < plan[head] as usize * width {
        let q = ABSOLUTE_POS / width;
        let x = ABSOLUTE_POS % width;
        let mut place = q as u32;
        if comptime!(!placed) {
            place = plan[plan[head + 1] as usize + q];
        }
        let at = window.at(place, x);
        let mut row = weights[at];
        if comptime!(late) {
            let way = (plan[head + 2] + plan[plan[head + 3] as usize + q] * comptime!(WAY as u32)) as usize;
            let mut moving = Moving::<N> { w: row, m: first[at], v: second[at] };
            moving.rest(plan, way, corrections, decay);
            moving.unrest(plan, way, corrections, decay);
            row = moving.w;
        }
        out[q * row_step as usize + (window.other_offset as usize + x) * column_step as usize] = row;
    }
}

/// Copies staged rows, the other table `[Q, d]`, into their table. Head: number of rows, section of rows.
#[cube(launch_unchecked)]
pub fn publish<N: Size>(
    plan: &[u32],
    staged: &[Vector<f32, N>],
    weights: &mut [Vector<f32, N>],
    window: Window,
    head: u32,
) {
    let head = head as usize;
    let width = window.width as usize;
    if ABSOLUTE_POS < plan[head] as usize * width {
        let q = ABSOLUTE_POS / width;
        let x = ABSOLUTE_POS % width;
        let row = plan[plan[head + 1] as usize + q];
        weights[window.at(row, x)] = staged[window.other(q as u32, x)];
    }
}

/// Sets `count` elements to zero.
#[cube(launch_unchecked)]
pub fn clear(out: &mut [f32], count: u32) {
    if ABSOLUTE_POS < count as usize {
        out[ABSOLUTE_POS] = 0.0f32;
    }
}
