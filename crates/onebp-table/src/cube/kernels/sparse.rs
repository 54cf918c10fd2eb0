//! The product of a sparse matrix with a dense one.

use cubecl::prelude::*;

/// Words of a span: the row that its sum goes to, and where its entries begin and end.
pub const SPAN: usize = 3;

/// For `count` spans of entries, out row of the span = scale * (sum over its entries of value * x row of the index + added
/// row of the span), in the order of the entries. Rows are `width` vectors wide; `block` of them at a time, for all spans
/// before the next ones, so that the part of x that is being read stays in the cache.
///
/// A unit adds up one vector of one span; neighbours read neighbours.
#[cube(launch_unchecked)]
pub fn product<N: Size>(
    spans: &[u32],
    indices: &[u32],
    values: &[f32],
    x: &[Vector<f32, N>],
    added: &[Vector<f32, N>],
    out: &mut [Vector<f32, N>],
    count: u32,
    width: u32,
    block: u32,
    scale: f32,
    #[comptime] adds: bool,
) {
    let (width, block) = (width as usize, block as usize);
    let units = count as usize * block;
    let column = ABSOLUTE_POS / units * block + ABSOLUTE_POS % block;
    if column < width {
        let span = ABSOLUTE_POS % units / block * comptime!(SPAN);
        let row = spans[span] as usize * width + column;
        let mut sum = Vector::<f32, N>::new(0.0f32);
        for entry in spans[span + 1]..spans[span + 2] {
            let entry = entry as usize;
            sum = fma(Vector::new(values[entry]), x[indices[entry] as usize * width + column], sum);
        }
        if comptime!(adds) {
            sum += added[row];
        }
        out[row] = Vector::new(scale) * sum;
    }
}
