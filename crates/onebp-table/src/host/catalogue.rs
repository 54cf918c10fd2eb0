//! The step of a loss of whole users against all items, on the CPU.
//!
//! With scores s = 2 U V^T, c = sum_j v_j and G = V^T V, sums over the catalogue need no scores one by one: sum_j s_j = 2 <u, c>
//! and sum_j s_j^2 = 4 u^T G u. A [`CatalogueLoss`] turns them, and the scores of the user's own items, into slopes
//!
//! dL/ds_j = share (s_j - mean) for every item, and more for the user's own ones
//!
//! so that with S = sum_u share u u^T and t = sum_u share mean u the gradients are
//!
//! ```text
//! of u    2 share (2 G u - mean c)  +  2 sum over its items of more v
//! of v_j  4 S v_j - 2 t             +  2 sum over its users of more u
//! ```
//!
//! Three passes, in blocks that stay in the nearest caches: items (G, c), users (all but the last line; they move), items (they
//! move). Sums over rows are added up part by part in an order that does not depend on threads. Source: spec section 7.2.
//!
//! Products are associative: G U is U (V^T V), 2 N d^2 operations and 2 Q d^2, or (U V^T) V, 4 Q N d, which is less where rows
//! are wider than about twice as many as there are users ([`Way`]). So with S: V S is V ((share U)^T U), or (V U^T) (share U).

use super::{
    HostTable,
    crew::RowWork,
    product::{BLOCK, parts, product, turn},
    shared::Rows,
    simd::{Add, AddTwo, MOST_LANES, apply, dot},
    state::Open,
};
use crate::{AllItems, Batch, CatalogueLoss, Embedding, Error, Touched};
use pulp::Simd;
use std::ops::Range;

/// Parts of a pass that adds up, at most: their sums are read once more.
const PARTS: usize = 16;

/// Sums of parts: `[rows + 1, wide]` each, a matrix and a vector.
struct Sums {
    values: Vec<f32>,
    /// Blocks of a part.
    grain: usize,
    size: usize,
}

impl Sums {
    fn new(blocks: usize, rows: usize, wide: usize) -> Self {
        let size = (rows + 1) * wide;
        let grain = blocks.div_ceil(parts(size).min(PARTS)).max(1);
        Self { values: vec![0.0; blocks.div_ceil(grain) * size], grain, size }
    }

    fn rows(&mut self) -> Rows<'_> {
        Rows::new(&mut self.values, self.size)
    }

    /// All parts together.
    fn total(mut self) -> Vec<f32> {
        let (total, rest) = self.values.split_at_mut(self.size);
        for part in rest.chunks_exact(self.size) {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        self.values.truncate(self.size);
        self.values
    }
}

/// A block of a table with `rows` rows.
fn block(block: usize, rows: usize) -> Range<usize> {
    block * BLOCK..rows.min((block + 1) * BLOCK)
}

/// In which order products are taken.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// By V^T V and U^T U.
    Gram,
    /// By U V^T.
    Scores,
}

impl Way {
    /// The one with fewer operations; scores need users.
    fn of(users: usize, items: usize, dim: usize) -> Self {
        if users > 0 && 2 * users * items < (items + users) * dim { Self::Scores } else { Self::Gram }
    }
}

/// Pass 1, over blocks of items: c, and G or U G.
struct OfAll<'a> {
    way: Way,
    items: &'a [f32],
    /// U `[Q, wide]`, where scores are taken.
    users: &'a [f32],
    sums: Rows<'a>,
    grain: usize,
    dim: usize,
    wide: usize,
}

impl RowWork for OfAll<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        let (dim, wide) = (self.dim, self.wide);
        // SAFETY: parts are distinct.
        let sums = unsafe { self.sums.row(range.start / self.grain) };
        let (sums, total) = sums.split_at_mut(sums.len() - wide);
        let (x, scratch) = scratch.split_at_mut(BLOCK * wide);
        x.fill(0.0);
        for at in range {
            let rows = block(at, self.items.len() / dim);
            let items = &self.items[rows.start * dim..rows.end * dim];
            for (x, item) in x.chunks_exact_mut(wide).zip(items.chunks_exact(dim)) {
                x[..dim].copy_from_slice(item);
                apply(simd, &Add(1.0), [&mut total[..dim]], [item]);
            }
            match self.way {
                Way::Gram => product(simd, (x, [1, wide]), [dim, rows.len(), wide], x, sums),
                Way::Scores => {
                    let count = self.users.len() / wide;
                    let (turned, scores) = scratch.split_at_mut(dim * BLOCK);
                    turned.fill(0.0);
                    turn(items, dim, BLOCK, turned);
                    let scores = &mut scores[..count * BLOCK];
                    scores.fill(0.0);
                    product(simd, (self.users, [wide, 1]), [count, dim, BLOCK], turned, scores);
                    product(simd, (scores, [BLOCK, 1]), [count, rows.len(), wide], x, sums);
                }
            }
        }
    }
}

/// Pass 2, over blocks of users.
struct OfUsers<'a> {
    batch: &'a Batch,
    loss: &'a dyn CatalogueLoss,
    users: &'a [f32],
    items: &'a [f32],
    way: Way,
    /// G or U G, and c.
    of_all: &'a [f32],
    /// share U `[Q, wide]`, where scores are taken.
    shared: Rows<'a>,
    /// Users who count.
    counted: usize,
    state: Open<'a>,
    /// Moved users, `[Q, d]`.
    staged: Rows<'a>,
    /// What a pair's slope is more than that of another item, twice, `[R]`.
    more: Rows<'a>,
    losses: Rows<'a, f64>,
    /// S and t.
    sums: Rows<'a>,
    grain: usize,
    dim: usize,
    wide: usize,
}

impl RowWork for OfUsers<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        let (dim, wide, touched) = (self.dim, self.wide, &self.batch.touched_users);
        let (x, scratch) = scratch.split_at_mut(BLOCK * wide);
        let (y, weighted) = scratch.split_at_mut(BLOCK * wide);
        // SAFETY: parts are distinct.
        let sums = unsafe { self.sums.row(range.start / self.grain) };
        let (squared, constant) = sums.split_at_mut(sums.len() - wide);
        let (of_all, total) = self.of_all.split_at(self.of_all.len() - wide);
        let total = &total[..dim];
        let mut scores: Vec<f64> = Vec::new();
        x.fill(0.0);
        for at in range {
            let block = block(at, touched.len());
            let shape = [block.len(), dim, wide];
            for (x, q) in x.chunks_exact_mut(wide).zip(block.clone()) {
                x[..dim].copy_from_slice(&self.users[touched.rows[q] as usize * dim..][..dim]);
            }
            match self.way {
                Way::Gram => {
                    y.fill(0.0);
                    product(simd, (x, [wide, 1]), shape, of_all, y);
                }
                Way::Scores => y[..block.len() * wide].copy_from_slice(&of_all[block.start * wide..block.end * wide]),
            }
            for (at, q) in block.clone().enumerate() {
                let (user, y) = (&x[at * wide..][..dim], &y[at * wide..][..dim]);
                let weighted = &mut weighted[at * wide..][..dim];
                let item = |place: u32| &self.items[self.batch.items[place as usize] as usize * dim..][..dim];
                let places = touched.places(q);
                scores.clear();
                for &place in places {
                    scores.push(f64::from(2.0 * dot(simd, user, item(place))));
                }
                let all = AllItems {
                    sum: f64::from(2.0 * dot(simd, user, total)),
                    squares: f64::from(4.0 * dot(simd, user, y)),
                    items: self.items.len() / dim,
                    counted: self.counted,
                };
                let outcome = self.loss.of_user(all, &mut scores);
                let (share, mean) = (outcome.share as f32, outcome.mean as f32);
                // SAFETY: users are distinct.
                let loss = unsafe { self.losses.row(q) };
                loss[0] = outcome.loss;
                let g = &mut *weighted;
                g.fill(0.0);
                apply(simd, &AddTwo(4.0 * share, -2.0 * share * mean), [&mut *g], [y, total]);
                for (&place, &more) in places.iter().zip(&scores) {
                    let more = 2.0 * more as f32;
                    apply(simd, &Add(more), [&mut *g], [item(place)]);
                    // SAFETY: a pair belongs to one user.
                    let of_pair = unsafe { self.more.row(place as usize) };
                    of_pair[0] = more;
                }
                // SAFETY: users are distinct.
                unsafe {
                    let new = self.staged.row(q);
                    new.copy_from_slice(user);
                    self.state.advance_along_sum(simd, touched.rows[q] as usize, touched.rest[q], new, g, []);
                }
                weighted.fill(0.0);
                apply(simd, &Add(share), [&mut *weighted], [user]);
                apply(simd, &Add(mean), [&mut constant[..dim]], [&*weighted]);
            }
            match self.way {
                Way::Gram => product(simd, (weighted, [1, wide]), [dim, block.len(), wide], x, squared),
                Way::Scores => {
                    // SAFETY: users are distinct.
                    let shared = unsafe { self.shared.span(block.start, block.len()) };
                    for (shared, weighted) in shared.chunks_exact_mut(wide).zip(weighted.chunks_exact(wide)) {
                        shared[..dim].copy_from_slice(&weighted[..dim]);
                    }
                }
            }
        }
    }
}

/// Pass 3, over blocks of items.
struct OfItems<'a> {
    batch: &'a Batch,
    users: &'a [f32],
    items: Rows<'a>,
    count: usize,
    state: Open<'a>,
    more: &'a [f32],
    way: Way,
    /// S, if it is taken, and t.
    sums: &'a [f32],
    /// U^T `[d, Q padded]`, where scores are taken ..
    turned: &'a [f32],
    /// .. and share U `[Q, wide]`.
    shared: &'a [f32],
    dim: usize,
    wide: usize,
}

impl RowWork for OfItems<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]) {
        let (dim, wide, touched) = (self.dim, self.wide, &self.batch.touched_items);
        let (x, scratch) = scratch.split_at_mut(BLOCK * wide);
        let (z, scratch) = scratch.split_at_mut(BLOCK * wide);
        let (g, scores) = scratch.split_at_mut(dim);
        let (squared, constant) = self.sums.split_at(self.sums.len() - wide);
        let constant = &constant[..dim];
        for at in range {
            let rows = block(at, self.count);
            for (x, row) in x.chunks_exact_mut(wide).zip(rows.clone()) {
                // SAFETY: an item is in one block.
                x[..dim].copy_from_slice(unsafe { self.items.read(row) });
            }
            z.fill(0.0);
            match self.way {
                Way::Gram => product(simd, (x, [wide, 1]), [rows.len(), dim, wide], squared, z),
                Way::Scores => {
                    let (count, padded) = (self.shared.len() / wide, self.turned.len() / dim);
                    let scores = &mut scores[..BLOCK * padded];
                    scores.fill(0.0);
                    product(simd, (x, [wide, 1]), [rows.len(), dim, padded], self.turned, scores);
                    product(simd, (scores, [padded, 1]), [rows.len(), count, wide], self.shared, z);
                }
            }
            let mut q = touched.rows.partition_point(|&item| (item as usize) < rows.start);
            for (z, row) in z.chunks_exact(wide).zip(rows) {
                g.fill(0.0);
                apply(simd, &AddTwo(4.0, -2.0), [&mut *g], [&z[..dim], constant]);
                if touched.rows.get(q) == Some(&(row as u32)) {
                    for &place in touched.places(q) {
                        let user = self.batch.users[place as usize] as usize;
                        apply(simd, &Add(self.more[place as usize]), [&mut *g], [&self.users[user * dim..][..dim]]);
                    }
                    q += 1;
                }
                // SAFETY: an item is in one block.
                unsafe { self.state.advance_along_sum(simd, row, 0, self.items.row(row), g, []) };
            }
        }
    }
}

/// One step of both tables along all pairs of the users of `batch`; returns the loss.
///
/// # Errors
/// [`Error::Execution`] where a table has no optimizer, or the batch has more than its pairs.
pub fn step(
    users: &mut HostTable,
    items: &mut HostTable,
    batch: &Batch,
    loss: &dyn CatalogueLoss,
) -> Result<f64, Error> {
    let (crew, dim, count) = (items.crew, items.dim(), items.rows());
    if batch.width() > 1 || users.dim() != dim {
        return Err(Error::Execution("a step of whole users has no negatives, and one vector for each user".into()));
    }
    let missing = || Error::Execution("the table has no optimizer".into());
    let (touched, wide) = (&batch.touched_users, dim.next_multiple_of(MOST_LANES));
    users.settle(touched)?;
    items.settle(&Touched { rows: (0..count as u32).collect(), ..Touched::default() })?;

    let way = Way::of(touched.len(), count, dim);
    // U and share U by rows, and U by columns, where scores are taken. Rows of the sums of pass 1 and of pass 2.
    let (kept, of_items, of_users) = match way {
        Way::Gram => (0, dim, dim),
        Way::Scores => (touched.len(), touched.len(), 0),
    };
    let (mut gathered, mut shared, mut turned) = (vec![0.0; kept * wide], vec![0.0; kept * wide], Vec::new());
    if way == Way::Scores {
        for (to, &user) in gathered.chunks_exact_mut(wide).zip(&touched.rows) {
            to[..dim].copy_from_slice(&users.weights.as_slice()[user as usize * dim..][..dim]);
        }
        let padded = kept.next_multiple_of(MOST_LANES);
        turned.resize(wide * padded, 0.0);
        turn(&gathered, wide, padded, &mut turned);
        turned.truncate(dim * padded);
    }

    let blocks = count.div_ceil(BLOCK);
    let mut sums = Sums::new(blocks, of_items, wide);
    let grain = sums.grain;
    let items_before = items.weights.as_slice();
    let work = OfAll { way, items: items_before, users: &gathered, sums: sums.rows(), grain, dim, wide };
    crew.for_chunks((blocks, grain), BLOCK * wide + kept.min(1) * dim * BLOCK + kept * BLOCK, &work);
    let of_all = sums.total();

    let mut sums = Sums::new(touched.len().div_ceil(BLOCK), of_users, wide);
    let grain = sums.grain;
    let counted = (0..touched.len()).filter(|&q| touched.places(q).len() < count).count().max(1);
    let (mut staged, mut more) = (vec![0.0; touched.len() * dim], vec![0.0; batch.len()]);
    let mut losses = vec![0.0; touched.len()];
    let work = OfUsers {
        batch,
        loss,
        users: users.weights.as_slice(),
        items: items.weights.as_slice(),
        way,
        of_all: &of_all,
        shared: Rows::new(&mut shared, wide),
        counted,
        state: users.state.as_mut().ok_or_else(missing)?.open(),
        staged: Rows::new(&mut staged, dim),
        more: Rows::new(&mut more, 1),
        losses: Rows::new(&mut losses, 1),
        sums: sums.rows(),
        grain,
        dim,
        wide,
    };
    crew.for_chunks((touched.len().div_ceil(BLOCK), grain), 3 * BLOCK * wide, &work);
    let sums = sums.total();

    let (rows, state) = items.open();
    let state = state.ok_or_else(missing)?;
    let users_before = users.weights.as_slice();
    let (more, sums, shared, turned) = (&more, &sums, &shared, &turned);
    let work =
        OfItems { batch, users: users_before, items: rows, count, state, more, way, sums, turned, shared, dim, wide };
    crew.for_chunks((blocks, 1), 2 * BLOCK * wide + dim + BLOCK * kept.next_multiple_of(MOST_LANES), &work);
    let (rows, _) = users.open();
    for (&user, new) in touched.rows.iter().zip(staged.chunks_exact(dim)) {
        // SAFETY: nobody else is at this table.
        unsafe { rows.row(user as usize) }.copy_from_slice(new);
    }
    users.finish_step();
    items.finish_step();
    Ok(losses.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OfUser, Optimizer, Rule, Table};
    use burn::tensor::Device;

    /// Slopes that no two users have in common.
    struct Slopes;

    impl CatalogueLoss for Slopes {
        fn of_user(&self, all: AllItems, scores: &mut [f64]) -> OfUser {
            scores.iter_mut().for_each(|score| *score *= 0.5);
            let (share, mean) = (0.01 * scores.len() as f64, 0.1 * all.sum / all.items as f64 + 1e-3 * all.squares);
            OfUser { loss: all.squares + all.counted as f64, share, mean }
        }
    }

    /// Several blocks of users and items, against sums one by one in f64; the same bytes on one thread and on three.
    #[test]
    fn a_step_is_its_sums() {
        const RATE: f64 = 0.05;
        // Narrow and wide: both ways.
        for (users, items, dim) in [(70, 150, 19), (3, 5, 16), (130, 64, 33), (150, 140, 170), (9, 130, 33)] {
            let table = |rows: usize, step: f64| {
                let values = (0..rows * dim).map(|at| (at as f64 * step).sin() as f32 * 0.3).collect();
                Table { values, rows, dim }
            };
            let tables = [table(users, 0.37), table(items, 0.53)];
            // Every other user, with one to four items; one has them all.
            let owned = |user: usize| -> Vec<usize> {
                if user == 2 {
                    (0..items).collect()
                } else {
                    (0..1 + user % 4).map(|k| (user * 7 + k) % items).collect()
                }
            };
            let pairs: Vec<(u32, u32)> = (0..users)
                .step_by(2)
                .flat_map(|user| owned(user).into_iter().map(move |item| (user as u32, item as u32)))
                .collect();
            let (of_users, of_items): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
            let batch = Batch::new(of_users, of_items, vec![1.0; pairs.len()], (users, items));
            let run = || {
                let optimizer = Optimizer { rule: Rule::Sgd, learning_rate: RATE, weight_decay: 0.0, projection: None };
                let [mut users, mut items] =
                    tables.each_ref().map(|table| HostTable::new(table, Some(&optimizer), &Device::flex()).unwrap());
                let loss = step(&mut users, &mut items, &batch, &Slopes).unwrap();
                (loss, [users.view().unwrap(), items.view().unwrap()])
            };
            let (loss, found) = run();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            assert!(pool.install(run) == (loss, found.clone()), "threads");

            let mut expected =
                tables.each_ref().map(|table| table.values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
            let before = expected.clone();
            let counted = (0..users).step_by(2).filter(|&user| owned(user).len() < items).count();
            let mut total = 0.0;
            for user in (0..users).step_by(2) {
                let row = |side: usize, row: usize| &before[side][row * dim..(row + 1) * dim];
                let score = |item: usize| 2.0 * row(0, user).iter().zip(row(1, item)).map(|(a, b)| a * b).sum::<f64>();
                let scores: Vec<f64> = (0..items).map(score).collect();
                let (sum, squares) = (scores.iter().sum(), scores.iter().map(|s| s * s).sum());
                let mut own: Vec<f64> = owned(user).iter().map(|&item| scores[item]).collect();
                let OfUser { loss, share, mean } = Slopes.of_user(AllItems { sum, squares, items, counted }, &mut own);
                total += loss;
                let mut slopes: Vec<f64> = scores.iter().map(|score| share * (score - mean)).collect();
                owned(user).iter().zip(own).for_each(|(&item, more)| slopes[item] += more);
                for (item, slope) in slopes.iter().enumerate() {
                    for c in 0..dim {
                        expected[0][user * dim + c] -= RATE * 2.0 * slope * row(1, item)[c];
                        expected[1][item * dim + c] -= RATE * 2.0 * slope * row(0, user)[c];
                    }
                }
            }
            assert!((loss / total - 1.0).abs() < 1e-5, "{loss} is not {total}");
            for (found, expected) in found.iter().zip(&expected) {
                for (found, expected) in found.values.iter().zip(expected) {
                    assert!((f64::from(*found) - expected).abs() < 2e-5, "{found} is not {expected}");
                }
            }
        }
    }
}
