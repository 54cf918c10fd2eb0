//! The launches that move rows of a table: settling, steps, the moving aggregation; projections follow in
//! [`super::projection`].
//!
//! Each has two halves: `plan_..` adds what its kernel needs to the plan of a step, `launch_..` runs it once the plan is on
//! the device.

use super::{
    CubeTable,
    gpu::{Buffer, Traffic, failed},
    kernels::{
        follow::{FollowHead, follow},
        rows::settle,
        squares::squares,
        update::{Source, UpdateHead, update},
    },
    parts::{Parts, Target, launch_read},
    plan::{Groups, Plan},
    state::State,
};
use crate::{Aggregation, Error, Rule, Touched};
use cubecl::prelude::CubeDim;

const NO_OPTIMIZER: &str = "the table has no optimizer";

/// Late rows in a plan.
pub(super) struct Settling {
    head: u32,
    count: usize,
    /// The most silent steps of any of them, where these are replayed.
    longest: u32,
}

/// Where the gradients of a step come from.
pub(super) struct Gradients<'a> {
    pub source: Source,
    /// Factors of places; any buffer where gradients are a tensor.
    pub factors: &'a Buffer,
    /// The other table, or the gradient tensor.
    pub others: &'a Parts,
    /// Rows of `others` that all places together read.
    pub reads: usize,
}

impl CubeTable {
    /// Adds the touched rows that are late to a plan, whose next head says so.
    ///
    /// # Errors
    /// [`Error::Execution`] where a row does not exist.
    pub(super) fn plan_settling(&mut self, touched: &Touched, plan: &mut Plan) -> Result<Settling, Error> {
        self.late.clear();
        if let Some(state) = &mut self.state {
            // Before the clock looks them up.
            plan.check(&touched.rows, self.shape[0])?;
            state.clock.settle(touched, &mut self.late, &mut self.ways);
        }
        let count = self.late.len();
        if count == 0 {
            plan.skip();
            return Ok(Settling { head: 0, count, longest: 0 });
        }
        let rows = plan.ids(&self.late, self.shape[0])?;
        let (ways, way_of) = (plan.words(&self.ways.words), plan.words(&self.ways.of));
        let longest = self.ways.longest();
        Ok(Settling { head: plan.head([count as u32, rows, ways, way_of]), count, longest })
    }

    /// Settles late rows.
    ///
    /// # Errors
    /// [`Error::Device`] where the device has no room.
    pub(super) fn launch_settling(&mut self, plan: &Buffer, settling: &Settling) -> Result<(), Error> {
        let moments = self.state.as_ref().and_then(State::moments);
        let (Some(moments), true) = (moments, settling.count > 0) else { return Ok(()) };
        if moments.projection.is_some() {
            return self.launch_holding((plan, settling.head, settling.count), Some(settling.longest));
        }
        for seen in self.weights.windows(&self.gpu, &self.weights) {
            let (cubes, dim) = self.gpu.flat(settling.count * seen.width());
            // SAFETY: ids were checked when they were planned; windows lie within their matrices.
            unsafe {
                settle::launch_unchecked(
                    &self.gpu.client,
                    cubes,
                    dim,
                    seen.vector,
                    plan.arg(1),
                    seen.other.arg(seen.vector),
                    moments.first.buffers[seen.part].arg(seen.vector),
                    moments.second.buffers[seen.part].arg(seen.vector),
                    moments.corrections.arg(1),
                    seen.window(),
                    settling.head,
                    moments.decay,
                );
            }
            self.traffic.launches += 1;
        }
        self.traffic.bytes_touched += self.bytes(6 * settling.count);
        Ok(())
    }

    /// Adds a step of the optimizer to a plan, whose next head it takes, and counts it. `others` is the section of rows of
    /// the other table, of which every place has `factors`, and every row `divisor` factors.
    ///
    /// # Errors
    /// [`Error::Execution`] where the table has no optimizer.
    pub(super) fn plan_update(
        &mut self,
        touched: &Touched,
        groups: Groups,
        (others, factors, divisor): (u32, u32, u32),
        plan: &mut Plan,
    ) -> Result<u32, Error> {
        let state = self.state.as_mut().ok_or_else(|| failed(NO_OPTIMIZER))?;
        state.clock.advance(touched, &mut self.ways);
        let (ways, way_of) = (plan.words(&self.ways.words), plan.words(&self.ways.of));
        let Groups { count, rows, starts, places } = groups;
        let head = UpdateHead { count, rows, starts, places, ways, way_of, others, factors, divisor };
        Ok(plan.head(head.words()))
    }

    /// One step of the optimizer on the `count` distinct rows of a plan, which are projected. With `staged`, new rows go
    /// there, `[Q, d]`, and are to be projected once they are in the table.
    ///
    /// # Errors
    /// [`Error::Execution`] where the table has no optimizer.
    pub(super) fn launch_update(
        &mut self,
        (plan, head, count): (&Buffer, u32, usize),
        gradients: &Gradients,
        staged: Option<&Parts>,
    ) -> Result<(), Error> {
        if count == 0 {
            return Ok(());
        }
        let rule = self.state.as_ref().ok_or_else(|| failed(NO_OPTIMIZER))?.optimizer.rule;
        if rule == Rule::RowwiseAdagrad {
            self.launch_squares((plan, head, count), gradients)?;
        }
        let state = self.state.as_ref().ok_or_else(|| failed(NO_OPTIMIZER))?;
        let table = state.narrow().unwrap_or(&state.corrections);
        let wide: Vec<&Parts> = state.wide().collect();
        for seen in self.weights.windows(&self.gpu, gradients.others) {
            let (cubes, dim) = self.gpu.flat(count * seen.width());
            let matrix = |k: usize| wide.get(k).map_or(&self.unused, |parts| &parts.buffers[seen.part]);
            // SAFETY: ids were checked when they were planned; windows lie within their matrices; factors are as many as
            // the plan says, and `staged` has room for `count` rows.
            unsafe {
                update::launch_unchecked(
                    &self.gpu.client,
                    cubes,
                    dim,
                    seen.vector,
                    plan.arg(1),
                    gradients.factors.arg(1),
                    seen.other.arg(seen.vector),
                    self.weights.buffers[seen.part].arg(seen.vector),
                    matrix(0).arg(seen.vector),
                    matrix(1).arg(seen.vector),
                    table.arg(1),
                    staged.map_or(&self.unused, |staged| &staged.buffers[seen.part]).arg(seen.vector),
                    seen.window(),
                    head,
                    state.optimizer.learning_rate as f32,
                    state.decay(),
                    rule,
                    gradients.source,
                    staged.is_some(),
                );
            }
            self.traffic.launches += 1;
        }
        let matrices = 2 + 2 * wide.len();
        self.traffic.bytes_touched += self.bytes(matrices * count + gradients.reads);
        if staged.is_none() { self.launch_holding((plan, head, count), None) } else { Ok(()) }
    }

    /// Adds the mean squares of the gradients of the `count` distinct rows of a plan to their accumulators.
    ///
    /// # Errors
    /// [`Error::Device`] where the device has no room.
    fn launch_squares(
        &mut self,
        (plan, head, count): (&Buffer, u32, usize),
        gradients: &Gradients,
    ) -> Result<(), Error> {
        let found = self.squares.room(&self.gpu, count)?;
        let decay = self.state.as_ref().map_or(0.0, State::decay);
        let narrow = self.state.as_ref().and_then(State::narrow).unwrap_or(&self.unused);
        let lanes = self.gpu.lanes(count);
        for seen in self.weights.windows(&self.gpu, gradients.others) {
            // SAFETY: as for `update`; `found` has room for `count` squares.
            unsafe {
                squares::launch_unchecked(
                    &self.gpu.client,
                    self.gpu.cubes(count.div_ceil(lanes.groups)),
                    CubeDim::new_2d(lanes.width as u32, lanes.groups as u32),
                    seen.vector,
                    plan.arg(1),
                    gradients.factors.arg(1),
                    seen.other.arg(seen.vector),
                    self.weights.buffers[seen.part].arg(seen.vector),
                    found.arg(1),
                    narrow.arg(1),
                    seen.window(),
                    head,
                    decay,
                    self.shape[1] as f32,
                    gradients.source,
                    lanes,
                    seen.first,
                    seen.last,
                );
            }
            self.traffic.launches += 1;
        }
        self.traffic.bytes_touched += self.bytes(count + gradients.reads);
        Ok(())
    }

    /// Adds a moving aggregation to a plan, whose next head it takes. `others` is the section of rows of the other table:
    /// place p follows number `p * step`.
    pub(super) fn plan_following(
        &self,
        touched: &Touched,
        groups: Groups,
        aggregation: &Aggregation,
        (others, step): (u32, u32),
        plan: &mut Plan,
    ) -> u32 {
        let keep = plan.floats((0..touched.len()).map(|q| aggregation.keep(touched.places(q).len())));
        let weights = plan.floats((0..touched.len()).flat_map(|q| {
            let times = touched.places(q).len();
            (0..times).map(move |which| aggregation.weight(which, times))
        }));
        let Groups { count, rows, starts, places } = groups;
        plan.head(FollowHead { count, rows, starts, places, keep, weights, others, step }.words())
    }

    /// Moves the `count` distinct rows of a plan towards the rows of `others` at their `reads` places.
    pub(super) fn launch_following(
        &mut self,
        (plan, head, count): (&Buffer, u32, usize),
        others: &Parts,
        reads: usize,
    ) {
        if count == 0 {
            return;
        }
        for seen in self.weights.windows(&self.gpu, others) {
            let (cubes, dim) = self.gpu.flat(count * seen.width());
            // SAFETY: ids were checked when they were planned; windows lie within their matrices.
            unsafe {
                follow::launch_unchecked(
                    &self.gpu.client,
                    cubes,
                    dim,
                    seen.vector,
                    plan.arg(1),
                    seen.other.arg(seen.vector),
                    self.weights.buffers[seen.part].arg(seen.vector),
                    seen.window(),
                    head,
                );
            }
            self.traffic.launches += 1;
        }
        self.traffic.bytes_touched += self.bytes(2 * count + reads);
    }

    /// Adds the reading of rows as they are after the last step to a plan, whose next head it takes; where any of them has
    /// to be caught up, also says over how many steps at most one by one.
    ///
    /// # Errors
    /// [`Error::Execution`] where a row does not exist.
    pub(super) fn plan_reading(&self, rows: &[u32], plan: &mut Plan) -> Result<(u32, Option<u32>), Error> {
        let ids = plan.ids(rows, self.shape[0])?;
        let ways = self.state.as_ref().and_then(|state| state.clock.view(rows.iter().copied()));
        let (words, of) = match &ways {
            Some(ways) => (plan.words(&ways.words), plan.words(&ways.of)),
            None => (0, 0),
        };
        Ok((plan.head([rows.len() as u32, ids, words, of]), ways.map(|ways| ways.longest())))
    }

    /// Launches the reading of `count` rows of a plan into `target`, as they are after the last step; head and ways as
    /// planned by the caller.
    ///
    /// # Errors
    /// [`Error::Device`] where the device has no room.
    pub(super) fn launch_reading(
        &self,
        plan: (&Buffer, u32, usize),
        caught_up: Option<u32>,
        target: &Target,
        traffic: &mut Traffic,
    ) -> Result<(), Error> {
        let late = caught_up.and_then(|longest| Some((self.state.as_ref()?.moments()?, longest)));
        let late = late.as_ref().map(|(moments, longest)| (moments, *longest));
        launch_read(&self.gpu, &self.weights, plan, late, target, traffic)
    }
}
