//! The state of an optimizer on a device, and the clock of its rows.

use super::{
    clock::Clock,
    gpu::{Buffer, Gpu, Traffic},
    parts::{Moments, Parts, download},
};
use crate::{Error, Optimizer, Table, TableState};

/// The state of an optimizer.
pub struct State {
    pub optimizer: Optimizer,
    pub clock: Clock,
    /// Those of [`crate::Rule::state`].
    matrices: Vec<Matrix>,
    /// Adam's bias corrections.
    pub corrections: Buffer,
}

/// A matrix of a rule.
enum Matrix {
    /// As wide as the table.
    Wide(Parts),
    /// A number for each row.
    Narrow(Buffer),
}

impl State {
    /// No step yet, for a table of this shape.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is too small.
    pub fn new(gpu: &Gpu, optimizer: &Optimizer, shape: [usize; 2], traffic: &mut Traffic) -> Result<Self, Error> {
        let clock = Clock::new(optimizer, shape[0]);
        let matrix = |&(_, whole): &(&str, bool)| match whole {
            true => Parts::zeros(gpu, shape, &mut *traffic).map(Matrix::Wide),
            false => gpu.zeros(shape[0], &mut *traffic).map(Matrix::Narrow),
        };
        let matrices = optimizer.rule.state().iter().map(matrix).collect::<Result<_, _>>()?;
        let corrections = gpu.upload(clock.corrections(), traffic)?;
        Ok(Self { optimizer: *optimizer, clock, matrices, corrections })
    }

    /// The matrices that are as wide as the table.
    pub fn wide(&self) -> impl Iterator<Item = &Parts> {
        self.matrices.iter().filter_map(|matrix| match matrix {
            Matrix::Wide(parts) => Some(parts),
            Matrix::Narrow(_) => None,
        })
    }

    /// The matrix of one number for each row: the accumulators of row-wise Adagrad.
    pub fn narrow(&self) -> Option<&Buffer> {
        self.matrices.iter().find_map(|matrix| match matrix {
            Matrix::Narrow(buffer) => Some(buffer),
            Matrix::Wide(_) => None,
        })
    }

    /// Weight decay.
    pub fn decay(&self) -> f32 {
        self.optimizer.weight_decay as f32
    }

    /// What it takes to catch rows up.
    pub fn moments(&self) -> Option<Moments<'_>> {
        let mut wide = self.wide();
        let (first, second) = wide.next().zip(wide.next())?;
        let projection = self.optimizer.projection;
        Some(Moments { first, second, corrections: &self.corrections, decay: self.decay(), projection })
    }

    /// Adds the matrices to a stored state, and the time of rows.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    pub fn store(&self, gpu: &Gpu, shape: [usize; 2], stored: &mut TableState) -> Result<(), Error> {
        for ((name, _), matrix) in self.optimizer.rule.state().iter().zip(&self.matrices) {
            let table = match matrix {
                Matrix::Wide(parts) => download(gpu, parts, shape, |_| None)?,
                Matrix::Narrow(buffer) => {
                    let mut values = vec![0.0; shape[0]];
                    gpu.read(buffer, 0, &mut values)?;
                    Table { values, rows: shape[0], dim: 1 }
                }
            };
            stored.matrices.insert((*name).into(), table);
        }
        stored.time = self.clock.time.clone();
        stored.step = self.clock.step.into();
        Ok(())
    }

    /// Takes back what [`State::store`] stored; `stored` has been checked.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    pub fn restore(&mut self, gpu: &Gpu, stored: &TableState, traffic: &mut Traffic) -> Result<(), Error> {
        for ((name, _), matrix) in self.optimizer.rule.state().iter().zip(&self.matrices) {
            match (matrix, &stored.matrices[*name]) {
                (Matrix::Wide(parts), table) => parts.write(gpu, table, traffic)?,
                (Matrix::Narrow(buffer), table) => gpu.write(buffer, 0, table.values.clone(), traffic)?,
            }
        }
        self.clock.time.copy_from_slice(&stored.time);
        self.clock.step = stored.step as u32;
        Ok(())
    }
}
