//! The hardest negatives of a pool, by the tables as they are: what dynamic samplers choose.

use crate::{Batch, Error, Grouping, Score};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// What makes a negative hard. Of a user who has several vectors the one counts to which an item is hardest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardness {
    /// A large product <u, v>.
    Product,
    /// A small distance |u - v|: a large <u, v> - |v|^2 / 2.
    Closeness,
    /// A direction near that of the row's own positive, whatever the user: the [`log_weight`] of the two rows' cosine.
    Similarity,
}

/// Log weight of an item at `cosine` x to a row's own positive, both `[d]`: (1 - (d - 1) / 2) ln(1 - x^2 + 1e-8), and minus
/// infinity, which is weight 0, where x is not above 0.
///
/// The inverse of how dense the cosines of random directions are (Wu et al., "Sampling Matters in Deep Embedding Learning",
/// ICCV 2017, up to a constant factor), as in the two-stage sampler of Tran et al., SIGIR 2019. A log because the weight
/// itself is beyond f32 from d of some hundreds on.
#[inline]
pub fn log_weight(cosine: f32, dim: usize) -> f32 {
    // Also where a row is zero, which has no direction.
    if cosine.is_nan() || cosine <= 0.0 {
        return f32::NEG_INFINITY;
    }
    let x = f64::from(cosine.min(1.0));
    ((1.0 - (dim as f64 - 1.0) / 2.0) * (1.0 - x * x + 1e-8).ln()) as f32
}

/// How many of the negatives of each row stay, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Positives of a row, Mp, which come first and all stay.
    pub positives: usize,
    /// Negatives that stay, S; the other items of a row are their pool, X of them.
    pub negatives: usize,
    /// Which: the hardest, of equal ones those that come first. With [`Batch::noise`] those whose hardness and noise sum to
    /// most, then those of hardness minus infinity by their noise alone, and last those whose noise is minus infinity.
    pub hardness: Hardness,
}

/// Hardness of every item of a batch, `[B, W]` with row-major items: `users` `[B, C d]`, C vectors each, against `items` `[B,
/// W, d]`.
///
/// # Errors
/// [`Error::Execution`] where the device fails.
pub fn keys(users: Tensor<2>, items: Tensor<3>, hardness: Hardness) -> Result<Vec<f32>, Error> {
    let ([_, width], [.., dim]) = (users.dims(), items.dims());
    let squares = |rows: Tensor<3>| (rows.clone() * rows).sum_dim(2).squeeze_dim::<2>(2);
    let keys = match hardness {
        Hardness::Product => Score::Product.of_rows(users, items),
        // The lengths of several vectors tell them apart.
        Hardness::Closeness if width > dim => Score::Distance.of_rows(users, items).mul_scalar(0.5),
        Hardness::Closeness => Score::Product.of_rows(users, items.clone()) - squares(items).mul_scalar(0.5),
        Hardness::Similarity => {
            let positives = items.clone().narrow(1, 0, 1);
            let products = (items.clone() * positives.clone()).sum_dim(2).squeeze_dim::<2>(2);
            // Two roots: the product of two squares may be too small for f32.
            products / squares(positives).sqrt() / squares(items).sqrt()
        }
    };
    let failed = |error: String| Error::Execution(error);
    let data = keys.try_into_data().map_err(|error| failed(format!("{error:?}")))?;
    let mut keys: Vec<f32> = data.try_to_vec().map_err(|error| failed(format!("{error:?}")))?;
    if hardness == Hardness::Similarity {
        keys.iter_mut().for_each(|key| *key = log_weight(*key, dim));
    }
    Ok(keys)
}

/// Batches of what is left of their pools, one after another.
#[derive(Debug)]
pub struct Chosen {
    /// Rows of the table of items.
    rows: usize,
    batch: Batch,
    grouping: Option<Grouping>,
}

/// Rows that a thread chooses for at a time.
const GRAIN: usize = 128;

/// Pools of at most so many items are looked through for each of them; longer ones are sorted.
const COUNTED: usize = 24;

/// Bits of a place in a pool.
const PLACE: u32 = 30;

/// A place of a pool as a number that is smaller the earlier it is chosen: by `class`, at most 3, then by `value` in
/// [`f32::total_cmp`]'s order, both from the top, then by the place.
#[inline]
fn rank(class: u64, value: f32, place: usize) -> u64 {
    let bits = value.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !(class << 32 | u64::from(ordered)) << PLACE | place as u64
}

impl Chosen {
    /// For a table of `rows` items.
    pub fn new(rows: usize) -> Self {
        Self { rows, batch: Batch::default(), grouping: None }
    }

    /// The batch that is left of `batch`, whose items have these `keys` `[B, W]`.
    pub fn of(&mut self, batch: &Batch, keep: Keep, keys: &[f32]) -> &Batch {
        let width = batch.width();
        let Keep { positives, negatives, .. } = keep;
        let chosen = &mut self.batch;
        chosen.users.clone_from(&batch.users);
        chosen.positives.clone_from(&batch.positives);
        chosen.weights.clone_from(&batch.weights);
        chosen.touched_users.clone_from(&batch.touched_users);
        chosen.items.resize(batch.len() * (positives + negatives), 0);
        let rows = chosen.items.par_chunks_exact_mut(positives + negatives).enumerate().with_min_len(GRAIN);
        rows.for_each_init(Vec::new, |order, (row, items)| {
            let pool = row * width + positives..(row + 1) * width;
            items[..positives].copy_from_slice(&batch.items[row * width..pool.start]);
            let (keys, noise) = (&keys[pool.clone()], batch.noise.get(pool.clone()));
            choose(&batch.items[pool], keys, noise, order, &mut items[positives..]);
        });
        let grouping = self.grouping.get_or_insert_with(|| Grouping::new(self.rows));
        grouping.group(&chosen.items, &mut chosen.touched_items);
        // How long a row rests is known of its pool. Both lists ascend.
        let (pool, kept) = (&batch.touched_items, &mut chosen.touched_items);
        let mut known = pool.rows.iter().zip(&pool.rest);
        for (row, rest) in kept.rows.iter().zip(&mut kept.rest) {
            *rest = known.find(|(other, _)| *other == row).map_or(0, |(_, &rest)| rest);
        }
        chosen
    }
}

/// Fills `items` with what is hardest of a pool of these `keys`. `order` is scratch.
fn choose(pool: &[u32], keys: &[f32], noise: Option<&[f32]>, order: &mut Vec<u64>, items: &mut [u32]) {
    // A pool that starts anew holds all items that are left for its user: each once, before any comes again.
    let distinct = pool.iter().skip(1).position(|item| *item == pool[0]).map_or(pool.len(), |at| at + 1);
    order.clear();
    let keys = keys[..distinct].iter().enumerate();
    match noise {
        None => order.extend(keys.map(|(at, &key)| rank(2, key, at))),
        Some(noise) => order.extend(keys.map(|(at, &key)| match noise[at] {
            f32::NEG_INFINITY => rank(0, 0.0, at),
            noise if key == f32::NEG_INFINITY => rank(1, noise, at),
            noise => rank(2, key + noise, at),
        })),
    }
    if distinct <= COUNTED && items.len() <= distinct {
        // Nobody knows how such branches go: counting who comes before takes none.
        for (at, rank) in order.iter().enumerate() {
            let before: usize = order.iter().map(|other| usize::from(other < rank)).sum();
            if let Some(item) = items.get_mut(before) {
                *item = pool[at];
            }
        }
        return;
    }
    if items.len() < distinct {
        order.select_nth_unstable(items.len());
        order.truncate(items.len());
    }
    order.sort_unstable();
    let place = |rank: &u64| pool[(rank & ((1 << PLACE) - 1)) as usize];
    items.iter_mut().zip(order.iter().cycle()).for_each(|(item, rank)| *item = place(rank));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Embedding, Table, host::HostTable, portable::PortableTable};
    use burn::tensor::Device;

    /// Users [(3, 0), (0, 1)] and [(-1, 0), (0, -1)], items (1, 0), (0, 2), (-2, -1): the best product and the least
    /// distance, by hand.
    #[test]
    fn the_vector_counts_to_which_an_item_is_hardest() {
        fn found<E: Embedding>(users: &Table, items: &Table, hardness: Hardness) -> Vec<f32> {
            let batch = Batch::new(vec![1, 0], vec![0, 1, 2, 0, 1, 2], vec![1.0; 2], (2, 3));
            let [mut users, mut items] = [users, items].map(|table| E::new(table, None, &Device::flex()).unwrap());
            items.keys(&mut users, &batch, hardness).unwrap()
        }
        let table = |values: &[f32], rows: usize| Table { values: values.to_vec(), rows, dim: values.len() / rows };
        let users = table(&[3.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0], 2);
        let items = table(&[1.0, 0.0, 0.0, 2.0, -2.0, -1.0], 3);
        for (hardness, expected) in [
            (Hardness::Product, [0.0, 0.0, 2.0, 3.0, 2.0, -1.0]),
            // Half the squares of 2 and 5 and 2, and of 2 and 1 and 8, with a minus.
            (Hardness::Closeness, [-1.0, -2.5, -1.0, -1.0, -0.5, -4.0]),
        ] {
            assert_eq!(found::<PortableTable>(&users, &items, hardness), expected, "{hardness:?}");
            assert_eq!(found::<HostTable>(&users, &items, hardness), expected, "{hardness:?}");
        }
    }

    /// Golden values, evaluated in f64 outside this program.
    #[test]
    fn log_weights() {
        for (cosine, dim, expected) in [(0.5, 32, 4.17138986), (0.1, 1024, 5.13069130)] {
            let found = f64::from(log_weight(cosine, dim));
            assert!((found / expected - 1.0).abs() < 1e-6, "{cosine} {dim}: {found}");
        }
        for none in [0.0, -0.0, -0.3, f32::NAN] {
            assert_eq!(log_weight(none, 32), f32::NEG_INFINITY, "{none}");
        }
        assert_eq!(log_weight(1.0 + 1e-6, 32), log_weight(1.0, 32), "rounding beyond 1");
        assert!(log_weight(1.0, 4096).is_finite());
        assert_eq!(log_weight(0.5, 3), 0.0, "in space all cosines are alike");
    }

    /// Noise is added to weights, chooses among items without weight, and keeps items out while there are others.
    #[test]
    fn noise_decides_between_equals_and_keeps_items_out() {
        let none = f32::NEG_INFINITY;
        let noise = vec![0.0, 1.0, 3.0, none, 2.0, 0.0, 5.0, 1.0, 4.0, none];
        let batch =
            Batch { noise, ..Batch::new(vec![0, 1], vec![9, 1, 2, 3, 4, 8, 5, 6, 7, 1], vec![1.0, 1.0], (2, 10)) };
        let keys = [0.0, 2.5, 0.0, 9.0, none, 0.0, none, none, none, 9.0];
        let keep = |negatives| Keep { positives: 1, negatives, hardness: Hardness::Similarity };
        let mut chosen = Chosen::new(10);
        assert_eq!(chosen.of(&batch, keep(2), &keys).items, [9, 1, 2, 8, 5, 7]);
        assert_eq!(chosen.of(&batch, keep(3), &keys).items, [9, 1, 2, 4, 8, 5, 7, 6]);
        let all = chosen.of(&batch, keep(4), &keys);
        assert_eq!(all.items, [9, 1, 2, 4, 3, 8, 5, 7, 6, 1], "as there is nothing else");
        assert!(all.noise.is_empty());
    }

    /// T26, T32: a pool that came to an end and began anew gives no item twice before all others once.
    #[test]
    fn pools_that_start_anew() {
        let batch = Batch::new(vec![0], vec![9, 4, 5, 6, 4, 5, 6, 4], vec![1.0], (1, 10));
        let keys = [0.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0];
        let keep = |negatives| Keep { positives: 1, negatives, hardness: Hardness::Product };
        let mut chosen = Chosen::new(10);
        assert_eq!(chosen.of(&batch, keep(2), &keys).items, [9, 4, 6]);
        assert_eq!(chosen.of(&batch, keep(5), &keys).items, [9, 4, 6, 5, 4, 6]);
    }

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
