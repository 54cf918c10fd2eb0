//! Scores by the dot product of two embedding tables: a blocked matrix product whose tiles are read before they leave the
//! nearest cache.
//!
//! `score(u, i) = fma(U[u][d-1], V[i][d-1], ... fma(U[u][1], V[i][1], fma(U[u][0], V[i][0], 0)))`: the columns in order,
//! each product added with one rounding. As the order is part of the definition, a score depends neither on the users and
//! items it is computed with nor on the width of the processor's vectors. (A processor without fused multiply-add, older
//! than 2013 on x86-64, gives the same scores, slowly.)
//!
//! The shape is that of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", TOMS 2008, for a
//! result that is not kept: a tile of items is packed into panels that stay in the second-level cache, six users at a time
//! run over it with all sums of six users and up to 64 items in registers, and their scores go to the visitor from the
//! first-level cache.

mod screen;
#[cfg(target_arch = "x86_64")]
mod vnni;

use crate::{Error, Scorer, Screen, Visit};
use onebp_data::prefetch;
use pulp::{Arch, Simd, WithSimd};
use screen::Screened;

/// Users whose scores are computed together. With four vectors of items they need 24 registers for sums, 4 for items;
/// with two vectors 12 and 2.
const GROUP: usize = 6;

/// Items whose columns lie side by side: four vectors of AVX-512, more of narrower ones.
const PANEL: usize = 64;

/// Numbers in the panels of one tile, 256 KiB, as far as the bounds on its items allow.
const TILE: usize = 1 << 16;

/// Items of a tile at least: less would be read in pieces too small to be worth the call.
const SMALLEST_TILE: usize = 128;

/// Items of a tile at most: the scores of a group, 24 KiB, fit the first-level cache.
const LARGEST_TILE: usize = 1024;

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

    fn user(&self, user: u32) -> &'a [f32] {
        &self.users[user as usize * self.dim..][..self.dim]
    }

    fn item(&self, item: usize) -> &'a [f32] {
        &self.items[item * self.dim..][..self.dim]
    }
}

impl Scorer for DotProduct<'_> {
    fn users(&self) -> usize {
        self.users.len() / self.dim
    }

    fn items(&self) -> usize {
        self.items.len() / self.dim
    }

    /// Memory: the rows of `users` once more, `[users.len(), dim]`, and one tile of at most 256 KiB or 128 items.
    fn scores(&self, users: &[u32], visit: &mut Visit<'_>) {
        let (dim, items, arch) = (self.dim, self.items(), Arch::new());
        if items == 0 {
            return;
        }
        let tile = tile(TILE / dim, items);
        let mut groups = vec![0.0; users.len().next_multiple_of(GROUP) * dim];
        for (users, group) in users.chunks(GROUP).zip(groups.chunks_exact_mut(GROUP * dim)) {
            pack::<GROUP>(users.iter().map(|&user| self.user(user)), group);
        }
        let mut panels = vec![0.0; tile * dim];
        let mut scores = vec![0.0; GROUP * tile];
        for first in (0..items).step_by(tile) {
            let tile_items = first..items.min(first + tile);
            // Beyond the last item a panel holds what it held before: numbers whose sums nobody reads.
            let panels = &mut panels[..tile_items.len().next_multiple_of(PANEL) * dim];
            for (panel, start) in panels.chunks_exact_mut(PANEL * dim).zip(tile_items.clone().step_by(PANEL)) {
                pack::<PANEL>((start..tile_items.end.min(start + PANEL)).map(|item| self.item(item)), panel);
            }
            for (group, row) in groups.chunks_exact(GROUP * dim).zip((0..).step_by(GROUP)) {
                arch.dispatch(Product { group, panels, dim, scores: &mut scores, stride: tile });
                for (row, scores) in (row..users.len()).zip(scores.chunks_exact_mut(tile)) {
                    visit(row, first, &mut scores[..tile_items.len()]);
                }
            }
        }
    }

    fn pairs(&self, user: u32, items: &[u32], out: &mut [f32]) {
        let user = self.user(user);
        Arch::new().dispatch(Pairs { user, dot: self, items, out });
    }

    /// Memory: the items once more, in 16 bits.
    fn screen(&self, compared: f64) -> Option<Box<dyn Screen + '_>> {
        Screened::new(*self, compared).map(|screen| Box::new(screen) as _)
    }
}

/// Items of a tile, whole panels: about as many as `fit` the cache, and not many more than there are `items`.
fn tile(fit: usize, items: usize) -> usize {
    (fit / PANEL * PANEL).clamp(SMALLEST_TILE, LARGEST_TILE).min(items.next_multiple_of(PANEL))
}

/// Lays `rows` (at most W, `[dim]` each) side by side: `packed` `[dim, W]`. Sixteen columns at a time, so that both sides
/// are read and written by whole cache lines.
fn pack<'a, const W: usize>(rows: impl Iterator<Item = &'a [f32]> + Clone, packed: &mut [f32]) {
    for (columns, start) in packed.as_chunks_mut::<W>().0.chunks_mut(16).zip((0..).step_by(16)) {
        for (place, row) in rows.clone().enumerate().take(W) {
            for (column, &value) in columns.iter_mut().zip(&row[start..]) {
                column[place] = value;
            }
        }
    }
}

/// The scores of one group of users `[dim, GROUP]` and a tile of items, panels of `[dim, PANEL]`: into `scores`
/// `[GROUP, stride]`.
struct Product<'a> {
    group: &'a [f32],
    panels: &'a [f32],
    dim: usize,
    scores: &'a mut [f32],
    stride: usize,
}

impl Product<'_> {
    /// With V vectors of items in registers.
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let width = V * S::F32_LANES;
        for (panel, first) in self.panels.chunks_exact(PANEL * self.dim).zip((0..).step_by(PANEL)) {
            for part in (0..PANEL).step_by(width) {
                let mut sums = [[simd.splat_f32s(0.0); V]; GROUP];
                for (users, items) in self.group.as_chunks::<GROUP>().0.iter().zip(panel.as_chunks::<PANEL>().0) {
                    let (items, _) = S::as_simd_f32s(&items[part..part + width]);
                    for (sums, &user) in sums.iter_mut().zip(users) {
                        let user = simd.splat_f32s(user);
                        for (sum, &item) in sums.iter_mut().zip(items) {
                            *sum = simd.mul_add_f32s(user, item, *sum);
                        }
                    }
                }
                for (sums, row) in sums.iter().zip(self.scores.chunks_exact_mut(self.stride)) {
                    let (scores, _) = S::as_mut_simd_f32s(&mut row[first + part..][..width]);
                    scores.copy_from_slice(sums);
                }
            }
        }
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 { self.run::<S, 4>(simd) } else { self.run::<S, 2>(simd) }
    }
}

/// The scores of one user `[dim]` and single items, eight at a time: the additions of one score wait for each other. The
/// beginnings of the next eight rows come from afar meanwhile.
struct Pairs<'a> {
    user: &'a [f32],
    dot: &'a DotProduct<'a>,
    items: &'a [u32],
    out: &'a mut [f32],
}

impl WithSimd for Pairs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let next = self.items.chunks(8).skip(1).chain([&[] as &[u32]]);
        for ((items, out), next) in self.items.chunks(8).zip(self.out.chunks_mut(8)).zip(next) {
            next.iter().for_each(|&item| prefetch(self.dot.item(item as usize)));
            let mut rows = [self.user; 8];
            for (row, &item) in rows.iter_mut().zip(items) {
                *row = self.dot.item(item as usize);
            }
            let mut sums = [0.0f32; 8];
            // In blocks of columns, which the compiler turns in registers, so that vectors of items remain.
            let (blocks, rest) = self.user.as_chunks::<8>();
            for (at, user) in blocks.iter().enumerate() {
                let block = rows.map(|row| &row.as_chunks::<8>().0[at]);
                for column in 0..8 {
                    for (sum, row) in sums.iter_mut().zip(block) {
                        *sum = user[column].mul_add(row[column], *sum);
                    }
                }
            }
            for (at, &user) in (blocks.len() * 8..).zip(rest) {
                for (sum, row) in sums.iter_mut().zip(rows) {
                    *sum = user.mul_add(row[at], *sum);
                }
            }
            out.copy_from_slice(&sums[..out.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{all_scores, table};

    #[test]
    fn dot_product_by_hand() {
        let (users, items) = ([1.0, 2.0, -3.0, 0.5], [1.0, 0.0, 0.0, 1.0, 2.0, -1.0]);
        let dot = DotProduct::new(&users, &items, 2).unwrap();
        assert_eq!((dot.users(), dot.items()), (2, 3));
        assert_eq!(all_scores(&dot, &[0, 1]), [1.0, 2.0, 0.0, -3.0, 0.5, -6.5]);
        assert_eq!(all_scores(&dot, &[1, 0, 1]), [-3.0, 0.5, -6.5, 1.0, 2.0, 0.0, -3.0, 0.5, -6.5]);
        assert!(all_scores(&dot, &[]).is_empty());
        assert!(all_scores(&DotProduct::new(&users, &[], 2).unwrap(), &[0]).is_empty());
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        assert!(matches!(DotProduct::new(&[0.0; 5], &[0.0; 4], 2), Err(Error::Shape { expected: 6, found: 5, .. })));
        assert!(matches!(DotProduct::new(&[0.0; 4], &[0.0; 3], 2), Err(Error::Shape { expected: 4, found: 3, .. })));
        assert!(matches!(DotProduct::new(&[], &[], 0), Err(Error::Shape { .. })));
    }

    /// The definition, one pair after another. The shapes cross groups, panels and tiles, and leave each half full.
    #[test]
    fn every_score_is_bitwise_its_definition() {
        for (m, n, dim) in
            [(19, 1, 3), (1, 65, 1), (21, 64, 4), (37, 67, 32), (7, 1030, 70), (5, 2050, 2), (13, 200, 1100)]
        {
            let (users, items) = (table(m, dim, 1), table(n, dim, 2));
            let dot = DotProduct::new(&users, &items, dim).unwrap();
            let score = |user: u32, item: usize| {
                dot.user(user).iter().zip(dot.item(item)).fold(0.0f32, |sum, (&a, &b)| a.mul_add(b, sum)).to_bits()
            };
            let asked: Vec<u32> = (0..m as u32).rev().chain([0]).collect();
            for users in [&asked[..], &asked[..1], &asked[m.div_ceil(2)..]] {
                let scores = all_scores(&dot, users);
                assert_eq!(scores.len(), users.len() * n);
                for (at, found) in scores.into_iter().enumerate() {
                    assert_eq!(found.to_bits(), score(users[at / n], at % n), "{m} {n} {dim} at {at}");
                }
            }
            for count in [0, 1, 7, 8, 9, 30] {
                let items: Vec<u32> = (0..count).map(|at| at * 7 % n as u32).collect();
                let mut out = vec![f32::NAN; items.len()];
                dot.pairs(m as u32 - 1, &items, &mut out);
                let expected = items.iter().map(|&item| score(m as u32 - 1, item as usize));
                assert!(out.iter().map(|score| score.to_bits()).eq(expected), "{m} {n} {dim} {count} pairs");
            }
        }
    }

    /// With vectors of one number, of eight and of sixteen, as far as this processor has them.
    #[test]
    fn the_width_of_vectors_leaves_no_trace() {
        let (dim, panels) = (37, 3);
        let (group, packed) = (table(dim, GROUP, 1), table(panels * dim, PANEL, 2));
        let product = |simd: &dyn Fn(Product)| {
            let mut scores = vec![f32::NAN; GROUP * panels * PANEL];
            simd(Product { group: &group, panels: &packed, dim, scores: &mut scores, stride: panels * PANEL });
            scores.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let one = product(&|product| Arch::Scalar.dispatch(product));
        assert!(product(&|product| Arch::new().dispatch(product)) == one);
        #[cfg(target_arch = "x86_64")]
        if let Some(eight) = pulp::x86::V3::try_new() {
            assert!(product(&|product| Arch::V3(eight).dispatch(product)) == one);
        }
    }

    #[test]
    fn dot_product_is_near_the_sum_in_f64() {
        let (m, n, dim) = (11, 23, 300);
        let (users, items) = (table(m, dim, 3), table(n, dim, 4));
        let dot = DotProduct::new(&users, &items, dim).unwrap();
        let all: Vec<u32> = (0..m as u32).collect();
        for (at, score) in all_scores(&dot, &all).into_iter().enumerate() {
            let (user, item) = (&users[at / n * dim..][..dim], &items[at % n * dim..][..dim]);
            let exact: f64 = user.iter().zip(item).map(|(&a, &b)| a as f64 * b as f64).sum();
            assert!((score as f64 - exact).abs() < 1e-4, "{score} {exact}");
        }
    }
}
