//! The launches that project rows: after a step those that it moved, and over silent steps of Adam, one by one, those that
//! are late.
//!
//! A norm needs a whole row. Where a table is split by columns, its rows are put together in a buffer of their own, moved
//! there, and taken back.

use super::{
    CubeTable,
    gpu::{Buffer, Gpu, Traffic},
    kernels::project::{Holding, hold},
    parts::{Moments, Parts, Target, launch_publish, launch_read},
};
use crate::{Error, Onto, Projection};
use cubecl::prelude::CubeDim;

/// Turns of its loops that a unit takes in one launch, about: Mesa's software Vulkan ends them after 65,535.
const TURNS: usize = 1 << 15;

/// Rows of width `dim` in one buffer, or in one for each of w, m and v where they go over silent steps.
pub struct Whole<'a> {
    /// w.
    pub weights: &'a Buffer,
    /// m, v, and the most silent steps of any row.
    pub late: Option<(&'a Buffer, &'a Buffer, &'a Moments<'a>, u32)>,
    /// Width of a row.
    pub dim: usize,
    /// Whether the q-th row of the plan is row q of the buffers.
    pub placed: bool,
}

/// Projects the `count` rows of a plan, which hold whole vectors: once, or after each of their silent steps.
pub fn launch_hold(
    gpu: &Gpu,
    projection: &Projection,
    rows: &Whole,
    (plan, head, count): (&Buffer, u32, usize),
    traffic: &mut Traffic,
) {
    let width = projection.width(rows.dim);
    let vector = gpu.vector([width]);
    let lanes = gpu.lanes(1);
    let turns = projection.vectors * (2 * (width / vector).div_ceil(lanes.width) + 1);
    let most = (TURNS / turns).max(1) as u32;
    let (onto, silent) = (projection.onto, rows.late.is_some());
    let (first, second, corrections, decay, longest) = match rows.late {
        Some((first, second, moments, longest)) => (first, second, moments.corrections, moments.decay, longest),
        // Never looked at, but bound; what is written must not be bound twice.
        None => (plan, plan, plan, 0.0, 0),
    };
    for launch in 0..longest.div_ceil(most).max(1) {
        // SAFETY: ids were checked when they were planned, or rows lie in the order of the plan; buffers hold whole rows.
        unsafe {
            hold::launch_unchecked(
                &gpu.client,
                gpu.cubes(count),
                CubeDim::new_2d(lanes.width as u32, 1),
                vector,
                plan.arg(1),
                rows.weights.arg(vector),
                first.arg(vector),
                second.arg(vector),
                corrections.arg(1),
                head,
                projection.vectors as u32,
                (width / vector) as u32,
                decay,
                launch * most,
                most,
                Holding { ball: onto == Onto::Ball, silent, placed: rows.placed, lanes },
            );
        }
        traffic.launches += 1;
        let matrices = if silent { 6 } else { 2 };
        traffic.bytes_touched += (matrices * count * rows.dim * size_of::<f32>()) as u64;
    }
}

/// Copies of the rows of a plan in one buffer, `[count, dim]`, as they are stored.
///
/// # Errors
/// [`Error::Device`] where the device has no room.
pub fn together(
    gpu: &Gpu,
    parts: &Parts,
    dim: usize,
    rows: (&Buffer, u32, usize),
    traffic: &mut Traffic,
) -> Result<Buffer, Error> {
    let buffer = gpu.temporary(rows.2 * dim)?;
    launch_read(gpu, parts, rows, None, &Target { buffer: &buffer, row_step: dim, column_step: 1 }, traffic)?;
    Ok(buffer)
}

impl CubeTable {
    /// Projects the `count` distinct rows of a plan, where the optimizer says so; `silent` is the most silent steps that any
    /// of them goes over first. The head begins with the number of rows and their section, and where there are silent steps
    /// goes on with the ways.
    ///
    /// # Errors
    /// [`Error::Device`] where the device has no room.
    pub(super) fn launch_holding(&mut self, rows: (&Buffer, u32, usize), silent: Option<u32>) -> Result<(), Error> {
        let mut traffic = std::mem::take(&mut self.traffic);
        let done = self.hold(rows, silent, &mut traffic);
        self.traffic = traffic;
        done
    }

    fn hold(&self, rows: (&Buffer, u32, usize), silent: Option<u32>, traffic: &mut Traffic) -> Result<(), Error> {
        let Some(state) = self.state.as_ref().filter(|_| rows.2 > 0) else { return Ok(()) };
        let Some(projection) = &state.optimizer.projection else { return Ok(()) };
        let dim = self.shape[1];
        let moments = silent.and_then(|longest| Some((state.moments()?, longest)));
        let mut matrices = vec![&self.weights];
        if let Some((moments, _)) = &moments {
            matrices.extend([moments.first, moments.second]);
        }
        let placed = self.shards() > 1;
        let buffers = match placed {
            true => matrices.iter().map(|parts| together(&self.gpu, parts, dim, rows, traffic)).collect(),
            false => Ok(matrices.iter().map(|parts| parts.buffers[0].clone()).collect::<Vec<_>>()),
        }?;
        let late = match (&moments, buffers.as_slice()) {
            (Some((moments, longest)), [_, first, second]) => Some((first, second, moments, *longest)),
            _ => None,
        };
        launch_hold(&self.gpu, projection, &Whole { weights: &buffers[0], late, dim, placed }, rows, traffic);
        if placed {
            for (matrix, buffer) in matrices.into_iter().zip(buffers) {
                launch_publish(&self.gpu, matrix, &Parts::whole(buffer, dim), rows, traffic);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Numbers, assert_close};
    use super::*;
    use crate::{Embedding, Grouping, Optimizer, Rule, Table, Touched, host::HostTable};
    use burn::tensor::{Device, Tensor, TensorData};

    /// Rows so wide, and rests so long, that a unit takes several launches: every silent step is done, once.
    #[test]
    fn cube_long_rests_of_wide_rows_equal_the_host() {
        let Some(device) = testing::device() else { return };
        let (rows, dim, steps) = (3, 4096, 300);
        let start = Numbers(4).table(rows, dim);
        let gradients = Numbers(5).table(2, dim);
        let projection = Some(Projection { onto: Onto::Sphere, vectors: 2 });
        let optimizer = Optimizer { rule: Rule::Adam, learning_rate: 1e-3, weight_decay: 1e-3, projection };
        let mut touched = Touched::default();
        Grouping::new(rows).group(&[0, 2], &mut touched);
        fn run<E: Embedding>(table: &mut E, touched: &Touched, gradients: &Table, device: &Device, steps: usize) {
            let tensor = |values: &[f32]| {
                let shape = [values.len() / gradients.dim, gradients.dim];
                Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), device)
            };
            table.gather(touched, &[0, 2]).unwrap();
            table.update(touched, tensor(&gradients.values)).unwrap();
            let nothing = Touched { starts: vec![0], ..Touched::default() };
            (0..steps).for_each(|_| table.update(&nothing, tensor(&[])).unwrap());
        }
        let mut expected = HostTable::new(&start, Some(&optimizer), &Device::flex()).unwrap();
        run(&mut expected, &touched, &gradients, &Device::flex(), steps);
        expected.gather(&touched, &[0]).unwrap();
        for limits in testing::limits(&device, rows, dim) {
            let mut found = CubeTable::with_limits(&start, Some(&optimizer), &device, limits).unwrap();
            run(&mut found, &touched, &gradients, &device, steps);
            let view = found.view().unwrap();
            assert_close(&view.values, &expected.view().unwrap().values, 1e-4, "view");
            found.gather(&touched, &[0]).unwrap();
            assert_eq!(found.view().unwrap(), view, "settled or not");
            let (found, expected) = (found.state().unwrap(), expected.state().unwrap());
            assert_eq!(found.time, expected.time);
            for (name, matrix) in &expected.matrices {
                assert_close(&found.matrices[name].values, &matrix.values, 1e-3, name);
            }
        }
    }
}
