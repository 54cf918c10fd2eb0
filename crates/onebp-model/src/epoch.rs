//! The batches of an epoch.

use crate::{
    Batch, Error, Hyperparameters, Method,
    encoder::Encoder,
    loss::Draws,
    sampler::{Shared, Static},
    update::Follow,
};
use onebp_data::{
    Csr,
    random::{Purpose, Random},
};
use onebp_table::{Grouping, Keep};
use rayon::prelude::*;

/// Rows that are drawn by one thread at a time.
const GRAIN: usize = 256;

/// How the batches of every epoch come about.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    /// Training pairs.
    pub train: &'a Csr,
    /// Draws negatives.
    pub sampler: Static<'a>,
    /// Whether the rows of a batch keep theirs of one pool together.
    pub shared: bool,
    /// Positives of a row, Mp: its own, then others of its user, drawn with repetition.
    pub positives: usize,
    /// Whether a batch is all pairs of a number of users.
    pub whole_users: bool,
    /// Pairs in a batch, B; or users.
    pub batch_size: usize,
    /// Keep the incomplete last batch. Otherwise it is dropped, as the authors do, unless it is the only one.
    pub keep_last: bool,
    /// Which of the sampler's items a step keeps; all of them where nothing is said.
    pub keep: Option<Keep>,
    /// Rows that a step carries over the silent steps that follow it.
    pub carried: Carried,
    /// Seed of the order and of the other positives.
    pub seed: u64,
}

/// Which rows of a batch its step carries over the silent steps of dense Adam that follow it, while they are at hand. Not those that
/// something follows right after the step: who follows must see them as they are then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The users.
    pub users: bool,
    /// The chosen items, at the first place of each row.
    pub chosen: bool,
    /// The other items.
    pub others: bool,
}

impl Carried {
    fn of(method: &Method, hyper: &Hyperparameters) -> Self {
        if matches!(method.encoder, Encoder::Bootstrap(_)) {
            // Targets follow all rows.
            return Self::default();
        }
        let (update, [of_users, of_items]) = (method.update(hyper), method.projections());
        let users = update.trains_users() && hyper.optimizer(of_users).carries();
        let items = update.trains_items() && hyper.optimizer(of_items).carries();
        let follow = update.follow();
        Self {
            users: users && !matches!(follow, Follow::Items(_)),
            chosen: items && !matches!(follow, Follow::Users(_)),
            others: items,
        }
    }
}

impl<'a> Batches<'a> {
    /// The batches of `method` for the pairs `train`, at least one.
    ///
    /// # Errors
    /// [`Error::Parameter`] where a parameter leaves nothing to draw from.
    pub fn new(method: &Method, hyper: &Hyperparameters, train: &'a Csr, seed: u64) -> Result<Self, Error> {
        let (draws, pool) = (method.loss.draws(), method.sampler.pool());
        let (positives, negatives) = match draws {
            Draws::Negatives { positives } => (positives, hyper.negatives),
            Draws::Pairs | Draws::Users => (1, 0),
        };
        let proposal = method.sampler.proposal(train)?;
        let shared = method.sampler.shares();
        let drawn = match pool {
            Some(pool) if shared => Shared::size(&proposal, train.columns(), pool.size, negatives),
            Some(pool) => pool.size,
            None => negatives,
        };
        Ok(Self {
            train,
            sampler: Static::new(train, proposal, drawn, seed).planting(method.sampler.planted()),
            shared,
            positives,
            keep: pool.map(|pool| Keep { positives, negatives, hardness: pool.hardness }),
            whole_users: draws == Draws::Users,
            batch_size: hyper.batch_size,
            keep_last: hyper.keep_last,
            carried: Carried::of(method, hyper),
            seed,
        })
    }

    /// Items of a row, Mp + S or Mp + X.
    pub fn width(&self) -> usize {
        self.positives + self.sampler.negatives()
    }

    /// Number of batches of an epoch.
    pub fn len(&self) -> usize {
        let rows = if self.whole_users { self.users().count() } else { self.train.len() };
        let whole = rows / self.batch_size;
        whole + usize::from(!rows.is_multiple_of(self.batch_size) && (self.keep_last || whole == 0))
    }

    /// Whether an epoch has no batch, as without training pairs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places of a batch, its pairs times its width; of whole users, on average.
    pub fn places(&self) -> usize {
        let pairs = if self.whole_users {
            self.batch_size.saturating_mul(self.train.len()) / self.users().count().max(1)
        } else {
            self.batch_size
        };
        pairs.saturating_mul(self.width())
    }

    /// Users who have a training pair.
    fn users(&self) -> impl Iterator<Item = u32> {
        (0..self.train.rows() as u32).filter(|&user| !self.train.row(user).is_empty())
    }

    /// Shuffles the pairs for epoch `number`.
    pub fn epoch(&'a self, number: u32) -> Epoch<'a> {
        let random = Random::new(self.seed, Purpose::Shuffle);
        let (order, starts) = if self.whole_users {
            let mut users = Vec::from_iter(self.users());
            random.shuffle(&mut users, number, 0);
            let pairs_of = |&user: &u32| self.train.row(user).iter().map(move |&item| (user, item));
            let mut starts = vec![0];
            for users in users.chunks(self.batch_size).take(self.len()) {
                let pairs = users.iter().map(|&user| self.train.row(user).len()).sum::<usize>();
                starts.push(starts[starts.len() - 1] + pairs);
            }
            (users.iter().flat_map(pairs_of).collect(), starts)
        } else {
            let mut order = Vec::from_iter(self.train.pairs());
            random.shuffle(&mut order, number, 0);
            let starts = (0..=self.len()).map(|batch| order.len().min(batch * self.batch_size)).collect();
            (order, starts)
        };
        Epoch { batches: self, order, starts, number }
    }
}

/// One epoch: every training pair once, in a seeded order, cut into batches.
///
/// The order, the negatives and the other positives depend on (seed, epoch, position) only, so another batch size, thread
/// count or device sees the same rows; but a pool that a batch shares depends on where the batch begins.
pub struct Epoch<'a> {
    batches: &'a Batches<'a>,
    order: Vec<(u32, u32)>,
    /// Where batches begin, and where the last one ends.
    starts: Vec<usize>,
    number: u32,
}

impl Epoch<'_> {
    /// Number of batches.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no batch, as without training pairs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Batch `index` below [`Epoch::len`].
    pub fn batch(&self, index: usize) -> Batch {
        let mut batch = Batch::default();
        self.draw(index, &mut batch);
        let train = self.batches.train;
        batch.group(&mut Grouping::new(train.rows()), &mut Grouping::new(train.columns()));
        batch
    }

    /// Draws the rows of batch `index` into `batch`, in parallel. Their groups are left to [`Batch::group`].
    pub fn draw(&self, index: usize, batch: &mut Batch) {
        let start = self.starts[index];
        let rows = &self.order[start..self.starts[index + 1]];
        let width = self.batches.width();
        batch.users.clear();
        batch.users.extend(rows.iter().map(|&(user, _)| user));
        batch.positives.clear();
        batch.positives.extend(rows.iter().map(|&(_, item)| item));
        batch.items.resize(rows.len() * width, 0);
        batch.weights.resize(rows.len(), 0.0);
        batch.keep = self.batches.keep;
        let chunks = batch.items.par_chunks_mut(GRAIN * width).zip(batch.weights.par_chunks_mut(GRAIN));
        let chunks = chunks.zip(rows.par_chunks(GRAIN)).zip(batch.users.par_chunks(GRAIN)).enumerate();
        chunks.for_each(|(chunk, (((items, weights), rows), users))| {
            let position = (start + chunk * GRAIN) as u64;
            for (row, (&pair, items)) in rows.iter().zip(items.chunks_exact_mut(width)).enumerate() {
                self.draw_positives(pair, position + row as u64, items);
            }
            weights.fill(1.0);
            if !self.batches.shared && self.batches.sampler.negatives() > 0 {
                self.batches.sampler.draw_rows(users, (self.number, position), items, weights);
            }
        });
        batch.noise.clear();
        if let (true, Some(Keep { negatives, .. })) = (self.batches.shared, self.batches.keep) {
            self.draw_shared(Shared::new(&self.batches.sampler, negatives, self.batches.seed), start, batch);
        }
    }

    /// Draws the negatives of a batch whose rows share a pool, and the noise that goes with them. Positives are there.
    fn draw_shared(&self, shared: Shared<'_>, start: usize, batch: &mut Batch) {
        let (width, positives) = (self.batches.width(), self.batches.positives);
        let pool = shared.pool(self.number, start as u64);
        batch.noise.resize(batch.items.len(), 0.0);
        let rows = batch.items.par_chunks_mut(width).zip(batch.noise.par_chunks_mut(width));
        let rows = rows.zip(&mut batch.weights).zip(&batch.users).enumerate().with_min_len(GRAIN / 8);
        rows.for_each(|(row, (((items, noise), weight), &user))| {
            let key = (user, self.number, (start + row) as u64);
            let found = shared.draw(&pool, key, &mut items[positives..], &mut noise[positives..]);
            *weight = if found { 1.0 } else { 0.0 };
        });
    }

    /// Names the items of one row: its positive, and other positives. Without a negative the row must still name items: its
    /// positive, at weight 0.
    fn draw_positives(&self, (user, positive): (u32, u32), position: u64, items: &mut [u32]) {
        let Batches { train, positives, seed, .. } = *self.batches;
        items.fill(positive);
        if positives > 1 {
            let owned = train.row(user);
            let mut words = Random::new(seed, Purpose::Positives).words(self.number, position);
            items[1..positives].fill_with(|| owned[words.below(owned.len() as u32) as usize]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Proposal;
    use onebp_table::Hardness;
    use std::collections::HashSet;

    fn train() -> Csr {
        let pairs: Vec<_> = (0..7u32).flat_map(|u| (0..5u32).map(move |k| (u, (u * 3 + k * 2) % 40))).collect();
        Csr::from_pairs(7, 40, &pairs).unwrap()
    }

    fn batches(train: &Csr, batch_size: usize, keep_last: bool) -> Batches<'_> {
        let sampler = Static::new(train, Proposal::Uniform(40), 3, 9);
        Batches {
            train,
            sampler,
            shared: false,
            positives: 1,
            whole_users: false,
            batch_size,
            keep_last,
            keep: None,
            carried: Carried::default(),
            seed: 9,
        }
    }

    fn rows(epoch: &Epoch) -> Vec<(u32, u32, Vec<u32>)> {
        (0..epoch.len())
            .flat_map(|b| {
                let batch = epoch.batch(b);
                let rows = batch.users.iter().zip(batch.items.chunks(batch.width()));
                rows.map(|(&user, items)| (user, items[0], items[1..].to_vec())).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn every_pair_once_and_the_rest_dropped_or_kept() {
        let train = train();
        let seen: HashSet<_> = rows(&batches(&train, 8, true).epoch(1)).into_iter().map(|(u, i, _)| (u, i)).collect();
        assert_eq!(seen.len(), train.len());
        assert_eq!(seen, train.pairs().collect());
        assert_eq!(batches(&train, 8, false).epoch(1).len(), train.len() / 8);
        assert_eq!(batches(&train, 1000, false).epoch(1).len(), 1, "a single short batch is kept");
    }

    #[test]
    fn rows_do_not_depend_on_batch_size_or_threads() {
        let train = train();
        let whole = batches(&train, 1000, true);
        let one = rows(&whole.epoch(4));
        let many = rows(&batches(&train, 4, true).epoch(4));
        assert_eq!(one, many);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(one, pool.install(|| rows(&whole.epoch(4))));
        assert_ne!(one, rows(&whole.epoch(5)), "fresh order and negatives every epoch");
    }

    /// Batches of whole users: every pair once, a user's pairs together, no negatives.
    #[test]
    fn whole_users_stay_together() {
        let train = train();
        for (batch_size, keep_last, expected) in [(3, true, 3), (3, false, 2), (100, false, 1)] {
            let plain = batches(&train, batch_size, keep_last);
            let sampler = Static::new(&train, Proposal::Uniform(40), 0, 9);
            let batches = Batches { whole_users: true, sampler, ..plain };
            let epoch = batches.epoch(1);
            assert_eq!((epoch.len(), batches.len()), (expected, expected));
            let mut seen = HashSet::new();
            for batch in (0..epoch.len()).map(|index| epoch.batch(index)) {
                assert!(batch.width() == 1 && batch.weights.iter().all(|&weight| weight == 1.0));
                assert!(batch.touched_users.len() <= batch_size);
                for (q, &user) in batch.touched_users.rows.iter().enumerate() {
                    assert!(seen.insert(user));
                    let items = batch.touched_users.places(q).iter().map(|&place| batch.items[place as usize]);
                    assert_eq!(Vec::from_iter(items), train.row(user));
                }
            }
            assert!(!keep_last || seen.len() == 7);
        }
    }

    /// Other positives are the user's own and come beside the same negatives.
    #[test]
    fn other_positives_belong_to_the_user() {
        let train = train();
        let plain = batches(&train, 8, true);
        let more = Batches { positives: 4, ..plain.clone() };
        let mut others = HashSet::new();
        for ((user, positive, negatives), (_, own, items)) in
            rows(&plain.epoch(1)).into_iter().zip(rows(&more.epoch(1)))
        {
            assert_eq!((positive, &negatives[..]), (own, &items[3..]));
            assert!(items[..3].iter().all(|item| train.contains(user, *item)));
            others.extend(items[..3].iter().map(|&item| (user, item)));
        }
        assert!(others.len() > train.len() / 2, "not always the same ones");
    }

    /// T26 for pools that batches share: one pool a batch, a noise of their own for its rows, whatever the number of threads;
    /// other positives stand in front of it.
    #[test]
    fn batches_that_share_a_pool() {
        let train = train();
        let plain = batches(&train, 8, true);
        let sampler = Static::new(&train, Proposal::Uniform(40), 12, 9);
        let keep = Some(Keep { positives: 2, negatives: 3, hardness: Hardness::Similarity });
        let batches = Batches { positives: 2, sampler, shared: true, keep, ..plain };
        let draw = || {
            let epoch = batches.epoch(3);
            (0..epoch.len()).map(|index| epoch.batch(index)).collect::<Vec<_>>()
        };
        let one = draw();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert!(one == pool.install(draw));
        let mut pools = HashSet::new();
        let mut noises = HashSet::new();
        for batch in &one {
            assert_eq!((batch.width(), batch.noise.len()), (14, batch.items.len()));
            assert!(batch.items.chunks(14).all(|items| items[2..] == batch.items[2..14]));
            assert!(pools.insert(batch.items[2..14].to_vec()));
            for ((&user, items), noise) in batch.users.iter().zip(batch.items.chunks(14)).zip(batch.noise.chunks(14)) {
                assert!(items[..2].iter().all(|&item| train.contains(user, item)));
                let owned = |at: usize| train.contains(user, items[at]);
                assert!((2..14).all(|at| owned(at) == (noise[at] == f32::NEG_INFINITY)));
                assert!(noises.insert(noise[2..].iter().map(|noise| noise.to_bits()).collect::<Vec<_>>()));
            }
        }
    }
}
