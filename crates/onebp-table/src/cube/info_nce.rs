//! The fused step on a device, in a handful of launches:
//!
//! 1. **Settle** (only where rows are late): both tables' touched rows get to the last step.
//! 2. **Scores**: dot products, softmax, row losses and factors, one cube for each row of the batch.
//! 3. **Items**: gradient sums and the optimizer, every element of every distinct item on its own.
//! 4. **Following**: the moving aggregation of the rows that follow.
//!
//! Where users learn, their new rows are staged before pass 3, which needs the users as they were, and published after it.
//! One upload a step, nothing is allocated, nothing is read back: losses wait on the device for
//! [`FusedStep::take_losses`], see [`super::losses`].

use super::{
    CubeTable,
    gpu::{Buffer, Scratch, Traffic, failed},
    kernels::{
        scores::{ScoresHead, scores},
        update::Source,
    },
    losses::Losses,
    moves::{Gradients, Settling},
    parts::{Parts, launch_publish},
    plan::Plan,
};
use crate::{Batch, Error, Follow, FusedStep, Grouping, Touched};
use cubecl::prelude::CubeDim;

/// The fused step of two [`CubeTable`]s.
pub struct CubeInfoNce {
    temperature: f64,
    follow: Follow,
    plan: Plan,
    factors: Scratch,
    staged: Option<(usize, Parts)>,
    losses: Losses,
    /// Groups the chosen items of a batch.
    grouping: Option<Grouping>,
    touched_positives: Touched,
    traffic: Traffic,
}

/// What a step is made of, in its plan.
struct Planned {
    plan: Buffer,
    late: [Settling; 2],
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

    /// Scores, softmax, losses and factors.
    fn launch_scores(
        &mut self,
        users: &CubeTable,
        items: &CubeTable,
        (plan, head): (&Buffer, u32),
        batch: &Batch,
        [factors, losses]: [&Buffer; 2],
    ) {
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
                    losses.arg(1),
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
    ) -> Result<Planned, Error> {
        let (rows, width) = (batch.len(), batch.width());
        let mut plan = std::mem::take(&mut self.plan);
        plan.begin();
        let late = [
            users.plan_settling(&batch.touched_users, &mut plan)?,
            items.plan_settling(&batch.touched_items, &mut plan)?,
        ];
        let user_ids = plan.ids(&batch.users, users.rows())?;
        let item_ids = plan.ids(&batch.items, items.rows())?;
        let shares = plan.floats(batch.shares());
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
                let grouping = self.grouping.get_or_insert_with(|| Grouping::new(items.rows()));
                grouping.group(&batch.positives, &mut self.touched_positives);
                let groups = plan.groups(&self.touched_positives, items.rows(), rows)?;
                let touched = &self.touched_positives;
                following = Some(items.plan_following(touched, groups, aggregation, (user_ids, 1), &mut plan));
            }
        }
        if learnt.is_some() {
            published = Some(plan.head([user_groups.count, user_groups.rows]));
        }
        let sent = plan.send(&users.gpu, &mut self.traffic)?;
        self.plan = plan;
        Ok(Planned { plan: sent, late, scores, users: learnt, items: moved, following, published })
    }
}

impl FusedStep for CubeInfoNce {
    type Table = CubeTable;

    fn new(temperature: f64, follow: Follow) -> Self {
        Self {
            temperature,
            follow,
            plan: Plan::default(),
            factors: Scratch::default(),
            staged: None,
            losses: Losses::default(),
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
        if users.dim() != items.dim() || !users.gpu.is(&items.gpu) {
            return Err(failed("users and items differ in width or device"));
        }
        if !users.gpu.holds(batch.width()) {
            return Err(Error::Device(format!("rows of {} items are too wide for the device", batch.width())));
        }
        let factors = self.factors.room(&users.gpu, batch.items.len())?;
        let (losses, slot) = self.losses.slot(&users.gpu, batch.len(), &mut self.traffic)?;
        let planned = self.plan(users, items, batch, slot)?;
        let (plan, [late_users, late_items]) = (&planned.plan, &planned.late);
        users.launch_settling(plan, late_users)?;
        items.launch_settling(plan, late_items)?;
        self.launch_scores(users, items, (plan, planned.scores), batch, [&factors, &losses]);

        let (distinct_users, distinct_items) = (batch.touched_users.len(), batch.touched_items.len());
        let mut staged = None;
        if let Some(head) = planned.users {
            let room = self.staging(users, batch.len())?;
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
            let rows = (plan, head, distinct_users);
            launch_publish(&users.gpu, &users.weights, staged, rows, &mut self.traffic);
            users.launch_holding(rows, None)?;
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
        self.losses.take(&mut self.traffic)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, testing};
    use super::*;
    use crate::{
        Aggregation, Duplicates, Embedding, Onto, Optimizer, Projection, Rule, Table, TableState,
        host::{HostStep, HostTable},
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

    fn run<F: FusedStep>(tables: [F::Table; 2], follow: Follow, batches: &[Batch]) -> Run {
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
        let expected = run::<HostStep>([on_host(0), on_host(1)], follow, batches);
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
        let mut batches: Vec<Batch> = (0..steps + 9).map(|_| numbers.batch(rows, width, (M, N))).collect();
        if rest {
            testing::rests(&mut batches, (M, N));
        }
        // So that at the end some rows are ahead of the last step.
        batches.truncate(steps);
        batches
    }

    fn adam(weight_decay: f64) -> Optimizer {
        Optimizer { rule: Rule::Adam, learning_rate: 1e-3, weight_decay, projection: None }
    }

    #[test]
    fn cube_onebp_equals_the_host_and_itself() {
        let Some(device) = testing::device() else { return };
        let follow = Follow::Users(Aggregation { beta: 0.9, duplicates: Duplicates::Sequential });
        let batches = batches(50, 24, 4, false);
        for limits in testing::limits(&device, N, 32) {
            let first = compare(&device, limits, (adam(0.0), follow), 32, &batches, 1e-5);
            let second = compare(&device, limits, (adam(0.0), follow), 32, &batches, 1e-5);
            assert_eq!(first.losses, second.losses);
            assert_eq!(first.states, second.states, "same bytes");
        }
    }

    /// A run that goes from thread to thread: the device orders the work of all of them.
    #[test]
    fn cube_steps_may_change_threads() {
        let Some(device) = testing::device() else { return };
        let follow = Follow::Users(Aggregation { beta: 0.9, duplicates: Duplicates::Sequential });
        let batches = batches(20, 24, 4, true);
        let mut numbers = Numbers(7);
        let tables = [numbers.table(M, 16), numbers.table(N, 16)];
        let new = || {
            let users = CubeTable::new(&tables[0], None, &device).unwrap();
            (users, CubeTable::new(&tables[1], Some(&adam(0.0)), &device).unwrap())
        };
        let (users, items) = new();
        let expected = run::<CubeInfoNce>([users, items], follow, &batches);
        let (mut users, mut items) = new();
        let mut step = CubeInfoNce::new(0.2, follow);
        for batches in batches.chunks(3) {
            let mut steps = || batches.iter().for_each(|batch| step.step(&mut users, &mut items, batch).unwrap());
            std::thread::scope(|scope| scope.spawn(&mut steps).join().unwrap());
        }
        assert_eq!(step.take_losses().unwrap(), expected.losses);
        assert_eq!([users.state().unwrap(), items.state().unwrap()], expected.states);
    }

    /// Whoever follows, by every rule, in tables that are split at different columns; rows as wide as no vector.
    #[test]
    fn cube_every_rule_equals_the_host() {
        let Some(device) = testing::device() else { return };
        let aggregation = Aggregation { beta: 0.8, duplicates: Duplicates::Mean };
        let batches = batches(8, 17, 3, true);
        for (follow, dim) in [(Follow::Neither, 20), (Follow::Users(aggregation), 7), (Follow::Items(aggregation), 20)]
        {
            for rule in Rule::ALL {
                let optimizer = Optimizer { rule, learning_rate: 0.02, weight_decay: 0.01, projection: None };
                for limits in testing::limits(&device, M, dim) {
                    compare(&device, limits, (optimizer, follow), dim, &batches, 2e-5);
                }
            }
        }
    }

    /// Rows that rest and rows that are late, from replayed steps into closed forms, with weight decay and without.
    #[test]
    fn cube_late_rows_equal_the_host() {
        let Some(device) = testing::device() else { return };
        let follow = Follow::Users(Aggregation { beta: 0.9, duplicates: Duplicates::Last });
        for known in [true, false] {
            let batches = batches(340, 2, 3, known);
            for decay in [0.0, 1e-3] {
                let limits = testing::limits(&device, N, 8);
                compare(&device, limits[0], (adam(decay), follow), 8, &batches, 1e-4);
            }
        }
    }

    /// Projected rows, in tables that are split within their vectors, late and not.
    #[test]
    fn cube_projected_rows_equal_the_host() {
        let Some(device) = testing::device() else { return };
        let batches = batches(40, 5, 3, true);
        let aggregation = Aggregation { beta: 0.9, duplicates: Duplicates::Last };
        for (onto, vectors, dim, follow) in [
            (Onto::Ball, 1, 16, Follow::Neither),
            (Onto::Sphere, 2, 20, Follow::Users(aggregation)),
            (Onto::Sphere, 3, 21, Follow::Neither),
        ] {
            for (rule, weight_decay) in [(Rule::Adam, 0.0), (Rule::Adam, 1e-2), (Rule::RowwiseAdagrad, 0.0)] {
                let projection = Some(Projection { onto, vectors });
                let optimizer = Optimizer { rule, learning_rate: 1e-2, weight_decay, projection };
                for limits in testing::limits(&device, N, dim) {
                    let first = compare(&device, limits, (optimizer, follow), dim, &batches, 5e-5);
                    let second = compare(&device, limits, (optimizer, follow), dim, &batches, 5e-5);
                    assert!((first.losses, first.states) == (second.losses, second.states), "the same bytes twice");
                }
            }
        }
    }

    /// What a step costs: an upload and three launches where users follow, four where both learn.
    #[test]
    fn cube_steps_are_a_handful_of_launches() {
        let Some(device) = testing::device() else { return };
        let mut numbers = Numbers(2);
        let aggregation = Aggregation { beta: 0.9, duplicates: Duplicates::Sequential };
        for (follow, launches) in
            [(Follow::Users(aggregation), 3), (Follow::Neither, 4), (Follow::Items(aggregation), 4)]
        {
            let table = |numbers: &mut Numbers, rows, learns: bool| {
                CubeTable::new(&numbers.table(rows, 8), learns.then_some(&adam(0.0)), &device).unwrap()
            };
            let mut users = table(&mut numbers, M, !matches!(follow, Follow::Users(_)));
            let mut items = table(&mut numbers, N, !matches!(follow, Follow::Items(_)));
            let mut step = CubeInfoNce::new(0.2, follow);
            let batches = batches(5, 16, 4, true);
            for (at, batch) in batches.iter().enumerate() {
                step.step(&mut users, &mut items, batch).unwrap();
                let traffic = step.take_traffic(&mut users, &mut items);
                // Rows whose rest is not known are late once.
                let late = u64::from(at > 0);
                assert!((launches..=launches + 2 * late).contains(&traffic.launches), "{follow:?} {traffic:?}");
                assert_eq!(traffic.uploads, 1);
                assert!(traffic.bytes_uploaded > 0 && traffic.bytes_touched > 0);
            }
        }
    }

    #[test]
    fn cube_refuses_what_does_not_fit() {
        let Some(device) = testing::device() else { return };
        let table = |rows, dim| CubeTable::new(&Table::filled(0.5, rows, dim), Some(&adam(0.0)), &device).unwrap();
        let mut step = CubeInfoNce::new(0.2, Follow::Neither);
        let batch = batches(1, 4, 3, false).remove(0);
        assert!(step.step(&mut table(M, 4), &mut table(N, 5), &batch).is_err());
        assert!(step.step(&mut table(M, 4), &mut table(1, 4), &batch).is_err());
        assert!(step.step(&mut table(1, 4), &mut table(N, 4), &batch).is_err());
        assert!(step.step(&mut table(M, 4), &mut table(N, 4), &Batch::default()).is_ok());
        let wide = Numbers(1).batch(1, 1 << 20, (M, N));
        assert!(matches!(step.step(&mut table(M, 4), &mut table(N, 4), &wide), Err(Error::Device(_))));
        assert!(CubeTable::new(&Table::filled(0.0, 1, 1), None, &Device::flex()).is_err());
    }

    /// Traffic and time of steps at the sizes of the paper's data sets, with uniform batches; the larger tables exceed one
    /// buffer of 128 MiB. Run with `--ignored --nocapture`.
    #[test]
    #[ignore = "needs gigabytes and minutes on a software device"]
    fn cube_steps_at_full_size() {
        let Some(device) = testing::device() else { return };
        let sizes = [("ML-1M", 6040, 3706, 128), ("Gowalla", 29_858, 40_981, 1024), ("Yelp2018", 31_668, 38_048, 2048)];
        for (name, m, n, dim) in sizes {
            let mut numbers = Numbers(9);
            let follow = Follow::Users(Aggregation { beta: 0.99, duplicates: Duplicates::Sequential });
            let tables = [numbers.table(m, dim), numbers.table(n, dim)];
            let mut users = CubeTable::new(&tables[0], None, &device).unwrap();
            let mut items = CubeTable::new(&tables[1], Some(&adam(0.0)), &device).unwrap();
            let mut step = CubeInfoNce::new(0.2 * dim as f64, follow);
            let mut batches: Vec<Batch> = (0..12).map(|_| numbers.batch(1024, 6, (m, n))).collect();
            // As a feed that looks ahead would know them; without it every second row is late.
            testing::rests(&mut batches, (m, n));
            let steps = |step: &mut CubeInfoNce, users: &mut CubeTable, items: &mut CubeTable, batches: &[Batch]| {
                batches.iter().for_each(|batch| step.step(users, items, batch).unwrap());
                step.take_losses().unwrap()
            };
            let (warm, timed) = batches.split_at(2);
            let mut losses = steps(&mut step, &mut users, &mut items, warm);
            step.take_traffic(&mut users, &mut items);
            let start = std::time::Instant::now();
            losses.extend(steps(&mut step, &mut users, &mut items, timed));
            let (time, traffic) = (start.elapsed() / 10, step.take_traffic(&mut users, &mut items));
            println!("{name}: {time:?} a step; {} + {} shards; ten steps: {traffic:?}", users.shards(), items.shards());

            let mut on_host = HostTable::new(&tables[0], None, &Device::flex()).unwrap();
            let mut items_there = HostTable::new(&tables[1], Some(&adam(0.0)), &Device::flex()).unwrap();
            let mut there = HostStep::new(0.2 * dim as f64, follow);
            batches.iter().for_each(|batch| there.step(&mut on_host, &mut items_there, batch).unwrap());
            assert_close(&losses, &there.take_losses().unwrap(), 1e-5, "losses");
            assert_close(&items.view().unwrap().values, &items_there.view().unwrap().values, 1e-5, "items");
            assert_close(&users.view().unwrap().values, &on_host.view().unwrap().values, 1e-5, "users");
        }
    }
}
