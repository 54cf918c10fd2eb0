//! The batches of an epoch.

use crate::{Batch, sampler::Uniform};
use onebp_data::{
    Csr,
    random::{Purpose, Random},
};
use rayon::prelude::*;

/// One epoch: every training pair once, in a seeded order, cut into batches.
///
/// The order and the negatives depend on (seed, epoch, position) only, so another batch size, thread count or device sees
/// the same rows.
pub struct Epoch<'a> {
    train: &'a Csr,
    sampler: &'a Uniform<'a>,
    order: Vec<(u32, u32)>,
    number: u32,
    batch_size: usize,
    keep_last: bool,
}

impl<'a> Epoch<'a> {
    /// Shuffles the pairs of `train` for epoch `number`.
    ///
    /// The incomplete last batch is dropped, as the authors do, unless `keep_last` is set or it is the only one.
    pub fn new(
        train: &'a Csr,
        sampler: &'a Uniform<'a>,
        seed: u64,
        number: u32,
        batch_size: usize,
        keep_last: bool,
    ) -> Self {
        let mut order: Vec<_> = train.pairs().collect();
        Random::new(seed, Purpose::Shuffle).shuffle(&mut order, number, 0);
        Self { train, sampler, order, number, batch_size, keep_last }
    }

    /// Number of batches.
    pub fn len(&self) -> usize {
        let whole = self.order.len() / self.batch_size;
        let rest = self.order.len() % self.batch_size;
        whole + usize::from(rest > 0 && (self.keep_last || whole == 0))
    }

    /// Whether there is no batch, as without training pairs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of users M and items N.
    pub fn tables(&self) -> (usize, usize) {
        (self.train.rows(), self.train.columns())
    }

    /// Rows of a whole batch, B.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Negatives per positive, S.
    pub fn negatives(&self) -> usize {
        self.sampler.negatives()
    }

    /// Batch `index` below [`Epoch::len`].
    pub fn batch(&self, index: usize) -> Batch {
        let mut batch = Batch::default();
        self.draw(index, &mut batch);
        Batch::new(batch.users, batch.items, batch.weights, self.tables())
    }

    /// Draws the rows of batch `index` into `batch`, negatives in parallel. Their groups are left to [`Batch::group`].
    pub fn draw(&self, index: usize, batch: &mut Batch) {
        let start = index * self.batch_size;
        let rows = &self.order[start..self.order.len().min(start + self.batch_size)];
        let width = 1 + self.sampler.negatives();
        batch.users.clear();
        batch.users.extend(rows.iter().map(|&(user, _)| user));
        batch.items.resize(rows.len() * width, 0);
        batch.weights.resize(rows.len(), 0.0);
        const GRAIN: usize = 256;
        let items = batch.items.par_chunks_mut(GRAIN * width);
        let chunks = items.zip(batch.weights.par_chunks_mut(GRAIN)).zip(rows.par_chunks(GRAIN)).enumerate();
        chunks.for_each(|(chunk, ((items, weights), rows))| {
            for (row, &(user, positive)) in rows.iter().enumerate() {
                if let Some(&(later, _)) = rows.get(row + 2) {
                    self.sampler.announce(later);
                }
                let position = (start + chunk * GRAIN + row) as u64;
                let items = &mut items[row * width..(row + 1) * width];
                items[0] = positive;
                // Without a negative the row must still name items: its positive, at weight 0.
                items[1..].fill(positive);
                let found = self.sampler.draw(user, self.number, position, &mut items[1..]);
                weights[row] = if found { 1.0 } else { 0.0 };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn train() -> Csr {
        let pairs: Vec<_> = (0..7u32).flat_map(|u| (0..5u32).map(move |k| (u, (u * 3 + k * 2) % 40))).collect();
        Csr::from_pairs(7, 40, &pairs).unwrap()
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
        let sampler = Uniform::new(&train, 3, 9);
        let kept = Epoch::new(&train, &sampler, 9, 1, 8, true);
        let seen: HashSet<_> = rows(&kept).into_iter().map(|(u, i, _)| (u, i)).collect();
        assert_eq!(seen.len(), train.len());
        assert_eq!(seen, train.pairs().collect());
        assert_eq!(Epoch::new(&train, &sampler, 9, 1, 8, false).len(), train.len() / 8);
        assert_eq!(Epoch::new(&train, &sampler, 9, 1, 1000, false).len(), 1, "a single short batch is kept");
    }

    #[test]
    fn rows_do_not_depend_on_batch_size_or_threads() {
        let train = train();
        let sampler = Uniform::new(&train, 3, 9);
        let one = rows(&Epoch::new(&train, &sampler, 9, 4, 1000, true));
        let many = rows(&Epoch::new(&train, &sampler, 9, 4, 4, true));
        assert_eq!(one, many);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(one, pool.install(|| rows(&Epoch::new(&train, &sampler, 9, 4, 1000, true))));
        assert_ne!(one, rows(&Epoch::new(&train, &sampler, 9, 5, 1000, true)), "fresh order and negatives every epoch");
    }
}
