//! Negative sampling: which items a row's positive is set against.
//!
//! | sampler | negatives of a user, of the items they do not own | source |
//! |---|---|---|
//! | `uniform` (RNS) | all alike | Rendle et al., UAI 2009 |
//! | `popularity` (PNS) | by f_j^a, f_j being the training users of item j | Mikolov et al., 2013; Chen et al., KDD 2017 |
//!
//! A [`Static`] sampler draws from a [`Proposal`] that training does not change, ahead of the steps and on any thread.

mod popularity;
mod rejection;

pub use popularity::{Alias, Interactions, Popularity};
pub use rejection::Static;

use crate::Error;
use onebp_data::{Csr, random::Words};
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
}

impl Sampler {
    /// All samplers, with their default parameters.
    pub fn all() -> [Self; 2] {
        [Self::Uniform, Self::Popularity(Popularity::default())]
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first one out of range.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Uniform => Ok(()),
            Self::Popularity(popularity) => popularity.check(),
        }
    }

    /// Where items are drawn from, for the interactions `train`, at least one.
    ///
    /// # Errors
    /// [`Error::Parameter`] where a parameter leaves nothing to draw from.
    pub fn proposal<'a>(&self, train: &'a Csr) -> Result<Proposal<'a>, Error> {
        match self {
            Self::Uniform => Ok(Proposal::Uniform(train.columns() as u32)),
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

    /// How likely `item` is to be drawn, up to a common factor; 0 for an item that never is.
    pub fn weight(&self, item: u32) -> f64 {
        match self {
            Self::Uniform(_) => 1.0,
            Self::Interactions(interactions) => interactions.weight(item),
            Self::Alias(alias) => alias.weight(item),
        }
    }
}
