//! The two towers: a table of user embeddings and a table of item embeddings; the score of a pair is their dot product.

use crate::Error;
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};
use onebp_data::random::{Purpose, Random};
use onebp_table::{
    Table,
    portable::{to_device, to_host},
};
use rayon::prelude::*;

/// The trainable tables, on a device.
#[derive(Module, Debug)]
pub struct TwoTower {
    /// User embeddings W_u, `[M, d]`.
    pub users: Param<Tensor<2>>,
    /// Item embeddings W_v, `[N, d]`.
    pub items: Param<Tensor<2>>,
}

impl TwoTower {
    /// Puts both tables on `device`, tracked by autodiff.
    pub fn new(tables: &Tables, device: &Device) -> Self {
        let device = device.clone().autodiff();
        let param = |table: &Table| Param::initialized(ParamId::new(), to_device(table, &device).require_grad());
        Self { users: param(&tables.users), items: param(&tables.items) }
    }

    /// Copies both tables to the host.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device cannot be read.
    pub fn tables(&self) -> Result<Tables, Error> {
        Ok(Tables { users: to_host(self.users.val().inner())?, items: to_host(self.items.val().inner())? })
    }
}

/// Both tables on the host: what is evaluated, exported and stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    /// User embeddings, `[M, d]`.
    pub users: Table,
    /// Item embeddings, `[N, d]`.
    pub items: Table,
}

impl Tables {
    /// Fresh tables for M users and N items.
    pub fn init(users: usize, items: usize, dim: usize, seed: u64) -> Self {
        Self {
            users: xavier_normal(users, dim, seed, Purpose::InitUsers),
            items: xavier_normal(items, dim, seed, Purpose::InitItems),
        }
    }
}

/// A matrix by Xavier normal on the whole of it: N(0, 2 / (rows + dim)) (Glorot and Bengio, 2010).
///
/// Values depend on the seed, the purpose and their place only.
fn xavier_normal(rows: usize, dim: usize, seed: u64, purpose: Purpose) -> Table {
    let random = Random::new(seed, purpose);
    let std = (2.0 / (rows + dim) as f64).sqrt();
    let mut values = vec![0.0; rows * dim];
    values.par_chunks_mut(2).enumerate().with_min_len(4096).for_each(|(pair, out)| {
        let (a, b) = random.normal_pair(0, pair as u64, 0);
        for (slot, value) in out.iter_mut().zip([a, b]) {
            *slot = (value * std) as f32;
        }
    });
    Table { values, rows, dim }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published scales: ML-100k at d = 32 starts at 0.0453 (users) and 0.0342 (items).
    #[test]
    fn initial_scale_is_xavier() {
        for (rows, expected) in [(943, 0.0453), (1682, 0.0342)] {
            let table = xavier_normal(rows, 32, 2022, Purpose::InitItems);
            let n = table.values.len() as f64;
            let variance = table.values.iter().map(|&x| (x as f64).powi(2)).sum::<f64>() / n;
            assert!((variance.sqrt() / expected - 1.0).abs() < 0.02, "{}", variance.sqrt());
        }
    }

    #[test]
    fn users_and_items_start_differently() {
        let tables = Tables::init(5, 5, 4, 1);
        assert_ne!(tables.users, tables.items);
        assert_eq!(tables, Tables::init(5, 5, 4, 1));
        assert_ne!(tables, Tables::init(5, 5, 4, 2));
    }
}
