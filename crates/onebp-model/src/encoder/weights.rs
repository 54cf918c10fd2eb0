//! Matrices that an encoder learns beside the tables.

use crate::{Error, engine::Tensors};
use burn::tensor::{Device, Tensor};
use onebp_data::random::{Purpose, Random};
use onebp_table::{Table, portable::to_device};

/// A matrix that an encoder learns.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Its name in a stored state.
    pub name: String,
    /// Rows and columns.
    pub shape: [usize; 2],
    scale: f64,
}

impl Weight {
    /// Xavier normal, N(0, 2 / (rows + columns)) (Glorot and Bengio, 2010).
    pub fn xavier(name: &str, rows: usize, columns: usize) -> Self {
        let scale = (2.0 / (rows + columns) as f64).sqrt();
        Self { name: format!("encoder_{name}"), shape: [rows, columns], scale }
    }

    /// Standard normal.
    pub fn normal(name: &str, rows: usize, columns: usize) -> Self {
        Self { scale: 1.0, ..Self::xavier(name, rows, columns) }
    }

    /// First values; `which` is its place among the weights of the encoder.
    pub fn init(&self, which: usize, seed: u64) -> Table {
        let random = Random::new(seed, Purpose::InitEncoder);
        let [rows, dim] = self.shape;
        let value = |at: usize| {
            let (a, b) = random.normal_pair(which as u32, at as u64 / 2, 0);
            (self.scale * if at.is_multiple_of(2) { a } else { b }) as f32
        };
        Table { values: (0..rows * dim).map(value).collect(), rows, dim }
    }

    /// Its values in a stored state.
    ///
    /// # Errors
    /// [`Error::State`] where it is missing or of another shape.
    pub fn stored(&self, tensors: &Tensors, device: &Device) -> Result<Tensor<2>, Error> {
        let table = tensors.get(&self.name).ok_or_else(|| Error::State(format!("{} is missing", self.name)))?;
        if [table.rows, table.dim] != self.shape {
            let (found, expected) = ([table.rows, table.dim], self.shape);
            return Err(Error::State(format!("{} is {found:?}, the model expects {expected:?}", self.name)));
        }
        Ok(to_device(table, device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_scale_and_their_own_stream() {
        let weight = Weight::xavier("w", 40, 60);
        let table = weight.init(0, 7);
        let variance = table.values.iter().map(|x| f64::from(x * x)).sum::<f64>() / 2400.0;
        assert!((variance / 0.02 - 1.0).abs() < 0.1, "{variance}");
        assert_ne!(table, weight.init(1, 7));
        assert_ne!(table, weight.init(0, 8));
    }
}
