//! Rows by plain Burn tensor operations, on any backend: slow, obvious, and the oracle of the other implementations.
//!
//! Gradients become dense `[rows, d]`, dense Adam moves every row at every step, nothing is caught up.

mod info_nce;
mod optimizer;
mod sparse;

pub use info_nce::PortableInfoNce;
pub use optimizer::PortableOptimizer;
pub use sparse::PortableSparse;

use crate::{Aggregation, Embedding, Error, Optimizer, Table, TableState, Touched};
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};

/// A table as one Burn tensor.
pub struct PortableTable {
    weights: Tensor<2>,
    optimizer: Option<PortableOptimizer>,
    device: Device,
}

/// Ids as a tensor on `device`.
pub fn ids(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), (device, DType::I32))
}

/// A matrix on `device`.
pub fn to_device(table: &Table, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(table.values.clone(), [table.rows, table.dim]), device)
}

/// A matrix back on the host; waits for the device.
///
/// # Errors
/// [`Error::Execution`] where the device cannot be read.
pub fn to_host(tensor: Tensor<2>) -> Result<Table, Error> {
    let [rows, dim] = tensor.dims();
    let failed = |error: String| Error::Execution(error);
    let data = tensor.try_into_data().map_err(|error| failed(format!("{error:?}")))?;
    let values = data.try_to_vec().map_err(|error| failed(format!("{error:?}")))?;
    Ok(Table { values, rows, dim })
}

/// Numbers as a column `[n, 1]` on `device`.
fn column(values: Vec<f32>, device: &Device) -> Tensor<2> {
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length, 1]), device)
}

/// Moves the distinct rows of `table` `[rows, d]` towards `towards` `[R, d]`, one row for each place.
pub fn aggregate(table: Tensor<2>, touched: &Touched, aggregation: &Aggregation, towards: Tensor<2>) -> Tensor<2> {
    let device = table.device();
    let [_, dim] = table.dims();
    let keep = (0..touched.len()).map(|q| aggregation.keep(touched.places(q).len())).collect();
    let mut weights = vec![0.0; touched.places.len()];
    for q in 0..touched.len() {
        let places = touched.places(q);
        for (which, &place) in places.iter().enumerate() {
            weights[place as usize] = aggregation.weight(which, places.len());
        }
    }
    let pull = Tensor::<2>::zeros([touched.len(), dim], &device).select_assign(
        0,
        ids(&touched.slots, &device),
        towards * column(weights, &device),
        IndexingUpdateOp::Add,
    );
    let rows = ids(&touched.rows, &device);
    let moved = table.clone().select(0, rows.clone()) * column(keep, &device) + pull;
    table.select_assign(0, rows, moved, IndexingUpdateOp::Assign)
}

impl PortableTable {
    /// Rows `rows` `[R]`, as `[R, d]`.
    fn select(&self, rows: &[u32]) -> Tensor<2> {
        self.weights.clone().select(0, ids(rows, &self.device))
    }
}

impl Embedding for PortableTable {
    type Sparse = PortableSparse;

    fn new(table: &Table, optimizer: Option<&Optimizer>, device: &Device) -> Result<Self, Error> {
        let device = device.clone().without_autodiff();
        optimizer.map_or(Ok(()), |optimizer| optimizer.check(table.dim))?;
        let optimizer = optimizer.map(|optimizer| PortableOptimizer::new(optimizer, [table.rows, table.dim], &device));
        Ok(Self { weights: to_device(table, &device), optimizer, device })
    }

    fn gather(&mut self, _: &Touched, rows: &[u32]) -> Result<Tensor<2>, Error> {
        Ok(self.select(rows))
    }

    fn settle(&mut self, _: &Touched) -> Result<(), Error> {
        Ok(())
    }

    fn update(&mut self, touched: &Touched, gradients: Tensor<2>) -> Result<(), Error> {
        let optimizer = self.optimizer.as_mut().ok_or_else(|| Error::Execution("the table has no optimizer".into()))?;
        let rows: Vec<u32> = touched.slots.iter().map(|&slot| touched.rows[slot as usize]).collect();
        let gradient = Tensor::zeros(self.weights.dims(), &self.device).select_assign(
            0,
            ids(&rows, &self.device),
            gradients,
            IndexingUpdateOp::Add,
        );
        self.weights = optimizer.step(self.weights.clone(), gradient, &touched.rows);
        Ok(())
    }

    fn aggregate(
        &mut self,
        touched: &Touched,
        aggregation: &Aggregation,
        other: &mut Self,
        towards: &[u32],
    ) -> Result<(), Error> {
        self.weights = aggregate(self.weights.clone(), touched, aggregation, other.select(towards));
        Ok(())
    }

    fn view(&self) -> Result<Table, Error> {
        to_host(self.weights.clone())
    }

    fn state(&self) -> Result<TableState, Error> {
        let mut state = TableState { weights: self.view()?, ..TableState::default() };
        if let Some(optimizer) = &self.optimizer {
            optimizer.store(&mut state)?;
        }
        Ok(state)
    }

    fn restore(&mut self, state: &TableState) -> Result<(), Error> {
        state.check(self.weights.dims(), self.optimizer.as_ref().map(PortableOptimizer::optimizer))?;
        self.weights = to_device(&state.weights, &self.device);
        match &mut self.optimizer {
            Some(optimizer) => optimizer.restore(state, &self.device),
            None => Ok(()),
        }
    }
}
