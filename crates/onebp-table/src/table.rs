//! A matrix on the host.

/// A matrix on the host, row-major `[rows, dim]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The values.
    pub values: Vec<f32>,
    /// Number of rows.
    pub rows: usize,
    /// Width of a row.
    pub dim: usize,
}

impl Table {
    /// A matrix of one value.
    pub fn filled(value: f32, rows: usize, dim: usize) -> Self {
        Self { values: vec![value; rows * dim], rows, dim }
    }

    /// Row `row`, `[dim]`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dim..(row + 1) * self.dim]
    }
}
