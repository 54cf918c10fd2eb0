//! Sparse products by a dense matrix: for small graphs, and the oracle of the other implementations.

use super::to_device;
use crate::{Error, Sparse, SparseProduct, Table};
use burn::tensor::{Device, Tensor};

/// More elements than this, a gibibyte, are no matter of a dense matrix.
const MOST: usize = 1 << 28;

/// A sparse matrix as one dense tensor.
pub struct PortableSparse(Tensor<2>);

impl SparseProduct for PortableSparse {
    fn new(matrix: &Sparse, device: &Device) -> Result<Self, Error> {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        if rows.saturating_mul(columns) > MOST {
            return Err(Error::Device(format!("a dense matrix [{rows}, {columns}] is too large; use another engine")));
        }
        let mut dense = Table::filled(0.0, rows, columns);
        for row in 0..rows {
            let (indices, values) = matrix.row(row);
            for (&column, value) in indices.iter().zip(values) {
                dense.values[row * columns + column as usize] += value;
            }
        }
        Ok(Self(to_device(&dense, &device.clone().without_autodiff())))
    }

    fn product(&self, x: &Tensor<2>, added: Option<&Tensor<2>>, scale: f32) -> Result<Tensor<2>, Error> {
        let [rows, columns] = self.0.dims();
        let dim = Sparse::check([rows, columns], x, added)?;
        if rows == 0 || columns == 0 || dim == 0 {
            return Ok(Sparse::empty_product(x, added, scale, rows));
        }
        let product = self.0.clone().matmul(x.clone());
        Ok(match added {
            Some(added) => (product + added.clone()) * scale,
            None => product * scale,
        })
    }
}
