//! What can go wrong between a batch and the tables one step later.

/// An error of the model, its engines or its devices.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The asked device cannot be used on this machine.
    #[error("device {device} is not available: {reason}")]
    DeviceUnavailable {
        /// The name that was asked for.
        device: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A hyper-parameter lies outside its range.
    #[error("{name} = {value} is out of range: it must be {expected}")]
    Parameter {
        /// The hyper-parameter, as named in configuration files.
        name: &'static str,
        /// The offending value.
        value: String,
        /// The range in words.
        expected: &'static str,
    },
    /// Parts of a method that do not go together.
    #[error("{problem}; {remedy}")]
    Combination {
        /// Why.
        problem: String,
        /// What would.
        remedy: String,
    },
    /// A stored state does not fit this model.
    #[error("the stored state does not fit: {0}")]
    State(String),
    /// The device failed while computing or reading back.
    #[error("the device failed: {0}")]
    Execution(String),
}

impl From<onebp_table::Error> for Error {
    fn from(error: onebp_table::Error) -> Self {
        match error {
            onebp_table::Error::State(problem) => Self::State(problem),
            onebp_table::Error::Device(problem)
            | onebp_table::Error::Optimizer(problem)
            | onebp_table::Error::Execution(problem) => Self::Execution(problem),
        }
    }
}

/// Refuses a parameter that is not `ok`.
pub(crate) fn within(ok: bool, name: &'static str, value: &dyn ToString, expected: &'static str) -> Result<(), Error> {
    if ok { Ok(()) } else { Err(Error::Parameter { name, value: value.to_string(), expected }) }
}

impl Error {
    /// An error of the table `name`.
    pub(crate) fn of_table(name: &str, error: onebp_table::Error) -> Self {
        match Self::from(error) {
            Self::State(problem) => Self::State(format!("{name}: {problem}")),
            other => other,
        }
    }
}
