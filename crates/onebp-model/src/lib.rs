//! The two towers of OneBP ("One Backpropagation in Two Tower Recommendation Models", arXiv 2403.18227).
//!
//! Figure 1 of the paper has four boxes, and so has this crate: user-item encoding ([`encoder`]), negative sampling
//! ([`sampler`]), loss computing ([`loss`]), updating ([`update`]). A [`Method`] is one choice from each; an
//! [`engine::Engine`] carries out its steps.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod device;
pub mod encoder;
pub mod engine;
mod epoch;
mod error;
mod feed;
pub mod loss;
mod method;
pub mod part;
mod ranking;
pub mod sampler;
mod tables;
mod two_tower;
pub mod update;

pub use epoch::{Batches, Carried, Epoch};
pub use error::Error;
pub use feed::Feed;
pub use method::{Hyperparameters, Method};
pub use onebp_table::{Batch, Lists, Optimizer, Ranked, Ranking, Rule, Score, Table};
pub use ranking::rank;
pub use tables::Tables;
pub use two_tower::TwoTower;

/// The Burn release that computes, as pinned in the workspace.
pub const BURN_VERSION: &str = "0.22.1";

#[cfg(test)]
mod tests {
    #[test]
    fn burn_version_is_the_pinned_one() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
        let pin = format!("burn = {{ version = \"={}\"", super::BURN_VERSION);
        assert!(std::fs::read_to_string(manifest).unwrap().contains(&pin));
    }
}
