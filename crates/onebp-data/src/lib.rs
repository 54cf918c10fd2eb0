//! From interaction files to compressed rows of positives. No tensor library here.
//!
//! [`load`] reads a file or folder, in whatever format it is, and returns a [`Dataset`]: disjoint train, validation and
//! test pairs over one catalogue. The steps in between are public as well: [`read`] gives [`Interactions`], [`prepare`]
//! filters and splits them, [`hold_out_validation`] cuts a validation part from train.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod csr;
mod dataset;
mod error;
mod folder;
mod genres;
mod id_map;
mod interactions;
mod load;
mod membership;
mod predefined;
mod prefetch;
mod prepare;
mod prepared;
pub mod random;
mod read;
mod scale;
mod split;
mod stats;
mod synthetic;
mod titles;

pub use csr::Csr;
pub use dataset::{Dataset, IdMap};
pub use error::{Error, quote};
pub use genres::{Genres, genres, genres_from};
pub use interactions::Interactions;
pub use load::{LoadOptions, Loaded, load};
pub use membership::{Membership, Owned};
pub use prefetch::prefetch;
pub use prepare::{Preparation, prepare};
pub use prepared::write_prepared;
pub use read::{Format, ReadOptions, Source, read};
pub use scale::scaled;
pub use split::{SplitRule, hold_out_validation};
pub use stats::{Spread, Statistics};
pub use synthetic::{SyntheticConfig, synthetic};
pub use titles::titles;
