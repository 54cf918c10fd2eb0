//! The hardest negatives of a pool, by the tables as they are: what dynamic samplers choose.

use crate::{Batch, Error, Grouping};
use burn::tensor::Tensor;

/// What makes a negative hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardness {
    /// A large product <u, v>.
    Product,
    /// A small distance |u - v|: a large <u, v> - |v|^2 / 2.
    Closeness,
}

/// How many of the negatives of each row stay, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Positives of a row, Mp, which come first and all stay.
    pub positives: usize,
    /// Negatives that stay, S; the other items of a row are their pool, X of them.
    pub negatives: usize,
    /// Which: the hardest, of equal ones those that come first.
    pub hardness: Hardness,
}

/// Hardness of every item of a batch, `[B, W]` with row-major items: `users` `[B, d]` against `items` `[B, W, d]`.
///
/// # Errors
/// [`Error::Execution`] where the device fails.
pub fn keys(users: Tensor<2>, items: Tensor<3>, hardness: Hardness) -> Result<Vec<f32>, Error> {
    let products = (items.clone() * users.unsqueeze_dim::<3>(1)).sum_dim(2);
    let keys = match hardness {
        Hardness::Product => products,
        Hardness::Closeness => products - (items.clone() * items).sum_dim(2).mul_scalar(0.5),
    };
    let failed = |error: String| Error::Execution(error);
    let data = keys.try_into_data().map_err(|error| failed(format!("{error:?}")))?;
    data.try_to_vec().map_err(|error| failed(format!("{error:?}")))
}

/// Batches of what is left of their pools, one after another.
#[derive(Debug)]
pub struct Chosen {
    /// Rows of the table of items.
    rows: usize,
    batch: Batch,
    grouping: Option<Grouping>,
    order: Vec<u32>,
}

impl Chosen {
    /// For a table of `rows` items.
    pub fn new(rows: usize) -> Self {
        Self { rows, batch: Batch::default(), grouping: None, order: Vec::new() }
    }

    /// The batch that is left of `batch`, whose items have these `keys` `[B, W]`.
    pub fn of(&mut self, batch: &Batch, keep: Keep, keys: &[f32]) -> &Batch {
        let width = batch.width();
        let Keep { positives, negatives, .. } = keep;
        let chosen = &mut self.batch;
        chosen.users.clone_from(&batch.users);
        chosen.weights.clone_from(&batch.weights);
        chosen.touched_users.clone_from(&batch.touched_users);
        chosen.items.clear();
        for (items, keys) in batch.items.chunks_exact(width).zip(keys.chunks_exact(width)) {
            chosen.items.extend_from_slice(&items[..positives]);
            let (pool, keys) = (&items[positives..], &keys[positives..]);
            self.order.clear();
            self.order.extend(0..pool.len() as u32);
            self.order.sort_by(|&a, &b| keys[b as usize].total_cmp(&keys[a as usize]));
            chosen.items.extend(self.order.iter().take(negatives).map(|&at| pool[at as usize]));
        }
        let grouping = self.grouping.get_or_insert_with(|| Grouping::new(self.rows));
        grouping.group(&chosen.items, &mut chosen.touched_items);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hardest_stay_and_the_first_of_equals() {
        let batch = Batch::new(vec![0, 1], vec![9, 1, 2, 3, 4, 8, 4, 3, 2, 1], vec![1.0, 0.0], (2, 10));
        let keys = [5.0, 0.1, 0.3, 0.3, -1.0, 7.0, 2.0, 2.0, 2.0, 3.0];
        let keep = |negatives| Keep { positives: 1, negatives, hardness: Hardness::Product };
        let mut chosen = Chosen::new(10);
        let two = chosen.of(&batch, keep(2), &keys);
        assert_eq!(two, &Batch::new(vec![0, 1], vec![9, 2, 3, 8, 1, 4], vec![1.0, 0.0], (2, 10)));
        // T29: a pool that is kept whole.
        let mut all = chosen.of(&batch, keep(4), &keys).items.clone();
        all[1..5].sort_unstable();
        all[6..].sort_unstable();
        assert_eq!(all, [9, 1, 2, 3, 4, 8, 1, 2, 3, 4]);
    }
}
