//! Pass over the users of a batch: scores, the loss's slopes there, and what these bring to users.
//!
//! For each row of the batch the scores of its user with its items become the loss's slopes, and from there factors: the
//! gradient of a row of either table is the sum over its places of a factor times the other row; for distances, less the sum of
//! these factors times the row itself. What becomes of a user's gradient, and of items while they are at hand, is up to an
//! [`Outlet`].

use super::{
    ahead::{Ahead, Coming},
    crew::RowWork,
    shared::Rows,
    simd::{Add, Exp, MOST_LANES, Product, Scale, Set, SquareDistance, apply, exp, pairwise, square_distance},
    sum::Gradients,
};
use crate::{Batch, Error, Outcome, RowLoss, Score, Spread, batch::RowOfPlace};
use pulp::Simd;
use std::ops::Range;

/// What becomes of gradients.
pub trait Outlet: Sync {
    /// Whether gradients of users are wanted.
    fn wants_users(&self) -> bool;

    /// Whether [`Outlet::items`] moves items that are at hand.
    fn moves_items(&self) -> bool {
        false
    }

    /// Asks the cache for what the user in row `row` of its table will need.
    fn prefetch_user(&self, row: usize) {
        let _ = row;
    }

    /// Brings the user in row `row` of its table to the step before the one under way. `scratch` is at least two users long.
    ///
    /// # Safety
    /// No other thread may be at this user.
    unsafe fn ready_user<S: Simd>(&self, simd: S, row: usize, scratch: &mut [f32]) {
        let _ = (simd, row, scratch);
    }

    /// Brings the `items` of row `place` of the batch there that have no other place, where they are moved at hand.
    /// `scratch` is at least two items long.
    ///
    /// # Safety
    /// No other thread may be at this row of the batch.
    unsafe fn ready_items<S: Simd>(&self, simd: S, place: usize, items: &[u32], scratch: &mut [f32]) {
        let _ = (simd, place, items, scratch);
    }

    /// The gradient `g` of the `q`-th distinct user of the batch, `user`.
    ///
    /// # Safety
    /// No other thread may be at this user.
    unsafe fn user<S: Simd>(&self, simd: S, q: usize, user: &[f32], g: &mut [f32]);

    /// The items of row `place` of the batch, at hand, with their factors and user vectors. Where it moves items, it asks the
    /// cache for what is left of those of the row `next` as well. `scratch` is as long as an item.
    ///
    /// # Safety
    /// No other thread may be at this row of the batch.
    unsafe fn items<S: Simd>(
        &self,
        simd: S,
        (place, next): (usize, Option<usize>),
        factors: &[f32],
        chosen: &[u32],
        scratch: &mut [f32],
    ) {
        let _ = (simd, place, next, factors, chosen, scratch);
    }
}

/// Vectors of a user at most.
const MOST_VECTORS: usize = 64;

/// Vectors of a user, C, where users are `users` wide and items `items`.
///
/// # Errors
/// [`Error::Execution`] where users are not some vectors as wide as an item.
pub fn vectors(users: usize, items: usize) -> Result<usize, Error> {
    let vectors = users / items.max(1);
    if vectors * items == users && (1..=MOST_VECTORS).contains(&vectors) {
        return Ok(vectors);
    }
    let widths = format!("users are {users} wide, items {items}");
    Err(Error::Execution(format!("{widths}: a user has 1 to {MOST_VECTORS} vectors as wide as an item")))
}

/// The pass.
pub struct Scores<'a, O> {
    pub batch: &'a Batch,
    /// 1 / T.
    pub sharpness: f32,
    pub share: f32,
    pub users: &'a Rows<'a>,
    pub items: &'a Rows<'a>,
    /// Width of an item, d.
    pub dim: usize,
    /// Vectors of a user, C.
    pub vectors: usize,
    pub score: Score,
    /// Whether items come from beyond the caches.
    pub far: bool,
    pub factors: Rows<'a>,
    /// The user vector of every place.
    pub chosen: Rows<'a, u32>,
    pub losses: Rows<'a>,
    pub counted: Rows<'a>,
    pub loss: Option<&'a dyn RowLoss>,
    /// The penalty on the vectors of users, its weight divided by the number of users.
    pub spread: Option<Spread>,
    pub outlet: O,
}

impl<O: Outlet> RowWork for Scores<'_, O> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        let (width, user_dim) = (self.batch.width(), self.dim * self.vectors);
        let (g, spare) = scratch.split_at_mut(user_dim);
        let plain = self.vectors == 1 && self.score == Score::Product;
        let mut at = self.batch.touched_users.starts[range.start] as usize;
        for q in range {
            let id = self.batch.touched_users.rows[q] as usize;
            if self.far
                && let Some(&next) = self.batch.touched_users.rows.get(q + 1)
            {
                self.outlet.prefetch_user(next as usize);
            }
            // SAFETY: users are distinct, and in this pass nobody else writes or reads them.
            let user = unsafe {
                self.outlet.ready_user(simd, id, spare);
                self.users.read(id)
            };
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
                let next = self.batch.touched_users.places.get(at).map(|&next| next as usize).filter(|_| self.far);
                // SAFETY: a row of the batch belongs to one user.
                unsafe { self.outlet.ready_items(simd, place, ids, spare) };
                // SAFETY: a row of the batch belongs to one user.
                let (factors, chosen) = unsafe { (self.factors.row(place), self.chosen.row(place)) };
                for (index, &item) in ids.iter().enumerate() {
                    let item = self.item(item);
                    let (score, vector) = match next {
                        Some(next) => self.best(simd, user, item, self.ahead::<S>(next, index)),
                        None => self.best(simd, user, item, []),
                    };
                    factors[index] = score * self.sharpness;
                    chosen[index] = (id * self.vectors + vector) as u32;
                }
                // SAFETY: as above.
                unsafe { self.weigh(simd, place, factors) };
                if self.outlet.wants_users() {
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
                // SAFETY: as above.
                unsafe { self.outlet.items(simd, (place, next), factors, chosen, &mut spare[..self.dim]) };
            }
            if self.outlet.wants_users() {
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
                unsafe { self.outlet.user(simd, q, user, g) };
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

impl<O: Outlet> Scores<'_, O> {
    /// Turns the scores of row `place` of the batch into its factors, and keeps its loss.
    ///
    /// # Safety
    /// No other thread may be at this row.
    #[inline(always)]
    pub(super) unsafe fn weigh<S: Simd>(&self, simd: S, place: usize, factors: &mut [f32]) {
        // SAFETY: by the caller's promise.
        let (loss, counted) = unsafe { (self.losses.row(place), self.counted.row(place)) };
        let weight = self.batch.weights[place] * self.share;
        let outcome = self.slopes(simd, factors);
        loss[0] = weight * outcome.loss;
        counted[0] = if outcome.counted { weight } else { 0.0 };
        let scale = weight * self.sharpness * self.steepness();
        factors.iter_mut().for_each(|factor| *factor *= scale);
    }

    /// [`Scores::weigh`] of InfoNCE for as many rows from `row` on as a vector has lanes, a lane for each: short rows would leave
    /// most lanes empty. The bytes are the same. `scratch` holds these rows.
    ///
    /// # Safety
    /// No other thread may be at these rows.
    #[inline(always)]
    pub(super) unsafe fn weigh_together<S: Simd>(&self, simd: S, row: usize, scratch: &mut [f32]) {
        let lanes = S::F32_LANES;
        // SAFETY: by the caller's promise.
        let (factors, losses) = unsafe { (self.factors.span(row, lanes), self.losses.span(row, lanes)) };
        let width = factors.len() / lanes;
        for (lane, row) in factors.chunks_exact(width).enumerate() {
            for (column, &score) in row.iter().enumerate() {
                scratch[column * lanes + lane] = score;
            }
        }
        let mut weights = [0.0; MOST_LANES];
        for (weight, of_row) in weights.iter_mut().zip(&self.batch.weights[row..row + lanes]) {
            *weight = of_row * self.share;
        }
        let (columns, _) = S::as_mut_simd_f32s(&mut scratch[..width * lanes]);
        let first = columns[0];
        let (mut sum, mut highest) = (simd.splat_f32s(0.0), simd.splat_f32s(f32::NEG_INFINITY));
        for &scores in &*columns {
            sum = simd.add_f32s(sum, scores);
            highest = simd.max_f32s(highest, scores);
        }
        let mut total = simd.splat_f32s(0.0);
        for scores in &mut *columns {
            *scores = exp(simd, simd.sub_f32s(*scores, highest));
            total = simd.add_f32s(total, *scores);
        }
        let whole = simd.div_f32s(simd.splat_f32s(1.0), total);
        let scale = simd.splat_f32s(self.sharpness * self.steepness());
        let scale = simd.mul_f32s(S::as_simd_f32s(&weights).0[0], scale);
        for (column, shares) in columns.iter_mut().enumerate() {
            let slope = simd.mul_f32s(*shares, whole);
            let slope = if column == 0 { simd.sub_f32s(slope, simd.splat_f32s(1.0)) } else { slope };
            *shares = simd.mul_f32s(slope, scale);
        }
        // As in `soften`.
        let mut parts = [[0.0; MOST_LANES]; 4];
        for (part, values) in parts.iter_mut().zip([total, highest, first, simd.mul_f32s(simd.splat_f32s(0.0), sum)]) {
            S::as_mut_simd_f32s(part).0[0] = values;
        }
        let [total, highest, first, strange] = parts;
        for lane in 0..lanes {
            losses[lane] = weights[lane] * (total[lane].ln() + highest[lane] - first[lane] + strange[lane]);
        }
        for (lane, row) in factors.chunks_exact_mut(width).enumerate() {
            for (column, factor) in row.iter_mut().enumerate() {
                *factor = scratch[column * lanes + lane];
            }
        }
    }

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

    /// What is asked for with score `index` of a row of the batch: the item at the same place of the row `next`, of an item that will
    /// be moved the first half, for the move asks for the second one; and of its user one of several parts.
    #[inline(always)]
    fn ahead<S: Simd>(&self, next: usize, index: usize) -> Ahead<2> {
        let width = self.batch.width();
        let item = self.items.place(self.batch.items[next * width + index] as usize);
        let (user, length) = self.users.place(self.batch.users[next] as usize);
        // A power of two, at most four: nothing is divided.
        let parts = width.ilog2().min(2);
        let part = index & ((1 << parts) - 1);
        [
            if self.outlet.moves_items() { Coming::first_half::<S>(item) } else { Coming::row::<S>(item) },
            Coming { first: user.wrapping_add(part * (length >> parts)), pace: (S::F32_LANES * self.vectors) >> parts },
        ]
    }

    /// The best score of a user's vectors with an item, and which vector has it; rows `ahead` are asked for meanwhile.
    #[inline(always)]
    fn best<S: Simd, const P: usize>(&self, simd: S, user: &[f32], item: &[f32], ahead: Ahead<P>) -> (f32, usize) {
        let (first, others) = user.split_at(self.dim);
        let mut best = (self.score_ahead(simd, first, item, ahead), 0);
        for (which, vector) in others.chunks_exact(self.dim).enumerate() {
            let score = self.score_of(simd, vector, item);
            // What is not a number shows.
            if score > best.0 || score.is_nan() {
                best = (score, 1 + which);
            }
        }
        best
    }

    #[inline(always)]
    pub(super) fn score_of<S: Simd>(&self, simd: S, user: &[f32], item: &[f32]) -> f32 {
        self.score_ahead(simd, user, item, [])
    }

    #[inline(always)]
    fn score_ahead<S: Simd, const P: usize>(&self, simd: S, user: &[f32], item: &[f32], ahead: Ahead<P>) -> f32 {
        match self.score {
            Score::Product => pairwise::<Product, S, P>(simd, user, item, ahead),
            Score::Distance => -pairwise::<SquareDistance, S, P>(simd, user, item, ahead),
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

/// The user vectors of the places of a batch, counted over all users.
#[derive(Clone, Copy)]
pub enum Chosen<'a> {
    /// The only one of the user of a place.
    Only { users: &'a [u32], rows: RowOfPlace },
    /// The one of the best score, as [`Scores`] leaves it, `[B, W]`.
    Best(&'a [u32]),
}

impl<'a> Chosen<'a> {
    /// Of users with one vector each.
    pub fn only(batch: &'a Batch) -> Self {
        Self::Only { users: &batch.users, rows: batch.row_of_place() }
    }

    /// The vector of `place`.
    #[inline(always)]
    pub fn of(&self, place: u32) -> usize {
        match *self {
            Self::Only { users, rows } => users[rows.of(place)] as usize,
            Self::Best(best) => best[place as usize] as usize,
        }
    }
}

/// The gradient of an item: the sum of its places' user vectors, each times its factor; for distances less the
/// item itself times the sum of these factors.
pub struct OfItems<'a> {
    pub factors: &'a [f32],
    pub chosen: Chosen<'a>,
    pub users: &'a [f32],
    pub score: Score,
    pub dim: usize,
}

impl Gradients for OfItems<'_> {
    #[inline(always)]
    fn of(&self, place: usize) -> (f32, &[f32]) {
        let user = self.chosen.of(place as u32);
        (self.factors[place], &self.users[user * self.dim..(user + 1) * self.dim])
    }

    #[inline(always)]
    fn have_own(&self) -> bool {
        self.score == Score::Distance
    }

    #[inline(always)]
    fn own(&self, places: &[u32]) -> f32 {
        match self.score {
            Score::Product => 0.0,
            Score::Distance => places.iter().fold(0.0, |own, &place| own - self.factors[place as usize]),
        }
    }
}
