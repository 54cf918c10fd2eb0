//! The optimizer state of a table on the CPU, and the moves of its rows.

use super::{
    ahead::{Ahead, Coming, prefetch_at},
    memory::Memory,
    narrow::{each, vectors_mut},
    projection::{project, rest_projected},
    rules::{
        Adagrad, AdamStep, Descend, Gradient, SilentStep, StepAndTail, apply_along, followed_step, mean_square,
        rest_adam, step_adam, unrest_adam,
    },
    shared::Rows,
    simd::{Mix, Set, apply, apply_ahead},
    sum::{Gradients, sum},
};
use crate::{
    Error, Optimizer, Rule, Touched,
    optimizer::{
        ADAGRAD_EPSILON,
        adam::{Schedule, Way},
    },
};
use burn::tensor::Device;
use pulp::Simd;

/// Floats that are the beginning of a row.
const BEGINNING: usize = 128;

/// State of every row, `[rows]`.
pub struct State {
    optimizer: Optimizer,
    /// Steps and silent steps of Adam.
    pub schedule: Option<Schedule>,
    /// Matrices of [`Rule::state`].
    pub matrices: Vec<(Memory, usize)>,
    /// The step at which each row stands, for dense Adam; `[rows]`, else empty.
    pub time: Vec<u32>,
    /// Steps done.
    pub step: u32,
}

impl State {
    /// No step yet, for a table of this shape.
    pub fn new(optimizer: &Optimizer, [rows, dim]: [usize; 2], device: &Device) -> Result<Self, Error> {
        let matrix = |&(_, whole): &(&str, bool)| {
            let width = if whole { dim } else { 1 };
            Ok((Memory::new(&vec![0.0; rows * width], [rows, width], device)?, width))
        };
        Ok(Self {
            optimizer: *optimizer,
            schedule: matches!(optimizer.rule, Rule::Adam | Rule::LazyAdam).then(|| Schedule::new(optimizer)),
            matrices: optimizer.rule.state().iter().map(matrix).collect::<Result<_, Error>>()?,
            time: if optimizer.rule == Rule::Adam { vec![0; rows] } else { Vec::new() },
            step: 0,
        })
    }

    /// Opens the state for rows that are moved by several threads, each by one only.
    pub fn open(&mut self) -> Open<'_> {
        let mut matrices = self.matrices.iter_mut().map(|(memory, width)| Rows::new(memory.as_mut_slice(), *width));
        Open {
            optimizer: self.optimizer,
            schedule: self.schedule.as_ref(),
            matrices: std::array::from_fn(|_| matrices.next()),
            time: Rows::new(&mut self.time, 1),
            step: self.step,
            ways: std::array::from_fn(|rest| {
                let (schedule, now) = (self.schedule.as_ref()?, self.step + 1);
                Some(schedule.way(now, now + rest as u32, true))
            }),
        }
    }
}

/// A state opened for one step.
pub struct Open<'a> {
    optimizer: Optimizer,
    schedule: Option<&'a Schedule>,
    matrices: [Option<Rows<'a>>; 2],
    time: Rows<'a, u32>,
    step: u32,
    /// How a row gets over this step and the silent ones after it, by their number.
    ways: [Option<Way>; Touched::MOST_REST as usize + 1],
}

impl<'a> Open<'a> {
    /// For rows of a few vectors; nothing where the optimizer is not one of the two Adams, or rows are projected.
    pub fn narrow(&'a self) -> Option<Narrow<'a>> {
        let (Some(schedule), [Some(m), Some(v)], None) = (self.schedule, &self.matrices, &self.optimizer.projection)
        else {
            return None;
        };
        let (now, decay) = (self.step + 1, self.optimizer.weight_decay as f32);
        Some(Narrow {
            open: self,
            schedule,
            moments: [m, v],
            dense: self.optimizer.rule == Rule::Adam,
            step: AdamStep { correction: schedule.correction(now), decay },
        })
    }
}

/// A state of Adam or lazy Adam, opened for rows of a few vectors.
pub struct Narrow<'a> {
    open: &'a Open<'a>,
    schedule: &'a Schedule,
    moments: [&'a Rows<'a>; 2],
    /// Whether rows take silent steps.
    dense: bool,
    /// The step under way.
    step: AdamStep,
}

impl Narrow<'_> {
    /// [`Open::advance`] of row `row`, `w`, of V vectors, along `g`.
    ///
    /// # Safety
    /// As there; rows must be V vectors long.
    #[inline(always)]
    pub unsafe fn advance<S: Simd, const V: usize>(
        &self,
        simd: S,
        (row, rest): (usize, u32),
        w: &mut [S::f32s; V],
        g: &[S::f32s; V],
    ) {
        // SAFETY: by the caller's promise.
        let [m, v] = self.moments.map(|rows| unsafe { vectors_mut::<S, V>(rows.row(row)) });
        if !self.dense {
            return each(simd, &self.step, [w, m, v], [g]);
        }
        let now = self.open.step + 1;
        let last = now + rest;
        match self.open.ways.get(rest as usize) {
            Some(Some(Way::Tail(tail))) => each(simd, &StepAndTail(tail), [w, m, v], [g]),
            _ => {
                each(simd, &self.step, [&mut *w, &mut *m, &mut *v], [g]);
                for step in now + 1..=last {
                    let correction = self.schedule.correction(step);
                    each(simd, &SilentStep { correction, decay: self.step.decay }, [&mut *w, &mut *m, &mut *v], []);
                }
            }
        }
        // SAFETY: by the caller's promise.
        unsafe { self.open.time.row(row)[0] = last };
    }
}

impl Open<'_> {
    /// Whether row `row` may be late for the step under way.
    ///
    /// # Safety
    /// No other thread may be at this row.
    #[inline(always)]
    unsafe fn is_late(&self, row: usize) -> bool {
        // SAFETY: by the caller's promise.
        self.optimizer.rule == Rule::Adam && unsafe { self.time.read(row)[0] } < self.step
    }

    /// Brings row `row`, `w`, to the step before the one under way, over the silent steps since it was last moved. `scratch` is
    /// at least two rows long.
    ///
    /// # Safety
    /// No other thread may be at this row.
    #[inline(always)]
    pub unsafe fn settle<S: Simd>(&self, simd: S, row: usize, w: &mut [f32], scratch: &mut [f32]) {
        // Asked first: hardly any row is late.
        // SAFETY: by the caller's promise.
        if unsafe { !self.is_late(row) } {
            return;
        }
        let (Some(schedule), [Some(m), Some(v)]) = (self.schedule, &self.matrices) else { return };
        // SAFETY: by the caller's promise.
        let (time, m, v) = unsafe { (&mut self.time.row(row)[0], m.row(row), v.row(row)) };
        if self.optimizer.rests(*time) {
            return;
        }
        rest(simd, schedule, &self.optimizer, (*time, self.step), [w, m, v], scratch);
        *time = self.step;
    }

    /// Brings row `row`, `w`, from step `time` to the step before the one under way, one silent step after another, and with
    /// it `target`, which moves towards the row after each of them. Rows are not projected.
    ///
    /// # Safety
    /// No other thread may be at this row.
    #[inline(always)]
    pub unsafe fn settle_followed<S: Simd>(
        &self,
        simd: S,
        (row, time): (usize, u32),
        (w, target): (&mut [f32], &mut [f32]),
        mix: &Mix,
    ) {
        let (rule, decay) = (self.optimizer.rule, self.optimizer.weight_decay as f32);
        let steps = time + 1..=self.step;
        if let (Rule::Adam, Some(schedule), [Some(m), Some(v)]) = (rule, self.schedule, &self.matrices) {
            // SAFETY: by the caller's promise.
            let (stands, m, v) = unsafe { (&mut self.time.row(row)[0], m.row(row), v.row(row)) };
            if !self.optimizer.rests(*stands) {
                for step in steps {
                    followed_step(simd, schedule, decay, step, mix, [&mut *w, &mut *m, &mut *v, &mut *target]);
                }
                *stands = self.step;
                return;
            }
        }
        for _ in steps {
            apply(simd, mix, [&mut *target], [&*w]);
        }
    }

    /// The step before the one under way.
    pub fn last_step(&self) -> u32 {
        self.step
    }

    /// Asks the cache for the state of a row that will be moved soon, by whomever; of long rows for the beginning, which the
    /// hardware follows.
    #[inline(always)]
    pub fn prefetch(&self, row: usize) {
        for matrix in self.matrices.iter().flatten() {
            let (first, length) = matrix.place(row);
            prefetch_at(first, length.min(BEGINNING));
        }
    }

    /// `w`, of row `row`, and its state, to be asked for while another row is moved.
    #[inline(always)]
    pub fn ahead<S: Simd>(&self, w: Coming, row: usize) -> Ahead<3> {
        let mut ahead = [w; 3];
        for (ahead, matrix) in ahead[1..].iter_mut().zip(&self.matrices) {
            let Some(matrix) = matrix else { continue };
            match matrix.place(row) {
                (first, 1) => prefetch_at(first, 1),
                place => *ahead = Coming::row::<S>(place),
            }
        }
        ahead
    }

    /// Moves row `row`, `w`, along the sum of the gradients of its `places`, and over the `rest` silent steps that follow;
    /// where rows are projected, only projects it ([`Optimizer::ahead`]). The row must be settled. `scratch` is as long as the row.
    ///
    /// # Safety
    /// No other thread may be at this row.
    #[inline(always)]
    pub unsafe fn advance<S: Simd>(
        &self,
        simd: S,
        (row, rest): (usize, u32),
        w: &mut [f32],
        (places, gradients): (&[u32], &impl Gradients),
        scratch: &mut [f32],
    ) {
        match *places {
            [place] => {
                // SAFETY: by the caller's promise.
                unsafe { self.advance_along_one(simd, (row, rest), w, gradients.of(place as usize), scratch, []) };
            }
            [first, second] if self.optimizer.rule != Rule::RowwiseAdagrad => {
                let ((a, x), (b, y)) = (gradients.of(first as usize), gradients.of(second as usize));
                // SAFETY: by the caller's promise.
                unsafe { self.advance_along(simd, row, rest, w, &Gradient::Two([a, b], [x, y]), []) };
            }
            _ => {
                sum(simd, places, gradients, scratch);
                // SAFETY: by the caller's promise.
                unsafe { self.advance_along_sum(simd, row, rest, w, scratch, []) };
            }
        }
    }

    /// [`Open::advance`] along factor * vector.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn advance_along_one<S: Simd, const P: usize>(
        &self,
        simd: S,
        (row, rest): (usize, u32),
        w: &mut [f32],
        (factor, vector): (f32, &[f32]),
        scratch: &mut [f32],
        ahead: Ahead<P>,
    ) {
        if self.optimizer.rule == Rule::RowwiseAdagrad {
            apply(simd, &Set(factor), [&mut *scratch], [vector]);
            // SAFETY: by the caller's promise.
            unsafe { self.advance_along_sum(simd, row, rest, w, scratch, ahead) };
        } else {
            // SAFETY: by the caller's promise.
            unsafe { self.advance_along(simd, row, rest, w, &Gradient::One(factor, vector), ahead) };
        }
    }

    /// [`Open::advance`] along a gradient that is summed already, which is scratch afterwards.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn advance_along_sum<S: Simd, const P: usize>(
        &self,
        simd: S,
        row: usize,
        rest: u32,
        w: &mut [f32],
        g: &mut [f32],
        ahead: Ahead<P>,
    ) {
        let decay = self.optimizer.weight_decay as f32;
        match (self.optimizer.rule, &self.matrices[0]) {
            (Rule::RowwiseAdagrad, Some(sums)) => {
                // SAFETY: by the caller's promise.
                let sum = &mut unsafe { sums.row(row) }[0];
                *sum += mean_square(simd, decay, w, g);
                let rate = self.optimizer.learning_rate as f32 / (sum.sqrt() + ADAGRAD_EPSILON as f32);
                apply_ahead(simd, &Descend { rate, decay: 0.0 }, [&mut *w], [g], ahead);
                self.project(simd, w);
            }
            // SAFETY: by the caller's promise.
            _ => unsafe { self.advance_along(simd, row, rest, w, &Gradient::Sum(g), ahead) },
        }
    }

    /// Projects a row that has been moved, where rows are.
    #[inline(always)]
    fn project<S: Simd>(&self, simd: S, w: &mut [f32]) {
        if let Some(projection) = &self.optimizer.projection {
            project(simd, projection, w);
        }
    }

    #[inline(always)]
    unsafe fn advance_along<S: Simd, const P: usize>(
        &self,
        simd: S,
        row: usize,
        rest: u32,
        w: &mut [f32],
        g: &Gradient,
        ahead: Ahead<P>,
    ) {
        let (rate, decay) = (self.optimizer.learning_rate as f32, self.optimizer.weight_decay as f32);
        let now = self.step + 1;
        // SAFETY: by the caller's promise.
        let matrix = |k: usize| self.matrices[k].as_ref().map(|rows| unsafe { rows.row(row) });
        match (self.optimizer.rule, self.schedule, matrix(0), matrix(1)) {
            (Rule::Adam, Some(schedule), Some(m), Some(v)) => {
                let rest = self.optimizer.ahead(rest);
                let known = self.ways.get(rest as usize).copied().flatten();
                let way = known.unwrap_or_else(|| schedule.way(now, now + rest, true));
                step_adam(simd, schedule, decay, &way, [&mut *w, m, v], g, ahead);
                // SAFETY: by the caller's promise.
                unsafe { self.time.row(row)[0] = now + rest };
            }
            (Rule::LazyAdam, Some(schedule), Some(m), Some(v)) => {
                apply_along(simd, &AdamStep { correction: schedule.correction(now), decay }, [&mut *w, m, v], g, ahead);
            }
            (Rule::Adagrad, _, Some(sum), _) => apply_along(simd, &Adagrad { rate, decay }, [&mut *w, sum], g, ahead),
            _ => apply_along(simd, &Descend { rate, decay }, [&mut *w], g, ahead),
        }
        self.project(simd, w);
    }
}

/// Silent steps `time + 1 ..= now`, at least one, of a row.
#[inline(always)]
fn rest<S: Simd>(
    simd: S,
    schedule: &Schedule,
    optimizer: &Optimizer,
    (time, now): (u32, u32),
    [w, m, v]: [&mut [f32]; 3],
    scratch: &mut [f32],
) {
    let decay = optimizer.weight_decay as f32;
    match (&optimizer.projection, optimizer.drifts(time)) {
        (None, true) => rest_adam(simd, schedule, decay, &schedule.way(time, now, false), [w, m, v]),
        (None, false) => {}
        (Some(projection), true) => {
            rest_projected(simd, schedule, (decay, projection), (time, now), [w, m, v], scratch);
        }
        // Once is as good as at every step.
        (Some(projection), false) => project(simd, projection, w),
    }
}

/// One row of a table whose rows stand at different steps, as it is at step `now`. `scratch` is at least two rows long.
#[inline(always)]
pub fn view<S: Simd>(
    simd: S,
    schedule: &Schedule,
    optimizer: &Optimizer,
    (time, now): (u32, u32),
    w: &mut [f32],
    moments: [&mut [f32]; 2],
    scratch: &mut [f32],
) {
    let [m, v] = moments;
    if time < now {
        rest(simd, schedule, optimizer, (time, now), [w, m, v], scratch);
    } else if time > now {
        let decay = optimizer.weight_decay as f32;
        unrest_adam(simd, schedule, decay, &schedule.way(now, time, false), w, [m, v]);
    }
}
