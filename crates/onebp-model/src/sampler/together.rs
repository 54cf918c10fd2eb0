//! The negatives of most rows, from more candidates than it takes, looked at together.
//!
//! One by one, each draw waits for the CPU's guess whether the one before was rejected, and a wrong guess costs as much as
//! several draws. Here the first N draws of some rows are made at once, a lane of a vector for each row. Where none of a row's are alike
//! and S of them are not the user's, these are what drawing one by one gives; other rows are drawn one by one.

use super::{Proposal, Static, rejection::rejects};
use onebp_data::random::{MOST_LANES, lanes_of};
use pulp::{Arch, Simd, WithSimd};

impl Static<'_> {
    /// Draws the last S items of each row of `items` `[rows, W]`, for the rows of `users` from `position` of `epoch` on, as
    /// [`Static::draw`] does. Where a user has no item to draw, the row is left alone and its weight is 0, elsewhere 1.
    pub fn draw_rows(&self, users: &[u32], (epoch, position): (u32, u64), items: &mut [u32], weights: &mut [f32]) {
        let rows = Rows { sampler: self, users, epoch, position, items, weights };
        let one_by_one = self.planted > 0.0 || matches!(self.proposal, Proposal::Alias(_));
        match self.negatives() {
            1..=2 if !one_by_one => Arch::new().dispatch(Together::<4>(rows)),
            3..=6 if !one_by_one => Arch::new().dispatch(Together::<8>(rows)),
            7..=13 if !one_by_one => Arch::new().dispatch(Together::<16>(rows)),
            _ => rows.draw(),
        }
    }
}

/// Rows to be drawn.
struct Rows<'s, 'a> {
    sampler: &'s Static<'a>,
    users: &'s [u32],
    epoch: u32,
    /// Of the first row.
    position: u64,
    items: &'s mut [u32],
    weights: &'s mut [f32],
}

impl Rows<'_, '_> {
    fn width(&self) -> usize {
        (self.items.len() / self.users.len().max(1)).max(1)
    }

    /// Draws one by one.
    fn draw(self) {
        let width = self.width();
        let rows = self.users.iter().zip(self.items.chunks_exact_mut(width)).zip(self.weights).enumerate();
        for (row, ((&user, items), weight)) in rows {
            if let Some(&later) = self.users.get(row + 2) {
                self.sampler.owned().prefetch(later);
            }
            let negatives = &mut items[width - self.sampler.negatives()..];
            let found = self.sampler.draw(user, self.epoch, self.position + row as u64, negatives);
            *weight = if found { 1.0 } else { 0.0 };
        }
    }
}

/// [`Rows`] with N candidates, a multiple of 4.
struct Together<'s, 'a, const N: usize>(Rows<'s, 'a>);

impl<const N: usize> WithSimd for Together<'_, '_, N> {
    type Output = ();
    // No closure in here: it would be compiled for the oldest CPU.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (width, Rows { sampler, users: all, epoch, position, items, weights }) = (self.0.width(), self.0);
        let catalogue = sampler.owned().rows().columns();
        let groups = items.chunks_mut(S::U32_LANES * width).zip(weights.chunks_mut(S::U32_LANES));
        for (group, (users, (items, weights))) in all.chunks(S::U32_LANES).zip(groups).enumerate() {
            // The users after these, while these are drawn.
            for &user in all.iter().skip((group + 1) * S::U32_LANES).take(S::U32_LANES) {
                sampler.owned().prefetch(user);
            }
            let position = position + (group * S::U32_LANES) as u64;
            let (candidates, mut sound) = candidates::<S, N>(simd, sampler, epoch, position);
            let (mut marked, mut unsure) = ([0; MOST_LANES], [0; MOST_LANES]);
            for (lane, &user) in users.iter().enumerate() {
                let owned = sampler.owned().of(user);
                if !rejects(catalogue, catalogue - owned.len(), sampler.negatives()) {
                    sound[lane] = 0;
                }
                marked[lane] = owned.marked(&of_lane(&candidates, lane));
                unsure[lane] = owned.unsure(marked[lane]);
                if unsure[lane] != 0 {
                    owned.prefetch();
                }
            }
            let rows = users.iter().zip(items.chunks_exact_mut(width)).zip(weights).enumerate();
            for (lane, ((&user, items), weight)) in rows {
                let negatives = &mut items[width - sampler.negatives()..];
                if unsure[lane] != 0 {
                    let owned = sampler.owned().of(user);
                    marked[lane] = owned.confirm(unsure[lane], &of_lane(&candidates, lane));
                }
                let mut free = if sound[lane] != 0 { !marked[lane] & (u32::MAX >> (32 - N)) } else { 0 };
                let found = if free.count_ones() as usize >= negatives.len() {
                    for negative in negatives {
                        *negative = candidates[free.trailing_zeros() as usize % N][lane];
                        free &= free - 1;
                    }
                    true
                } else {
                    sampler.draw(user, epoch, position + lane as u64, negatives)
                };
                *weight = if found { 1.0 } else { 0.0 };
            }
        }
    }
}

/// The candidates of a lane.
#[inline(always)]
fn of_lane<const N: usize>(candidates: &[[u32; MOST_LANES]; N], lane: usize) -> [u32; N] {
    let mut of_lane = [0; N];
    for at in 0..N {
        of_lane[at] = candidates[at][lane];
    }
    of_lane
}

/// The first N draws of rows from `position` on, a lane for each row; and 0 for a row where two of them are alike, or one may
/// have taken more than a word.
#[inline(always)]
fn candidates<S: Simd, const N: usize>(
    simd: S,
    sampler: &Static,
    epoch: u32,
    position: u64,
) -> ([[u32; MOST_LANES]; N], [u32; MOST_LANES]) {
    let (mut items, mut sound) = ([simd.splat_u32s(0); N], simd.splat_u32s(u32::MAX));
    for draw in 0..N / 4 {
        let words = sampler.random.lanes(simd, epoch, position, draw as u32);
        for word in 0..4 {
            items[4 * draw + word] = sampler.proposal.of_words(simd, words[word], &mut sound);
        }
    }
    let mut lanes = [[0; MOST_LANES]; N];
    for at in 0..N {
        for before in 0..at {
            sound = simd.min_u32s(sound, simd.xor_u32s(items[at], items[before]));
        }
        lanes[at] = lanes_of::<S>(items[at]);
    }
    (lanes, lanes_of::<S>(sound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Interactions;
    use onebp_data::Csr;
    use proptest::prelude::*;

    proptest! {
        /// What comes together is what comes one by one, for users with few and with many items, with every number of candidates.
        #[test]
        fn rows_are_drawn_as_one_by_one(
            pairs in prop::collection::vec((0u32..7, 0u32..40), 1..200),
            users in prop::collection::vec(0u32..7, 0..50),
            width in 0usize..3,
            planted in prop::sample::select(vec![0.0, 0.5]),
        ) {
            let train = Csr::from_pairs(7, 40, &pairs).unwrap();
            for negatives in [1, 2, 3, 6, 7, 13, 14] {
                for proposal in [Proposal::Uniform(40), Proposal::Interactions(Interactions::new(&train))] {
                    let sampler = Static::new(&train, proposal, negatives, 5).planting(planted);
                    let width = width + negatives;
                    let (mut items, mut weights) = (vec![u32::MAX; users.len() * width], vec![0.5; users.len()]);
                    sampler.draw_rows(&users, (3, 100), &mut items, &mut weights);
                    for (row, &user) in users.iter().enumerate() {
                        let mut expected = vec![u32::MAX; width];
                        let found = sampler.draw(user, 3, 100 + row as u64, &mut expected[width - negatives..]);
                        prop_assert_eq!(&items[row * width..][..width], &expected[..]);
                        prop_assert_eq!(weights[row], if found { 1.0 } else { 0.0 });
                    }
                }
            }
        }
    }
}
