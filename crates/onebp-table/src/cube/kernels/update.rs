//! A step of an optimizer on the distinct rows of a batch: gradient, state and row in one pass over the elements.

use super::{
    Window,
    adam::{Moving, WAY},
};
use crate::{Rule, optimizer::ADAGRAD_EPSILON};
use cubecl::prelude::*;

/// Where the gradient of a row comes from: the sum of one vector for each of its places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Rows of the other table, each times a factor (the fused step).
    Factors,
    /// Rows of a gradient tensor, one for each place.
    Tensor,
}

/// Words of the head of `update`.
#[derive(Clone, Copy, Debug)]
pub struct UpdateHead {
    /// Number of distinct rows, Q.
    pub count: u32,
    /// Section of distinct rows, `[Q]`.
    pub rows: u32,
    /// Section of where the places of a row begin, `[Q + 1]`.
    pub starts: u32,
    /// Section of places, `[R]`.
    pub places: u32,
    /// Section of ways by their index, 8 words each.
    pub ways: u32,
    /// Section of the index of every row's way, `[Q]`.
    pub way_of: u32,
    /// Section of rows of the other table.
    pub others: u32,
    /// Factors of a place: place p has factors `p * factors ..`.
    pub factors: u32,
    /// The other row of factor f is number `f / divisor` of `others`.
    pub divisor: u32,
}

impl UpdateHead {
    /// The words in their order.
    pub fn words(&self) -> [u32; 9] {
        let Self { count, rows, starts, places, ways, way_of, others, factors, divisor } = *self;
        [count, rows, starts, places, ways, way_of, others, factors, divisor]
    }
}

/// Element `x` of the gradient of the `q`-th distinct row.
#[cube]
pub fn gradient<N: Size>(
    plan: &[u32],
    head: usize,
    q: usize,
    x: usize,
    factors: &[f32],
    others: &[Vector<f32, N>],
    window: &Window,
    #[comptime] source: Source,
) -> Vector<f32, N> {
    let starts = plan[head + 2] as usize + q;
    let places = plan[head + 3] as usize;
    let mut sum = Vector::<f32, N>::new(0.0f32);
    for at in plan[starts]..plan[starts + 1] {
        let place = plan[places + at as usize];
        match comptime!(source) {
            Source::Factors => {
                let rows = plan[head + 6];
                let many = plan[head + 7];
                let divisor = plan[head + 8];
                for which in place * many..(place + 1) * many {
                    let other = plan[(rows + which / divisor) as usize];
                    sum = fma(Vector::new(factors[which as usize]), others[window.other(other, x)], sum);
                }
            }
            Source::Tensor => sum += others[window.other(place, x)],
        }
    }
    sum
}

/// One step of `rule` on every distinct row. `first` and `second` are the rule's matrices, `[rows, width]`; `table` is
/// Adam's corrections, or the accumulators of row-wise Adagrad, `[rows]`, this step's gradient included. With `stage`, new
/// rows go to `staged` `[Q, width]` and the table keeps the old ones.
#[cube(launch_unchecked)]
pub fn update<N: Size>(
    plan: &[u32],
    factors: &[f32],
    others: &[Vector<f32, N>],
    weights: &mut [Vector<f32, N>],
    first: &mut [Vector<f32, N>],
    second: &mut [Vector<f32, N>],
    table: &[f32],
    staged: &mut [Vector<f32, N>],
    window: Window,
    head: u32,
    rate: f32,
    decay: f32,
    #[comptime] rule: Rule,
    #[comptime] source: Source,
    #[comptime] stage: bool,
) {
    let head = head as usize;
    let width = window.width as usize;
    if ABSOLUTE_POS < plan[head] as usize * width {
        let q = ABSOLUTE_POS / width;
        let x = ABSOLUTE_POS % width;
        let row = plan[plan[head + 1] as usize + q];
        let at = window.at(row, x);
        let g = gradient::<N>(plan, head, q, x, factors, others, &window, source);
        let old = weights[at];
        let new = match comptime!(rule) {
            Rule::Adam | Rule::LazyAdam => {
                let way = (plan[head + 4] + plan[plan[head + 5] as usize + q] * comptime!(WAY as u32)) as usize;
                let mut moving = Moving::<N> { w: old, m: first[at], v: second[at] };
                moving.advance(plan, way, table, g, decay);
                first[at] = moving.m;
                second[at] = moving.v;
                moving.w
            }
            Rule::Adagrad => {
                let g = fma(Vector::new(decay), old, g);
                let sum = fma(g, g, first[at]);
                first[at] = sum;
                let below = sum.sqrt() + Vector::new(comptime!(ADAGRAD_EPSILON as f32));
                fma(Vector::new(-rate), g / below, old)
            }
            Rule::RowwiseAdagrad => {
                let g = fma(Vector::new(decay), old, g);
                let left = rate / (table[row as usize].sqrt() + comptime!(ADAGRAD_EPSILON as f32));
                fma(Vector::new(-left), g, old)
            }
            Rule::Sgd => {
                let g = fma(Vector::new(decay), old, g);
                fma(Vector::new(-rate), g, old)
            }
        };
        if comptime!(stage) {
            staged[q * window.stride as usize + window.offset as usize + x] = new;
        } else {
            weights[at] = new;
        }
    }
}
