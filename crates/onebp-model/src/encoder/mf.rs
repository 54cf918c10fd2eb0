//! Table lookup, the encoder of matrix factorisation (Koren, Bell, Volinsky, 2009): an embedding is its row.

use burn::tensor::{Int, Tensor};

/// Looks rows up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mf;

impl Mf {
    /// Rows `ids` `[R]` of `table` `[rows, d]`, as `[R, d]`. Repeated ids accumulate their gradients.
    pub fn encode(&self, table: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
        table.select(0, ids)
    }
}
