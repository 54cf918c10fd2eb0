//! The optimizers of [`crate::optimizer`] on one row.

use super::{
    ahead::Ahead,
    simd::{Elementwise, Mix, apply, apply_ahead, dot},
};
use crate::optimizer::{
    ADAGRAD_EPSILON, ADAM_EPSILON, BETA_1, BETA_2,
    adam::{Correction, Schedule, Tail, Way},
};
use pulp::Simd;

/// Adam's epsilon.
pub const EPSILON: f32 = ADAM_EPSILON as f32;

/// The gradient of a row. Few places are summed while the row is moved, without a detour through memory.
pub enum Gradient<'a> {
    /// One place: factor * vector.
    One(f32, &'a [f32]),
    /// The sum of two.
    Two([f32; 2], [&'a [f32]; 2]),
    /// Summed already.
    Sum(&'a [f32]),
}

/// A rule that moves `A` rows along g.
pub trait AlongGradient<const A: usize>: Elementwise<A, 1> {}
impl<const A: usize, F: Elementwise<A, 1>> AlongGradient<A> for F {}

struct AlongOne<'a, F>(f32, &'a F);
impl<const A: usize, F: AlongGradient<A>> Elementwise<A, 1> for AlongOne<'_, F> {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, written: [S::f32s; A], [x]: [S::f32s; 1]) -> [S::f32s; A] {
        self.1.apply(simd, written, [simd.mul_f32s(simd.splat_f32s(self.0), x)])
    }
}

struct AlongTwo<'a, F>([f32; 2], &'a F);
impl<const A: usize, F: AlongGradient<A>> Elementwise<A, 2> for AlongTwo<'_, F> {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, written: [S::f32s; A], [x, y]: [S::f32s; 2]) -> [S::f32s; A] {
        let [a, b] = self.0.map(|factor| simd.splat_f32s(factor));
        self.1.apply(simd, written, [simd.mul_add_f32s(b, y, simd.mul_f32s(a, x))])
    }
}

/// Moves rows along a gradient.
#[inline(always)]
pub fn apply_along<S: Simd, const A: usize, const P: usize>(
    simd: S,
    rule: &impl AlongGradient<A>,
    written: [&mut [f32]; A],
    gradient: &Gradient,
    ahead: Ahead<P>,
) {
    match *gradient {
        Gradient::One(factor, x) => apply_ahead(simd, &AlongOne(factor, rule), written, [x], ahead),
        Gradient::Two(factors, vectors) => apply_ahead(simd, &AlongTwo(factors, rule), written, vectors, ahead),
        Gradient::Sum(g) => apply_ahead(simd, rule, written, [g], ahead),
    }
}

/// One step of Adam's moments and row along g.
pub struct AdamStep {
    /// Bias corrections of the step.
    pub correction: Correction,
    /// Coupled L2.
    pub decay: f32,
}

impl Elementwise<3, 1> for AdamStep {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [w, m, v]: [S::f32s; 3], [g]: [S::f32s; 1]) -> [S::f32s; 3] {
        let g = simd.mul_add_f32s(simd.splat_f32s(self.decay), w, g);
        let [m, v] = moments(simd, [m, v], g);
        [move_row(simd, &self.correction, w, m, v), m, v]
    }
}

/// m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2.
#[inline(always)]
fn moments<S: Simd>(simd: S, [m, v]: [S::f32s; 2], g: S::f32s) -> [S::f32s; 2] {
    let constant = |x: f64| simd.splat_f32s(x as f32);
    let m = simd.mul_add_f32s(constant(1.0 - BETA_1), g, simd.mul_f32s(constant(BETA_1), m));
    let squared = simd.mul_f32s(constant(1.0 - BETA_2), simd.mul_f32s(g, g));
    [m, simd.mul_add_f32s(constant(BETA_2), v, squared)]
}

/// w - rate m / (sqrt(v) root + eps).
#[inline(always)]
fn move_row<S: Simd>(simd: S, correction: &Correction, w: S::f32s, m: S::f32s, v: S::f32s) -> S::f32s {
    let below = simd.mul_add_f32s(simd.sqrt_f32s(v), simd.splat_f32s(correction.root), simd.splat_f32s(EPSILON));
    simd.mul_add_f32s(simd.splat_f32s(-correction.rate), simd.div_f32s(m, below), w)
}

/// w - m (n0 + n1 s) / ((s x1 + eps)(s x2 + eps)), s = sqrt(v).
#[inline(always)]
fn move_by_tail<S: Simd>(simd: S, tail: &Tail, w: S::f32s, m: S::f32s, v: S::f32s) -> S::f32s {
    let constant = |x: f32| simd.splat_f32s(x);
    let s = simd.sqrt_f32s(v);
    let above = simd.mul_add_f32s(s, constant(tail.n1), constant(tail.n0));
    let one = simd.mul_add_f32s(s, constant(tail.x1), constant(EPSILON));
    let two = simd.mul_add_f32s(s, constant(tail.x2), constant(EPSILON));
    let moved = simd.div_f32s(simd.mul_f32s(m, above), simd.mul_f32s(one, two));
    simd.sub_f32s(w, moved)
}

/// A step along g and the silent steps after it, in closed form.
pub struct StepAndTail<'a>(pub &'a Tail);
impl Elementwise<3, 1> for StepAndTail<'_> {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [w, m, v]: [S::f32s; 3], [g]: [S::f32s; 1]) -> [S::f32s; 3] {
        let [m, v] = moments(simd, [m, v], g);
        let w = move_by_tail(simd, self.0, w, m, v);
        [w, simd.mul_f32s(simd.splat_f32s(self.0.fade_m), m), simd.mul_f32s(simd.splat_f32s(self.0.fade_v), v)]
    }
}

/// Silent steps in closed form.
struct TailOnly<'a>(&'a Tail);
impl Elementwise<3, 0> for TailOnly<'_> {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [w, m, v]: [S::f32s; 3], _: [S::f32s; 0]) -> [S::f32s; 3] {
        let w = move_by_tail(simd, self.0, w, m, v);
        [w, simd.mul_f32s(simd.splat_f32s(self.0.fade_m), m), simd.mul_f32s(simd.splat_f32s(self.0.fade_v), v)]
    }
}

/// The way back over silent steps in closed form: w as it was before them.
struct BeforeTail<'a>(&'a Tail);
impl Elementwise<1, 2> for BeforeTail<'_> {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [w]: [S::f32s; 1], [m, v]: [S::f32s; 2]) -> [S::f32s; 1] {
        let m = simd.mul_f32s(simd.splat_f32s(-1.0 / self.0.fade_m), m);
        let v = simd.mul_f32s(simd.splat_f32s(1.0 / self.0.fade_v), v);
        [move_by_tail(simd, self.0, w, m, v)]
    }
}

/// A silent step.
pub struct SilentStep {
    /// Bias corrections of the step.
    pub correction: Correction,
    /// Coupled L2.
    pub decay: f32,
}
impl Elementwise<3, 0> for SilentStep {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, row: [S::f32s; 3], _: [S::f32s; 0]) -> [S::f32s; 3] {
        let Self { correction, decay } = *self;
        AdamStep { correction, decay }.apply(simd, row, [simd.splat_f32s(0.0)])
    }
}

/// Silent steps `from ..= to`, each over the whole row, which stays in the first-level cache: within an element, each step
/// would have to wait for the one before.
#[inline(always)]
fn replay<S: Simd>(simd: S, schedule: &Schedule, decay: f32, from: u32, to: u32, [w, m, v]: [&mut [f32]; 3]) {
    for step in from..=to {
        silent_step(simd, schedule, decay, step, [&mut *w, &mut *m, &mut *v]);
    }
}

/// Silent step `step` over a whole row.
#[inline(always)]
pub fn silent_step<S: Simd>(simd: S, schedule: &Schedule, decay: f32, step: u32, row: [&mut [f32]; 3]) {
    apply(simd, &SilentStep { correction: schedule.correction(step), decay }, row, []);
}

/// A silent step, and what follows the row.
struct FollowedStep<'a>(SilentStep, &'a Mix);
impl Elementwise<4, 0> for FollowedStep<'_> {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [w, m, v, target]: [S::f32s; 4], _: [S::f32s; 0]) -> [S::f32s; 4] {
        let [w, m, v] = self.0.apply(simd, [w, m, v], []);
        let [target] = self.1.apply(simd, [target], [w]);
        [w, m, v, target]
    }
}

/// [`silent_step`], after which a target follows: the last one of `row`.
#[inline(always)]
pub fn followed_step<S: Simd>(simd: S, schedule: &Schedule, decay: f32, step: u32, mix: &Mix, row: [&mut [f32]; 4]) {
    apply(simd, &FollowedStep(SilentStep { correction: schedule.correction(step), decay }, mix), row, []);
}

/// Silent steps `from ..= to` backwards: the row as it was before them.
struct Unreplay<'a> {
    schedule: &'a Schedule,
    decay: f32,
    from: u32,
    to: u32,
}
impl Elementwise<1, 2> for Unreplay<'_> {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [mut w]: [S::f32s; 1], [mut m, mut v]: [S::f32s; 2]) -> [S::f32s; 1] {
        let constant = |x: f64| simd.splat_f32s(x as f32);
        for step in (self.from..=self.to).rev() {
            let correction = self.schedule.correction(step);
            w = move_row(simd, &Correction { rate: -correction.rate, ..correction }, w, m, v);
            let g = simd.mul_f32s(simd.splat_f32s(self.decay), w);
            m = simd.mul_f32s(simd.sub_f32s(m, simd.mul_f32s(constant(1.0 - BETA_1), g)), constant(1.0 / BETA_1));
            let squared = simd.mul_f32s(constant(1.0 - BETA_2), simd.mul_f32s(g, g));
            v = simd.mul_f32s(simd.sub_f32s(v, squared), constant(1.0 / BETA_2));
            // Rounding may leave less than nothing.
            v = simd.max_f32s(v, simd.splat_f32s(0.0));
        }
        [w]
    }
}

/// A step along g that takes moments from step `way.from - 1` to the end of `way`.
#[inline(always)]
pub fn step_adam<S: Simd, const P: usize>(
    simd: S,
    schedule: &Schedule,
    decay: f32,
    way: &Way,
    row: [&mut [f32]; 3],
    g: &Gradient,
    ahead: Ahead<P>,
) {
    match way {
        Way::Tail(tail) => apply_along(simd, &StepAndTail(tail), row, g, ahead),
        &Way::Replay { from, to } => {
            let [w, m, v] = row;
            let step = AdamStep { correction: schedule.correction(from), decay };
            apply_along(simd, &step, [&mut *w, &mut *m, &mut *v], g, ahead);
            replay(simd, schedule, decay, from + 1, to, [w, m, v]);
        }
    }
}

/// Silent steps.
#[inline(always)]
pub fn rest_adam<S: Simd>(simd: S, schedule: &Schedule, decay: f32, way: &Way, row: [&mut [f32]; 3]) {
    match way {
        Way::Tail(tail) => apply(simd, &TailOnly(tail), row, []),
        &Way::Replay { from, to } => replay(simd, schedule, decay, from, to, row),
    }
}

/// Silent steps backwards; moments stay.
#[inline(always)]
pub fn unrest_adam<S: Simd>(simd: S, schedule: &Schedule, decay: f32, way: &Way, w: &mut [f32], moments: [&[f32]; 2]) {
    match way {
        Way::Tail(tail) => apply(simd, &BeforeTail(tail), [w], moments),
        &Way::Replay { from, to } => apply(simd, &Unreplay { schedule, decay, from, to }, [w], moments),
    }
}

/// Adagrad with one accumulator for each element.
pub struct Adagrad {
    /// Learning rate.
    pub rate: f32,
    /// Coupled L2.
    pub decay: f32,
}
impl Elementwise<2, 1> for Adagrad {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [w, a]: [S::f32s; 2], [g]: [S::f32s; 1]) -> [S::f32s; 2] {
        let g = simd.mul_add_f32s(simd.splat_f32s(self.decay), w, g);
        let a = simd.mul_add_f32s(g, g, a);
        let below = simd.add_f32s(simd.sqrt_f32s(a), simd.splat_f32s(ADAGRAD_EPSILON as f32));
        [simd.mul_add_f32s(simd.splat_f32s(-self.rate), simd.div_f32s(g, below), w), a]
    }
}

/// g <- g + decay w.
struct Decay(f32);
impl Elementwise<1, 1> for Decay {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [g]: [S::f32s; 1], [w]: [S::f32s; 1]) -> [S::f32s; 1] {
        [simd.mul_add_f32s(simd.splat_f32s(self.0), w, g)]
    }
}

/// w <- w - rate g.
pub struct Descend {
    /// Learning rate, or what is left of it.
    pub rate: f32,
    /// Coupled L2.
    pub decay: f32,
}
impl Elementwise<1, 1> for Descend {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [w]: [S::f32s; 1], [g]: [S::f32s; 1]) -> [S::f32s; 1] {
        let g = simd.mul_add_f32s(simd.splat_f32s(self.decay), w, g);
        [simd.mul_add_f32s(simd.splat_f32s(-self.rate), g, w)]
    }
}

/// What a whole row's g adds to its accumulator: mean(g^2). Weight decay is added to `g` first.
#[inline(always)]
pub fn mean_square<S: Simd>(simd: S, decay: f32, w: &[f32], g: &mut [f32]) -> f32 {
    if decay != 0.0 {
        apply(simd, &Decay(decay), [&mut *g], [w]);
    }
    dot(simd, g, g) / g.len() as f32
}
