//! The two towers: a table of user embeddings and a table of item embeddings; the score of a pair is their dot product.

use crate::{Error, Tables};
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};
use onebp_table::{
    Score, Table,
    portable::{to_device, to_host},
};

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

    /// Copies both tables to the host, to be scored by `score`.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device cannot be read.
    pub fn tables(&self, score: Score) -> Result<Tables, Error> {
        Ok(Tables { users: to_host(self.users.val().inner())?, items: to_host(self.items.val().inner())?, score })
    }
}
