//! Full ranking over the catalogue and its metrics. It knows scores, not models.
//!
//! [`rank`] lists the best unseen items of users, [`evaluate`] measures such lists against held-out items, [`measure`]
//! those that somebody else made. The first two take any [`Scorer`] and never hold more than a tile of scores per thread.
//! Where a scorer has estimates ([`Screen`]), only scores that a result depends on are computed.
//! All run on the threads of the current rayon pool and return bitwise the same result for any number of threads and any
//! block size.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod auc;
mod best_product;
mod blocks;
mod dot_product;
mod error;
mod evaluate;
pub mod metrics;
mod pending;
mod ranking;
mod report;
mod scorer;
mod selection;
#[cfg(test)]
mod testing;

pub use best_product::BestProduct;
pub use dot_product::DotProduct;
pub use error::Error;
pub use evaluate::{Evaluation, evaluate, measure};
pub use ranking::{Ranking, rank};
pub use report::{PerUser, Report};
pub use scorer::{Margin, Popularity, Scorer, Screen, Visit, VisitEstimates};
