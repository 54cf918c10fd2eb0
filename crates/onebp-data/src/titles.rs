//! Titles of items.

use crate::Error;
use std::{collections::HashMap, path::Path};

/// Raw item id to title.
///
/// # Errors
/// Unreadable files.
pub fn titles(_path: &Path) -> Result<HashMap<String, String>, Error> {
    todo!()
}
