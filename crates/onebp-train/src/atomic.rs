//! Files appear whole or not at all: written beside, synced, renamed, and the folder synced.

use crate::Error;
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

/// Replaces `path` by `bytes`. A crash leaves the old file or the new one.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|source| Error::Io { path: path.into(), source })
}

/// Reads a whole file.
///
/// # Errors
/// [`Error::Io`] naming the file.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })
}

/// Creates a folder and its parents.
///
/// # Errors
/// [`Error::Io`] naming the folder.
pub fn create_folder(path: &Path) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(path).map_err(|source| Error::Io { path: path.into(), source })?;
    Ok(path.into())
}
