//! The gradient of a row: the sum over the places of the batch at which it occurs.

use super::simd::{Add, AddTwo, Set, SetTwo, apply};
use pulp::Simd;

/// Where the gradients of a row's places come from.
pub trait Gradients: Sync {
    /// The vector of a place and its factor.
    fn of(&self, place: usize) -> (f32, &[f32]);

    /// The factor of the row itself, which occurs at `places`; 0 where gradients do not depend on it.
    #[inline(always)]
    fn own(&self, places: &[u32]) -> f32 {
        let _ = places;
        0.0
    }
}

/// g <- sum of factor * vector over the places, in their order, two in one pass.
#[inline(always)]
pub fn sum<S: Simd>(simd: S, places: &[u32], gradients: &impl Gradients, g: &mut [f32]) {
    let (pairs, last) = places.as_chunks::<2>();
    for (which, pair) in pairs.iter().enumerate() {
        let [(a, x), (b, y)] = pair.map(|place| gradients.of(place as usize));
        match which {
            0 => apply(simd, &SetTwo(a, b), [&mut *g], [x, y]),
            _ => apply(simd, &AddTwo(a, b), [&mut *g], [x, y]),
        }
    }
    if let &[place] = last {
        let (factor, vector) = gradients.of(place as usize);
        match pairs.len() {
            0 => apply(simd, &Set(factor), [&mut *g], [vector]),
            _ => apply(simd, &Add(factor), [&mut *g], [vector]),
        }
    }
}
