//! Negative sampling: which items a row's positive is set against.
//!
//! | sampler | negatives of a user, of the items they do not own | source |
//! |---|---|---|
//! | `uniform` (RNS) | all alike | Rendle et al., UAI 2009 |
//! | `popularity` (PNS) | by f_j^a, f_j being the training users of item j | Mikolov et al., 2013; Chen et al., KDD 2017 |
//!
//! | `dns`, `hars`, `two-stage` | of a pool of these the hardest | [`Dynamic`], [`TwoStage`] |
//! | `two-stage-2019` | of a pool that the batch shares, by weights | [`TwoStage2019`] |
//!
//! `none` is for losses without negatives. `planted` is uniform sampling with a known share of false negatives, for
//! experiments.
//!
//! A [`Static`] sampler draws from a [`Proposal`] that training does not change, ahead of the steps and on any thread.

mod dynamic;
mod planted;
mod popularity;
mod rejection;
mod shared;
mod together;

pub use dynamic::{Dynamic, Pool, TwoStage};
pub use planted::Planted;
pub use popularity::{Alias, Interactions, Popularity};
pub use rejection::Static;
pub use shared::{Shared, TwoStage2019};

use crate::Error;
use onebp_data::{Csr, random::Words};
use onebp_table::Hardness;
use pulp::Simd;
use serde::{Deserialize, Serialize};

/// The sampler of a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Sampler {
    /// All items alike.
    #[default]
    Uniform,
    /// By popularity.
    Popularity(Popularity),
    /// Of a uniform pool those with the largest products (DNS).
    Dns(Dynamic),
    /// Of a uniform pool the nearest ones (HarS).
    Hars(Dynamic),
    /// Of a pool by popularity those with the largest products (2stS).
    TwoStage(TwoStage),
    /// Of a pool by popularity for the whole batch those like the positive, at random (2stS as published).
    #[serde(rename = "two-stage-2019")]
    TwoStage2019(TwoStage2019),
    /// All items alike, with false negatives among them.
    Planted(Planted),
    /// No negatives, for losses without.
    None,
}

impl Sampler {
    /// All samplers, with their default parameters.
    pub fn all() -> [Self; 8] {
        [
            Self::Uniform,
            Self::Popularity(Popularity::default()),
            Self::Dns(Dynamic::default()),
            Self::Hars(Dynamic::default()),
            Self::TwoStage(TwoStage::default()),
            Self::TwoStage2019(TwoStage2019::default()),
            Self::Planted(Planted::default()),
            Self::None,
        ]
    }

    /// Checks the parameters, for `negatives` (S) items a row.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first one out of range.
    pub fn check(&self, negatives: usize) -> Result<(), Error> {
        match self {
            Self::Popularity(popularity) => popularity.check()?,
            Self::TwoStage(two_stage) => two_stage.popularity().check()?,
            Self::TwoStage2019(two_stage) => two_stage.popularity().check()?,
            Self::Planted(planted) => planted.check()?,
            Self::Uniform | Self::Dns(_) | Self::Hars(_) | Self::None => {}
        }
        self.pool().map_or(Ok(()), |pool| pool.check(negatives))
    }

    /// The pool that the step chooses from, for samplers that look at the model.
    pub fn pool(&self) -> Option<Pool> {
        match *self {
            Self::Uniform | Self::Popularity(_) | Self::Planted(_) | Self::None => None,
            Self::Dns(Dynamic { pool }) | Self::TwoStage(TwoStage { pool, .. }) => {
                Some(Pool { size: pool, hardness: Hardness::Product })
            }
            Self::Hars(Dynamic { pool }) => Some(Pool { size: pool, hardness: Hardness::Closeness }),
            Self::TwoStage2019(TwoStage2019 { pool, .. }) => Some(Pool { size: pool, hardness: Hardness::Similarity }),
        }
    }

    /// Share of the negatives that are the user's own items.
    pub fn planted(&self) -> f64 {
        if let Self::Planted(Planted { share }) = self { *share } else { 0.0 }
    }

    /// Whether the rows of a batch have one pool together.
    pub fn shares(&self) -> bool {
        matches!(self, Self::TwoStage2019(_))
    }

    /// Where items are drawn from, for the interactions `train`, at least one.
    ///
    /// # Errors
    /// [`Error::Parameter`] where a parameter leaves nothing to draw from.
    pub fn proposal<'a>(&self, train: &'a Csr) -> Result<Proposal<'a>, Error> {
        match self {
            Self::Uniform | Self::Dns(_) | Self::Hars(_) | Self::Planted(_) | Self::None => {
                Ok(Proposal::Uniform(train.columns() as u32))
            }
            Self::TwoStage(two_stage) => two_stage.popularity().proposal(train),
            Self::TwoStage2019(two_stage) => two_stage.popularity().proposal(train),
            Self::Popularity(popularity) => popularity.proposal(train),
        }
    }
}

/// A distribution over the catalogue, before a user's own items are left out.
#[derive(Clone, Debug)]
pub enum Proposal<'a> {
    /// All items alike. Size of the catalogue, N.
    Uniform(u32),
    /// By how often an item occurs in training.
    Interactions(Interactions<'a>),
    /// By a power of that.
    Alias(Alias),
}

impl Proposal<'_> {
    /// Draws an item.
    #[inline]
    pub fn draw(&self, words: &mut Words) -> u32 {
        match self {
            Self::Uniform(items) => words.below(*items),
            Self::Interactions(interactions) => interactions.draw(words),
            Self::Alias(alias) => alias.draw(words),
        }
    }

    /// The item that each of `words` draws; 0 in `sound` where one word may not be enough.
    #[inline(always)]
    fn of_words<S: Simd>(&self, simd: S, words: S::u32s, sound: &mut S::u32s) -> S::u32s {
        match self {
            Self::Uniform(items) => below(simd, words, *items, sound),
            Self::Interactions(interactions) => interactions.of_words(simd, words, sound),
            Self::Alias(_) => {
                *sound = simd.splat_u32s(0);
                words
            }
        }
    }

    /// How likely `item` is to be drawn, up to a common factor; 0 for an item that never is.
    pub fn weight(&self, item: u32) -> f64 {
        match self {
            Self::Uniform(_) => 1.0,
            Self::Interactions(interactions) => interactions.weight(item),
            Self::Alias(alias) => alias.weight(item),
        }
    }
}

/// [`Words::below`] of each of `words`, for `n` above 0; 0 in `sound` where one word may not be enough.
#[inline(always)]
fn below<S: Simd>(simd: S, words: S::u32s, n: u32, sound: &mut S::u32s) -> S::u32s {
    let (low, high) = simd.widening_mul_u32s(words, simd.splat_u32s(n));
    let enough = simd.splat_u32s(n - 1);
    *sound = simd.min_u32s(*sound, simd.sub_u32s(simd.max_u32s(low, enough), enough));
    high
}
