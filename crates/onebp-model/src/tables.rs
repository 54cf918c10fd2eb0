//! Embeddings on the host: what is evaluated, exported and stored.

use onebp_data::random::{Purpose, Random};
use onebp_table::{Score, Table};
use rayon::prelude::*;
use std::borrow::Cow;

/// Both tables on the host: what is evaluated, exported and stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    /// User embeddings, `[M, C d]`: C vectors a user, of which the best one for an item counts.
    pub users: Table,
    /// Item embeddings, `[N, d]`.
    pub items: Table,
    /// What a pair of them is worth.
    pub score: Score,
}

impl Tables {
    /// Fresh tables for M users and N items.
    pub fn init(users: usize, items: usize, dim: usize, seed: u64) -> Self {
        Self {
            users: xavier_normal(users, dim, seed, Purpose::InitUsers),
            items: xavier_normal(items, dim, seed, Purpose::InitItems),
            score: Score::Product,
        }
    }

    /// Vectors of a user, C.
    pub fn vectors(&self) -> usize {
        self.users.dim / self.items.dim.max(1)
    }

    /// Tables whose products are the scores. For distances, -|u - v|^2 = <[2u, -|u|^2, 1], [v, 1, -|v|^2]>.
    pub fn products(&self) -> Cow<'_, Self> {
        match self.score {
            Score::Product => Cow::Borrowed(self),
            Score::Distance => {
                let dim = self.items.dim;
                let users = widened(&self.users, dim, |vector, square| (2.0 * vector, [-square, 1.0]));
                let items = widened(&self.items, dim, |vector, square| (vector, [1.0, -square]));
                Cow::Owned(Self { users, items, score: Score::Product })
            }
        }
    }

    /// The items against each other, to be scored for how alike they are: by the cosine where products are scores, by the
    /// distance where that is.
    pub fn of_items(&self) -> Self {
        let mut items = self.items.clone();
        if self.score == Score::Product {
            for row in items.values.chunks_exact_mut(items.dim.max(1)) {
                let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                row.iter_mut().for_each(|x| *x /= norm.max(f32::MIN_POSITIVE));
            }
        }
        Self { users: items.clone(), items, score: self.score }
    }
}

/// Every vector of width `dim`, by `map` of its elements and its squared length, and two numbers more.
fn widened(table: &Table, dim: usize, map: impl Fn(f32, f32) -> (f32, [f32; 2]) + Sync) -> Table {
    let wide = dim + 2;
    let vectors = table.values.len() / dim.max(1);
    let mut values = vec![0.0; vectors * wide];
    values.par_chunks_exact_mut(wide).zip(table.values.par_chunks_exact(dim)).for_each(|(out, vector)| {
        let square = vector.iter().map(|x| x * x).sum();
        out.iter_mut().zip(vector).for_each(|(out, &x)| *out = map(x, square).0);
        out[dim..].copy_from_slice(&map(0.0, square).1);
    });
    Table { values, rows: table.rows, dim: table.dim / dim.max(1) * wide }
}

/// A matrix by Xavier normal on the whole of it: N(0, 2 / (rows + dim)) (Glorot and Bengio, 2010).
///
/// Values depend on the seed, the purpose and their place only.
fn xavier_normal(rows: usize, dim: usize, seed: u64, purpose: Purpose) -> Table {
    let random = Random::new(seed, purpose);
    let std = (2.0 / (rows + dim) as f64).sqrt();
    let mut values = vec![0.0; rows * dim];
    values.par_chunks_mut(2).enumerate().with_min_len(4096).for_each(|(pair, out)| {
        let (a, b) = random.normal_pair(0, pair as u64, 0);
        for (slot, value) in out.iter_mut().zip([a, b]) {
            *slot = (value * std) as f32;
        }
    });
    Table { values, rows, dim }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published scales: ML-100k at d = 32 starts at 0.0453 (users) and 0.0342 (items).
    #[test]
    fn initial_scale_is_xavier() {
        for (rows, expected) in [(943, 0.0453), (1682, 0.0342)] {
            let table = xavier_normal(rows, 32, 2022, Purpose::InitItems);
            let n = table.values.len() as f64;
            let variance = table.values.iter().map(|&x| (x as f64).powi(2)).sum::<f64>() / n;
            assert!((variance.sqrt() / expected - 1.0).abs() < 0.02, "{}", variance.sqrt());
        }
    }

    #[test]
    fn users_and_items_start_differently() {
        let tables = Tables::init(5, 5, 4, 1);
        assert_ne!(tables.users, tables.items);
        assert_eq!(tables, Tables::init(5, 5, 4, 1));
        assert_ne!(tables, Tables::init(5, 5, 4, 2));
    }

    /// Widened products are distances, the best of several vectors too; T9: they sort items like <u, v> - |v|^2 / 2.
    #[test]
    fn products_are_distances() {
        let tables = Tables { users: xavier_normal(3, 8, 1, Purpose::InitUsers), ..Tables::init(3, 5, 4, 1) };
        let tables = Tables { score: Score::Distance, ..tables };
        let products = tables.products();
        assert_eq!((tables.vectors(), products.vectors(), products.items.dim), (2, 2, 6));
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        for user in 0..3 {
            for vector in 0..2 {
                let g = &tables.users.row(user)[4 * vector..][..4];
                let wide = &products.users.row(user)[6 * vector..][..6];
                let mut order: Vec<usize> = (0..5).collect();
                let mut by_key = order.clone();
                let score = |item: usize| dot(wide, products.items.row(item));
                let key = |item: usize| {
                    let v = tables.items.row(item);
                    dot(g, v) - dot(v, v) / 2.0
                };
                for item in 0..5 {
                    let apart: f32 = g.iter().zip(tables.items.row(item)).map(|(a, b)| (a - b).powi(2)).sum();
                    assert!((score(item) + apart).abs() < 1e-6, "{user} {item}");
                }
                order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
                by_key.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
                assert_eq!(order, by_key);
            }
        }
    }

    #[test]
    fn items_are_nearest_to_themselves() {
        for score in [Score::Product, Score::Distance] {
            let tables = Tables { score, ..Tables::init(3, 5, 4, 1) }.of_items();
            let products = tables.products();
            let dot = |a: usize, b: usize| -> f32 {
                products.users.row(a).iter().zip(products.items.row(b)).map(|(a, b)| a * b).sum()
            };
            for item in 0..5 {
                assert!((0..5).all(|other| dot(item, other) <= dot(item, item) + 1e-6));
            }
        }
    }
}
