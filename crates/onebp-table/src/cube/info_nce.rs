//! The fused step on a device, in a handful of launches:
//!
//! 1. **Settle** (only where rows are late): both tables' touched rows get to the last step.
//! 2. **Scores**: dot products, softmax, row losses and factors, one cube for each row of the batch.
//! 3. **Items**: gradient sums and the optimizer, every element of every distinct item on its own.
//! 4. **Following**: the moving aggregation of the rows that follow.
//!
//! Where users learn, their new rows are staged before pass 3, which needs the users as they were, and published after it.
//! One upload a step, nothing is allocated, nothing is read back: row losses gather on the device, where a launch every
//! [`RING`] steps adds up each step's; [`FusedInfoNce::take_losses`] reads the sums.

use super::{
    CubeTable,
    gpu::{Buffer, Gpu, Scratch, Traffic, failed},
    kernels::{
        losses::sum_losses,
        rows::publish,
        scores::{ScoresHead, scores},
        update::Source,
    },
    plan::{Groups, Plan},
    shards::Parts,
    table::Gradients,
};
use crate::{Batch, Error, Follow, FusedInfoNce, Grouping, Touched};
use cubecl::prelude::CubeDim;

/// Steps whose row losses wait to be added up.
const RING: usize = 256;
/// Steps whose losses wait on the device.
const WAITING: usize = 1 << 14;

/// The fused step of two [`CubeTable`]s.
pub struct CubeInfoNce {
    temperature: f64,
    follow: Follow,
    plan: Plan,
    factors: Scratch,
    staged: Option<(usize, Parts)>,
    losses: Option<Losses>,
    /// Losses that had to leave the device before they were asked for.
    early: Vec<f32>,
    /// The chosen items of a batch, and their groups.
    positives: Vec<u32>,
    grouping: Option<Grouping>,
    touched_positives: Touched,
    traffic: Traffic,
}

/// Losses on the device.
struct Losses {
    gpu: Gpu,
    /// Row losses of the last steps, `[RING, stride]`.
    rows: Buffer,
    stride: usize,
    /// Rows of each of these steps.
    counts: Vec<u32>,
    counts_there: Buffer,
    /// Losses of steps, `[WAITING]`, of which `summed` are there.
    sums: Buffer,
    summed: usize,
}

impl Losses {
    fn new(gpu: &Gpu, stride: usize) -> Result<Self, Error> {
        Ok(Self {
            gpu: gpu.clone(),
            rows: gpu.room(RING * stride)?,
            stride,
            counts: Vec::with_capacity(RING),
            counts_there: gpu.room(RING)?,
            sums: gpu.room(WAITING)?,
            summed: 0,
        })
    }

    /// Adds up the steps that wait.
    fn sum(&mut self, traffic: &mut Traffic) -> Result<(), Error> {
        let steps = self.counts.len();
        if steps == 0 {
            return Ok(());
        }
        self.gpu.write(&self.counts_there, std::mem::take(&mut self.counts), traffic)?;
        let (cubes, dim) = self.gpu.flat(steps);
        traffic.launches += 1;
        // SAFETY: `steps` is at most RING, counts at most the stride, and `summed + steps` at most WAITING.
        unsafe {
            sum_losses::launch_unchecked(
                &self.gpu.client,
                cubes,
                dim,
                self.rows.arg(1),
                self.counts_there.arg(1),
                self.sums.arg(1),
                self.summed as u32,
                steps as u32,
                self.stride as u32,
            );
        }
        self.summed += steps;
        Ok(())
    }

    /// Adds up what waits, and moves it to `losses`.
    fn take(&mut self, losses: &mut Vec<f32>, traffic: &mut Traffic) -> Result<(), Error> {
        self.sum(traffic)?;
        let first = losses.len();
        losses.resize(first + self.summed, 0.0);
        self.gpu.read(&self.sums, 0, &mut losses[first..])?;
        self.summed = 0;
        Ok(())
    }
}

/// What a step is made of, in its plan.
struct Planned {
    plan: Buffer,
    scores: u32,
    users: Option<u32>,
    items: Option<u32>,
    following: Option<u32>,
    published: Option<u32>,
}

impl CubeInfoNce {
    /// What the device was asked for by steps, and by what these two tables did otherwise, since the last call.
    pub fn take_traffic(&mut self, users: &mut CubeTable, items: &mut CubeTable) -> Traffic {
        std::mem::take(&mut self.traffic).plus(users.take_traffic()).plus(items.take_traffic())
    }

    /// Where this step's row losses go.
    fn slot(&mut self, gpu: &Gpu, rows: usize) -> Result<u32, Error> {
        if self.losses.as_ref().is_some_and(|losses| losses.stride < rows) {
            // A larger batch than ever: what waits goes to the host first.
            if let Some(mut losses) = self.losses.take() {
                losses.take(&mut self.early, &mut self.traffic)?;
            }
        }
        let losses = match &mut self.losses {
            Some(losses) => losses,
            none => none.insert(Losses::new(gpu, rows)?),
        };
        if losses.counts.len() == RING {
            losses.sum(&mut self.traffic)?;
            if losses.summed + RING > WAITING {
                losses.take(&mut self.early, &mut self.traffic)?;
            }
        }
        losses.counts.push(rows as u32);
        Ok(((losses.counts.len() - 1) * losses.stride) as u32)
    }

    /// The losses' buffer.
    fn row_losses(&self) -> Result<&Buffer, Error> {
        self.losses.as_ref().map(|losses| &losses.rows).ok_or_else(|| failed("no losses are kept"))
    }

    /// Scores, softmax, losses and factors.
    fn launch_scores(
        &mut self,
        users: &CubeTable,
        items: &CubeTable,
        (plan, head): (&Buffer, u32),
        batch: &Batch,
        factors: &Buffer,
    ) -> Result<(), Error> {
        let gpu = &users.gpu;
        let width = batch.width();
        let lanes = gpu.lanes(width);
        for seen in users.weights.windows(gpu, &items.weights) {
            // SAFETY: ids were checked when they were planned; windows lie within their tables; `factors` has room for the
            // batch's items and the ring for its rows.
            unsafe {
                scores::launch_unchecked(
                    &gpu.client,
                    gpu.cubes(batch.len()),
                    CubeDim::new_2d(lanes.width as u32, lanes.groups as u32),
                    seen.vector,
                    plan.arg(1),
                    users.weights.buffers[seen.part].arg(seen.vector),
                    seen.other.arg(seen.vector),
                    factors.arg(1),
                    self.row_losses()?.arg(1),
                    seen.window(),
                    head,
                    (1.0 / self.temperature) as f32,
                    width,
                    lanes,
                    seen.first,
                    seen.last,
                );
            }
            self.traffic.launches += 1;
        }
        self.traffic.bytes_touched += users.bytes(batch.len()) + items.bytes(batch.items.len());
        Ok(())
    }

    /// Copies staged users into their table.
    fn launch_publishing(&mut self, users: &CubeTable, (plan, head, count): (&Buffer, u32, usize), staged: &Parts) {
        for seen in users.weights.windows(&users.gpu, staged) {
            let (cubes, dim) = users.gpu.flat(count * seen.width());
            // SAFETY: ids were checked when they were planned; `staged` holds `count` rows, split like the table.
            unsafe {
                publish::launch_unchecked(
                    &users.gpu.client,
                    cubes,
                    dim,
                    seen.vector,
                    plan.arg(1),
                    seen.other.arg(seen.vector),
                    users.weights.buffers[seen.part].arg(seen.vector),
                    seen.window(),
                    head,
                );
            }
            self.traffic.launches += 1;
        }
        self.traffic.bytes_touched += users.bytes(2 * count);
    }

    /// Room for `count` staged rows of `users`, split like the table.
    fn staging(&mut self, users: &CubeTable, count: usize) -> Result<Parts, Error> {
        if let Some((room, parts)) = &self.staged
            && *room >= count
            && parts.columns == users.weights.columns
        {
            return Ok(parts.clone());
        }
        let columns = users.weights.columns.clone();
        let buffers = columns.iter().map(|columns| users.gpu.room(count * columns.len())).collect::<Result<_, _>>()?;
        let parts = Parts { columns, buffers };
        self.staged = Some((count, parts.clone()));
        Ok(parts)
    }

    /// Packs the batch and uploads it.
    fn plan(
        &mut self,
        users: &mut CubeTable,
        items: &mut CubeTable,
        batch: &Batch,
        slot: u32,
    ) -> Result<(Planned, [super::table::Settling; 2]), Error> {
        let (rows, width) = (batch.len(), batch.width());
        let mut plan = std::mem::take(&mut self.plan);
        plan.begin();
        let settling = [
            users.plan_settling(&batch.touched_users, &mut plan)?,
            items.plan_settling(&batch.touched_items, &mut plan)?,
        ];
        let user_ids = plan.ids(&batch.users, users.rows())?;
        let item_ids = plan.ids(&batch.items, items.rows())?;
        let share = batch.share();
        let shares = plan.floats(batch.weights.iter().map(|weight| weight * share));
        let head = ScoresHead { count: rows as u32, users: user_ids, items: item_ids, shares, losses: slot };
        let scores = plan.head(head.words());

        let user_groups = plan.groups(&batch.touched_users, users.rows(), rows)?;
        let item_groups = match self.follow {
            Follow::Items(_) => None,
            _ => Some(plan.groups(&batch.touched_items, items.rows(), batch.items.len())?),
        };
        let learnt = match self.follow {
            Follow::Users(_) => None,
            _ => Some(users.plan_update(&batch.touched_users, user_groups, (item_ids, width as u32, 1), &mut plan)?),
        };
        let moved = match item_groups {
            None => None,
            Some(groups) => {
                Some(items.plan_update(&batch.touched_items, groups, (user_ids, 1, width as u32), &mut plan)?)
            }
        };
        let (mut following, mut published) = (None, None);
        match &self.follow {
            Follow::Neither => {}
            Follow::Users(aggregation) => {
                let others = (item_ids, width as u32);
                let touched = &batch.touched_users;
                following = Some(users.plan_following(touched, user_groups, aggregation, others, &mut plan));
            }
            Follow::Items(aggregation) => {
                self.positives.clear();
                self.positives.extend(batch.positives());
                let grouping = self.grouping.get_or_insert_with(|| Grouping::new(items.rows()));
                grouping.group(&self.positives, &mut self.touched_positives);
                let groups: Groups = plan.groups(&self.touched_positives, items.rows(), rows)?;
                let touched = &self.touched_positives;
                following = Some(items.plan_following(touched, groups, aggregation, (user_ids, 1), &mut plan));
            }
        }
        if learnt.is_some() {
            published = Some(plan.head([user_groups.count, user_groups.rows]));
        }
        let sent = plan.send(&users.gpu, &mut self.traffic)?;
        self.plan = plan;
        Ok((Planned { plan: sent, scores, users: learnt, items: moved, following, published }, settling))
    }
}

impl FusedInfoNce for CubeInfoNce {
    type Table = CubeTable;

    fn new(temperature: f64, follow: Follow) -> Self {
        Self {
            temperature,
            follow,
            plan: Plan::default(),
            factors: Scratch::default(),
            staged: None,
            losses: None,
            early: Vec::new(),
            positives: Vec::new(),
            grouping: None,
            touched_positives: Touched::default(),
            traffic: Traffic::default(),
        }
    }

    fn step(&mut self, users: &mut CubeTable, items: &mut CubeTable, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        if batch.items.len() != batch.len() * batch.width() || batch.weights.len() != batch.len() {
            return Err(failed("a batch with rows of different widths"));
        }
        let factors = self.factors.room(&users.gpu, batch.items.len())?;
        let slot = self.slot(&users.gpu, batch.len())?;
        let (planned, [late_users, late_items]) = self.plan(users, items, batch, slot)?;
        let plan = &planned.plan;
        users.launch_settling(plan, &late_users);
        items.launch_settling(plan, &late_items);
        self.launch_scores(users, items, (plan, planned.scores), batch, &factors)?;

        let (distinct_users, distinct_items) = (batch.touched_users.len(), batch.touched_items.len());
        let mut staged = None;
        if let Some(head) = planned.users {
            let room = self.staging(users, distinct_users)?;
            let (source, others, reads) = (Source::Factors, &items.weights, batch.items.len());
            let gradients = Gradients { source, factors: &factors, others, reads };
            users.launch_update((plan, head, distinct_users), &gradients, Some(&room))?;
            staged = Some(room);
        }
        if let Some(head) = planned.items {
            let (source, others, reads) = (Source::Factors, &users.weights, batch.items.len());
            let gradients = Gradients { source, factors: &factors, others, reads };
            items.launch_update((plan, head, distinct_items), &gradients, None)?;
        }
        if let (Some(head), Some(staged)) = (planned.published, &staged) {
            self.launch_publishing(users, (plan, head, distinct_users), staged);
        }
        match (planned.following, &self.follow) {
            (Some(head), Follow::Users(_)) => {
                users.launch_following((plan, head, distinct_users), &items.weights, batch.len());
            }
            (Some(head), Follow::Items(_)) => {
                items.launch_following((plan, head, self.touched_positives.len()), &users.weights, batch.len());
            }
            _ => {}
        }
        Ok(())
    }

    fn take_losses(&mut self) -> Result<Vec<f32>, Error> {
        let mut taken = std::mem::take(&mut self.early);
        if let Some(losses) = &mut self.losses {
            losses.take(&mut taken, &mut self.traffic)?;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, testing};
    use super::*;
    use crate::{
        Aggregation, Duplicates, Embedding, Optimizer, Rule, Table, TableState,
        host::{HostInfoNce, HostTable},
    };
    use burn::tensor::Device;
    use testing::{Numbers, assert_close};

    const M: usize = 40;
    const N: usize = 60;

    struct Run {
        losses: Vec<f32>,
        states: [TableState; 2],
        views: [Table; 2],
    }

    fn run<F: FusedInfoNce>(tables: [F::Table; 2], follow: Follow, batches: &[Batch]) -> Run {
        let [mut users, mut items] = tables;
        let mut step = F::new(0.2, follow);
        let mut losses = Vec::new();
        for (at, batch) in batches.iter().enumerate() {
            step.step(&mut users, &mut items, batch).unwrap();
            if at == 2 {
                losses.extend(step.take_losses().unwrap());
            }
        }
        losses.extend(step.take_losses().unwrap());
        let states = [users.state().unwrap(), items.state().unwrap()];
        Run { losses, states, views: [users.view().unwrap(), items.view().unwrap()] }
    }

    /// Learns on both implementations; returns the device's run.
    fn compare(
        device: &Device,
        limits: Limits,
        (optimizer, follow): (Optimizer, Follow),
        dim: usize,
        batches: &[Batch],
        tolerance: f32,
    ) -> Run {
        let mut numbers = Numbers(7);
        let tables = [numbers.table(M, dim), numbers.table(N, dim)];
        let learns = [!matches!(follow, Follow::Users(_)), !matches!(follow, Follow::Items(_))];
        let optimizers = learns.map(|learns| learns.then_some(&optimizer));
        let on_host = |k: usize| HostTable::new(&tables[k], optimizers[k], &Device::flex()).unwrap();
        let on_device = |k: usize| CubeTable::with_limits(&tables[k], optimizers[k], device, limits).unwrap();
        let expected = run::<HostInfoNce>([on_host(0), on_host(1)], follow, batches);
        let found = run::<CubeInfoNce>([on_device(0), on_device(1)], follow, batches);
        assert_close(&found.losses, &expected.losses, tolerance, "losses");
        for k in 0..2 {
            assert_close(&found.views[k].values, &expected.views[k].values, tolerance, "view");
            let (found, expected) = (&found.states[k], &expected.states[k]);
            assert_eq!((&found.time, found.step), (&expected.time, expected.step));
            assert_close(&found.weights.values, &expected.weights.values, tolerance, "weights");
            for (name, matrix) in &expected.matrices {
                assert_close(&found.matrices[name].values, &matrix.values, 4.0 * tolerance, name);
            }
        }
        found
    }

    fn batches(steps: usize, rows: usize, width: usize, rest: bool) -> Vec<Batch> {
        let mut numbers = Numbers(3);
        let mut batches: Vec<Batch> = (0..steps).map(|_| numbers.batch(rows, width, (M, N))).collect();
        if rest {
            testing::rests(&mut batches, (M, N));
        }
        batches
    }

    fn adam(weight_decay: f64) -> Optimizer {
        Optimizer { rule: Rule::Adam, learning_rate: 1e-3, weight_decay }
    }

    #[test]
    fn cube_onebp_equals_the_host_and_itself() {
        let Some(device) = testing::device() else { return };
        let follow = Follow::Users(Aggregation { beta: 0.9, duplicates: Duplicates::Sequential });
        let batches = batches(50, 24, 4, false);
        for limits in testing::limits(N, 32) {
            let first = compare(&device, limits, (adam(0.0), follow), 32, &batches, 1e-5);
            let second = compare(&device, limits, (adam(0.0), follow), 32, &batches, 1e-5);
            assert_eq!(first.losses, second.losses);
            assert_eq!(first.states, second.states, "same bytes");
        }
    }
}
