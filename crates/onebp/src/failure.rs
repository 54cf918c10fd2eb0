//! Errors as the outside world sees them: one message and a documented exit code.

use std::fmt;

/// Exit codes of the program. They are part of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something unexpected; a bug where it says so.
    Unexpected = 1,
    /// Wrong usage: flags, configuration, settings.
    Usage = 2,
    /// The data cannot be read or used.
    Data = 3,
    /// The device is not available or failed.
    Device = 4,
    /// The run folder or its checkpoint is missing, damaged or does not fit.
    Run = 5,
    /// Training diverged.
    Diverged = 6,
    /// A file or folder cannot be written.
    Output = 7,
    /// Interrupted: after the first Ctrl-C with a checkpoint written, after a second at once.
    Interrupted = 130,
}

/// What `--help` says about exit codes.
pub const EXIT_CODES: &str = "Exit codes: 0 success, 1 unexpected error, 2 wrong usage or configuration, 3 bad data, \
                              4 device unavailable or failed, 5 bad run folder or checkpoint, 6 training diverged, 7 output cannot be written, \
                              130 interrupted (after the first Ctrl-C with a checkpoint written, after a second at once).";

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// One message for a person.
    pub message: String,
}

impl Failure {
    /// A failure with a code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Something that should not happen.
    pub fn unexpected(error: impl fmt::Display) -> Self {
        Self::new(Exit::Unexpected, error.to_string())
    }

    /// Wrong usage or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Tells it on stderr.
    pub fn print(&self) {
        eprintln!("error: {self}");
    }
}

/// On one line and without control characters, which ids and names may bring along.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.chars().try_for_each(|character| match character {
            _ if character.is_control() => write!(f, "{}", character.escape_default()),
            _ => write!(f, "{character}"),
        })
    }
}

impl From<onebp_data::Error> for Failure {
    fn from(error: onebp_data::Error) -> Self {
        let exit = if matches!(error, onebp_data::Error::Write { .. }) { Exit::Output } else { Exit::Data };
        Self::new(exit, error.to_string())
    }
}

impl From<onebp_model::Error> for Failure {
    fn from(error: onebp_model::Error) -> Self {
        let exit = match error {
            onebp_model::Error::Parameter { .. } | onebp_model::Error::Combination { .. } => Exit::Usage,
            onebp_model::Error::State(_) => Exit::Run,
            _ => Exit::Device,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<onebp_train::Error> for Failure {
    fn from(error: onebp_train::Error) -> Self {
        use onebp_train::Error;
        match error {
            Error::Data(error) => error.into(),
            Error::Model(error) => error.into(),
            Error::Settings { .. } => Self::usage(error.to_string()),
            Error::Diverged { .. } | Error::Evaluation(onebp_eval::Error::NotFinite { .. }) => {
                Self::new(Exit::Diverged, error.to_string())
            }
            Error::Evaluation(_) => Self::new(Exit::Unexpected, error.to_string()),
            Error::Write { .. } => Self::new(Exit::Output, error.to_string()),
            _ => Self::new(Exit::Run, error.to_string()),
        }
    }
}

impl From<onebp_eval::Error> for Failure {
    fn from(error: onebp_eval::Error) -> Self {
        onebp_train::Error::from(error).into()
    }
}
