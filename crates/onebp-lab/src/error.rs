//! What can go wrong, and what to do about it.

use std::path::PathBuf;

/// An error of the lab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An experiment's file says something that cannot be.
    #[error("{}{}: {problem}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Experiment {
        /// The file.
        path: PathBuf,
        /// The line, where it is known.
        line: Option<usize>,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// Tables, lists or labels that cannot be analysed.
    #[error("{problem}; {remedy}")]
    Analysis {
        /// What is wrong with them.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// Data that no chart can be drawn of.
    #[error("the chart {title:?} {problem}; {remedy}")]
    Chart {
        /// Title of the chart.
        title: String,
        /// What is wrong with its data.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// A file of results or numbers is damaged.
    #[error("{}: {problem}; restore the file, or remove it and run the experiment again", path.display())]
    Result {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl Error {
    pub(crate) fn analysis(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Analysis { problem: problem.into(), remedy: remedy.into() }
    }

    pub(crate) fn chart(title: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Chart { title: title.to_owned(), problem: problem.into(), remedy: remedy.into() }
    }
}
