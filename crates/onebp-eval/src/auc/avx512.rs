//! Comparing scores with up to fifteen sorted truth scores at once: sixteen binary searches side by side.
//!
//! AVX-512 looks up sixteen numbers in a table of sixteen with one instruction (`vpermps`), so a step of the search is a
//! look-up, a comparison and a masked addition, and 3, 7 or 15 truth scores take two, three or four steps. With 7 this takes
//! half of the time of comparing every pair, with 15 a third; with 3 or less the same (measured on Zen 5).

use super::TABLE;
use crate::Margin;
use pulp::x86::V4;
use pulp::{NullaryFnOnce, cast, f32x16, u32x16};

/// Sum over `scores` of the truth scores below plus those not above. `truth` is ascending without repetition and finite;
/// `scores` are finite or minus infinity, which adds nothing.
pub(super) fn lost(simd: V4, truth: &[f32], scores: &[f32]) -> u64 {
    // After four steps a place is at most 15.
    let of_table = |truth: &[f32]| match truth.len() {
        1 => simd.vectorize(Search::<1> { simd, truth, scores }),
        2..4 => simd.vectorize(Search::<2> { simd, truth, scores }),
        4..8 => simd.vectorize(Search::<3> { simd, truth, scores }),
        _ => simd.vectorize(Search::<4> { simd, truth, scores }),
    };
    truth.chunks(TABLE).map(of_table).sum()
}

/// A search of STEPS steps among less than 2^STEPS truth scores.
struct Search<'a, const STEPS: usize> {
    simd: V4,
    truth: &'a [f32],
    scores: &'a [f32],
}

impl<const STEPS: usize> NullaryFnOnce for Search<'_, STEPS> {
    type Output = u64;

    #[inline(always)]
    fn call(self) -> u64 {
        let Self { simd, truth, scores } = self;
        let tables = tables(simd, truth);
        let mut counts = [simd.splat_u32x16(0); 2];
        let (vectors, rest) = scores.as_chunks::<16>();
        for &scores in vectors {
            counts = search::<STEPS>(simd, &tables, cast(scores), counts);
        }
        if !rest.is_empty() {
            counts = search::<STEPS>(simd, &tables, filled(rest, f32::NEG_INFINITY), counts);
        }
        let [below, equal] = counts.map(sum);
        2 * below + equal
    }
}

/// [`super::compare_estimates`], likewise.
pub(super) fn compare_estimates(
    simd: V4,
    truth: &[f32],
    estimates: &[f32],
    margin: Margin<'_>,
    open: &mut [u16],
) -> u64 {
    match truth.len() {
        1 => simd.vectorize(SearchEstimates::<1> { simd, truth, estimates, margin, open }),
        2..4 => simd.vectorize(SearchEstimates::<2> { simd, truth, estimates, margin, open }),
        4..8 => simd.vectorize(SearchEstimates::<3> { simd, truth, estimates, margin, open }),
        _ => simd.vectorize(SearchEstimates::<4> { simd, truth, estimates, margin, open }),
    }
}

/// A search of STEPS steps among less than 2^STEPS truth scores, which may be repeated.
struct SearchEstimates<'a, const STEPS: usize> {
    simd: V4,
    truth: &'a [f32],
    estimates: &'a [f32],
    margin: Margin<'a>,
    open: &'a mut [u16],
}

impl<const STEPS: usize> NullaryFnOnce for SearchEstimates<'_, STEPS> {
    type Output = u64;

    #[inline(always)]
    fn call(self) -> u64 {
        let Self { simd, truth, estimates, margin, open } = self;
        let tables = tables(simd, truth);
        // The truth score before a place. Before the first there is none: no comparison with it holds.
        let mut before = [f32::NAN; 16];
        before[1..].iter_mut().zip(truth).for_each(|(entry, &truth)| *entry = truth);
        let around = Around { tables, before: cast(before), radius: margin.radius };
        let mut below = simd.splat_u32x16(0);
        let (vectors, rest) = estimates.as_chunks::<16>();
        let (weights, rest_weights) = margin.weights.as_chunks::<16>();
        let (open, last) = open.split_at_mut(vectors.len());
        for ((&estimates, &weights), open) in vectors.iter().zip(weights).zip(open) {
            below = around.search::<STEPS>(simd, cast(estimates), cast(weights), below, open);
        }
        if let (false, Some(open)) = (rest.is_empty(), last.first_mut()) {
            let (rest, rest_weights) = (filled(rest, f32::NEG_INFINITY), filled(rest_weights, 0.0));
            below = around.search::<STEPS>(simd, rest, rest_weights, below, open);
        }
        2 * sum(below)
    }
}

/// What estimates are compared with.
struct Around {
    tables: [f32x16; 4],
    before: f32x16,
    radius: f32,
}

impl Around {
    /// Adds to `below` how many truth scores are below each estimate; `open` are those that have one within their margin.
    #[inline(always)]
    fn search<const STEPS: usize>(
        &self,
        simd: V4,
        estimates: f32x16,
        weights: f32x16,
        below: u32x16,
        open: &mut u16,
    ) -> u32x16 {
        let place = place::<STEPS>(simd, &self.tables, estimates);
        let high = simd.mul_add_f32x16(simd.splat_f32x16(self.radius), weights, estimates);
        let low = simd.mul_add_f32x16(simd.splat_f32x16(-self.radius), weights, estimates);
        let from_next = simd.cmp_le_f32x16(look_up(simd, self.tables[0], place), high);
        let from_previous = simd.cmp_ge_f32x16(look_up(simd, self.before, place), low);
        *open = from_next.0 | from_previous.0;
        simd.wrapping_add_u32x16(below, place)
    }
}

/// At most sixteen numbers and as many of `rest` as are missing.
#[inline(always)]
fn filled(numbers: &[f32], rest: f32) -> f32x16 {
    let mut filled = [rest; 16];
    filled[..numbers.len()].copy_from_slice(numbers);
    cast(filled)
}

fn sum(counts: u32x16) -> u64 {
    cast::<u32x16, [u32; 16]>(counts).map(u64::from).iter().sum()
}

/// A table for each step: at i the truth score i + 2^step - 1, beyond the last infinity.
#[inline(always)]
fn tables(simd: V4, truth: &[f32]) -> [f32x16; 4] {
    let mut first = [f32::INFINITY; 16];
    first.iter_mut().zip(truth).for_each(|(entry, &truth)| *entry = truth);
    let mut tables = [cast(first); 4];
    for (step, table) in tables.iter_mut().enumerate() {
        let places: [u32; 16] = std::array::from_fn(|i| (i + (1 << step) - 1).min(TABLE) as u32);
        *table = cast(simd.avx512f._mm512_permutexvar_ps(cast(places), cast(first)));
    }
    tables
}

/// For each score how many truth scores are below it.
#[inline(always)]
fn place<const STEPS: usize>(simd: V4, tables: &[f32x16; 4], scores: f32x16) -> u32x16 {
    let mut place = simd.splat_u32x16(0);
    for step in (0..STEPS).rev() {
        // The last of the next 2^step truth scores: where it is below a score, so are the others.
        let last = look_up(simd, tables[step], place);
        let further = simd.wrapping_add_u32x16(place, simd.splat_u32x16(1 << step));
        place = simd.select_u32x16(simd.cmp_lt_f32x16(last, scores), further, place);
    }
    place
}

#[inline(always)]
fn look_up(simd: V4, table: f32x16, place: u32x16) -> f32x16 {
    cast(simd.avx512f._mm512_permutexvar_ps(cast(place), cast(table)))
}

/// Adds to `below` how many truth scores are below each score, to `equal` whether one is equal to it.
#[inline(always)]
fn search<const STEPS: usize>(
    simd: V4,
    tables: &[f32x16; 4],
    scores: f32x16,
    [below, equal]: [u32x16; 2],
) -> [u32x16; 2] {
    let place = place::<STEPS>(simd, tables, scores);
    let next = look_up(simd, tables[0], place);
    let one_more = simd.wrapping_add_u32x16(equal, simd.splat_u32x16(1));
    [simd.wrapping_add_u32x16(below, place), simd.select_u32x16(simd.cmp_eq_f32x16(next, scores), one_more, equal)]
}
