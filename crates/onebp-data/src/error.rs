//! What can be wrong with data. Every variant carries what a person needs to mend it.

use std::path::{Path, PathBuf};

/// An error in files, ids or preparation options.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder could not be written.
    #[error("{path}: cannot be written: {source}; choose a place that can be written to")]
    Write {
        /// The folder as it was asked for.
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
    /// A name of an option's value that is not one of those there are.
    #[error("there is no {kind} {}; there are {known}", quote(.name))]
    UnknownName {
        /// What is named.
        kind: &'static str,
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
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

impl Error {
    /// [`Error::Io`] at `path`, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    /// [`Error::Line`].
    pub(crate) fn line(path: &Path, line: u64, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Line { path: path.to_path_buf(), line, problem: problem.into(), remedy: remedy.into() }
    }

    /// [`Error::File`].
    pub(crate) fn file(path: &Path, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::File { path: path.to_path_buf(), problem: problem.into(), remedy: remedy.into() }
    }

    /// [`Error::Preparation`].
    pub(crate) fn preparation(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Preparation { problem: problem.into(), remedy: remedy.into() }
    }
}

/// `text` between backticks for a message: control characters escaped, cut after 60 characters.
pub fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown = String::from('`');
    for character in text.chars().take(LONGEST) {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown.push('`');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_stays_on_its_line_and_is_short() {
        assert_eq!(quote("a\nb\tc\rd\u{1b}[31m\0\u{85}é"), "`a\\nb\\tc\\rd\\u{1b}[31m\\u{0}\\u{85}é`");
        assert_eq!(quote(&"é".repeat(60)), format!("`{}`", "é".repeat(60)));
        assert_eq!(quote(&"é".repeat(61)), format!("`{}...`", "é".repeat(60)));
        let unknown = Error::UnknownName { kind: "format", name: "c\nsv".into(), known: "x".into() };
        assert_eq!(unknown.to_string(), "there is no format `c\\nsv`; there are x");
    }
}
