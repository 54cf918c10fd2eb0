//! OneBP, the update of the paper (equations 5 and 6): Adam moves the items along the gradient, then each user moves
//! towards the items they chose,
//!
//! W_v <- Adam(W_v, dL/dW_v);   W_u[u] <- beta W_u[u] + (1 - beta) W_v[i], with W_v **after** the step.
//!
//! The user table is a constant of the loss; it has no gradient, no moments and no weight decay. It stays in the convex
//! hull of its initial rows and all item rows it has met.

use super::{Aggregation, Gradients, Optimizers, Towers};
use crate::{Batch, Error, batch::ids};

pub(super) fn update(
    towers: Towers,
    gradients: Gradients,
    optimizers: &mut Optimizers,
    aggregation: &Aggregation,
    batch: &Batch,
) -> Result<Towers, Error> {
    let items = optimizers.items.step(towers.items, gradients.items)?;
    let chosen = items.clone().select(0, ids(&batch.positives, &items.device()));
    let users = aggregation.apply(towers.users, &batch.users, chosen);
    Ok(Towers { users, items })
}
