//! What an engine starts from.

use crate::{Hyperparameters, Method, Tables};
use onebp_data::Csr;
use onebp_table::{Onto, Projection};

/// What an engine starts from.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// The tables before the first step.
    pub tables: Tables,
    /// The interactions that are trained on: the graph of encoders that have one.
    pub train: &'a Csr,
    /// Seed of the encoder's weights and of dropout.
    pub seed: u64,
}

impl<'a> Start<'a> {
    /// A fresh start of `method` on `train`: tables by Xavier normal, projected where the method projects.
    pub fn new(method: &Method, hyper: &Hyperparameters, train: &'a Csr, seed: u64) -> Self {
        let mut tables = Tables::init(train.rows(), train.columns(), hyper.dim, seed);
        if method.encoder.vectors() > 1 {
            tables.users = Tables::init(train.rows(), 0, hyper.dim * method.encoder.vectors(), seed).users;
        }
        for (table, projection) in [&mut tables.users, &mut tables.items].into_iter().zip(method.projections()) {
            if let Some(Projection { onto: Onto::Sphere, vectors }) = projection {
                let width = table.dim / vectors;
                for vector in table.values.chunks_exact_mut(width) {
                    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
                    if norm > 0.0 {
                        vector.iter_mut().for_each(|x| *x /= norm);
                    }
                }
            }
        }
        Self { tables: Tables { score: method.loss.score(), ..tables }, train, seed }
    }
}
