//! From a path to a data set.

use crate::{Dataset, Error, Preparation, ReadOptions, Source};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How to load a data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadOptions {
    /// How to read the files.
    pub read: ReadOptions,
    /// How to filter and split, where the data bring no split of their own.
    pub preparation: Preparation,
    /// Refuse what is otherwise mended or tolerated with a warning.
    pub strict: bool,
}

/// A data set and the files it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The data set.
    pub dataset: Dataset,
    /// Every file that was read, in the order of reading.
    pub sources: Vec<Source>,
}

/// Loads `path`, a file or a folder, as the data set `name`.
///
/// # Errors
/// Anything unreadable, ambiguous or empty; see [`Error`].
pub fn load(_path: &Path, _name: &str, _options: &LoadOptions) -> Result<Loaded, Error> {
    todo!()
}
