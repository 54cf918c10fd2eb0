//! Products of 16-bit integers, two columns at a time: AVX-512 VNNI multiplies and adds 32 pairs of them with the
//! instruction (`vpdpwssd`) in which 16 pairs of floats fit.

use super::screen::Tile;
use super::{GROUP, PANEL};
use pulp::cast;
use std::arch::x86_64::{
    __m512, __m512i, _mm512_cvtepi32_ps, _mm512_dpwssd_epi32, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512,
};

/// Pairs of 16 bits in a vector.
const LANES: usize = 16;

/// Vectors of items in a panel.
const VECTORS: usize = PANEL / LANES;

/// Whether this processor can run [`estimates`].
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
}

/// [`Tile::estimates`] in vectors. Call it only where it is [`available`].
pub(super) fn estimates(tile: Tile<'_>) {
    assert!(available());
    // SAFETY: the processor has the instructions.
    unsafe { vectors(tile) }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn vectors(tile: Tile<'_>) {
    let Tile { group, scales, panels, item_scales, out, stride } = tile;
    let parts = panels.chunks_exact(group.len() * PANEL).zip(item_scales.as_chunks::<PANEL>().0);
    for ((panel, item_scales), first) in parts.zip((0..).step_by(PANEL)) {
        let mut sums = [[_mm512_setzero_si512(); VECTORS]; GROUP];
        for (users, items) in group.iter().zip(panel.as_chunks::<PANEL>().0) {
            let items: [__m512i; VECTORS] = std::array::from_fn(|at| cast(items.as_chunks::<LANES>().0[at]));
            for (sums, &user) in sums.iter_mut().zip(users) {
                let user = _mm512_set1_epi32(cast(user));
                for (sum, &item) in sums.iter_mut().zip(&items) {
                    *sum = _mm512_dpwssd_epi32(*sum, user, item);
                }
            }
        }
        let item_scales: [__m512; VECTORS] = std::array::from_fn(|at| cast(item_scales.as_chunks::<LANES>().0[at]));
        for ((sums, &scale), row) in sums.iter().zip(scales).zip(out.chunks_exact_mut(stride)) {
            let scale = _mm512_set1_ps(scale);
            let places = row[first..first + PANEL].as_chunks_mut::<LANES>().0;
            for ((&sum, &item_scale), place) in sums.iter().zip(&item_scales).zip(places) {
                *place = cast(_mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale), item_scale));
            }
        }
    }
}
