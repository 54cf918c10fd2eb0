//! What can go wrong with tables.

/// An error of this crate.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A device cannot do what is asked of it.
    #[error("{0}")]
    Device(String),
    /// A device failed while it worked.
    #[error("the device failed: {0}")]
    Execution(String),
    /// An optimizer does not fit the table.
    #[error("{0}")]
    Optimizer(String),
    /// A stored state does not fit the table.
    #[error("{0}")]
    State(String),
}
