//! What several tests share: made-up tables and the slow, obvious ranking.

use crate::Scorer;
use crate::selection::EXCLUDED;
use onebp_data::random::{Purpose, Random};

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

/// The scores of `users` as one matrix `[users.len(), N]`.
pub(crate) fn all_scores(scorer: &dyn Scorer, users: &[u32]) -> Vec<f32> {
    let mut rows = vec![vec![]; users.len()];
    scorer.scores(users, &mut |row, first, scores| {
        assert_eq!(first, rows[row].len());
        rows[row].extend_from_slice(scores);
    });
    rows.concat()
}
