//! One step's work: users, the items they chose, and negatives.

use crate::{Grouping, Keep, Touched, total::total};

/// B training rows. Ids are dense.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// User of each row, `[B]`.
    pub users: Vec<u32>,
    /// The item that each user chose: the first of its row of `items`, `[B]`.
    pub positives: Vec<u32>,
    /// Positives of each row, its own first, then its S negatives, or the pool that these are chosen from; row-major
    /// `[B, Mp + S]` or `[B, Mp + X]`.
    pub items: Vec<u32>,
    /// Weight of each row in the mean loss, `[B]`: 1, or 0 where a user has no negative at all.
    pub weights: Vec<f32>,
    /// Which negatives the step is to keep; all of them where nothing is said.
    pub keep: Option<Keep>,
    /// What is added to the hardness of each item before the step keeps negatives, `[B, W]` row-major as `items`: minus
    /// infinity for an item that the row may not keep. Empty where nothing is added.
    pub noise: Vec<f32>,
    /// Distinct users; places are rows of the batch.
    pub touched_users: Touched,
    /// Distinct items; places are positions in `items`.
    pub touched_items: Touched,
}

impl Batch {
    /// A batch over `tables` = (M users, N items) from its rows.
    pub fn new(users: Vec<u32>, items: Vec<u32>, weights: Vec<f32>, tables: (usize, usize)) -> Self {
        let positives = items.chunks_exact((items.len() / users.len().max(1)).max(1)).map(|row| row[0]).collect();
        let mut batch = Self { users, positives, items, weights, ..Self::default() };
        batch.group(&mut Grouping::new(tables.0), &mut Grouping::new(tables.1));
        batch
    }

    /// Finds the distinct users and items, after the rows have changed.
    pub fn group(&mut self, users: &mut Grouping, items: &mut Grouping) {
        users.group(&self.users, &mut self.touched_users);
        items.group(&self.items, &mut self.touched_items);
    }

    /// Number of rows, B.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether the batch has no rows.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Items of a row, 1 + S.
    pub fn width(&self) -> usize {
        self.items.len() / self.users.len().max(1)
    }

    /// What a weight of 1 is worth in the mean: 1 / sum of weights, or 0 where no row counts.
    pub fn share(&self) -> f32 {
        let total = total(&self.weights);
        if total > 0.0 { 1.0 / total } else { 0.0 }
    }

    /// The rows' shares in the mean, `[B]`.
    pub fn shares(&self) -> impl Iterator<Item = f32> {
        let share = self.share();
        self.weights.iter().map(move |weight| weight * share)
    }

    /// Tells which row of `items` a place belongs to.
    pub fn row_of_place(&self) -> RowOfPlace {
        RowOfPlace { reciprocal: u64::MAX / self.width().max(1) as u64 }
    }
}

/// A place divided by the width of a row, by a multiplication.
#[derive(Clone, Copy, Debug)]
pub struct RowOfPlace {
    reciprocal: u64,
}

impl RowOfPlace {
    /// The row of `place`.
    #[inline(always)]
    pub fn of(self, place: u32) -> usize {
        // The reciprocal is too small by less than a unit: (p + 1) / W - 2^-32 lies between floor(p / W) and the next integer.
        (((u128::from(place) + 1) * u128::from(self.reciprocal)) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_place_belongs_to_a_row(place: u32, width in 1usize..=2000, row in 0u32..2_000_000) {
            let rows = Batch::new(vec![0], vec![0; width], vec![1.0], (1, 1)).row_of_place();
            let (first, width) = (row * width as u32, width as u32);
            prop_assert_eq!(rows.of(place) as u32, place / width);
            prop_assert_eq!([first, first + (width - 1)].map(|place| rows.of(place) as u32), [row; 2]);
        }
    }

    #[test]
    fn shares_add_up_to_one_or_nothing() {
        let batch = Batch::new(vec![0, 1, 2], vec![3, 4, 5, 6, 7, 8], vec![1.0, 0.0, 1.0], (3, 9));
        assert_eq!((&batch.positives[..], Vec::from_iter(batch.shares())), (&[3, 5, 7][..], vec![0.5, 0.0, 0.5]));
        assert_eq!(Batch { weights: vec![0.0; 3], ..batch }.shares().sum::<f32>(), 0.0);
    }
}
