//! One step's work: users, the items they chose, and negatives.

use crate::{Grouping, Keep, Touched};

/// B training rows. Ids are dense.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// User of each row, `[B]`.
    pub users: Vec<u32>,
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
        let mut batch = Self { users, items, weights, ..Self::default() };
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

    /// The chosen items, `[B]`.
    pub fn positives(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.items.chunks_exact(self.width().max(1)).map(|row| row[0])
    }

    /// What a weight of 1 is worth in the mean: 1 / sum of weights, or 0 where no row counts.
    pub fn share(&self) -> f32 {
        let total: f32 = self.weights.iter().sum();
        if total > 0.0 { 1.0 / total } else { 0.0 }
    }
}
