//! Where scores come from: anything that can fill a block of [users, N] numbers can be ranked and measured.
//!
//! Two scorers live here. The dot product `score(u, i) = <W_u[u], W_v[i]>` serves every model whose final user and item
//! representations are two tables; popularity, `score(u, i) = f_i` with f_i the number of training users of item i, is
//! the baseline any model has to beat.

use crate::Error;

/// Scores of users against the whole catalogue of N items.
///
/// Ranking calls [`Scorer::scores`] from several threads at once, each with its own block, so an implementation should
/// stay on the calling thread. The score of a pair must not depend on the other users of the block: every result is
/// then the same for any block size.
pub trait Scorer: Sync {
    /// Number of users; ids are `0..users()`.
    fn users(&self) -> usize;

    /// Number of items N; ids are `0..items()`.
    fn items(&self) -> usize;

    /// Writes the scores of `users` (ids in any order) into `out`, row-major `[users.len(), N]`. Higher is better.
    ///
    /// Ranking calls this with ids below [`Scorer::users`] and a block of exactly that length; an implementation may
    /// panic on anything else.
    fn scores(&self, users: &[u32], out: &mut [f32]);
}

/// The matrix product runs tile by tile. `matrixmultiply` starts threads of its own once (users + items) * columns of a
/// product reach 2^15 (where its `threading` feature is on, which any crate of a program can do), but the caller of a
/// ranking has bounded the threads already. Tiles below that size stay on the calling thread, at four fifths of the speed
/// of one large product (measured on one core, 32 to 2048 columns). The sum over columns is cut at fixed places, so a
/// score does not depend on where its tile begins.
const TILE_USERS: usize = 256;
const TILE_ITEMS: usize = 240;
const TILE_COLUMNS: usize = 64;
const _: () = assert!((TILE_USERS + TILE_ITEMS) * TILE_COLUMNS < 1 << 15);

/// Scores by the dot product of two embedding tables.
#[derive(Clone, Copy, Debug)]
pub struct DotProduct<'a> {
    users: &'a [f32],
    items: &'a [f32],
    dim: usize,
}

impl<'a> DotProduct<'a> {
    /// Over the user table `[M, dim]` and the item table `[N, dim]`, both row-major.
    ///
    /// # Errors
    /// [`Error::Shape`] where `dim` is 0 or the length of a table is not a multiple of it.
    pub fn new(users: &'a [f32], items: &'a [f32], dim: usize) -> Result<Self, Error> {
        if dim == 0 {
            return Err(Error::Shape { what: "columns of the embedding tables", expected: 1, found: 0 });
        }
        for (what, table) in [("length of the user table", users), ("length of the item table", items)] {
            if !table.len().is_multiple_of(dim) {
                return Err(Error::Shape { what, expected: table.len().next_multiple_of(dim), found: table.len() });
            }
        }
        Ok(Self { users, items, dim })
    }
}

impl Scorer for DotProduct<'_> {
    fn users(&self) -> usize {
        self.users.len() / self.dim
    }

    fn items(&self) -> usize {
        self.items.len() / self.dim
    }

    fn scores(&self, users: &[u32], out: &mut [f32]) {
        let (dim, items) = (self.dim, self.items());
        assert_eq!(out.len(), users.len() * items, "one score for every user of the block and item");
        let Some(&first) = users.first() else { return };
        // A run of consecutive users already is a matrix; any other block is gathered into one.
        let gathered: Vec<f32>;
        let rows = if users.iter().zip(first..).all(|(&user, expected)| user == expected) {
            &self.users[first as usize * dim..(first as usize + users.len()) * dim]
        } else {
            gathered =
                users.iter().flat_map(|&user| &self.users[user as usize * dim..][..dim]).copied().collect::<Vec<_>>();
            &gathered
        };
        for user in (0..users.len()).step_by(TILE_USERS) {
            for item in (0..items).step_by(TILE_ITEMS) {
                for column in (0..dim).step_by(TILE_COLUMNS) {
                    let m = TILE_USERS.min(users.len() - user);
                    let n = TILE_ITEMS.min(items - item);
                    let k = TILE_COLUMNS.min(dim - column);
                    let beta = if column == 0 { 0.0 } else { 1.0 };
                    let stride = dim as isize;
                    // SAFETY: the tile lies within the three matrices: rows `user..user + m` and columns
                    // `column..column + k` of `rows` [users, dim], rows `item..item + n` of the item table [N, dim]
                    // (transposed by its strides), and rows `user..user + m` and columns `item..item + n` of `out`
                    // [users, N], whose lengths are checked above or by slicing. `out` is borrowed mutably, so it
                    // overlaps neither input.
                    unsafe {
                        let a = rows.as_ptr().add(user * dim + column);
                        let b = self.items.as_ptr().add(item * dim + column);
                        let c = out.as_mut_ptr().add(user * items + item);
                        matrixmultiply::sgemm(m, k, n, 1.0, a, stride, 1, b, 1, stride, beta, c, items as isize, 1);
                    }
                }
            }
        }
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

    fn scores(&self, users: &[u32], out: &mut [f32]) {
        assert_eq!(out.len(), users.len() * self.counts.len(), "one score for every user of the block and item");
        if !self.counts.is_empty() {
            out.chunks_exact_mut(self.counts.len()).for_each(|row| row.copy_from_slice(&self.counts));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    fn scores(scorer: &dyn Scorer, users: &[u32]) -> Vec<f32> {
        let mut out = vec![f32::NAN; users.len() * scorer.items()];
        scorer.scores(users, &mut out);
        out
    }

    #[test]
    fn dot_product_by_hand() {
        let (users, items) = ([1.0, 2.0, -3.0, 0.5], [1.0, 0.0, 0.0, 1.0, 2.0, -1.0]);
        let dot = DotProduct::new(&users, &items, 2).unwrap();
        assert_eq!((dot.users(), dot.items()), (2, 3));
        assert_eq!(scores(&dot, &[0, 1]), [1.0, 2.0, 0.0, -3.0, 0.5, -6.5]);
        assert_eq!(scores(&dot, &[1, 0, 1]), [-3.0, 0.5, -6.5, 1.0, 2.0, 0.0, -3.0, 0.5, -6.5]);
        assert!(scores(&dot, &[]).is_empty());
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        assert!(matches!(DotProduct::new(&[0.0; 5], &[0.0; 4], 2), Err(Error::Shape { expected: 6, found: 5, .. })));
        assert!(matches!(DotProduct::new(&[0.0; 4], &[0.0; 3], 2), Err(Error::Shape { expected: 4, found: 3, .. })));
        assert!(matches!(DotProduct::new(&[], &[], 0), Err(Error::Shape { .. })));
    }

    /// The order of summation within a score must not change where the matrix product leaves its fast path at the edge
    /// of a block. The shapes cross the tile sizes of the product in users, items and columns.
    #[test]
    fn scores_are_bitwise_the_same_for_every_block_size_and_order() {
        for (m, n, dim) in
            [(19, 1, 3), (21, 8, 4), (37, 67, 32), (70, 131, 33), (67, 41, 259), (9, 1030, 300), (300, 250, 65)]
        {
            let (users, items) = (table(m, dim, 1), table(n, dim, 2));
            let dot = DotProduct::new(&users, &items, dim).unwrap();
            let all: Vec<u32> = (0..m as u32).collect();
            let whole: Vec<u32> = scores(&dot, &all).iter().map(|s| s.to_bits()).collect();
            for block in (1..m).filter(|block| m < 100 || block % 37 == 1) {
                let parts = all.chunks(block).flat_map(|users| scores(&dot, users));
                assert!(parts.map(f32::to_bits).eq(whole.iter().copied()), "{m} {n} {dim} in blocks of {block}");
            }
            let backwards: Vec<u32> = all.iter().rev().copied().collect();
            let gathered = scores(&dot, &backwards);
            assert!(gathered.chunks(n).rev().flatten().map(|s| s.to_bits()).eq(whole), "{m} {n} {dim} gathered");
        }
    }

    #[test]
    fn dot_product_is_near_the_sum_in_f64() {
        let (m, n, dim) = (11, 23, 300);
        let (users, items) = (table(m, dim, 3), table(n, dim, 4));
        let dot = DotProduct::new(&users, &items, dim).unwrap();
        let all: Vec<u32> = (0..m as u32).collect();
        for (at, score) in scores(&dot, &all).into_iter().enumerate() {
            let (user, item) = (&users[at / n * dim..][..dim], &items[at % n * dim..][..dim]);
            let exact: f64 = user.iter().zip(item).map(|(&a, &b)| a as f64 * b as f64).sum();
            assert!((score as f64 - exact).abs() < 1e-4, "{score} {exact}");
        }
    }

    #[test]
    fn popularity_repeats_the_counts() {
        let popularity = Popularity::new(3, &[4, 0, 2]);
        assert_eq!((popularity.users(), popularity.items()), (3, 3));
        assert_eq!(scores(&popularity, &[2, 0]), [4.0, 0.0, 2.0, 4.0, 0.0, 2.0]);
    }
}
