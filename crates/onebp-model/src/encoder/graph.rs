//! The graph of interactions: users 0..M, items M..M + N, an edge for each training pair.

use crate::Error;
use onebp_data::Csr;
use onebp_table::{Sparse, Table};

/// A^ = D^(-1/2) A D^(-1/2), `[M + N, M + N]`: an edge weighs 1 / sqrt(|Tr(u)| |Tr(i)|), nodes without edges have empty rows.
/// Symmetric, of spectral norm 1.
///
/// # Errors
/// [`Error::Execution`] where the graph has 2^31 edges or more.
pub fn symmetric(train: &Csr) -> Result<Sparse, Error> {
    Ok(Sparse::bipartite(train.offsets(), train.items(), train.columns())?)
}

/// D~^(-1) (A + I), `[M + N, M + N]`, as the published code of NGCF has it: every row adds up to 1. Not symmetric.
///
/// # Errors
/// As [`symmetric`].
pub fn with_self_loops(train: &Csr) -> Result<Sparse, Error> {
    Ok(Sparse::bipartite_with_self_loops(train.offsets(), train.items(), train.columns())?)
}

/// The matrix with all its zeros, for oracles.
pub(crate) fn dense(matrix: &Sparse) -> Table {
    let mut table = Table::filled(0.0, matrix.rows(), matrix.columns());
    for (row, out) in table.values.chunks_exact_mut(matrix.columns().max(1)).enumerate() {
        let (columns, values) = matrix.row(row);
        columns.iter().zip(values).for_each(|(&column, value)| out[column as usize] += value);
    }
    table
}
