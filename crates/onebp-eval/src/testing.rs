//! What several tests share: made-up tables and the slow, obvious ranking.

use crate::selection::EXCLUDED;
use crate::{Margin, Scorer, Screen, VisitEstimates};
use onebp_data::random::{Purpose, Random};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// A table `[rows, dim]` of standard normal numbers.
pub(crate) fn table(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let random = Random::new(seed, Purpose::Synthetic);
    (0..(rows * dim) as u64).map(|at| random.normal_pair(0, at, 0).0 as f32).collect()
}

/// The best `k` items by sorting all of them: score descending, then id ascending.
pub(crate) fn full_sort(scores: &[f32], k: usize) -> Vec<u32> {
    let mut items: Vec<u32> = (0..scores.len() as u32).filter(|&item| scores[item as usize] != EXCLUDED).collect();
    items.sort_by(|&a, &b| scores[b as usize].partial_cmp(&scores[a as usize]).unwrap().then(a.cmp(&b)));
    items.truncate(k);
    items
}

/// Any table of scores `[M, items]`.
pub(crate) struct Scores {
    pub(crate) table: Vec<f32>,
    pub(crate) items: usize,
}

impl Scorer for Scores {
    fn users(&self) -> usize {
        self.table.len() / self.items
    }

    fn items(&self) -> usize {
        self.items
    }

    fn scores(&self, users: &[u32], visit: &mut crate::Visit<'_>) {
        for (row, &user) in users.iter().enumerate() {
            for (start, first) in
                self.table[user as usize * self.items..][..self.items].chunks(16).zip((0..).step_by(16))
            {
                visit(row, first, &mut start.to_vec());
            }
        }
    }
}

/// Another scorer, of which estimates are within `radius` of the scores; refused for users from `refused` on. Counts what it
/// is asked for.
pub(crate) struct Vague<'a> {
    pub(crate) scorer: &'a dyn Scorer,
    pub(crate) radius: f32,
    pub(crate) refused: u32,
    pub(crate) pairs: AtomicUsize,
    pub(crate) rows: AtomicUsize,
}

impl Scorer for Vague<'_> {
    fn users(&self) -> usize {
        self.scorer.users()
    }

    fn items(&self) -> usize {
        self.scorer.items()
    }

    fn scores(&self, users: &[u32], visit: &mut crate::Visit<'_>) {
        self.rows.fetch_add(users.len(), Relaxed);
        self.scorer.scores(users, visit);
    }

    fn pairs(&self, user: u32, items: &[u32], out: &mut [f32]) {
        self.pairs.fetch_add(items.len(), Relaxed);
        self.scorer.pairs(user, items, out);
    }

    fn screen(&self, _: f64) -> Option<Box<dyn Screen + '_>> {
        Some(Box::new(VagueScreen(self)))
    }
}

struct VagueScreen<'a>(&'a Vague<'a>);

impl Screen for VagueScreen<'_> {
    fn estimates(&self, users: &[u32], visit: &mut VisitEstimates<'_>) -> bool {
        let Vague { scorer, radius, refused, .. } = *self.0;
        if users.iter().any(|&user| user >= refused) {
            return false;
        }
        let weight = |item: usize| [0.0, 0.3, 1.0][item % 3];
        scorer.scores(users, &mut |row, first, scores| {
            let weights: Vec<f32> = (first..first + scores.len()).map(weight).collect();
            for (at, score) in scores.iter_mut().enumerate() {
                *score += [-0.99, 0.5, 0.0, 0.9][(row + first + at) % 4] * radius * weights[at];
            }
            visit(row, first, scores, Margin { radius, weights: &weights });
        });
        true
    }
}

/// The scores of `users` as one matrix `[users.len(), N]`.
pub(crate) fn all_scores(scorer: &dyn Scorer, users: &[u32]) -> Vec<f32> {
    let mut rows = vec![vec![]; users.len()];
    scorer.scores(users, &mut |row, first, scores| {
        assert_eq!(first, rows[row].len());
        rows[row].extend_from_slice(scores);
    });
    rows.concat()
}
