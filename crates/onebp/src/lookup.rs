//! Between what a person types or reads and the ids of a run.

use crate::{
    failure::{Exit, Failure},
    output::Terminal,
};
use onebp_data::{IdMap, quote};
use std::{collections::HashMap, path::Path};

/// The dense id of `raw`, a `what` (user or item).
///
/// # Errors
/// A data failure that shows what ids look like.
pub fn dense(ids: &IdMap, what: &str, raw: &str) -> Result<u32, Failure> {
    ids.dense(raw).ok_or_else(|| {
        let some: Vec<String> = ids.all().iter().take(5).map(|id| quote(id)).collect();
        let message = format!("{what} {} does not occur in the data of this run", quote(raw));
        Failure::new(Exit::Data, format!("{message}; ids there look like {}", some.join(", ")))
    })
}

/// Titles of items, where a file of them was given.
pub struct Titles(Option<HashMap<String, String>>);

impl Titles {
    /// Reads `path`, if there is one; tells where it has a title for none of `items`.
    ///
    /// # Errors
    /// A data failure where the file holds no titles.
    pub fn read(path: Option<&Path>, items: &IdMap, terminal: &Terminal) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self(None)) };
        let titles = onebp_data::titles(path)?;
        if !items.all().iter().any(|item| titles.contains_key(item)) {
            let problem = "has no title for any item of this run; are the ids the same?";
            terminal.tell(&format!("warning: {} {problem}", path.display()));
        }
        Ok(Self(Some(titles)))
    }

    /// Whether a file was given.
    pub fn are_given(&self) -> bool {
        self.0.is_some()
    }

    /// The title of a raw item id, empty where the file has none; nothing without a file.
    pub fn of(&self, item: &str) -> Option<&str> {
        self.0.as_ref().map(|titles| titles.get(item).map_or("", String::as_str))
    }
}
