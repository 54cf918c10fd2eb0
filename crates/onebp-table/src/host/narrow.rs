//! Rows of one, two, four or eight vectors, whose width the compiler knows.
//!
//! Of a row of 32 numbers, the loop over its vectors, its checks and the questions which optimizer it has take longer than the
//! arithmetic. The passes of OneBP over tables that the caches hold therefore come a second time, as functions of the number of
//! vectors V: no loops are left of those, sums stay in registers, and what is the same for all rows is looked up once. The bytes are
//! the same.

use super::simd::Elementwise;
use pulp::Simd;

/// Returns `$self.$method::<S, V>(...)` where rows of `$dim` floats are V whole vectors of `$S`, for a V that there is code for.
macro_rules! narrow {
    ($S:ty, $dim:expr, $self:ident.$method:ident($($argument:expr),*)) => {
        if $dim.is_multiple_of(<$S as pulp::Simd>::F32_LANES) {
            match $dim / <$S as pulp::Simd>::F32_LANES {
                1 => return $self.$method::<$S, 1>($($argument),*),
                2 => return $self.$method::<$S, 2>($($argument),*),
                4 => return $self.$method::<$S, 4>($($argument),*),
                8 => return $self.$method::<$S, 8>($($argument),*),
                _ => {}
            }
        }
    };
}
pub(super) use narrow;

/// The vectors of a row.
///
/// # Safety
/// The row must be V vectors long.
#[inline(always)]
pub unsafe fn vectors<S: Simd, const V: usize>(row: &[f32]) -> &[S::f32s; V] {
    debug_assert_eq!(row.len(), V * S::F32_LANES);
    // SAFETY: as long by the caller's promise; vectors are aligned as floats are, or `pulp` would not cut slices into them.
    unsafe { &*S::as_simd_f32s(row).0.as_ptr().cast() }
}

/// [`vectors`], to be written.
///
/// # Safety
/// As there.
#[inline(always)]
pub unsafe fn vectors_mut<S: Simd, const V: usize>(row: &mut [f32]) -> &mut [S::f32s; V] {
    debug_assert_eq!(row.len(), V * S::F32_LANES);
    // SAFETY: as there.
    unsafe { &mut *S::as_mut_simd_f32s(row).0.as_mut_ptr().cast() }
}

/// <a, b>, summed in the order of [`simd::dot`](super::simd::dot).
#[inline(always)]
pub fn dot<S: Simd, const V: usize>(simd: S, a: &[S::f32s; V], b: &[S::f32s; V]) -> f32 {
    let mut sums = [simd.splat_f32s(0.0); 4];
    for k in 0..V {
        sums[k % 4] = simd.mul_add_f32s(a[k], b[k], sums[k % 4]);
    }
    let [a, b, c, d] = sums;
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}

/// [`simd::apply`](super::simd::apply) to rows of V vectors.
#[inline(always)]
pub fn each<S: Simd, const A: usize, const B: usize, const V: usize>(
    simd: S,
    function: &impl Elementwise<A, B>,
    written: [&mut [S::f32s; V]; A],
    read: [&[S::f32s; V]; B],
) {
    for k in 0..V {
        let (mut old, mut other) = ([simd.splat_f32s(0.0); A], [simd.splat_f32s(0.0); B]);
        for row in 0..A {
            old[row] = written[row][k];
        }
        for row in 0..B {
            other[row] = read[row][k];
        }
        let values = function.apply(simd, old, other);
        for row in 0..A {
            written[row][k] = values[row];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::simd, *};
    use pulp::{Arch, WithSimd};

    /// Products of rows with themselves, shifted by a number.
    struct Products(usize);

    impl Products {
        fn narrow<S: Simd, const V: usize>(&self, simd: S, a: &[f32], b: &[f32]) -> Option<f32> {
            // SAFETY: `narrow!` has seen to the length.
            Some(unsafe { dot(simd, vectors::<S, V>(a), vectors::<S, V>(b)) })
        }

        fn of<S: Simd>(&self, simd: S, a: &[f32], b: &[f32]) -> Option<f32> {
            narrow!(S, self.0, self.narrow(simd, a, b));
            None
        }
    }

    impl WithSimd for Products {
        type Output = Option<[f32; 2]>;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let [a, b] = [0.37, 1.21].map(|x| (0..self.0).map(|at| (at as f32 * x).sin()).collect::<Vec<_>>());
            Some([self.of(simd, &a, &b)?, simd::dot(simd, &a, &b)])
        }
    }

    #[test]
    fn products_are_those_of_any_width() {
        let mut narrow = 0;
        for dim in 1..200 {
            if let Some([found, expected]) = Arch::new().dispatch(Products(dim)) {
                assert_eq!(found.to_bits(), expected.to_bits(), "{dim}");
                narrow += 1;
            }
        }
        assert_eq!(narrow, 4);
    }
}
