//! What can be wrong with data. Every variant carries what a person needs to mend it.

use std::path::PathBuf;

/// An error in files, ids or preparation options.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The content of a file is wrong at a place.
    #[error("{path}:{line}: {problem}; {remedy}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line (text) or row (Parquet), from 1.
        line: u64,
        /// What is wrong, quoting the offending text.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// A file or folder as a whole is wrong.
    #[error("{path}: {problem}; {remedy}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// The interactions cannot be prepared as asked.
    #[error("{problem}; {remedy}")]
    Preparation {
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// A dense id lies outside the table it indexes.
    #[error("pair (user {user}, item {item}) lies outside {users} users x {items} items")]
    IdOutOfRange {
        /// Dense user id.
        user: u32,
        /// Dense item id.
        item: u32,
        /// Number of users.
        users: usize,
        /// Number of items.
        items: usize,
    },
}
