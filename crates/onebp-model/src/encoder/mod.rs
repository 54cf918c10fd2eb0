//! User-item encoding: from the two tables to the embeddings that are scored.

mod mf;

pub use mf::Mf;
