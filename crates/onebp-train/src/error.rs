//! What can go wrong in a run.

use std::path::PathBuf;

/// An error of a training run or its folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] onebp_data::Error),
    /// The model or its device failed.
    #[error(transparent)]
    Model(#[from] onebp_model::Error),
    /// Scores cannot be ranked.
    #[error(transparent)]
    Evaluation(#[from] onebp_eval::Error),
    /// A file or folder cannot be written.
    #[error("{path}: cannot be written: {source}; choose an existing place that can be written to")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the run could not be read.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder of a run is not as it must be.
    #[error("{path}: {problem}; {remedy}")]
    Run {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// The settings of a run contradict each other or the data.
    #[error("{problem}; {remedy}")]
    Settings {
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// The loss stopped being a number.
    #[error("training diverged: the loss of epoch {epoch} is {loss}; lower the learning rate (--lr)")]
    Diverged {
        /// The epoch, from 1.
        epoch: u32,
        /// The offending loss.
        loss: f64,
    },
}
