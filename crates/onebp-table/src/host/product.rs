//! Products of a block of rows with a matrix that stays in the nearest caches, and what passes over blocks share.

use super::simd::MOST_LANES;
use pulp::Simd;

/// Rows that are worked on together.
pub const BLOCK: usize = 64;

/// Floats of the sums of all parts, at most.
const SUMS: usize = 1 << 24;

/// Into how many parts a pass over rows is cut, each with sums of `size` floats of its own, which are added up part after
/// part: a number that does not depend on threads.
pub fn parts(size: usize) -> usize {
    (SUMS / size.max(1)).clamp(2, 64)
}

/// Writes a matrix `[rows, dim]`, or its transpose `[dim, rows]`, to `out`, its rows padded to [`MOST_LANES`].
pub fn padded(values: &[f32], dim: usize, transposed: bool, out: &mut Vec<f32>) {
    let rows = values.len() / dim.max(1);
    let (height, width) = if transposed { (dim, rows) } else { (rows, dim) };
    let wide = width.next_multiple_of(MOST_LANES);
    out.clear();
    out.resize(height * wide, 0.0);
    if !transposed {
        out.chunks_exact_mut(wide).zip(values.chunks_exact(dim)).for_each(|(out, row)| out[..dim].copy_from_slice(row));
        return;
    }
    turn(values, dim, wide, out);
}

/// Writes the transpose of a matrix `[rows, dim]` to `out` `[dim, wide]`, whose other elements stay.
pub fn turn(values: &[f32], dim: usize, wide: usize, out: &mut [f32]) {
    // By tiles: a line of either side is used whole while it is at hand.
    for (top, lines) in values.chunks(MOST_LANES * dim).enumerate() {
        for left in (0..dim).step_by(MOST_LANES) {
            for (row, line) in lines.chunks_exact(dim).enumerate() {
                for (column, &value) in line.iter().enumerate().skip(left).take(MOST_LANES) {
                    out[column * wide + top * MOST_LANES + row] = value;
                }
            }
        }
    }
}

/// out += a w: `a` `[rows, inner]` with strides `[si, sk]`, `w` `[inner, wide]`, `out` `[rows, wide]`; `wide` is padded.
#[inline(always)]
pub fn product<S: Simd>(
    simd: S,
    (a, [si, sk]): (&[f32], [usize; 2]),
    [rows, inner, wide]: [usize; 3],
    w: &[f32],
    out: &mut [f32],
) {
    let vectors = wide / S::F32_LANES;
    let mut first = 0;
    while first < vectors {
        let columns = first * S::F32_LANES;
        if vectors - first >= 4 {
            columns_of::<S, 4>(simd, (a, [si, sk]), [rows, inner, wide], w, out, columns);
            first += 4;
        } else {
            columns_of::<S, 1>(simd, (a, [si, sk]), [rows, inner, wide], w, out, columns);
            first += 1;
        }
    }
}

/// [`product`] for V vectors of columns.
#[inline(always)]
fn columns_of<S: Simd, const V: usize>(
    simd: S,
    (a, [si, sk]): (&[f32], [usize; 2]),
    [rows, inner, wide]: [usize; 3],
    w: &[f32],
    out: &mut [f32],
    column: usize,
) {
    let mut row = 0;
    while row + 4 <= rows {
        rows_of::<S, V, 4>(simd, (&a[row * si..], [si, sk]), [inner, wide], w, &mut out[row * wide..], column);
        row += 4;
    }
    while row < rows {
        rows_of::<S, V, 1>(simd, (&a[row * si..], [si, sk]), [inner, wide], w, &mut out[row * wide..], column);
        row += 1;
    }
}

/// [`product`] for R rows and V vectors of columns, whose sums stay in registers.
#[inline(always)]
fn rows_of<S: Simd, const V: usize, const R: usize>(
    simd: S,
    (a, [si, sk]): (&[f32], [usize; 2]),
    [inner, wide]: [usize; 2],
    w: &[f32],
    out: &mut [f32],
    column: usize,
) {
    let width = V * S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (row, sums) in sums.iter_mut().enumerate() {
        let (vectors, _) = S::as_simd_f32s(&out[row * wide + column..][..width]);
        sums.copy_from_slice(&vectors[..V]);
    }
    for k in 0..inner {
        let (vectors, _) = S::as_simd_f32s(&w[k * wide + column..][..width]);
        for (row, sums) in sums.iter_mut().enumerate() {
            let factor = simd.splat_f32s(a[row * si + k * sk]);
            for v in 0..V {
                sums[v] = simd.mul_add_f32s(factor, vectors[v], sums[v]);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        let (vectors, _) = S::as_mut_simd_f32s(&mut out[row * wide + column..][..width]);
        vectors[..V].copy_from_slice(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    struct Run<'a>(&'a [f32], [usize; 2], [usize; 3], &'a [f32], &'a mut [f32]);
    impl WithSimd for Run<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            product(simd, (self.0, self.1), self.2, self.3, self.4);
        }
    }

    /// Plain sums, of rows that fill no group of four, of widths that fill four vectors, one, and none, and transposed.
    #[test]
    fn products_are_their_sums() {
        for (rows, inner, dim) in [(1, 3, 5), (6, 7, 16), (9, 33, 70), (64, 64, 64)] {
            let a: Vec<f32> = (0..rows * inner).map(|at| (at as f32 * 0.37).sin()).collect();
            let w: Vec<f32> = (0..inner * dim).map(|at| (at as f32 * 0.53).cos()).collect();
            let (mut plain, mut across, mut twice) = (Vec::new(), Vec::new(), Vec::new());
            padded(&w, dim, false, &mut plain);
            padded(&w, dim, true, &mut across);
            let tight: Vec<f32> = across
                .chunks_exact(inner.next_multiple_of(MOST_LANES))
                .flat_map(|row| &row[..inner])
                .copied()
                .collect();
            padded(&tight, inner, true, &mut twice);
            assert_eq!(plain, twice);
            let wide = dim.next_multiple_of(MOST_LANES);
            let mut out = vec![0.5; rows * wide];
            for arch in [Arch::new(), Arch::Scalar] {
                out.fill(0.5);
                arch.dispatch(Run(&a, [inner, 1], [rows, inner, wide], &plain, &mut out));
                for (at, found) in out.iter().enumerate().filter(|(at, _)| at % wide < dim) {
                    let term = |k: usize| f64::from(a[at / wide * inner + k]) * f64::from(w[k * dim + at % wide]);
                    let expected = 0.5 + (0..inner).map(term).sum::<f64>();
                    assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} is not {expected}");
                }
            }
        }
    }
}
