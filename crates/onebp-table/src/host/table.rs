//! A table in the memory of a CPU backend.

use super::{
    HostSparse,
    ahead::prefetch,
    catalogue,
    crew::{Crew, RowWork},
    follow::Following,
    lent::{Lent, Strided},
    memory::Memory,
    narrow::{narrow, vectors_mut},
    shared::Rows,
    simd::{Add, apply, dot},
    state::{Narrow, Open, State, view},
    sum::{Gradients, sum, sum_narrow},
};
use crate::{
    Aggregation, Batch, CatalogueLoss, Embedding, Error, Hardness, Optimizer, Rule, Table, TableState, Touched,
    hardest::log_weight, optimizer::adam::Schedule, portable::ids,
};
use burn::tensor::{Device, Tensor};
use pulp::Simd;
use std::ops::Range;

/// Bytes of a table that is likely to stay in the caches.
const CACHED: usize = 8 << 20;

/// A table of `burn-ndarray` or `burn-flex`, worked on in place.
pub struct HostTable {
    pub(super) weights: Memory,
    pub(super) state: Option<State>,
    optimizer: Option<Optimizer>,
    shape: [usize; 2],
    /// Whether the table is larger than the caches: then rows are asked for before they are needed, which costs more than
    /// it brings where they are near, and moved while they are at hand. The bytes are the same.
    pub(super) far: bool,
    /// Rows that are late, by their index in [`Touched`].
    late: Vec<u32>,
    /// Who works on the rows.
    pub(super) crew: Crew,
    device: Device,
}

impl HostTable {
    /// Width of a row.
    pub fn dim(&self) -> usize {
        self.shape[1]
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// From now on silent steps are replayed, also where they have a closed form: for rows that something follows step by step.
    pub(super) fn replay(&mut self) {
        if let Some(State { schedule: Some(schedule), .. }) = &mut self.state {
            schedule.replay();
        }
    }

    /// [`Embedding::settle`]; where lone rows are settled while they are `at_hand` later, of the others.
    pub(super) fn settle_late(&mut self, touched: &Touched, at_hand: bool) {
        struct Settle<'a> {
            touched: &'a Touched,
            late: &'a [u32],
            weights: Rows<'a>,
            state: Open<'a>,
            /// Whether rows come from beyond the caches.
            far: bool,
        }
        impl RowWork for Settle<'_> {
            #[inline(always)]
            fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
                let late = &self.late[range];
                for (index, &q) in late.iter().enumerate() {
                    if let (true, Some(&next)) = (self.far, late.get(index + 1)) {
                        let next = self.touched.rows[next as usize] as usize;
                        self.weights.prefetch(next);
                        self.state.prefetch(next);
                    }
                    let row = self.touched.rows[q as usize] as usize;
                    // SAFETY: rows are distinct.
                    unsafe { self.state.settle(simd, row, self.weights.row(row), scratch) };
                }
            }
        }
        let [_, dim] = self.shape;
        let Some(state) = &mut self.state else { return };
        if state.time.is_empty() {
            return;
        }
        self.late.clear();
        self.late.extend((0..touched.len() as u32).filter(|&q| {
            state.time[touched.rows[q as usize] as usize] < state.step && !(at_hand && touched.is_lone(q as usize))
        }));
        if self.late.is_empty() {
            return;
        }
        let weights = Rows::new(self.weights.as_mut_slice(), dim);
        let work = Settle { touched, late: &self.late, weights, state: state.open(), far: self.far };
        self.crew.for_rows(self.late.len(), dim, 1, &work);
    }

    /// Counts a step whose rows have all been moved.
    pub(super) fn finish_step(&mut self) {
        if let Some(state) = &mut self.state {
            state.step += 1;
        }
    }

    /// Rows to be read and moved by several threads, each row by one, in one step.
    pub(super) fn open(&mut self) -> (Rows<'_>, Option<Open<'_>>) {
        (Rows::new(self.weights.as_mut_slice(), self.shape[1]), self.state.as_mut().map(State::open))
    }
}

/// A step of distinct rows along the sums of their places' gradients.
pub struct Step<'a, G> {
    /// Rows of the batch; they must be settled.
    pub touched: &'a Touched,
    /// Which of them move, by their index there; all where nothing is said.
    pub moving: Option<&'a [u32]>,
    /// The table.
    pub weights: &'a Rows<'a>,
    /// Its optimizer.
    pub state: &'a Open<'a>,
    /// Where gradients come from.
    pub gradients: &'a G,
    /// Whether rows come from beyond the caches.
    pub far: bool,
    /// Width of a row.
    pub dim: usize,
}

impl<G> Step<'_, G> {
    /// Number of rows that move.
    pub fn len(&self) -> usize {
        self.moving.map_or(self.touched.len(), <[u32]>::len)
    }

    /// The `index`-th row that moves, by its index in the batch.
    #[inline(always)]
    fn row(&self, index: usize) -> usize {
        match self.moving {
            Some(moving) => moving[index] as usize,
            None => index,
        }
    }
}

impl<G: Gradients> Step<'_, G> {
    /// [`Step::run`] of V vectors, in the caches, of all rows.
    #[inline(always)]
    fn run_narrow<S: Simd, const V: usize>(&self, simd: S, range: Range<usize>, state: &Narrow<'_>) {
        let touched = self.touched;
        let rows = touched.rows[range.clone()].iter().zip(&touched.rest[range.clone()]);
        for ((&row, &rest), bounds) in rows.zip(touched.starts[range.start..=range.end].windows(2)) {
            let places = &touched.places[bounds[0] as usize..bounds[1] as usize];
            // SAFETY: rows are distinct, and V vectors long, as gradients are.
            unsafe {
                let g = sum_narrow::<S, V>(simd, places, self.gradients);
                let w = vectors_mut::<S, V>(self.weights.row(row as usize));
                state.advance(simd, (row as usize, rest), w, &g);
            }
        }
    }
}

impl<G: Gradients> RowWork for Step<'_, G> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        if let (false, None, Some(narrow)) = (self.far, self.moving, self.state.narrow())
            && !self.gradients.have_own()
        {
            narrow!(S, self.dim, self.run_narrow(simd, range, &narrow));
        }
        let g = &mut scratch[..self.dim];
        for index in range.clone() {
            let q = self.row(index);
            if self.far && index + 1 < range.end {
                let next = self.row(index + 1);
                let row = self.touched.rows[next] as usize;
                prefetch(self.gradients.of(self.touched.places(next)[0] as usize).1);
                self.weights.prefetch(row);
                self.state.prefetch(row);
            }
            let (row, rest) = (self.touched.rows[q] as usize, self.touched.rest[q]);
            let places = self.touched.places(q);
            // SAFETY: rows are distinct.
            let w = unsafe { self.weights.row(row) };
            let own = self.gradients.own(places);
            if own != 0.0 {
                sum(simd, places, self.gradients, g);
                apply(simd, &Add(own), [&mut *g], [&*w]);
                // SAFETY: rows are distinct.
                unsafe { self.state.advance_along_sum(simd, row, rest, w, g, []) };
                continue;
            }
            // SAFETY: rows are distinct.
            unsafe { self.state.advance(simd, (row, rest), w, (places, self.gradients), g) };
        }
    }
}

/// Rows of a gradient tensor, one for each place.
struct OfPlaces<'a> {
    rows: Strided<'a>,
    dim: usize,
}

impl Gradients for OfPlaces<'_> {
    #[inline(always)]
    fn of(&self, place: usize) -> (f32, &[f32]) {
        (1.0, self.rows.row(place, 0, self.dim))
    }
}

impl Embedding for HostTable {
    type Sparse = HostSparse;

    fn new(table: &Table, optimizer: Option<&Optimizer>, device: &Device) -> Result<Self, Error> {
        let shape = [table.rows, table.dim];
        optimizer.map_or(Ok(()), |optimizer| optimizer.check(table.dim))?;
        Ok(Self {
            weights: Memory::new(&table.values, shape, device)?,
            state: optimizer.map(|optimizer| State::new(optimizer, shape, device)).transpose()?,
            optimizer: optimizer.copied(),
            shape,
            far: size_of_val(table.values.as_slice()) > CACHED,
            late: Vec::new(),
            crew: Crew::all(),
            device: device.clone().without_autodiff(),
        })
    }

    fn whole(&mut self, all: &Touched) -> Result<Tensor<2>, Error> {
        self.settle(all)?;
        Ok(self.weights.tensor())
    }

    fn settle(&mut self, touched: &Touched) -> Result<(), Error> {
        self.settle_late(touched, false);
        Ok(())
    }

    fn gather(&mut self, touched: &Touched, rows: &[u32]) -> Result<Tensor<2>, Error> {
        self.settle(touched)?;
        Ok(self.weights.tensor().select(0, ids(rows, &self.device)))
    }

    fn update(&mut self, touched: &Touched, gradients: Tensor<2>) -> Result<(), Error> {
        let (crew, dim, far) = (self.crew, self.dim(), self.far);
        let lent = Lent::new(&gradients, &self.device)?;
        let rows = lent.rows();
        let (weights, Some(state)) = self.open() else {
            return Err(Error::Execution("the table has no optimizer".into()));
        };
        let gradients = &OfPlaces { rows, dim };
        let step = Step { touched, moving: None, weights: &weights, state: &state, gradients, far, dim };
        crew.for_rows(step.len(), dim, 1, &step);
        self.finish_step();
        Ok(())
    }

    fn aggregate(
        &mut self,
        touched: &Touched,
        aggregation: &Aggregation,
        other: &mut Self,
        towards: &[u32],
    ) -> Result<(), Error> {
        let (crew, dim, far) = (self.crew, self.dim(), self.far || other.far);
        let rows = Rows::new(self.weights.as_mut_slice(), dim);
        let work = Following::new((touched, rows), aggregation, (other.weights.as_slice(), towards), dim, far);
        crew.for_rows(touched.len(), dim, 1, &work);
        Ok(())
    }

    fn keys(&mut self, users: &mut Self, batch: &Batch, hardness: Hardness) -> Result<Vec<f32>, Error> {
        struct Keys<'a> {
            batch: &'a Batch,
            users: &'a [f32],
            items: &'a [f32],
            hardness: Hardness,
            /// Whether items come from beyond the caches.
            far: bool,
            keys: Rows<'a>,
            /// Of an item.
            dim: usize,
            /// Of a user, who may have several vectors.
            width: usize,
        }
        impl RowWork for Keys<'_> {
            #[inline(always)]
            fn run<S: Simd>(&self, simd: S, range: Range<usize>, _: &mut [f32]) {
                let (width, touched) = (self.batch.width(), &self.batch.touched_users);
                let half = |row: &[f32]| 0.5 * dot(simd, row, row);
                let several = self.width > self.dim;
                let mut at = touched.starts[range.start] as usize;
                for q in range {
                    let user = &self.users[touched.rows[q] as usize * self.width..][..self.width];
                    for &place in touched.places(q) {
                        let place = place as usize;
                        // The places of a chunk follow each other.
                        at += 1;
                        if let (true, Some(&next)) = (self.far, touched.places.get(at)) {
                            for &item in &self.batch.items[next as usize * width..][..width] {
                                prefetch(&self.items[item as usize * self.dim..][..self.dim]);
                            }
                        }
                        // SAFETY: a row of the batch belongs to one user.
                        let keys = unsafe { self.keys.row(place) };
                        let items = &self.batch.items[place * width..];
                        let positive = &self.items[items[0] as usize * self.dim..][..self.dim];
                        let similar = self.hardness == Hardness::Similarity;
                        let length = if similar { dot(simd, positive, positive).sqrt() } else { 1.0 };
                        for (key, &item) in keys.iter_mut().zip(items) {
                            let item = &self.items[item as usize * self.dim..][..self.dim];
                            if similar {
                                let cosine = dot(simd, positive, item) / length / dot(simd, item, item).sqrt();
                                *key = log_weight(cosine, self.dim);
                                continue;
                            }
                            let closeness = self.hardness == Hardness::Closeness;
                            let of_item = if closeness { half(item) } else { 0.0 };
                            *key = f32::NEG_INFINITY;
                            for vector in user.chunks_exact(self.dim) {
                                let of_vector = if closeness && several { half(vector) } else { 0.0 };
                                let hardness = dot(simd, vector, item) - of_item - of_vector;
                                // What is not a number is taken, so that it shows.
                                if hardness > *key || hardness.is_nan() {
                                    *key = hardness;
                                }
                            }
                        }
                    }
                }
            }
        }
        users.settle(&batch.touched_users)?;
        self.settle(&batch.touched_items)?;
        let (dim, width) = (self.dim(), batch.width());
        let mut values = vec![0.0; batch.items.len()];
        let (user_rows, item_rows) = (users.weights.as_slice(), self.weights.as_slice());
        let keys = Rows::new(&mut values, width);
        let (user_dim, far) = (users.shape[1], self.far);
        let work = Keys { batch, users: user_rows, items: item_rows, hardness, far, keys, dim, width: user_dim };
        self.crew.for_rows(batch.touched_users.len(), user_dim, width, &work);
        Ok(values)
    }

    fn step_whole_users(
        &mut self,
        users: &mut Self,
        batch: &Batch,
        loss: &dyn CatalogueLoss,
    ) -> Result<Option<f64>, Error> {
        catalogue::step(users, self, batch, loss).map(Some)
    }

    fn view(&self) -> Result<Table, Error> {
        let [rows, dim] = self.shape;
        let mut table = Table { values: self.weights.as_slice().to_vec(), rows, dim };
        if let (Some(optimizer @ Optimizer { rule: Rule::Adam, .. }), Some(state)) = (&self.optimizer, &self.state)
            && let Some(schedule) = &state.schedule
        {
            let [m, v] = [0, 1].map(|k| state.matrices[k].0.as_slice());
            catch_up(&mut table, schedule, optimizer, [m, v], &state.time, state.step);
        }
        Ok(table)
    }

    fn state(&self) -> Result<TableState, Error> {
        let [rows, dim] = self.shape;
        let weights = Table { values: self.weights.as_slice().to_vec(), rows, dim };
        let (Some(optimizer), Some(state)) = (&self.optimizer, &self.state) else {
            return Ok(TableState { weights, ..TableState::default() });
        };
        let names = optimizer.rule.state().iter().map(|(name, _)| name.to_string());
        let matrices = state.matrices.iter().map(|(memory, width)| Table {
            values: memory.as_slice().to_vec(),
            rows,
            dim: *width,
        });
        Ok(TableState {
            weights,
            matrices: names.zip(matrices).collect(),
            time: state.time.clone(),
            step: state.step.into(),
        })
    }

    fn restore(&mut self, stored: &TableState) -> Result<(), Error> {
        stored.check(self.shape, self.optimizer.as_ref())?;
        self.weights.as_mut_slice().copy_from_slice(&stored.weights.values);
        if let (Some(optimizer), Some(state)) = (&self.optimizer, &mut self.state) {
            for ((name, _), (memory, _)) in optimizer.rule.state().iter().zip(&mut state.matrices) {
                memory.as_mut_slice().copy_from_slice(&stored.matrices[*name].values);
            }
            state.time.copy_from_slice(&stored.time);
            state.step = stored.step as u32;
        }
        Ok(())
    }
}

/// A stored table of dense Adam as it would be read now: every row caught up.
pub fn view_of(state: TableState, optimizer: &Optimizer) -> Table {
    let TableState { mut weights, matrices, time, step } = state;
    let schedule = Schedule::new(optimizer);
    if let [Some(m), Some(v)] = ["moment_1", "moment_2"].map(|name| matrices.get(name)) {
        catch_up(&mut weights, &schedule, optimizer, [&m.values, &v.values], &time, step as u32);
    }
    weights
}

/// Brings the rows of `table`, which stand at the steps `time` of dense Adam, to step `now`.
fn catch_up(
    table: &mut Table,
    schedule: &Schedule,
    optimizer: &Optimizer,
    moments: [&[f32]; 2],
    time: &[u32],
    now: u32,
) {
    struct View<'a> {
        schedule: &'a Schedule,
        optimizer: &'a Optimizer,
        rows: Rows<'a>,
        moments: [&'a [f32]; 2],
        time: &'a [u32],
        now: u32,
        dim: usize,
    }
    impl RowWork for View<'_> {
        #[inline(always)]
        fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
            let (m, scratch) = scratch.split_at_mut(self.dim);
            let (v, scratch) = scratch.split_at_mut(self.dim);
            for row in range {
                let time = self.time[row];
                if time != self.now {
                    let place = row * self.dim..(row + 1) * self.dim;
                    m.copy_from_slice(&self.moments[0][place.clone()]);
                    v.copy_from_slice(&self.moments[1][place]);
                    // SAFETY: rows are distinct.
                    let w = unsafe { self.rows.row(row) };
                    view(simd, self.schedule, self.optimizer, (time, self.now), w, [&mut *m, &mut *v], scratch);
                }
            }
        }
    }
    let (count, dim) = (table.rows, table.dim);
    let rows = Rows::new(&mut table.values, dim);
    let work = View { schedule, optimizer, rows, moments, time, now, dim };
    Crew::all().for_rows(count, dim, 1, &work);
}
