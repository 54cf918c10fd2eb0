//! Loss computing: from the embeddings of a batch to one number.

mod info_nce;

pub use info_nce::InfoNce;
