//! Reads interaction files.

use crate::{Error, Interactions};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// MovieLens: `u.data`, `ratings.dat`, `ratings.csv`.
    MovieLens,
    /// `user item item ...`.
    LightGcn,
    /// RecBole's atomic `.inter` file.
    RecBole,
    /// Any table of text with one separator.
    Delimited,
    /// Apache Parquet.
    Parquet,
}

impl std::str::FromStr for Format {
    type Err = Error;
    fn from_str(_: &str) -> Result<Self, Error> {
        todo!()
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// How to read a file. The default guesses everything from the content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// Format; guessed from the content where absent.
    pub format: Option<Format>,
    /// Name or number (from 1) of the column of users.
    pub user_column: Option<String>,
    /// Name or number (from 1) of the column of items.
    pub item_column: Option<String>,
    /// Name or number (from 1) of the column of ratings; the empty name reads none.
    pub rating_column: Option<String>,
    /// Name or number (from 1) of the column of times; the empty name reads none.
    pub time_column: Option<String>,
    /// What separates fields; guessed where absent.
    pub separator: Option<char>,
    /// Whether the first line names the columns; guessed where absent.
    pub header: Option<bool>,
}

/// A file that was read, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Whether the format was guessed from the content.
    pub guessed: bool,
    /// Layout in words, such as `comma, header: user,item,rating`.
    pub detail: String,
}

/// Reads one file.
///
/// # Errors
/// [`Error::Line`] names the first offending line, [`Error::File`] what is wrong with the file as a whole.
pub fn read(_path: &Path, _options: &ReadOptions) -> Result<(Interactions, Source), Error> {
    todo!()
}
