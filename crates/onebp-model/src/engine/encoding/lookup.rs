//! Rows of the tables.

use super::{Encoding, Sides};
use crate::{Batch, Error, engine::towers::Towers};
use burn::tensor::Tensor;
use onebp_table::{Embedding, Hardness, Ranked, Ranking};

/// Table lookup.
pub(in crate::engine) struct Lookup;

impl<E: Embedding> Encoding<E> for Lookup {
    fn keys(&mut self, towers: &mut Towers<E>, batch: &Batch, hardness: Hardness) -> Result<Vec<f32>, Error> {
        Ok(towers.items.keys(&mut towers.users, batch, hardness)?)
    }

    fn rows(&mut self, towers: &mut Towers<E>, batch: &Batch) -> Result<Sides<Tensor<2>>, Error> {
        Ok(Sides {
            users: towers.users.gather(&batch.touched_users, &batch.users)?,
            items: towers.items.gather(&batch.touched_items, &batch.items)?,
        })
    }

    fn learn(
        &mut self,
        towers: &mut Towers<E>,
        batch: &Batch,
        gradients: Sides<Option<Tensor<2>>>,
    ) -> Result<(), Error> {
        if let Some(gradients) = gradients.users {
            towers.users.update(&batch.touched_users, gradients)?;
        }
        if let Some(gradients) = gradients.items {
            towers.items.update(&batch.touched_items, gradients)?;
        }
        Ok(())
    }

    fn rank(&self, towers: &mut Towers<E>, ranking: &Ranking<'_>) -> Result<Option<Ranked>, Error> {
        towers.rank(ranking)
    }
}
