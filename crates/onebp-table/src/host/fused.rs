//! The fused step on the CPU.
//!
//! Three passes, each over distinct rows and on all threads:
//!
//! 1. **Scores**, by user: dot products with the 1 + S items of each of the user's rows, softmax, loss, and the factor
//!    c = w (p - [j = +]) / T of every place. A user that learns is moved here, by sum of c v. Of a table that no cache
//!    holds, items with no other place in the batch, which are most of them, are moved here too, by c u, while they are at
//!    hand: they cross the memory bus once and not twice. What is late for the step and moved here is settled here. Where
//!    users do not learn and items lie in the caches, it goes [by item](super::by_item) as well.
//! 2. **Items**, by item: the gradient sum of c u of a row in one pass, then its optimizer.
//! 3. **Following**, by the rows that follow.
//!
//! Where both towers learn, items need the users as they were: new user rows wait in a staging buffer until pass 2 is
//! over.

use super::{
    HostTable,
    ahead::Coming,
    by_item::{ItemScores, RowFactors},
    crew::{Crew, RowWork},
    pace::Pace,
    scores::{Chosen, OfItems, Outlet, Scores, vectors},
    shared::Rows,
    simd::{Add, Set, apply},
    state::Open,
    table::Step,
};
use crate::{Batch, Embedding, Error, Follow, FusedStep, Grouping, RowLoss, Score, Spread, Touched, total::total};
use pulp::Simd;
use std::{
    ops::Range,
    time::{Duration, Instant},
};

/// The fused step of two [`HostTable`]s.
pub struct HostStep {
    temperature: f64,
    /// InfoNCE where there is none.
    loss: Option<Box<dyn RowLoss>>,
    follow: Follow,
    /// Factor of every place, `[B, 1 + S]`; scores at first.
    factors: Vec<f32>,
    /// User vector of every place, counted over all users, `[B, 1 + S]`; not filled where scores go by item.
    chosen: Vec<u32>,
    /// Weighted loss of every row, `[B]`.
    row_losses: Vec<f32>,
    /// Weights of the rows that the loss counts, `[B]`.
    row_counted: Vec<f32>,
    /// New rows of distinct users, `[Q, C d]`.
    staged: Vec<f32>,
    /// The distinct items that pass 2 moves, by their index in the batch, where these are not all.
    moving: Vec<u32>,
    /// Groups the chosen items of a batch.
    grouping: Option<Grouping>,
    touched_positives: Touched,
    losses: Vec<f32>,
    counted: Vec<f32>,
    pace: Pace,
    passes: [Duration; PASSES.len()],
}

/// Names of the passes: rows late for the step, and the three above, the first of which may move items or not. Whatever it has
/// at hand alone it settles as well: users, items that it moves, and item by item all of them.
const PASSES: [&str; 5] = ["catch-up", "scores", "scores + optimizer", "optimizer", "following"];

/// What a score costs on its way to a factor, in elements of a row.
const ROW_WEIGHT: usize = 8;

/// Moves users, and items of a table that no cache holds, while they are at hand.
struct Moves<'a> {
    batch: &'a Batch,
    users: &'a Rows<'a>,
    items: &'a Rows<'a>,
    dim: usize,
    /// Vectors of a user.
    vectors: usize,
    score: Score,
    /// The optimizer of items that are moved where they have no other place in the batch.
    lone: Option<&'a Open<'a>>,
    /// Where users learn: their optimizer, and the staging buffer.
    learning: Option<(Open<'a>, Rows<'a>)>,
}

impl Outlet for Moves<'_> {
    #[inline(always)]
    fn wants_users(&self) -> bool {
        self.learning.is_some()
    }

    #[inline(always)]
    fn moves_items(&self) -> bool {
        self.lone.is_some()
    }

    #[inline(always)]
    unsafe fn user<S: Simd>(&self, simd: S, q: usize, user: &[f32], g: &mut [f32]) {
        let Some((state, staged)) = &self.learning else { return };
        let touched = &self.batch.touched_users;
        // SAFETY: users are distinct.
        unsafe {
            let new = staged.row(q);
            new.copy_from_slice(user);
            state.advance_along_sum(simd, touched.rows[q] as usize, touched.rest[q], new, g, []);
        }
    }

    #[inline(always)]
    fn prefetch_user(&self, row: usize) {
        if let Some((state, _)) = &self.learning {
            state.prefetch(row);
        }
    }

    #[inline(always)]
    unsafe fn ready_user<S: Simd>(&self, simd: S, row: usize, scratch: &mut [f32]) {
        if let Some((state, _)) = &self.learning {
            // SAFETY: users are distinct.
            unsafe { state.settle(simd, row, self.users.row(row), scratch) };
        }
    }

    #[inline(always)]
    unsafe fn ready_items<S: Simd>(&self, simd: S, place: usize, items: &[u32], scratch: &mut [f32]) {
        let Some(state) = self.lone else { return };
        let touched = &self.batch.touched_items;
        for (&item, &slot) in items.iter().zip(&touched.slots[place * items.len()..]) {
            if touched.is_lone(slot as usize) {
                // SAFETY: nobody else reads or moves an item of one place.
                unsafe { state.settle(simd, item as usize, self.items.row(item as usize), scratch) };
            }
        }
    }

    /// Moves those items of a row of the batch that have no other place.
    #[inline(always)]
    unsafe fn items<S: Simd>(
        &self,
        simd: S,
        (place, next): (usize, Option<usize>),
        factors: &[f32],
        chosen: &[u32],
        scratch: &mut [f32],
    ) {
        let Some(state) = self.lone else { return };
        let touched = &self.batch.touched_items;
        let width = factors.len();
        let slots = &touched.slots[place * width..];
        let next = next.map(|next| &self.batch.items[next * width..(next + 1) * width]);
        let id = self.batch.users[place] as usize;
        // SAFETY: nobody else is at this user.
        let user = unsafe { self.users.read(id) };
        let first = id * self.vectors;
        for (index, ((&factor, &chosen), &slot)) in factors.iter().zip(chosen).zip(slots).enumerate() {
            let slot = slot as usize;
            let next = next.map(|next| next[index] as usize);
            if !touched.is_lone(slot) {
                if let Some(next) = next {
                    self.items.prefetch(next);
                    state.prefetch(next);
                }
                continue;
            }
            let (item, rest) = (touched.rows[slot] as usize, touched.rest[slot]);
            let user = &user[(chosen as usize - first) * self.dim..][..self.dim];
            // SAFETY: nobody else reads or moves an item of one place.
            unsafe {
                let w = self.items.row(item);
                // The item at the same place of the next row, its second half and its state.
                let next = next.unwrap_or(item);
                let ahead = state.ahead::<S>(Coming::second_half::<S>(self.items.place(next)), next);
                if self.score == Score::Distance && factor != 0.0 {
                    apply(simd, &Set(factor), [&mut *scratch], [user]);
                    apply(simd, &Add(-factor), [&mut *scratch], [&*w]);
                    state.advance_along_sum(simd, item, rest, w, scratch, ahead);
                } else {
                    state.advance_along_one(simd, (item, rest), w, (factor, user), scratch, ahead);
                }
            }
        }
    }
}

/// Copies staged rows into their table.
struct Publish<'a> {
    rows: &'a [u32],
    staged: &'a [f32],
    table: Rows<'a>,
    dim: usize,
}

impl RowWork for Publish<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, _: S, range: Range<usize>, _: &mut [f32]) {
        for q in range {
            // SAFETY: rows are distinct.
            let row = unsafe { self.table.row(self.rows[q] as usize) };
            row.copy_from_slice(&self.staged[q * self.dim..(q + 1) * self.dim]);
        }
    }
}

impl HostStep {
    /// For another loss than InfoNCE, of scores divided by `temperature`.
    pub fn with_loss(loss: Box<dyn RowLoss>, temperature: f64, follow: Follow) -> Self {
        Self { loss: Some(loss), ..Self::new(temperature, follow) }
    }
}

impl FusedStep for HostStep {
    type Table = HostTable;

    fn new(temperature: f64, follow: Follow) -> Self {
        Self {
            temperature,
            loss: None,
            follow,
            factors: Vec::new(),
            chosen: Vec::new(),
            row_losses: Vec::new(),
            row_counted: Vec::new(),
            staged: Vec::new(),
            moving: Vec::new(),
            grouping: None,
            touched_positives: Touched::default(),
            losses: Vec::new(),
            counted: Vec::new(),
            pace: Pace::default(),
            passes: Default::default(),
        }
    }

    fn step(&mut self, users: &mut HostTable, items: &mut HostTable, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let (dim, width) = (items.dim(), batch.width());
        let vectors = vectors(users.dim(), items.dim())?;
        let user_dim = users.dim();
        let score = self.loss.as_ref().map_or(Score::Product, |loss| loss.score());
        let spread = self.loss.as_ref().and_then(|loss| loss.spread()).filter(|_| vectors > 1);
        let users_learn = !matches!(self.follow, Follow::Users(_));
        let items_learn = !matches!(self.follow, Follow::Items(_));
        let by_item = !users_learn && !items.far && vectors == 1;
        self.factors.resize(batch.items.len(), 0.0);
        self.chosen.resize(batch.items.len(), 0);
        self.row_losses.resize(batch.len(), 0.0);
        self.row_counted.resize(batch.len(), 0.0);
        let start = Instant::now();
        let crew = Crew::all().at_most(self.pace.threads(rayon::current_num_threads()));
        (users.crew, items.crew) = (crew, crew);
        let mut clock = start;
        let mut lap = |pass: &mut Duration| {
            let now = Instant::now();
            *pass += now - std::mem::replace(&mut clock, now);
        };
        let [late, scored, scored_and_moved, moved, followed] = &mut self.passes;
        if !by_item {
            items.settle_late(&batch.touched_items, items.far && items_learn);
        }
        lap(late);
        if users_learn {
            self.staged.resize(batch.touched_users.len() * user_dim, 0.0);
        }
        let learning = match &mut users.state {
            Some(state) if users_learn => Some((state.open(), Rows::new(&mut self.staged, user_dim))),
            _ => None,
        };
        let far = items.far;
        let user_rows = Rows::new(users.weights.as_mut_slice(), user_dim);
        let (item_rows, item_state) = items.open();
        let item_state = item_state.as_ref().filter(|_| items_learn);
        let scores = Scores {
            batch,
            sharpness: (1.0 / self.temperature) as f32,
            share: batch.share(),
            users: &user_rows,
            items: &item_rows,
            dim,
            vectors,
            score,
            far,
            loss: self.loss.as_deref(),
            spread: spread.map(|spread| Spread { weight: spread.weight / batch.touched_users.len() as f32, ..spread }),
            factors: Rows::new(&mut self.factors, width),
            chosen: Rows::new(&mut self.chosen, width),
            losses: Rows::new(&mut self.row_losses, 1),
            counted: Rows::new(&mut self.row_counted, 1),
            outlet: Moves {
                batch,
                users: &user_rows,
                items: &item_rows,
                dim,
                vectors,
                score,
                lone: item_state.filter(|_| far),
                learning,
            },
        };
        if by_item {
            crew.for_rows(batch.touched_items.len(), dim, 1, &ItemScores { scores: &scores, state: item_state });
            crew.for_rows(batch.len(), width, ROW_WEIGHT, &RowFactors(&scores));
        } else {
            crew.for_rows(batch.touched_users.len(), user_dim, width, &scores);
        }
        self.losses.push(total(&self.row_losses));
        if self.loss.is_some() {
            self.counted.push(total(&self.row_counted));
        }
        lap(if far { scored_and_moved } else { scored });

        if let Some(state) = item_state {
            let touched = &batch.touched_items;
            let moving = far.then(|| {
                self.moving.clear();
                self.moving.extend((0..touched.len() as u32).filter(|&q| !touched.is_lone(q as usize)));
                &self.moving[..]
            });
            let chosen = if by_item { Chosen::only(batch) } else { Chosen::Best(&self.chosen) };
            let users = users.weights.as_slice();
            let gradients = OfItems { factors: &self.factors, chosen, users, score, dim };
            let step = Step { touched, moving, weights: &item_rows, state, gradients: &gradients, far, dim };
            crew.for_rows(step.len(), dim, 1, &step);
            items.finish_step();
        }
        if users_learn {
            users.finish_step();
            let rows = &batch.touched_users.rows;
            let table = Rows::new(users.weights.as_mut_slice(), user_dim);
            let publish = Publish { rows, staged: &self.staged, table, dim: user_dim };
            crew.for_rows(rows.len(), user_dim, 1, &publish);
        }
        lap(moved);
        let outcome = match &self.follow {
            Follow::Neither => Ok(()),
            Follow::Users(aggregation) => users.aggregate(&batch.touched_users, aggregation, items, &batch.positives),
            Follow::Items(aggregation) => {
                let grouping = self.grouping.get_or_insert_with(|| Grouping::new(items.rows()));
                grouping.group(&batch.positives, &mut self.touched_positives);
                items.aggregate(&self.touched_positives, aggregation, users, &batch.users)
            }
        };
        lap(followed);
        self.pace.took(start.elapsed());
        outcome
    }

    fn take_losses(&mut self) -> Result<Vec<f32>, Error> {
        Ok(std::mem::take(&mut self.losses))
    }

    fn take_counted(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.counted)
    }

    fn take_passes(&mut self) -> Vec<(&'static str, Duration)> {
        let passes = PASSES.into_iter().zip(std::mem::take(&mut self.passes));
        passes.filter(|(_, time)| !time.is_zero()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Aggregation, Duplicates, Onto, Optimizer, Projection, Rule, Table};
    use burn::tensor::Device;
    use proptest::prelude::*;

    const USERS: usize = 5;
    const ITEMS: usize = 40;
    /// One that is no multiple of any vector.
    const DIM: usize = 19;

    /// Items repeat in some batches, and in most some do not.
    fn batches() -> impl Strategy<Value = Vec<Batch>> {
        let row = (0..USERS as u32, prop::collection::vec(0..ITEMS as u32, 3));
        let batch = prop::collection::vec(row, 1..12).prop_map(|rows| {
            let users: Vec<u32> = rows.iter().map(|(user, _)| *user).collect();
            let weights = vec![1.0; users.len()];
            Batch::new(users, rows.into_iter().flat_map(|(_, items)| items).collect(), weights, (USERS, ITEMS))
        });
        prop::collection::vec(batch, 1..6)
    }

    fn run(batches: &[Batch], follow: Follow, optimizer: &Optimizer, dim: usize, far: bool) -> ([Table; 2], Vec<f32>) {
        let learns = [!matches!(follow, Follow::Users(_)), !matches!(follow, Follow::Items(_))];
        let [mut users, mut items] = std::array::from_fn(|side| {
            let rows = [USERS, ITEMS][side];
            let values = (0..rows * dim).map(|at| (at * (7 + side) % 23) as f32 / 23.0 - 0.5).collect();
            let table = Table { values, rows, dim };
            HostTable::new(&table, learns[side].then_some(optimizer), &Device::flex()).unwrap()
        });
        (users.far, items.far) = (far, far);
        let mut step = HostStep::new(0.7, follow);
        batches.iter().for_each(|batch| step.step(&mut users, &mut items, batch).unwrap());
        ([users.view().unwrap(), items.view().unwrap()], step.take_losses().unwrap())
    }

    const AGGREGATION: Aggregation = Aggregation { beta: 0.9, duplicates: Duplicates::Sequential };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Small tables are worked on as large ones are.
        #[test]
        fn far_tables_get_the_same_bytes(batches in batches()) {
            for follow in [Follow::Users(AGGREGATION), Follow::Neither, Follow::Items(AGGREGATION)] {
                for rule in [Rule::Adam, Rule::LazyAdam, Rule::RowwiseAdagrad, Rule::Sgd] {
                    let projected = matches!(rule, Rule::LazyAdam | Rule::RowwiseAdagrad);
                    let projection = projected.then_some(Projection { onto: Onto::Sphere, vectors: 1 });
                    let optimizer = Optimizer { rule, learning_rate: 0.05, weight_decay: 0.0, projection };
                    let [far, near] = [true, false].map(|far| run(&batches, follow, &optimizer, DIM, far));
                    prop_assert!(far == near, "{:?}", rule);
                }
            }
        }
    }

    /// Rows of a few vectors in small tables are worked on as all others are: over steps before and after silent ones have a closed
    /// form, some carried over those that follow and some late, of users who come up to a dozen times.
    #[test]
    fn narrow_rows_get_the_same_bytes() {
        let mut random = 1u32;
        let mut draw = |below: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) % below as u32
        };
        let mut batches = Vec::from_iter((0..330).map(|number| {
            let rows = 12 + number % 3;
            // Some batches have one user only.
            let users = (0..rows).map(|_| if number % 50 == 0 { 3 } else { draw(USERS) }).collect();
            let items = (0..3 * rows).map(|_| draw(ITEMS)).collect();
            Batch::new(users, items, vec![1.0; rows], (USERS, ITEMS))
        }));
        for number in 0..batches.len() {
            for (q, row) in batches[number].touched_items.rows.clone().into_iter().enumerate() {
                let touches = |batch: &Batch| batch.touched_items.rows.contains(&row);
                let next = batches[number + 1..].iter().take(4).position(touches);
                batches[number].touched_items.rest[q] = next.unwrap_or(0) as u32;
            }
        }
        let follows = [Duplicates::Sequential, Duplicates::Last, Duplicates::Mean].map(|duplicates| {
            let aggregation = Aggregation { duplicates, ..AGGREGATION };
            Follow::Users(aggregation)
        });
        for (follow, dim) in follows.into_iter().chain([Follow::Neither]).zip([16, 32, 64, 128]) {
            for (rule, weight_decay) in
                [(Rule::Adam, 0.0), (Rule::Adam, 0.01), (Rule::LazyAdam, 0.01), (Rule::Sgd, 0.0)]
            {
                let optimizer = Optimizer { rule, learning_rate: 0.05, weight_decay, projection: None };
                let [any, narrow] = [true, false].map(|far| run(&batches, follow, &optimizer, dim, far));
                assert!(any == narrow, "{follow:?} {rule:?} {weight_decay} d {dim}");
            }
        }
    }
}
