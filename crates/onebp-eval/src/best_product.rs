//! Scores of users who have several vectors: the best of their dot products with an item.

use crate::{DotProduct, Error, Margin, Scorer, Screen, Visit, VisitEstimates};

/// The best of C dot products, of `users` `[M, C dim]` with `items` `[N, dim]`. With C = 1 this is [`DotProduct`].
#[derive(Clone, Copy, Debug)]
pub struct BestProduct<'a> {
    /// Every vector of a user as a user of its own, `[M C, dim]`.
    vectors: DotProduct<'a>,
    count: usize,
}

impl<'a> BestProduct<'a> {
    /// Over the user table `[M, count dim]` and the item table `[N, dim]`, both row-major.
    ///
    /// # Errors
    /// [`Error::Shape`] where a width is 0 or the length of a table is not a multiple of it.
    pub fn new(users: &'a [f32], items: &'a [f32], dim: usize, count: usize) -> Result<Self, Error> {
        let whole = dim * count;
        if whole == 0 || !users.len().is_multiple_of(whole) {
            let expected = users.len().next_multiple_of(whole.max(1));
            return Err(Error::Shape { what: "length of the user table", expected, found: users.len() });
        }
        Ok(Self { vectors: DotProduct::new(users, items, dim)?, count })
    }

    /// The vectors of `users`, one after another.
    fn expand(&self, users: &[u32]) -> Vec<u32> {
        let count = self.count as u32;
        users.iter().flat_map(|user| (0..count).map(move |which| user * count + which)).collect()
    }
}

impl Scorer for BestProduct<'_> {
    fn users(&self) -> usize {
        self.vectors.users() / self.count
    }

    fn items(&self) -> usize {
        self.vectors.items()
    }

    /// Memory: that of [`DotProduct`] for C times the users, and the scores of these users and one piece of items.
    fn scores(&self, users: &[u32], visit: &mut Visit<'_>) {
        if self.count == 1 {
            return self.vectors.scores(users, visit);
        }
        let mut waiting = Waiting::new(users.len(), self.count);
        self.vectors.scores(&self.expand(users), &mut |row, first, scores| {
            if let Some((row, best, _)) = waiting.come(row, scores, 0.0) {
                visit(row, first, best);
            }
        });
    }

    fn pairs(&self, user: u32, items: &[u32], out: &mut [f32]) {
        out.fill(f32::NEG_INFINITY);
        let mut scores = vec![0.0; items.len()];
        for vector in self.expand(&[user]) {
            self.vectors.pairs(vector, items, &mut scores);
            out.iter_mut().zip(&scores).for_each(|(best, &score)| *best = better(*best, score));
        }
    }

    /// Memory: that of [`DotProduct`]; with several vectors what waits for the others, as for scores.
    fn screen(&self, compared: f64) -> Option<Box<dyn Screen + '_>> {
        let vectors = self.vectors.screen(compared)?;
        Some(if self.count == 1 { vectors } else { Box::new(BestEstimates { product: self, vectors }) })
    }
}

/// The best of the estimates of a user's vectors. It is as near to the best score as each is to its own.
struct BestEstimates<'a> {
    product: &'a BestProduct<'a>,
    vectors: Box<dyn Screen + 'a>,
}

impl Screen for BestEstimates<'_> {
    fn estimates(&self, users: &[u32], visit: &mut VisitEstimates<'_>) -> bool {
        let mut waiting = Waiting::new(users.len(), self.product.count);
        self.vectors.estimates(&self.product.expand(users), &mut |row, first, estimates, margin| {
            if let Some((row, best, radius)) = waiting.come(row, estimates, margin.radius) {
                visit(row, first, best, Margin { radius, ..margin });
            }
        })
    }
}

/// The pieces of a user's vectors come in any order; what is best so far waits until all have come.
struct Waiting {
    /// Vectors of a user.
    count: usize,
    users: Vec<Best>,
}

#[derive(Clone, Default)]
struct Best {
    come: usize,
    scores: Vec<f32>,
    radius: f32,
}

impl Waiting {
    fn new(users: usize, count: usize) -> Self {
        Self { count, users: vec![Best::default(); users] }
    }

    /// The piece of one vector, the `row`-th of all users; once all of a user have come, the user's row, what is best, and
    /// the largest radius.
    fn come(&mut self, row: usize, scores: &[f32], radius: f32) -> Option<(usize, &mut [f32], f32)> {
        let user = row / self.count;
        let best = &mut self.users[user];
        if best.come == 0 {
            best.radius = 0.0;
            best.scores.clear();
            best.scores.extend_from_slice(scores);
        } else {
            best.scores.iter_mut().zip(scores).for_each(|(best, &score)| *best = better(*best, score));
        }
        best.radius = best.radius.max(radius);
        best.come = (best.come + 1) % self.count;
        (best.come == 0).then_some((user, &mut best.scores[..], best.radius))
    }
}

/// The larger one; what is not a number stays, so that it shows.
fn better(best: f32, score: f32) -> f32 {
    if score > best || score.is_nan() { score } else { best }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::all_scores;

    /// Five users with three vectors of four numbers, and 300 items.
    fn tables() -> (Vec<f32>, Vec<f32>) {
        let value = |at: usize, step: f32| ((at as f32) * step).sin();
        ((0..5 * 3 * 4).map(|at| value(at, 0.7)).collect(), (0..300 * 4).map(|at| value(at, 1.3)).collect())
    }

    #[test]
    fn the_best_vector_counts() {
        let (users, items) = tables();
        let scorer = BestProduct::new(&users, &items, 4, 3).unwrap();
        let single = DotProduct::new(&users, &items, 4).unwrap();
        assert_eq!((scorer.users(), scorer.items()), (5, 300));
        let asked = [4, 0, 2];
        let found = all_scores(&scorer, &asked);
        for (row, &user) in asked.iter().enumerate() {
            let each = all_scores(&single, &[3 * user, 3 * user + 1, 3 * user + 2]);
            let best = |item: usize| (0..3).map(|which| each[which * 300 + item]).fold(f32::NEG_INFINITY, f32::max);
            let expected: Vec<f32> = (0..300).map(best).collect();
            assert_eq!(found[row * 300..(row + 1) * 300], expected);
            let mut out = [0.0; 3];
            scorer.pairs(user, &[299, 0, 7], &mut out);
            assert_eq!(out, [expected[299], expected[0], expected[7]]);
        }
    }

    #[test]
    fn estimates_are_of_the_best_vector() {
        let (users, items) = tables();
        let scorer = BestProduct::new(&users, &items, 4, 3).unwrap();
        let Some(screen) = scorer.screen(0.0) else { return println!("skipped: this processor has no estimates") };
        let asked = [4, 0, 2];
        let scores = all_scores(&scorer, &asked);
        let mut read = [0; 3];
        assert!(screen.estimates(&asked, &mut |row, first, estimates, Margin { radius, weights }| {
            assert_eq!(first, read[row]);
            read[row] += estimates.len();
            for ((estimate, weight), score) in estimates.iter().zip(weights).zip(&scores[row * 300 + first..]) {
                assert!((estimate - score).abs() <= radius * weight && radius * weight < 1e-3);
            }
        }));
        assert_eq!(read, [300; 3]);
    }

    #[test]
    fn what_is_not_a_number_shows() {
        let scorer = BestProduct::new(&[1.0, f32::NAN, 2.0], &[1.0], 1, 3).unwrap();
        assert!(all_scores(&scorer, &[0])[0].is_nan());
    }

    #[test]
    fn shapes_are_checked() {
        assert!(matches!(
            BestProduct::new(&[0.0; 6], &[0.0; 4], 2, 2),
            Err(Error::Shape { expected: 8, found: 6, .. })
        ));
        assert!(matches!(BestProduct::new(&[], &[], 0, 1), Err(Error::Shape { .. })));
    }
}
