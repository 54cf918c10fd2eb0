//! Negative sampling: which items a row's positive is set against.

mod uniform;

pub use uniform::Uniform;
