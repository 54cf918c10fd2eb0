//! The step of a loss that looks at the whole catalogue, over batches of whole users.

use super::{encoding::all_rows, towers::Towers};
use crate::{
    Batch, Error,
    loss::{CatalogueGradients, Sfcml, Users},
};
use burn::tensor::{Device, Tensor};
use onebp_table::{Embedding, Grouping, Touched, portable::ids};

/// Groups all items and those of the batch's pairs, step after step.
pub(super) struct WholeUsers {
    all: Touched,
    grouping: Grouping,
    touched: Touched,
    dim: usize,
    device: Device,
}

impl WholeUsers {
    /// For a catalogue of `items` items of width `dim`.
    pub fn new([items, dim]: [usize; 2], device: &Device) -> Self {
        let grouping = Grouping::new(items);
        Self { all: all_rows(items), grouping, touched: Touched::default(), dim, device: device.clone() }
    }

    /// One step on both tables; returns the loss.
    pub fn step<E: Embedding>(&mut self, loss: &Sfcml, towers: &mut Towers<E>, batch: &Batch) -> Result<f64, Error> {
        let touched = &batch.touched_users;
        if let Some(loss) = towers.items.step_whole_users(&mut towers.users, batch, loss)? {
            return Ok(loss);
        }
        let form = Sfcml::form(touched.len(), self.dim);
        let users = towers.users.gather(touched, &touched.rows)?;
        let items = towers.items.gather(&self.all, &self.all.rows)?;
        let of_pairs = Users {
            user_of_pair: users.clone().select(0, ids(&touched.slots, &self.device)),
            item_of_pair: items.clone().select(0, ids(&batch.items, &self.device)),
            users,
            items,
            slots: &touched.slots,
        };
        let CatalogueGradients { loss, users, items, item_of_pair } = loss.gradients(of_pairs, form)?;
        towers.users.update(touched, users)?;
        let places: Vec<u32> = self.all.rows.iter().chain(&batch.items).copied().collect();
        self.grouping.group(&places, &mut self.touched);
        towers.items.update(&self.touched, Tensor::cat(vec![items, item_of_pair], 0))?;
        Ok(loss)
    }
}
