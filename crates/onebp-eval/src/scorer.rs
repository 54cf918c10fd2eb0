//! Where scores come from: anything that can hand out the scores of users against the catalogue can be ranked and
//! measured.
//!
//! Two scorers live in this crate: the dot product of two tables ([`crate::DotProduct`]), which serves every model whose
//! final user and item representations are two tables, and here popularity, `score(u, i) = f_i` with f_i the number of
//! training users of item i, the baseline any model has to beat.

/// What is called with the scores of one user and neighbouring items: `visit(row, first, scores)`, see
/// [`Scorer::scores`].
pub type Visit<'a> = dyn FnMut(usize, usize, &mut [f32]) + 'a;

/// What is called with estimates of scores: `visit(row, first, estimates, margin)`, see [`Screen::estimates`].
pub type VisitEstimates<'a> = dyn FnMut(usize, usize, &mut [f32], Margin<'_>) + 'a;

/// How far estimates can be from the scores: that of the item at i by `radius * weights[i]`, also where an estimate with
/// its margin is computed by one fused multiply-add in 32 bits. Finite and not negative.
#[derive(Clone, Copy, Debug)]
pub struct Margin<'a> {
    /// Of the user.
    pub radius: f32,
    /// Of the items, as many as there are estimates.
    pub weights: &'a [f32],
}

impl Margin<'_> {
    /// The least and the most that the score of the item at `at` can be.
    #[inline(always)]
    pub fn bounds(&self, at: usize, estimate: f32) -> (f32, f32) {
        let weight = self.weights[at];
        ((-self.radius).mul_add(weight, estimate), self.radius.mul_add(weight, estimate))
    }
}

/// Scores that are known up to a margin, for less work. Where a margin leaves open how a score compares with another, the
/// scorer is asked for it: [`Scorer::pairs`]. So what is made of them is what the scores themselves would give.
pub trait Screen: Sync {
    /// Hands out estimates as [`Scorer::scores`] hands out scores, and returns true; or returns false, having handed out
    /// nothing, where users or items have no such estimates. All scores that have estimates are finite.
    fn estimates(&self, users: &[u32], visit: &mut VisitEstimates<'_>) -> bool;
}

/// Scores of users against the whole catalogue of N items.
///
/// Ranking calls a scorer from several threads at once, so an implementation should stay on the calling thread. The score
/// of a pair must not depend on the other users or items it is asked for with: every result is then the same for any
/// block size.
pub trait Scorer: Sync {
    /// Number of users; ids are `0..users()`.
    fn users(&self) -> usize;

    /// Number of items N; ids are `0..items()`.
    fn items(&self) -> usize;

    /// Hands out the scores of `users` (ids below [`Scorer::users`], in any order, also repeated), higher is better, piece
    /// by piece, so that a piece is read while it is in the nearest cache and no row of N scores need exist.
    ///
    /// `visit(row, first, scores)` takes the scores of the user `users[row]` and of the items
    /// `first..first + scores.len()`, and may overwrite them. The pieces of a user come in ascending order of items and
    /// cover the catalogue once; pieces of other users may come in between.
    fn scores(&self, users: &[u32], visit: &mut Visit<'_>);

    /// Writes the scores of `user` and each of `items` (ids in any order) into `out`, `[items.len()]`: bit by bit those
    /// that [`Scorer::scores`] hands out.
    ///
    /// As it stands here it reads them off the whole row of the user; a scorer that can do better should.
    fn pairs(&self, user: u32, items: &[u32], out: &mut [f32]) {
        self.scores(&[user], &mut |_, first, scores| {
            for (&item, out) in items.iter().zip(&mut *out) {
                if let Some(&score) = (item as usize).checked_sub(first).and_then(|at| scores.get(at)) {
                    *out = score;
                }
            }
        });
    }

    /// Prepares estimates for many users, on the threads of the current rayon pool. `None` where there are none, or none
    /// that take less time than scores if each is compared with so many others, `compared`, besides the best of its row.
    fn screen(&self, compared: f64) -> Option<Box<dyn Screen + '_>> {
        let _ = compared;
        None
    }
}

/// The same score for every user: how many training users an item has.
///
/// Counts are exact up to 2^24 users of one item; beyond that neighbouring counts may tie.
#[derive(Clone, Debug)]
pub struct Popularity {
    users: usize,
    counts: Vec<f32>,
}

impl Popularity {
    /// For `users` users, from the training count of every item `[N]`.
    pub fn new(users: usize, train_counts: &[u32]) -> Self {
        Self { users, counts: train_counts.iter().map(|&count| count as f32).collect() }
    }
}

impl Scorer for Popularity {
    fn users(&self) -> usize {
        self.users
    }

    fn items(&self) -> usize {
        self.counts.len()
    }

    fn scores(&self, users: &[u32], visit: &mut Visit<'_>) {
        let mut scores = self.counts.clone();
        for row in 0..users.len() {
            scores.copy_from_slice(&self.counts);
            visit(row, 0, &mut scores);
        }
    }

    fn pairs(&self, _user: u32, items: &[u32], out: &mut [f32]) {
        for (&item, out) in items.iter().zip(out) {
            *out = self.counts[item as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scores, all_scores};

    #[test]
    fn popularity_repeats_the_counts() {
        let popularity = Popularity::new(3, &[4, 0, 2]);
        assert_eq!((popularity.users(), popularity.items()), (3, 3));
        assert_eq!(all_scores(&popularity, &[2, 0]), [4.0, 0.0, 2.0, 4.0, 0.0, 2.0]);
        let mut out = [f32::NAN; 3];
        popularity.pairs(1, &[2, 2, 0], &mut out);
        assert_eq!(out, [2.0, 2.0, 4.0]);
        assert!(all_scores(&Popularity::new(3, &[]), &[0, 1]).is_empty());
    }

    #[test]
    fn pairs_can_be_read_off_the_row() {
        let scorer = Scores { table: (0..70).map(|at| at as f32).collect(), items: 35 };
        let mut out = [f32::NAN; 4];
        scorer.pairs(1, &[34, 0, 15, 0], &mut out);
        assert_eq!(out, [69.0, 35.0, 50.0, 35.0]);
    }
}
