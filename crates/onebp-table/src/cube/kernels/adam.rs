//! Adam on the elements of one row, as in the host's `rules.rs`: a step along a gradient, silent steps one by one or in
//! closed form, and silent steps backwards.
//!
//! How a row gets over its silent steps is decided on the host and uploaded as eight words, see [`super::super::clock`]:
//!
//! | word | replay | tail |
//! |---|---|---|
//! | 0 | [`REPLAY`] or [`REPLAY_BACK`] | [`TAIL`] or [`TAIL_BACK`] |
//! | 1, 2 | first and last step | n0, n1 |
//! | 3, 4 | | x1, x2 |
//! | 5, 6 | | fade_m, fade_v |
//!
//! Bias corrections of single steps lie in a table on the device, (rate, root) for step 1 and up; the last entry holds for
//! all later steps.

use crate::optimizer::{ADAM_EPSILON, BETA_1, BETA_2};
use cubecl::prelude::*;

/// Words of one way.
pub const WAY: usize = 8;
/// Silent steps one after another.
pub const REPLAY: u32 = 0;
/// Silent steps at once.
pub const TAIL: u32 = 1;
/// [`REPLAY`] backwards.
pub const REPLAY_BACK: u32 = 2;
/// [`TAIL`] backwards.
pub const TAIL_BACK: u32 = 3;
/// No step at all.
pub const STAY: u32 = 4;
/// No step, but a projection: a row that no step has moved yet.
pub const PROJECT: u32 = 5;

const ONE_MINUS_BETA_1: f32 = (1.0 - BETA_1) as f32;
const ONE_MINUS_BETA_2: f32 = (1.0 - BETA_2) as f32;
const EPSILON: f32 = ADAM_EPSILON as f32;

/// A few elements of a row and of its moments.
#[derive(CubeType)]
pub struct Moving<N: Size> {
    /// Row.
    pub w: Vector<f32, N>,
    /// First moment.
    pub m: Vector<f32, N>,
    /// Second moment.
    pub v: Vector<f32, N>,
}

/// The `at`-th word of a buffer as a float.
#[cube]
pub fn float(words: &[u32], at: usize) -> f32 {
    f32::reinterpret(words[at])
}

#[cube]
impl<N: Size> Moving<N> {
    /// m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2.
    pub fn moments(&mut self, g: Vector<f32, N>) {
        self.m = fma(Vector::new(ONE_MINUS_BETA_1), g, Vector::new(comptime!(BETA_1 as f32)) * self.m);
        self.v = fma(Vector::new(comptime!(BETA_2 as f32)), self.v, Vector::new(ONE_MINUS_BETA_2) * (g * g));
    }

    /// One step along `g`.
    pub fn step(&mut self, g: Vector<f32, N>, decay: f32, rate: f32, root: f32) {
        let g = fma(Vector::new(decay), self.w, g);
        self.moments(g);
        let below = fma(self.v.sqrt(), Vector::new(root), Vector::new(EPSILON));
        self.w = fma(Vector::new(-rate), self.m / below, self.w);
    }

    /// Silent steps `from ..= to`.
    pub fn replay(&mut self, corrections: &[f32], from: u32, to: u32, decay: f32) {
        for step in from..to + 1 {
            let at = correction_at(corrections, step);
            self.step(Vector::new(0.0f32), decay, corrections[at], corrections[at + 1]);
        }
    }

    /// w <- w - m (n0 + n1 s) / ((s x1 + eps)(s x2 + eps)), s = sqrt(v), by the tail whose words begin at `way`.
    pub fn move_by_tail(&mut self, plan: &[u32], way: usize) {
        let s = self.v.sqrt();
        let above = fma(s, Vector::new(float(plan, way + 2)), Vector::new(float(plan, way + 1)));
        let one = fma(s, Vector::new(float(plan, way + 3)), Vector::new(EPSILON));
        let two = fma(s, Vector::new(float(plan, way + 4)), Vector::new(EPSILON));
        self.w -= self.m * above / (one * two);
    }

    /// Moments after the steps of a tail.
    pub fn fade(&mut self, plan: &[u32], way: usize) {
        self.m = Vector::new(float(plan, way + 5)) * self.m;
        self.v = Vector::new(float(plan, way + 6)) * self.v;
    }

    /// A step along `g` and the silent steps after it, by the way whose words begin at `way`.
    pub fn advance(&mut self, plan: &[u32], way: usize, corrections: &[f32], g: Vector<f32, N>, decay: f32) {
        if plan[way] == TAIL {
            self.moments(g);
            self.move_by_tail(plan, way);
            self.fade(plan, way);
        } else {
            let from = plan[way + 1];
            let at = correction_at(corrections, from);
            self.step(g, decay, corrections[at], corrections[at + 1]);
            self.replay(corrections, from + 1, plan[way + 2], decay);
        }
    }

    /// Silent steps, forwards.
    pub fn rest(&mut self, plan: &[u32], way: usize, corrections: &[f32], decay: f32) {
        if plan[way] == TAIL {
            self.move_by_tail(plan, way);
            self.fade(plan, way);
        } else if plan[way] == REPLAY {
            self.replay(corrections, plan[way + 1], plan[way + 2], decay);
        }
    }

    /// Silent steps, backwards: w as it was before them. The moments are worth nothing afterwards.
    pub fn unrest(&mut self, plan: &[u32], way: usize, corrections: &[f32], decay: f32) {
        if plan[way] == TAIL_BACK {
            self.m = Vector::new(-1.0f32 / float(plan, way + 5)) * self.m;
            self.v = Vector::new(1.0f32 / float(plan, way + 6)) * self.v;
            self.move_by_tail(plan, way);
        } else if plan[way] == REPLAY_BACK {
            let (from, to) = (plan[way + 1], plan[way + 2]);
            for back in 0..to + 1 - from {
                let at = correction_at(corrections, to - back);
                let below = fma(self.v.sqrt(), Vector::new(corrections[at + 1]), Vector::new(EPSILON));
                self.w = fma(Vector::new(corrections[at]), self.m / below, self.w);
                let g = Vector::new(decay) * self.w;
                self.m = (self.m - Vector::new(ONE_MINUS_BETA_1) * g) * Vector::new(comptime!((1.0 / BETA_1) as f32));
                let squared = Vector::new(ONE_MINUS_BETA_2) * (g * g);
                // Rounding may leave less than nothing.
                self.v = max((self.v - squared) * Vector::new(comptime!((1.0 / BETA_2) as f32)), Vector::new(0.0f32));
            }
        }
    }
}

/// Where the corrections of `step` are.
#[cube]
pub fn correction_at(corrections: &[f32], step: u32) -> usize {
    let settled = corrections.len() / 2;
    2 * (min(step as usize, settled) - 1)
}
