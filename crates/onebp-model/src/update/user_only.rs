//! User-only: OneBP with the roles of users and items swapped (`user only` of the paper's Table 3, "flip equations 5 and
//! 6"). Negatives do not move, and an item that is never chosen keeps its initial row.

use super::{Aggregation, Gradients, Optimizers, Towers};
use crate::{Batch, Error, batch::ids};

pub(super) fn update(
    towers: Towers,
    gradients: Gradients,
    optimizers: &mut Optimizers,
    aggregation: &Aggregation,
    batch: &Batch,
) -> Result<Towers, Error> {
    let users = optimizers.users.step(towers.users, gradients.users)?;
    let choosing = users.clone().select(0, ids(&batch.users, &users.device()));
    let items = aggregation.apply(towers.items, &batch.positives, choosing);
    Ok(Towers { users, items })
}
