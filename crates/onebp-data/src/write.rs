//! A prepared data set as a folder.

use crate::{Dataset, Error, Preparation, Source};
use std::path::Path;

/// Writes `dataset` to the new folder `folder`.
///
/// # Errors
/// [`Error::File`] where `folder` is not empty, [`Error::Io`] where writing fails.
pub fn write_prepared(
    _dataset: &Dataset,
    _sources: &[Source],
    _preparation: Option<&Preparation>,
    _folder: &Path,
) -> Result<(), Error> {
    todo!()
}
