//! Files appear whole or not at all: written beside, synced, renamed, and the folder synced.

use crate::Error;
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

/// Replaces `path` by `bytes`. A crash leaves the old file or the new one. A symbolic link stays; its target is replaced.
///
/// # Errors
/// [`Error::Write`] where the folder cannot be written, or `path` is a folder, a pipe or a device.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let target = if path.is_symlink() { std::fs::canonicalize(path).unwrap_or(path.into()) } else { path.into() };
    if target.exists() && !target.is_file() {
        // Renaming over a device or a pipe would destroy it.
        return Err(Error::Write { path: path.into(), source: std::io::Error::other("not a regular file") });
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".writing-");
        // A temporary file is private by default; this one is going to be an ordinary file, so the umask decides.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&target).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|source| refused(path, &source))
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
/// [`Error::Write`] naming the folder.
pub fn create_folder(path: &Path) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(path).map_err(|source| refused(path, &source))?;
    Ok(path.into())
}

/// Without the name of the temporary file that `source` may carry.
fn refused(path: &Path, source: &std::io::Error) -> Error {
    Error::Write { path: path.into(), source: source.kind().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole_and_failures_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        let error = write(folder.path(), b"").unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        let error = write(&folder.path().join("none/a.txt"), b"").unwrap_err().to_string();
        assert!(error.contains("none/a.txt: cannot be written") && !error.contains(".writing"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_the_umask_decides() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        std::fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(read(&target).unwrap(), b"new");
        let ordinary = folder.path().join("ordinary");
        std::fs::write(&ordinary, "").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&target), mode(&ordinary));
    }
}
