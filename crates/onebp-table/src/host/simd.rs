//! Arithmetic on rows, in vectors of whatever width the CPU has: one source, compiled for SSE2, AVX2 and AVX-512 or NEON,
//! chosen at run time by the `pulp` crate.
//!
//! Everything here is inlined into a function that was compiled for the chosen instruction set, see
//! [`pulp::WithSimd`]. Element-wise functions round alike on every CPU with fused multiply-add; [`dot`] sums in an order
//! that depends on the width of its vectors.

use super::ahead::Ahead;
use pulp::Simd;

/// Lanes of a vector at most.
pub const MOST_LANES: usize = 16;

/// The vectors of a row, and the elements that fill none.
#[inline(always)]
fn split<S: Simd>(row: &[f32]) -> (&[S::f32s], &[f32]) {
    S::as_simd_f32s(row)
}

#[inline(always)]
fn split_mut<S: Simd>(row: &mut [f32]) -> (&mut [S::f32s], &mut [f32]) {
    S::as_mut_simd_f32s(row)
}

/// A function of two rows that is a sum over their elements.
pub trait Pairwise {
    /// The sum with one vector more.
    fn add<S: Simd>(simd: S, sum: S::f32s, a: S::f32s, b: S::f32s) -> S::f32s;
}

/// <a, b>.
pub struct Product;
impl Pairwise for Product {
    #[inline(always)]
    fn add<S: Simd>(simd: S, sum: S::f32s, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.mul_add_f32s(a, b, sum)
    }
}

/// |a - b|^2.
pub struct SquareDistance;
impl Pairwise for SquareDistance {
    #[inline(always)]
    fn add<S: Simd>(simd: S, sum: S::f32s, a: S::f32s, b: S::f32s) -> S::f32s {
        let apart = simd.sub_f32s(a, b);
        simd.mul_add_f32s(apart, apart, sum)
    }
}

/// The value of `F` for two rows `[d]`, asking for rows `ahead`.
#[inline(always)]
pub fn pairwise<F: Pairwise, S: Simd, const P: usize>(simd: S, a: &[f32], b: &[f32], ahead: Ahead<P>) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (split::<S>(a), split::<S>(b));
    // Four sums at a time hide the latency of the additions.
    let mut sums = [simd.splat_f32s(0.0); 4];
    let (a_fours, a_ones) = a.as_chunks::<4>();
    let (b_fours, b_ones) = b.as_chunks::<4>();
    for (four, (a, b)) in a_fours.iter().zip(b_fours).enumerate() {
        for k in 0..4 {
            ahead.iter().for_each(|coming| coming.ask(4 * four + k));
            sums[k] = F::add(simd, sums[k], a[k], b[k]);
        }
    }
    for ((sum, &a), &b) in sums.iter_mut().zip(a_ones).zip(b_ones) {
        *sum = F::add(simd, *sum, a, b);
    }
    if !a_rest.is_empty() {
        sums[3] = F::add(simd, sums[3], simd.partial_load_f32s(a_rest), simd.partial_load_f32s(b_rest));
    }
    let [a, b, c, d] = sums;
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}

/// <a, b>, both `[d]`.
#[inline(always)]
pub fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    pairwise::<Product, S, 0>(simd, a, b, [])
}

/// |a - b|^2, both `[d]`.
#[inline(always)]
pub fn square_distance<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    pairwise::<SquareDistance, S, 0>(simd, a, b, [])
}

/// One vector of the result of an element-wise function of `A` rows that are written and `B` rows that are read.
pub trait Elementwise<const A: usize, const B: usize> {
    /// New values of the written rows.
    fn apply<S: Simd>(&self, simd: S, written: [S::f32s; A], read: [S::f32s; B]) -> [S::f32s; A];
}

/// Applies `function` to rows of one length.
#[inline(always)]
pub fn apply<S: Simd, const A: usize, const B: usize>(
    simd: S,
    function: &impl Elementwise<A, B>,
    written: [&mut [f32]; A],
    read: [&[f32]; B],
) {
    apply_ahead(simd, function, written, read, []);
}

/// [`apply`], asking for rows `ahead`.
#[inline(always)]
pub fn apply_ahead<S: Simd, const A: usize, const B: usize, const P: usize>(
    simd: S,
    function: &impl Elementwise<A, B>,
    written: [&mut [f32]; A],
    read: [&[f32]; B],
    ahead: Ahead<P>,
) {
    let mut written = written.map(split_mut::<S>);
    let read = read.map(split::<S>);
    let whole = written.iter().map(|row| row.0.len()).chain(read.iter().map(|row| row.0.len())).min().unwrap_or(0);
    // Slices of one visible length, so that nothing is checked within the loop.
    let vectors = written.each_mut().map(|row| &mut row.0[..whole]);
    let sources = read.map(|row| &row.0[..whole]);
    for at in 0..whole {
        ahead.iter().for_each(|coming| coming.ask(at));
        let (mut old, mut other) = ([simd.splat_f32s(0.0); A], [simd.splat_f32s(0.0); B]);
        for k in 0..A {
            old[k] = vectors[k][at];
        }
        for k in 0..B {
            other[k] = sources[k][at];
        }
        let values = function.apply(simd, old, other);
        for k in 0..A {
            vectors[k][at] = values[k];
        }
    }
    if written.iter().any(|row| !row.1.is_empty()) {
        let values = function.apply(
            simd,
            written.each_ref().map(|row| simd.partial_load_f32s(row.1)),
            read.map(|row| simd.partial_load_f32s(row.1)),
        );
        for (row, value) in written.iter_mut().zip(values) {
            simd.partial_store_f32s(row.1, value);
        }
    }
}

/// x <- factor * y.
pub struct Set(pub f32);
impl Elementwise<1, 1> for Set {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, _: [S::f32s; 1], [y]: [S::f32s; 1]) -> [S::f32s; 1] {
        [simd.mul_f32s(simd.splat_f32s(self.0), y)]
    }
}

/// x <- x + factor * y.
pub struct Add(pub f32);
impl Elementwise<1, 1> for Add {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [x]: [S::f32s; 1], [y]: [S::f32s; 1]) -> [S::f32s; 1] {
        [simd.mul_add_f32s(simd.splat_f32s(self.0), y, x)]
    }
}

/// x <- x + a * y + b * z.
pub struct AddTwo(pub f32, pub f32);
impl Elementwise<1, 2> for AddTwo {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [x]: [S::f32s; 1], [y, z]: [S::f32s; 2]) -> [S::f32s; 1] {
        [simd.mul_add_f32s(simd.splat_f32s(self.1), z, simd.mul_add_f32s(simd.splat_f32s(self.0), y, x))]
    }
}

/// x <- keep * x + factor * y.
pub struct Mix(pub f32, pub f32);
impl Elementwise<1, 1> for Mix {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [x]: [S::f32s; 1], [y]: [S::f32s; 1]) -> [S::f32s; 1] {
        [simd.mul_add_f32s(simd.splat_f32s(self.1), y, simd.mul_f32s(simd.splat_f32s(self.0), x))]
    }
}

/// x <- factor * x.
pub struct Scale(pub f32);
impl Elementwise<1, 0> for Scale {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [x]: [S::f32s; 1], _: [S::f32s; 0]) -> [S::f32s; 1] {
        [simd.mul_f32s(simd.splat_f32s(self.0), x)]
    }
}

/// x <- exp(x - shift), for x at most shift, see [`exp`].
pub struct Exp(pub f32);
impl Elementwise<1, 0> for Exp {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [x]: [S::f32s; 1], _: [S::f32s; 0]) -> [S::f32s; 1] {
        [exp(simd, simd.sub_f32s(x, simd.splat_f32s(self.0)))]
    }
}

/// exp(y), for y at most 0; within 2 units in the last place, and 0 below the smallest normal number.
///
/// exp(y) = 2^n exp(r) with n = round(y / ln 2) and |r| <= ln 2 / 2, exp(r) by its Taylor polynomial of degree 7.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, y: S::f32s) -> S::f32s {
    // ln 2 in two parts, so that n times the first is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Adding 1.5 * 2^23 rounds to an integer, and leaves that in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LOWEST: f32 = -87.0;
    const TAYLOR: [f32; 7] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let kept = simd.max_f32s(y, simd.splat_f32s(LOWEST));
    let rounded = simd.mul_add_f32s(kept, simd.splat_f32s(std::f32::consts::LOG2_E), simd.splat_f32s(ROUND));
    let n = simd.sub_f32s(rounded, simd.splat_f32s(ROUND));
    let r = simd.mul_add_f32s(n, simd.splat_f32s(-LN_2[0]), kept);
    let r = simd.mul_add_f32s(n, simd.splat_f32s(-LN_2[1]), r);
    let mut power = simd.splat_f32s(1.0 / 5040.0);
    for coefficient in TAYLOR {
        power = simd.mul_add_f32s(power, r, simd.splat_f32s(coefficient));
    }
    let shifted = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    let two_to_the_n = simd.transmute_f32s_u32s(simd.add_u32s(shifted, simd.splat_u32s(127 << 23)));
    let value = simd.mul_f32s(power, two_to_the_n);
    simd.select_f32s(simd.less_than_f32s(y, simd.splat_f32s(LOWEST)), simd.splat_f32s(0.0), value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use pulp::{Arch, WithSimd};

    struct Run<'a>(&'a [f32], &'a [f32], f32);
    impl WithSimd for Run<'_> {
        type Output = (f32, Vec<f32>, Vec<f32>, Vec<f32>);
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(x, y, c) = self;
            let run = |function: &dyn Fn(&mut [f32])| {
                let mut x = x.to_vec();
                function(&mut x);
                x
            };
            (
                dot(simd, x, y),
                run(&|x| apply(simd, &Set(c), [x], [y])),
                run(&|x| apply(simd, &Mix(0.5, c), [x], [y])),
                run(&|x| apply(simd, &Scale(c), [x], [])),
            )
        }
    }

    struct RunExp<'a>(&'a mut [f32], f32);
    impl WithSimd for RunExp<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            apply(simd, &Exp(self.1), [self.0], []);
        }
    }

    #[test]
    fn exponentials_are_those_of_the_library() {
        let arguments: Vec<f32> = (0..200_000).map(|k| -k as f32 * 5e-4).chain([-0.0, -1e-30, -86.99, -1e4]).collect();
        for arch in [Arch::new(), Arch::Scalar] {
            let mut found: Vec<f32> = arguments.iter().map(|x| x + 2.0).collect();
            let shifted = found.clone();
            arch.dispatch(RunExp(&mut found, 2.0));
            for (found, x) in found.iter().zip(shifted) {
                let expected = f64::from(x - 2.0).exp();
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 3e-7 * expected + 2e-38, "exp({}): {found} is not {expected}", x - 2.0);
            }
        }
    }

    proptest! {
        /// Every length, so that rows of any width are covered, on the best instruction set and on none.
        #[test]
        fn equals_plain_loops(pairs in prop::collection::vec((-2f32..2.0, -2f32..2.0), 0..200), c in -2f32..2.0) {
            let (x, y): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let close = |a: f32, b: f32| (a - b).abs() <= 1e-5 * (1.0 + x.len() as f32);
            for arch in [Arch::new(), Arch::Scalar] {
                let (product, set, mix, scaled) = arch.dispatch(Run(&x, &y, c));
                prop_assert!(close(product, x.iter().zip(&y).map(|(a, b)| a * b).sum()));
                for k in 0..x.len() {
                    prop_assert!(close(set[k], c * y[k]) && close(mix[k], 0.5 * x[k] + c * y[k]) && close(scaled[k], c * x[k]));
                }
            }
        }
    }
}
