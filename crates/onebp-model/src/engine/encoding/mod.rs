//! What lies between the tables of an engine and its loss, forward and backward.
//!
//! | encoding | rows of a batch | their gradients |
//! |---|---|---|
//! | [`Lookup`] | rows of the tables | go to the row optimizers |
//! | [`Graph`] | rows of what the encoder makes of all rows | take the adjoint way back, to all rows |
//! | [`Bootstrapped`] | predictions beside targets | go through the predictor |

mod bootstrapped;
mod graph;
mod lookup;
mod ngcf_pass;
mod weights;

pub(super) use bootstrapped::Bootstrapped;
pub(super) use graph::Graph;
pub(super) use lookup::Lookup;
pub(super) use ngcf_pass::HostPass;
pub(super) use weights::Weights;

use self::ngcf_pass::TensorPass;
use super::{Start, State, towers::Towers};
use crate::{Batch, Error, Hyperparameters, Method, Tables, encoder::Encoder, update::Update};
use burn::tensor::{Device, Tensor};
use onebp_table::{Embedding, Hardness, Ranked, Ranking, Touched};

/// Something of the users and something of the items.
pub(super) struct Sides<T> {
    pub users: T,
    pub items: T,
}

/// From tables to the rows that a loss sees, and from gradients of those back to the tables.
pub(super) trait Encoding<E: Embedding>: Send {
    /// Prepares what the rows of a step have in common.
    fn begin(&mut self, towers: &mut Towers<E>) -> Result<(), Error> {
        let _ = towers;
        Ok(())
    }

    /// Hardness of the items of a batch, `[B, W]`.
    fn keys(&mut self, towers: &mut Towers<E>, batch: &Batch, hardness: Hardness) -> Result<Vec<f32>, Error>;

    /// Rows of a batch: of users `[B, C D]`, of items `[B W, D]`.
    fn rows(&mut self, towers: &mut Towers<E>, batch: &Batch) -> Result<Sides<Tensor<2>>, Error>;

    /// Moves what learns, along the gradients of these rows. A side that does not learn has none.
    fn learn(
        &mut self,
        towers: &mut Towers<E>,
        batch: &Batch,
        gradients: Sides<Option<Tensor<2>>>,
    ) -> Result<(), Error>;

    /// Which rows the loss is differentiated by: those of the sides that learn.
    fn tracked(&self, update: &Update) -> Sides<bool> {
        Sides { users: update.trains_users(), items: update.trains_items() }
    }

    /// The embeddings that are evaluated, from the tables as they are.
    fn embed(&self, inputs: Tables) -> Result<Tables, Error> {
        Ok(inputs)
    }

    /// Ranks on the device, where the tables themselves are ranked.
    fn rank(&self, towers: &mut Towers<E>, ranking: &Ranking<'_>) -> Result<Option<Ranked>, Error> {
        let _ = (towers, ranking);
        Ok(None)
    }

    /// Adds what is not in the tables to a stored state.
    fn store(&self, state: &mut State) -> Result<(), Error> {
        let _ = state;
        Ok(())
    }

    /// Takes back what [`Encoding::store`] stored.
    fn restore(&mut self, state: &State) -> Result<(), Error> {
        let _ = state;
        Ok(())
    }
}

/// The encoding of a method.
pub(super) fn of<E: Embedding + Send + 'static>(
    method: &Method,
    hyper: &Hyperparameters,
    start: &Start<'_>,
    device: &Device,
) -> Result<Box<dyn Encoding<E>>, Error>
where
    E::Sparse: 'static,
{
    Ok(match method.encoder {
        Encoder::Mf(_) => Box::new(Lookup),
        Encoder::Bootstrap(bootstrap) => Box::new(Bootstrapped::<E>::new(bootstrap, hyper, start, device)?),
        Encoder::LightGcn(_) | Encoder::Ngcf(_) => {
            Box::new(Graph::<E>::new(method, hyper, start, Box::new(TensorPass::default()), device)?)
        }
    })
}

/// All rows of a table, each at the place of its own number.
pub(super) fn all_rows(rows: usize) -> Touched {
    let all: Vec<u32> = (0..rows as u32).collect();
    Touched {
        starts: (0..=rows as u32).collect(),
        places: all.clone(),
        slots: all.clone(),
        rest: vec![0; rows],
        rows: all,
    }
}
