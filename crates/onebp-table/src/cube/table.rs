//! A table on a device, and the launches that move its rows.

use super::{
    clock::{Clock, Ways},
    gpu::{Buffer, Gpu, Limits, Scratch, Traffic, failed},
    kernels::{
        follow::{FollowHead, follow},
        rows::{project, settle},
        squares::{What, squares},
        update::{Source, UpdateHead, update},
    },
    plan::{Groups, Plan},
    shards::{Moments, Parts, Target, download, launch_read},
};
use crate::{Aggregation, Embedding, Error, Optimizer, Projection, Rule, Table, TableState, Touched};
use burn::tensor::{Device, Tensor};

/// A table of a CubeCL device, worked on in place.
pub struct CubeTable {
    pub(super) gpu: Gpu,
    shape: [usize; 2],
    pub(super) weights: Parts,
    pub(super) state: Option<State>,
    plan: Plan,
    late: Vec<u32>,
    ways: Ways,
    squares: Scratch,
    pub(super) traffic: Traffic,
    /// Bound where a kernel of some rule has no use for an argument.
    pub(super) unused: Buffer,
}

const NO_OPTIMIZER: &str = "the table has no optimizer";

/// The state of an optimizer.
pub(super) struct State {
    pub optimizer: Optimizer,
    pub clock: Clock,
    /// Matrices as wide as the table.
    wide: Vec<Parts>,
    /// A number for each row: the accumulators of row-wise Adagrad.
    narrow: Option<Buffer>,
    /// Adam's bias corrections.
    corrections: Buffer,
}

/// Late rows in a plan.
pub(super) struct Settling {
    head: u32,
    count: usize,
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
    /// As [`Embedding::new`], on a device that is treated as if it could less.
    ///
    /// # Errors
    /// As [`Embedding::new`].
    pub fn with_limits(
        table: &Table,
        optimizer: Option<&Optimizer>,
        device: &Device,
        limits: Limits,
    ) -> Result<Self, Error> {
        let gpu = Gpu::new(device, limits)?;
        let shape = [table.rows, table.dim];
        let mut traffic = Traffic::default();
        let weights = Parts::room(&gpu, shape)?;
        weights.write(&gpu, table, &mut traffic)?;
        let state = optimizer.map(|optimizer| State::new(&gpu, optimizer, shape, &mut traffic)).transpose()?;
        Ok(Self {
            unused: gpu.zeros(1, &mut traffic)?,
            gpu,
            shape,
            weights,
            state,
            plan: Plan::default(),
            late: Vec::new(),
            ways: Ways::default(),
            squares: Scratch::default(),
            traffic: Traffic::default(),
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// Width of a row.
    pub fn dim(&self) -> usize {
        self.shape[1]
    }

    /// Number of buffers that the rows are spread over.
    pub fn shards(&self) -> usize {
        self.weights.buffers.len()
    }

    /// What the device was asked for by this table since the last call.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

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
            return Ok(Settling { head: 0, count });
        }
        let rows = plan.ids(&self.late, self.shape[0])?;
        let (ways, way_of) = (plan.words(&self.ways.words), plan.words(&self.ways.of));
        Ok(Settling { head: plan.head([count as u32, rows, ways, way_of]), count })
    }

    /// Settles late rows.
    pub(super) fn launch_settling(&mut self, plan: &Buffer, settling: &Settling) {
        let (Some(state), true) = (&self.state, settling.count > 0) else { return };
        let [first, second] = [&state.wide[0], &state.wide[1]];
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
                    first.buffers[seen.part].arg(seen.vector),
                    second.buffers[seen.part].arg(seen.vector),
                    state.corrections.arg(1),
                    seen.window(),
                    settling.head,
                    state.optimizer.weight_decay as f32,
                );
            }
            self.traffic.launches += 1;
        }
        self.traffic.bytes_touched += self.bytes(6 * settling.count);
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

    /// One step of the optimizer on the `count` distinct rows of a plan. With `staged`, new rows go there, `[Q, d]`.
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
            self.launch_squares((plan, head, count), What::Gradient(gradients.source), gradients)?;
        }
        let state = self.state.as_ref().ok_or_else(|| failed(NO_OPTIMIZER))?;
        let optimizer = state.optimizer;
        let table = state.narrow.as_ref().unwrap_or(&state.corrections);
        for seen in self.weights.windows(&self.gpu, gradients.others) {
            let (cubes, dim) = self.gpu.flat(count * seen.width());
            let matrix = |k: usize| state.wide.get(k).map_or(&self.unused, |parts| &parts.buffers[seen.part]);
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
                    optimizer.learning_rate as f32,
                    optimizer.weight_decay as f32,
                    rule,
                    gradients.source,
                    staged.is_some(),
                );
            }
            self.traffic.launches += 1;
        }
        let matrices = 2 + 2 * state.wide.len();
        self.traffic.bytes_touched += self.bytes(matrices * count + gradients.reads);
        Ok(())
    }

    /// Squared norms of the `count` distinct rows of a plan, or of their gradients.
    ///
    /// # Errors
    /// [`Error::Device`] where the device has no room.
    fn launch_squares(
        &mut self,
        (plan, head, count): (&Buffer, u32, usize),
        what: What,
        gradients: &Gradients,
    ) -> Result<Buffer, Error> {
        let found = self.squares.room(&self.gpu, count)?;
        let decay = self.state.as_ref().map_or(0.0, |state| state.optimizer.weight_decay as f32);
        let narrow = self.state.as_ref().and_then(|state| state.narrow.as_ref()).unwrap_or(&self.unused);
        let lanes = self.gpu.lanes(count);
        for seen in self.weights.windows(&self.gpu, gradients.others) {
            // SAFETY: as for `update`; `found` has room for `count` squares.
            unsafe {
                squares::launch_unchecked(
                    &self.gpu.client,
                    self.gpu.cubes(count.div_ceil(lanes.groups)),
                    cubecl::prelude::CubeDim::new_2d(lanes.width as u32, lanes.groups as u32),
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
                    what,
                    lanes,
                    seen.first,
                    seen.last,
                );
            }
            self.traffic.launches += 1;
        }
        self.traffic.bytes_touched += self.bytes(count + gradients.reads);
        Ok(found)
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

    /// Launches the reading of `count` rows of a plan into `target`, as they are after the last step; head and ways as
    /// planned by the caller.
    pub(super) fn launch_reading(
        &self,
        plan: (&Buffer, u32, usize),
        caught_up: bool,
        target: &Target,
        traffic: &mut Traffic,
    ) {
        let moments = self.state.as_ref().filter(|_| caught_up).and_then(State::moments);
        launch_read(&self.gpu, &self.weights, plan, moments.as_ref(), target, traffic);
    }

    /// Bytes of `rows` rows.
    pub(super) fn bytes(&self, rows: usize) -> u64 {
        (rows * self.shape[1] * size_of::<f32>()) as u64
    }
}

impl State {
    fn new(gpu: &Gpu, optimizer: &Optimizer, [rows, dim]: [usize; 2], traffic: &mut Traffic) -> Result<Self, Error> {
        let clock = Clock::new(optimizer, rows);
        let matrices = optimizer.rule.state();
        let wide = matrices.iter().filter(|(_, whole)| *whole);
        let wide = wide.map(|_| Parts::zeros(gpu, [rows, dim], traffic)).collect::<Result<_, _>>()?;
        let narrow = matrices.iter().any(|(_, whole)| !whole).then(|| gpu.zeros(rows, traffic)).transpose()?;
        let corrections = gpu.upload(clock.corrections(), traffic)?;
        Ok(Self { optimizer: *optimizer, clock, wide, narrow, corrections })
    }

    fn moments(&self) -> Option<Moments<'_>> {
        match self.wide.as_slice() {
            [first, second] => Some(Moments {
                first,
                second,
                corrections: &self.corrections,
                decay: self.optimizer.weight_decay as f32,
            }),
            _ => None,
        }
    }
}

impl Embedding for CubeTable {
    fn new(table: &Table, optimizer: Option<&Optimizer>, device: &Device) -> Result<Self, Error> {
        Self::with_limits(table, optimizer, device, Limits::default())
    }

    fn gather(&mut self, touched: &Touched, rows: &[u32]) -> Result<Tensor<2>, Error> {
        let mut plan = std::mem::take(&mut self.plan);
        plan.begin();
        let settling = self.plan_settling(touched, &mut plan)?;
        let ids = plan.ids(rows, self.shape[0])?;
        let head = plan.head([rows.len() as u32, ids, 0, 0]);
        let sent = plan.send(&self.gpu, &mut self.traffic)?;
        self.plan = plan;
        self.launch_settling(&sent, &settling);
        let dim = self.shape[1];
        let out = self.gpu.temporary(rows.len() * dim)?;
        let target = Target { buffer: &out, row_step: dim, column_step: 1 };
        let mut traffic = Traffic::default();
        self.launch_reading((&sent, head, rows.len()), false, &target, &mut traffic);
        self.traffic = self.traffic.plus(traffic);
        Ok(self.gpu.tensor(out, [rows.len(), dim]))
    }

    fn update(&mut self, touched: &Touched, gradients: Tensor<2>) -> Result<(), Error> {
        let dims = gradients.dims();
        if dims != [touched.places.len(), self.shape[1]] {
            return Err(failed(format!("gradients {dims:?} for {} places", touched.places.len())));
        }
        let others = Parts::whole(self.gpu.buffer(gradients)?, self.shape[1]);
        let mut plan = std::mem::take(&mut self.plan);
        plan.begin();
        let groups = plan.groups(touched, self.shape[0], dims[0])?;
        let head = self.plan_update(touched, groups, (0, 1, 1), &mut plan)?;
        let sent = plan.send(&self.gpu, &mut self.traffic)?;
        self.plan = plan;
        let unused = self.unused.clone();
        let gradients = Gradients { source: Source::Tensor, factors: &unused, others: &others, reads: dims[0] };
        self.launch_update((&sent, head, touched.len()), &gradients, None)
    }

    fn aggregate(
        &mut self,
        touched: &Touched,
        aggregation: &Aggregation,
        other: &mut Self,
        towards: &[u32],
    ) -> Result<(), Error> {
        let mut plan = std::mem::take(&mut self.plan);
        plan.begin();
        let groups = plan.groups(touched, self.shape[0], towards.len())?;
        let others = plan.ids(towards, other.shape[0])?;
        let head = self.plan_following(touched, groups, aggregation, (others, 1), &mut plan);
        let sent = plan.send(&self.gpu, &mut self.traffic)?;
        self.plan = plan;
        self.launch_following((&sent, head, touched.len()), &other.weights, towards.len());
        Ok(())
    }

    fn project(&mut self, touched: &Touched, projection: Projection) -> Result<(), Error> {
        if touched.is_empty() {
            return Ok(());
        }
        let mut plan = std::mem::take(&mut self.plan);
        plan.begin();
        let rows = plan.ids(&touched.rows, self.shape[0])?;
        let head = plan.head([touched.len() as u32, rows]);
        let sent = plan.send(&self.gpu, &mut self.traffic)?;
        self.plan = plan;
        let (weights, unused, count) = (self.weights.clone(), self.unused.clone(), touched.len());
        let none = Gradients { source: Source::Tensor, factors: &unused, others: &weights, reads: 0 };
        let found = self.launch_squares((&sent, head, count), What::Row, &none)?;
        for seen in weights.windows(&self.gpu, &weights) {
            let (cubes, dim) = self.gpu.flat(count * seen.width());
            // SAFETY: ids were checked when they were planned; windows lie within their matrices.
            unsafe {
                project::launch_unchecked(
                    &self.gpu.client,
                    cubes,
                    dim,
                    seen.vector,
                    sent.arg(1),
                    found.arg(1),
                    seen.other.arg(seen.vector),
                    seen.window(),
                    head,
                    projection == Projection::Ball,
                );
            }
            self.traffic.launches += 1;
        }
        self.traffic.bytes_touched += self.bytes(2 * count);
        Ok(())
    }

    fn view(&self) -> Result<Table, Error> {
        download(&self.gpu, &self.weights, self.shape, |rows| {
            let state = self.state.as_ref()?;
            Some((state.clock.view(rows)?, state.moments()?))
        })
    }

    fn state(&self) -> Result<TableState, Error> {
        let raw = |parts: &Parts| download(&self.gpu, parts, self.shape, |_| None);
        let mut stored = TableState { weights: raw(&self.weights)?, ..TableState::default() };
        let Some(state) = &self.state else { return Ok(stored) };
        let mut wide = state.wide.iter();
        for &(name, whole) in state.optimizer.rule.state() {
            let table = match (whole, &state.narrow) {
                (true, _) => raw(wide.next().ok_or_else(|| failed("a matrix is missing"))?)?,
                (false, Some(buffer)) => {
                    let mut values = vec![0.0; self.shape[0]];
                    self.gpu.read(buffer, 0, &mut values)?;
                    Table { values, rows: self.shape[0], dim: 1 }
                }
                (false, None) => return Err(failed("a matrix is missing")),
            };
            stored.matrices.insert(name.into(), table);
        }
        stored.time = state.clock.time.clone();
        stored.step = state.clock.step.into();
        Ok(stored)
    }

    fn restore(&mut self, stored: &TableState) -> Result<(), Error> {
        stored.check(self.shape, self.state.as_ref().map(|state| &state.optimizer))?;
        self.weights.write(&self.gpu, &stored.weights, &mut self.traffic)?;
        let Some(state) = &mut self.state else { return Ok(()) };
        let mut wide = state.wide.iter();
        for &(name, whole) in state.optimizer.rule.state() {
            let table = &stored.matrices[name];
            match (whole, wide.next(), &state.narrow) {
                (true, Some(parts), _) => parts.write(&self.gpu, table, &mut self.traffic)?,
                (_, _, Some(buffer)) => self.gpu.write(buffer, table.values.clone(), &mut self.traffic)?,
                _ => return Err(failed("a matrix is missing")),
            }
        }
        state.clock.time.copy_from_slice(&stored.time);
        state.clock.step = stored.step as u32;
        Ok(())
    }
}
