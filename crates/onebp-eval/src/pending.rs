//! Items of a row whose scores must be known, as estimates leave open how they compare.

use crate::Scorer;

/// Items whose scores are asked for together: a scorer can fetch the next while it computes some.
const TOGETHER: usize = 32;

/// Items of one user that wait for each other until there are enough to ask for their scores.
#[derive(Default)]
pub(crate) struct Pending {
    items: Vec<u32>,
}

impl Pending {
    /// With memory for so many.
    pub(crate) fn with_capacity(items: usize) -> Self {
        Self { items: Vec::with_capacity(items) }
    }

    pub(crate) fn clear(&mut self) {
        self.items.clear();
    }

    pub(crate) fn push(&mut self, item: u32) {
        self.items.push(item);
    }

    /// Hands out the first items with their scores, as many as come in full company.
    pub(crate) fn settle_many(&mut self, scorer: &dyn Scorer, user: u32, each: impl FnMut(u32, f32)) {
        let many = self.items.len() / TOGETHER * TOGETHER;
        self.settle_first(many, scorer, user, each);
    }

    /// Hands out all items in the order in which they came, with the scores that `scorer` has for them and `user`.
    pub(crate) fn settle(&mut self, scorer: &dyn Scorer, user: u32, each: impl FnMut(u32, f32)) {
        self.settle_first(self.items.len(), scorer, user, each);
    }

    fn settle_first(&mut self, count: usize, scorer: &dyn Scorer, user: u32, mut each: impl FnMut(u32, f32)) {
        let mut scores = [0.0; TOGETHER];
        for items in self.items[..count].chunks(TOGETHER) {
            let scores = &mut scores[..items.len()];
            scorer.pairs(user, items, scores);
            items.iter().zip(scores).for_each(|(&item, &mut score)| each(item, score));
        }
        self.items.drain(..count);
    }
}
