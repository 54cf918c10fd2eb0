//! One step's work: users, the items they chose, and negatives.

use crate::sampler::Uniform;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use onebp_data::{
    Csr,
    random::{Purpose, Random},
};
use rayon::prelude::*;

/// B training rows. Ids are dense.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// User of each row, `[B]`.
    pub users: Vec<u32>,
    /// Chosen item of each row, `[B]`.
    pub positives: Vec<u32>,
    /// Negatives of each row, row-major `[B, S]`.
    pub negatives: Vec<u32>,
    /// Weight of each row in the mean loss, `[B]`: 1, or 0 where a user has no negative at all.
    pub weights: Vec<f32>,
}

impl Batch {
    /// Number of rows, B.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether the batch has no rows.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// Ids as a tensor on `device`.
pub(crate) fn ids(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), (device, DType::I32))
}

/// One epoch: every training pair once, in a seeded order, cut into batches.
///
/// The order and the negatives depend on (seed, epoch, position) only, so another batch size, thread count or device sees
/// the same rows.
pub struct Epoch<'a> {
    train: &'a Csr,
    sampler: &'a Uniform,
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
        sampler: &'a Uniform,
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

    /// Batch `index` below [`Epoch::len`], its negatives drawn in parallel.
    pub fn batch(&self, index: usize) -> Batch {
        let start = index * self.batch_size;
        let rows = &self.order[start..self.order.len().min(start + self.batch_size)];
        let width = self.sampler.negatives();
        let mut negatives = vec![0; rows.len() * width];
        let mut weights = vec![1.0; rows.len()];
        const GRAIN: usize = 128;
        negatives
            .par_chunks_mut(GRAIN * width)
            .zip(weights.par_chunks_mut(GRAIN))
            .zip(rows.par_chunks(GRAIN))
            .enumerate()
            .for_each(|(chunk, ((negatives, weights), rows))| {
                for (row, &(user, _)) in rows.iter().enumerate() {
                    let position = (start + chunk * GRAIN + row) as u64;
                    let out = &mut negatives[row * width..(row + 1) * width];
                    let found = self.sampler.draw(self.train.row(user), self.number, position, out);
                    weights[row] = if found { 1.0 } else { 0.0 };
                }
            });
        let (users, positives) = rows.iter().copied().unzip();
        Batch { users, positives, negatives, weights }
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
                let width = batch.negatives.len() / batch.len();
                (0..batch.len())
                    .map(|r| (batch.users[r], batch.positives[r], batch.negatives[r * width..(r + 1) * width].to_vec()))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn every_pair_once_and_the_rest_dropped_or_kept() {
        let train = train();
        let sampler = Uniform::new(train.columns(), 3, 9);
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
        let sampler = Uniform::new(train.columns(), 3, 9);
        let one = rows(&Epoch::new(&train, &sampler, 9, 4, 1000, true));
        let many = rows(&Epoch::new(&train, &sampler, 9, 4, 4, true));
        assert_eq!(one, many);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(one, pool.install(|| rows(&Epoch::new(&train, &sampler, 9, 4, 1000, true))));
        assert_ne!(one, rows(&Epoch::new(&train, &sampler, 9, 5, 1000, true)), "fresh order and negatives every epoch");
    }
}
