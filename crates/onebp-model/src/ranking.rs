//! Ranking by tables that no engine holds.

use crate::{
    Error, Tables,
    device::{DeviceName, Found},
};
use onebp_table::{Embedding, Ranked, Ranking, cube::CubeTable};

/// Ranks by `tables` on a device, where they are put for this once. Nothing where that is left to the host, as by
/// [`Engine::rank`](crate::engine::Engine::rank).
///
/// # Errors
/// [`Error::Execution`] where the device fails or the ranking does not fit the tables.
pub fn rank(tables: &Tables, found: &Found, ranking: &Ranking<'_>) -> Result<Option<Ranked>, Error> {
    if found.name != DeviceName::Wgpu || tables.vectors() > 1 {
        return Ok(None);
    }
    let tables = tables.products();
    let on_device = |table| CubeTable::new(table, None, &found.device);
    Ok(on_device(&tables.items)?.rank(&on_device(&tables.users)?, ranking)?)
}
