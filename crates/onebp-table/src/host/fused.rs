//! The fused step on the CPU.
//!
//! Three passes, each over distinct rows and on all threads:
//!
//! 1. **Scores**, by user: dot products with the 1 + S items of each of the user's rows, softmax, loss, and the factor
//!    c = w (p - [j = +]) / T of every place. A user that learns is moved here, by sum of c v. Of a table that no cache
//!    holds, items with no other place in the batch, which are most of them, are moved here too, by c u, while they are at
//!    hand: they cross the memory bus once and not twice.
//! 2. **Items**, by item: the gradient sum of c u of a row in one pass, then its optimizer.
//! 3. **Following**, by the rows that follow.
//!
//! Where both towers learn, items need the users as they were: new user rows wait in a staging buffer until pass 2 is
//! over.

use super::{
    HostTable,
    shared::Rows,
    simd::{Add, Exp, Scale, Set, apply, dot, prefetch_at, square_distance},
    state::Open,
    sum::Gradients,
    table::{RowWork, Step, for_rows},
};
use crate::{Batch, Embedding, Error, Follow, FusedStep, Grouping, Outcome, RowLoss, Score, Spread, Touched};
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
    /// User vector of every place, counted over all users, `[B, 1 + S]`.
    chosen: Vec<u32>,
    /// Weighted loss of every row, `[B]`.
    row_losses: Vec<f32>,
    /// Weights of the rows that the loss counts, `[B]`.
    row_counted: Vec<f32>,
    /// New rows of distinct users, `[Q, C d]`.
    staged: Vec<f32>,
    /// The distinct items that pass 2 moves, by their index in the batch.
    moving: Vec<u32>,
    /// The chosen items of a batch, and their groups.
    positives: Vec<u32>,
    grouping: Option<Grouping>,
    touched_positives: Touched,
    losses: Vec<f32>,
    counted: Vec<f32>,
    passes: [Duration; PASSES.len()],
}

/// Names of the passes: rows late for the step, and the three above, the first of which may move items or not.
const PASSES: [&str; 5] = ["catch-up", "scores", "scores + optimizer", "optimizer", "following"];

/// Vectors of a user at most.
const MOST_VECTORS: usize = 64;

/// Pass 1.
struct Scores<'a> {
    batch: &'a Batch,
    /// 1 / T.
    sharpness: f32,
    share: f32,
    users: &'a [f32],
    items: &'a Rows<'a>,
    /// Width of an item, d.
    dim: usize,
    /// Vectors of a user, C.
    vectors: usize,
    score: Score,
    /// Whether items come from beyond the caches.
    far: bool,
    /// The optimizer of items that are moved here.
    moving: Option<&'a Open<'a>>,
    factors: Rows<'a>,
    /// The user vector of every place.
    chosen: Rows<'a, u32>,
    losses: Rows<'a>,
    counted: Rows<'a>,
    loss: Option<&'a dyn RowLoss>,
    /// The penalty on the vectors of users, its weight divided by the number of users.
    spread: Option<Spread>,
    /// Where users learn: their optimizer, and the staging buffer.
    learning: Option<(Open<'a>, Rows<'a>)>,
}

impl RowWork for Scores<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        let (width, user_dim) = (self.batch.width(), self.dim * self.vectors);
        let (g, spare) = scratch.split_at_mut(user_dim);
        let plain = self.vectors == 1 && self.score == Score::Product;
        let mut at = self.batch.touched_users.starts[range.start] as usize;
        for q in range {
            let id = self.batch.touched_users.rows[q] as usize;
            let user = &self.users[id * user_dim..(id + 1) * user_dim];
            let mut first = true;
            // Factors of a user's own vectors, which distances depend on.
            let mut own = [0.0; MOST_VECTORS];
            if !plain {
                g.fill(0.0);
            }
            for &place in self.batch.touched_users.places(q) {
                let place = place as usize;
                let ids = &self.batch.items[place * width..(place + 1) * width];
                // The places of a chunk follow each other.
                at += 1;
                if self.far
                    && let Some(&next) = self.batch.touched_users.places.get(at)
                {
                    let next = next as usize * width;
                    self.batch.items[next..next + width].iter().for_each(|&item| {
                        let (first, length) = self.items.place(item as usize);
                        prefetch_at(first, length);
                    });
                    if let Some(state) = self.moving {
                        ids.iter().for_each(|&item| state.prefetch(item as usize));
                    }
                }
                // SAFETY: a row of the batch belongs to one user.
                let (factors, chosen) = unsafe { (self.factors.row(place), self.chosen.row(place)) };
                // SAFETY: as above.
                let (loss, counted) = unsafe { (self.losses.row(place), self.counted.row(place)) };
                for ((factor, chosen), &item) in factors.iter_mut().zip(&mut *chosen).zip(ids) {
                    let (score, vector) = self.best(simd, user, self.item(item));
                    *factor = score * self.sharpness;
                    *chosen = (id * self.vectors + vector) as u32;
                }
                let weight = self.batch.weights[place] * self.share;
                let outcome = self.slopes(simd, factors);
                loss[0] = weight * outcome.loss;
                counted[0] = if outcome.counted { weight } else { 0.0 };
                let scale = weight * self.sharpness * self.steepness();
                factors.iter_mut().for_each(|factor| *factor *= scale);
                if self.learning.is_some() {
                    for ((&factor, &chosen), &item) in factors.iter().zip(&*chosen).zip(ids) {
                        let item = self.item(item);
                        if plain {
                            match std::mem::take(&mut first) {
                                true => apply(simd, &Set(factor), [&mut *g], [item]),
                                false => apply(simd, &Add(factor), [&mut *g], [item]),
                            }
                        } else {
                            let vector = chosen as usize - id * self.vectors;
                            own[vector] -= factor;
                            apply(simd, &Add(factor), [&mut g[vector * self.dim..][..self.dim]], [item]);
                        }
                    }
                }
                if let Some(state) = self.moving {
                    // SAFETY: as above.
                    unsafe { self.move_lone_items(simd, place, factors, chosen, state, spare) };
                }
            }
            if let Some((state, staged)) = &self.learning {
                if self.score == Score::Distance {
                    for ((g, user), &own) in g.chunks_exact_mut(self.dim).zip(user.chunks_exact(self.dim)).zip(&own) {
                        apply(simd, &Add(own), [g], [user]);
                    }
                }
                if let (Some(spread), Some(&place)) = (&self.spread, self.batch.touched_users.places(q).first()) {
                    // SAFETY: a row of the batch belongs to one user.
                    let loss = unsafe { self.losses.row(place as usize) };
                    loss[0] += spread_apart(simd, spread, user, g, &mut spare[..self.dim]);
                }
                // SAFETY: users are distinct.
                unsafe {
                    let new = staged.row(q);
                    new.copy_from_slice(user);
                    state.advance_along_sum(simd, id, self.batch.touched_users.rest[q], new, g);
                }
            }
        }
    }
}

/// Adds the gradient of [`Spread`] at a user's vectors `[C d]` to `g`; returns the penalty. `mean` is scratch, `[d]`.
#[inline(always)]
fn spread_apart<S: Simd>(simd: S, spread: &Spread, user: &[f32], g: &mut [f32], mean: &mut [f32]) -> f32 {
    let dim = mean.len();
    let vectors = (user.len() / dim) as f32;
    mean.fill(0.0);
    for vector in user.chunks_exact(dim) {
        apply(simd, &Add(1.0 / vectors), [&mut *mean], [vector]);
    }
    let mut delta = 0.0;
    for vector in user.chunks_exact(dim) {
        delta += square_distance(simd, vector, mean);
    }
    let (penalty, slope) = spread.of(delta / (vectors - 1.0));
    let factor = spread.weight * slope * 2.0 / (vectors - 1.0);
    if factor != 0.0 {
        for (g, vector) in g.chunks_exact_mut(dim).zip(user.chunks_exact(dim)) {
            apply(simd, &Add(factor), [&mut *g], [vector]);
            apply(simd, &Add(-factor), [g], [&*mean]);
        }
    }
    spread.weight * penalty
}

impl Scores<'_> {
    /// Turns the scores of a row into the slopes of its loss.
    #[inline(always)]
    fn slopes<S: Simd>(&self, simd: S, scores: &mut [f32]) -> Outcome {
        if let Some(loss) = self.loss {
            return loss.slopes(scores);
        }
        let loss = soften(simd, scores);
        scores[0] -= 1.0;
        Outcome { loss, counted: false }
    }

    /// The best score of a user's vectors with an item, and which vector has it.
    #[inline(always)]
    fn best<S: Simd>(&self, simd: S, user: &[f32], item: &[f32]) -> (f32, usize) {
        if self.vectors == 1 {
            return (self.score_of(simd, user, item), 0);
        }
        let mut best = (f32::NEG_INFINITY, 0);
        for (which, vector) in user.chunks_exact(self.dim).enumerate() {
            let score = self.score_of(simd, vector, item);
            // What is not a number shows.
            if score > best.0 || score.is_nan() {
                best = (score, which);
            }
        }
        best
    }

    #[inline(always)]
    fn score_of<S: Simd>(&self, simd: S, user: &[f32], item: &[f32]) -> f32 {
        match self.score {
            Score::Product => dot(simd, user, item),
            Score::Distance => -square_distance(simd, user, item),
        }
    }

    /// Slope of a score along the vectors that it is made of: d <u, v> = u dv, d -|u - v|^2 = 2 (u - v) dv.
    #[inline(always)]
    fn steepness(&self) -> f32 {
        match self.score {
            Score::Product => 1.0,
            Score::Distance => 2.0,
        }
    }

    #[inline(always)]
    fn item(&self, item: u32) -> &[f32] {
        // SAFETY: an item is moved by the thread that has its only place, after it was read, or not at all in this pass.
        unsafe { self.items.read(item as usize) }
    }

    /// Moves those items of a row of the batch that have no other place.
    ///
    /// # Safety
    /// No other thread may be at this row.
    #[inline(always)]
    unsafe fn move_lone_items<S: Simd>(
        &self,
        simd: S,
        place: usize,
        factors: &[f32],
        chosen: &[u32],
        state: &Open,
        scratch: &mut [f32],
    ) {
        let touched = &self.batch.touched_items;
        let slots = &touched.slots[place * factors.len()..];
        let scratch = &mut scratch[..self.dim];
        for ((&factor, &chosen), &slot) in factors.iter().zip(chosen).zip(slots) {
            let slot = slot as usize;
            if !touched.is_lone(slot) {
                continue;
            }
            let (item, rest) = (touched.rows[slot] as usize, touched.rest[slot]);
            let user = &self.users[chosen as usize * self.dim..][..self.dim];
            // SAFETY: nobody else reads or moves an item of one place.
            unsafe {
                let w = self.items.row(item);
                if self.score == Score::Distance && factor != 0.0 {
                    apply(simd, &Set(factor), [&mut *scratch], [user]);
                    apply(simd, &Add(-factor), [&mut *scratch], [&*w]);
                    state.advance_along_sum(simd, item, rest, w, scratch);
                } else {
                    state.advance_along_one(simd, (item, rest), w, (factor, user), scratch);
                }
            }
        }
    }
}

/// Turns scores into their softmax; returns LSE(scores) - scores[0], the loss of the row.
#[inline(always)]
fn soften<S: Simd>(simd: S, scores: &mut [f32]) -> f32 {
    let first = scores[0];
    // 0, or no number where a score is none: maxima pass over those.
    let strange = 0.0 * scores.iter().sum::<f32>();
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    apply(simd, &Exp(highest), [&mut *scores], []);
    let total: f32 = scores.iter().sum();
    apply(simd, &Scale(1.0 / total), [scores], []);
    total.ln() + highest - first + strange
}

/// Pass 2: the gradient of an item is the sum of its places' user vectors, each times its factor; for distances less the
/// item itself times the sum of these factors.
struct OfItems<'a> {
    factors: &'a [f32],
    chosen: &'a [u32],
    users: &'a [f32],
    score: Score,
    dim: usize,
}

impl Gradients for OfItems<'_> {
    #[inline(always)]
    fn of(&self, place: usize) -> (f32, &[f32]) {
        let user = self.chosen[place] as usize;
        (self.factors[place], &self.users[user * self.dim..(user + 1) * self.dim])
    }

    #[inline(always)]
    fn own(&self, places: &[u32]) -> f32 {
        match self.score {
            Score::Product => 0.0,
            Score::Distance => places.iter().fold(0.0, |own, &place| own - self.factors[place as usize]),
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

    /// Vectors of a user, C: users are that many times as wide as items.
    fn vectors(users: &HostTable, items: &HostTable) -> Result<usize, Error> {
        let vectors = users.dim() / items.dim().max(1);
        if vectors * items.dim() == users.dim() && (1..=MOST_VECTORS).contains(&vectors) {
            return Ok(vectors);
        }
        let widths = format!("users are {} wide, items {}", users.dim(), items.dim());
        Err(Error::Execution(format!("{widths}: a user has 1 to {MOST_VECTORS} vectors as wide as an item")))
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
            positives: Vec::new(),
            grouping: None,
            touched_positives: Touched::default(),
            losses: Vec::new(),
            counted: Vec::new(),
            passes: Default::default(),
        }
    }

    fn step(&mut self, users: &mut HostTable, items: &mut HostTable, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let (dim, width, arch) = (items.dim(), batch.width(), users.arch());
        let vectors = Self::vectors(users, items)?;
        let user_dim = users.dim();
        let score = self.loss.as_ref().map_or(Score::Product, |loss| loss.score());
        let spread = self.loss.as_ref().and_then(|loss| loss.spread()).filter(|_| vectors > 1);
        let users_learn = !matches!(self.follow, Follow::Users(_));
        let items_learn = !matches!(self.follow, Follow::Items(_));
        self.factors.resize(batch.items.len(), 0.0);
        self.chosen.resize(batch.items.len(), 0);
        self.row_losses.resize(batch.len(), 0.0);
        self.row_counted.resize(batch.len(), 0.0);
        let mut clock = Instant::now();
        let mut lap = |pass: &mut Duration| {
            let now = Instant::now();
            *pass += now - std::mem::replace(&mut clock, now);
        };
        let [late, scored, scored_and_moved, moved, followed] = &mut self.passes;
        users.settle(&batch.touched_users)?;
        items.settle(&batch.touched_items)?;
        lap(late);
        if users_learn {
            self.staged.resize(batch.touched_users.len() * user_dim, 0.0);
        }
        let learning = match &mut users.state {
            Some(state) if users_learn => Some((state.open(), Rows::new(&mut self.staged, user_dim))),
            _ => None,
        };
        let far = items.far;
        let (item_rows, item_state) = items.open();
        let item_state = item_state.as_ref().filter(|_| items_learn);
        let scores = Scores {
            batch,
            sharpness: (1.0 / self.temperature) as f32,
            share: batch.share(),
            users: users.weights.as_slice(),
            items: &item_rows,
            dim,
            vectors,
            score,
            far,
            moving: item_state.filter(|_| far),
            loss: self.loss.as_deref(),
            spread: spread.map(|spread| Spread { weight: spread.weight / batch.touched_users.len() as f32, ..spread }),
            factors: Rows::new(&mut self.factors, width),
            chosen: Rows::new(&mut self.chosen, width),
            losses: Rows::new(&mut self.row_losses, 1),
            counted: Rows::new(&mut self.row_counted, 1),
            learning,
        };
        for_rows(arch, batch.touched_users.len(), user_dim, width, &scores);
        self.losses.push(self.row_losses.iter().sum());
        if self.loss.is_some() {
            self.counted.push(self.row_counted.iter().sum());
        }
        lap(if far { scored_and_moved } else { scored });

        if let Some(state) = item_state {
            let touched = &batch.touched_items;
            self.moving.clear();
            self.moving.extend((0..touched.len() as u32).filter(|&q| !(far && touched.is_lone(q as usize))));
            let (factors, chosen) = (&self.factors, &self.chosen);
            let gradients = OfItems { factors, chosen, users: users.weights.as_slice(), score, dim };
            let (moving, weights) = (&self.moving, &item_rows);
            let step = Step { touched, moving, weights, state, gradients: &gradients, far, dim };
            for_rows(arch, moving.len(), dim, 1, &step);
            items.finish_step();
        }
        if users_learn {
            users.finish_step();
            let rows = &batch.touched_users.rows;
            let table = Rows::new(users.weights.as_mut_slice(), user_dim);
            let publish = Publish { rows, staged: &self.staged, table, dim: user_dim };
            for_rows(arch, rows.len(), user_dim, 1, &publish);
        }
        lap(moved);
        let outcome = match &self.follow {
            Follow::Neither => Ok(()),
            Follow::Users(aggregation) => {
                self.positives.clear();
                self.positives.extend(batch.positives());
                users.aggregate(&batch.touched_users, aggregation, items, &self.positives)
            }
            Follow::Items(aggregation) => {
                self.positives.clear();
                self.positives.extend(batch.positives());
                let grouping = self.grouping.get_or_insert_with(|| Grouping::new(items.rows()));
                grouping.group(&self.positives, &mut self.touched_positives);
                items.aggregate(&self.touched_positives, aggregation, users, &batch.users)
            }
        };
        lap(followed);
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

    fn run(batches: &[Batch], follow: Follow, rule: Rule, far: bool) -> ([Table; 2], Vec<f32>) {
        let projected = matches!(rule, Rule::LazyAdam | Rule::RowwiseAdagrad);
        let projection = projected.then_some(Projection { onto: Onto::Sphere, vectors: 1 });
        let optimizer = Optimizer { rule, learning_rate: 0.05, weight_decay: 0.0, projection };
        let learns = [!matches!(follow, Follow::Users(_)), !matches!(follow, Follow::Items(_))];
        let [mut users, mut items] = std::array::from_fn(|side| {
            let rows = [USERS, ITEMS][side];
            let values = (0..rows * DIM).map(|at| (at * (7 + side) % 23) as f32 / 23.0 - 0.5).collect();
            let table = Table { values, rows, dim: DIM };
            HostTable::new(&table, learns[side].then_some(&optimizer), &Device::flex()).unwrap()
        });
        (users.far, items.far) = (far, far);
        let mut step = HostStep::new(0.7, follow);
        batches.iter().for_each(|batch| step.step(&mut users, &mut items, batch).unwrap());
        ([users.view().unwrap(), items.view().unwrap()], step.take_losses().unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Small tables are worked on as large ones are.
        #[test]
        fn far_tables_get_the_same_bytes(batches in batches()) {
            let aggregation = Aggregation { beta: 0.9, duplicates: Duplicates::Sequential };
            for follow in [Follow::Users(aggregation), Follow::Neither, Follow::Items(aggregation)] {
                for rule in [Rule::Adam, Rule::LazyAdam, Rule::RowwiseAdagrad, Rule::Sgd] {
                    prop_assert!(run(&batches, follow, rule, true) == run(&batches, follow, rule, false), "{:?}", rule);
                }
            }
        }
    }
}
