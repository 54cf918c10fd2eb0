//! Negatives by popularity (PNS; word2vec, Mikolov et al., 2013; Chen et al., KDD 2017): item j with weight f_j^a, f_j being
//! its training users.
//!
//! Two forms of the same distribution. For a = 1, the paper's, the item of a training interaction drawn at random has it,
//! without any table. For any a, Vose's alias table, made once in O(N), draws in O(1). With a = 0 every item weighs 1, also
//! one that nobody owns (0^0 = 1), which is uniform sampling; with a > 0 such an item is never drawn.

use super::{Proposal, below};
use crate::{Error, error::within};
use onebp_data::{
    Csr,
    random::{Words, lanes_of, vector_of},
};
use pulp::Simd;
use rand_core::TryRng;
use rand_distr::{Distribution, weighted::WeightedAliasIndex};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

/// Parameters of `popularity`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Popularity {
    /// a. Default 1, as the paper; .75 in word2vec.
    pub exponent: f64,
}

impl Default for Popularity {
    fn default() -> Self {
        Self { exponent: 1.0 }
    }
}

impl Popularity {
    pub(super) fn check(&self) -> Result<(), Error> {
        within((0.0..=4.0).contains(&self.exponent), "exponent", &self.exponent, "between 0 and 4")
    }

    pub(super) fn proposal<'a>(&self, train: &'a Csr) -> Result<Proposal<'a>, Error> {
        // Interactions are drawn by 32 bits.
        if self.exponent == 1.0 && u32::try_from(train.len()).is_ok() {
            return Ok(Proposal::Interactions(Interactions::new(train)));
        }
        Ok(Proposal::Alias(Alias::new(train, self.exponent)?))
    }
}

/// a = 1: the item of a random training interaction.
#[derive(Clone, Debug)]
pub struct Interactions<'a> {
    items: &'a [u32],
    counts: Vec<u32>,
}

impl<'a> Interactions<'a> {
    /// From the training interactions, at least one and fewer than 2^32.
    pub fn new(train: &'a Csr) -> Self {
        Self { items: train.items(), counts: train.item_counts() }
    }

    /// Draws an item.
    #[inline]
    pub fn draw(&self, words: &mut Words) -> u32 {
        self.items[words.below(self.items.len() as u32) as usize]
    }

    /// The item that each of `words` draws; 0 in `sound` where one word may not be enough.
    #[inline(always)]
    pub(super) fn of_words<S: Simd>(&self, simd: S, words: S::u32s, sound: &mut S::u32s) -> S::u32s {
        let mut lanes = lanes_of::<S>(below(simd, words, self.items.len() as u32, sound));
        for lane in &mut lanes[..S::U32_LANES] {
            *lane = self.items[*lane as usize];
        }
        vector_of::<S>(&lanes)
    }

    /// The item's weight.
    pub fn weight(&self, item: u32) -> f64 {
        f64::from(self.counts[item as usize])
    }
}

/// Any a: an alias table.
#[derive(Clone, Debug)]
pub struct Alias {
    table: WeightedAliasIndex<f64>,
    weights: Vec<f64>,
}

impl Alias {
    /// From the training interactions, at least one, and the exponent a.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the weights have no finite sum.
    pub fn new(train: &Csr, exponent: f64) -> Result<Self, Error> {
        let weights: Vec<f64> = train.item_counts().iter().map(|&count| f64::from(count).powf(exponent)).collect();
        let range = |_| Error::Parameter { name: "exponent", value: exponent.to_string(), expected: "between 0 and 4" };
        Ok(Self { table: WeightedAliasIndex::new(weights.clone()).map_err(range)?, weights })
    }

    /// Draws an item.
    #[inline]
    pub fn draw(&self, words: &mut Words) -> u32 {
        self.table.sample(&mut Source(words)) as u32
    }

    /// The item's weight.
    pub fn weight(&self, item: u32) -> f64 {
        self.weights[item as usize]
    }
}

/// Our words for the distributions of `rand`.
struct Source<'a>(&'a mut Words);

impl TryRng for Source<'_> {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.word())
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(self.0.word()) << 32 | u64::from(self.0.word()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            chunk.copy_from_slice(&self.0.word().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
