//! TwoBP: both towers learn by backpropagation, as everywhere else. With table lookup and InfoNCE this is the `MF` of the
//! paper's Table 2 (and its `user + item` rows of Table 3).

use super::{Gradients, Optimizers, Towers};
use crate::Error;

pub(super) fn update(towers: Towers, gradients: Gradients, optimizers: &mut Optimizers) -> Result<Towers, Error> {
    Ok(Towers {
        users: optimizers.users.step(towers.users, gradients.users)?,
        items: optimizers.items.step(towers.items, gradients.items)?,
    })
}
