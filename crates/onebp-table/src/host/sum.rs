//! The gradient of a row: the sum over the places of the batch at which it occurs.

use super::narrow::vectors;
use pulp::Simd;

/// Where the gradients of a row's places come from.
pub trait Gradients: Sync {
    /// The vector of a place and its factor.
    fn of(&self, place: usize) -> (f32, &[f32]);

    /// Whether some depend on the row itself.
    #[inline(always)]
    fn have_own(&self) -> bool {
        false
    }

    /// The factor of the row itself, which occurs at `places`; 0 where gradients do not depend on it.
    #[inline(always)]
    fn own(&self, places: &[u32]) -> f32 {
        let _ = places;
        0.0
    }
}

/// g <- sum of factor * vector over the places, at least one, in their order.
#[inline(always)]
pub fn sum<S: Simd>(simd: S, places: &[u32], gradients: &impl Gradients, g: &mut [f32]) {
    let (vectors, rest) = S::as_mut_simd_f32s(g);
    // Sums stay in registers, of as many vectors at a time as there are registers for.
    let done = sum_blocks::<S, 8>(simd, places, gradients, 0, vectors);
    let done = sum_blocks::<S, 2>(simd, places, gradients, done, vectors);
    sum_blocks::<S, 1>(simd, places, gradients, done, vectors);
    if !rest.is_empty() {
        let mut sum = simd.splat_f32s(0.0);
        for (which, &place) in places.iter().enumerate() {
            let (factor, vector) = gradients.of(place as usize);
            let (_, values) = S::as_simd_f32s(vector);
            sum = add_product(simd, which, (simd.splat_f32s(factor), simd.partial_load_f32s(values)), sum);
        }
        simd.partial_store_f32s(rest, sum);
    }
}

/// [`sum`] of V vectors.
///
/// # Safety
/// Gradients must be V vectors long.
#[inline(always)]
pub unsafe fn sum_narrow<S: Simd, const V: usize>(simd: S, places: &[u32], gradients: &impl Gradients) -> [S::f32s; V] {
    let mut sums = [simd.splat_f32s(0.0); V];
    for (which, &place) in places.iter().enumerate() {
        let (factor, vector) = gradients.of(place as usize);
        // SAFETY: by the caller's promise.
        let (factor, values) = (simd.splat_f32s(factor), unsafe { vectors::<S, V>(vector) });
        for k in 0..V {
            sums[k] = add_product(simd, which, (factor, values[k]), sums[k]);
        }
    }
    sums
}

/// [`sum`] of vectors from `at` on, N at a time, as long as there are that many. Returns where the others begin.
#[inline(always)]
fn sum_blocks<S: Simd, const N: usize>(
    simd: S,
    places: &[u32],
    gradients: &impl Gradients,
    mut at: usize,
    out: &mut [S::f32s],
) -> usize {
    while let Some(block) = out.get_mut(at..at + N) {
        let mut sums = [simd.splat_f32s(0.0); N];
        for (which, &place) in places.iter().enumerate() {
            let (factor, vector) = gradients.of(place as usize);
            let (vectors, _) = S::as_simd_f32s(vector);
            let (factor, values) = (simd.splat_f32s(factor), &vectors[at..at + N]);
            for k in 0..N {
                sums[k] = add_product(simd, which, (factor, values[k]), sums[k]);
            }
        }
        block.copy_from_slice(&sums);
        at += N;
    }
    at
}

/// factor * value, and the sum where this is not the first of its products.
#[inline(always)]
fn add_product<S: Simd>(simd: S, which: usize, (factor, value): (S::f32s, S::f32s), sum: S::f32s) -> S::f32s {
    if which == 0 { simd.mul_f32s(factor, value) } else { simd.mul_add_f32s(factor, value, sum) }
}
