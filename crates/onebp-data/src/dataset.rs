//! What training needs: compressed rows for train, validation and test over one catalogue, and the ids of the outside
//! world.

use crate::Csr;
use std::collections::HashMap;

/// The raw ids of users or items, in the order of their dense ids `0..len`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    raw: Vec<String>,
    dense: HashMap<String, u32>,
}

impl IdMap {
    /// Dense id `k` belongs to the `k`-th raw id.
    pub fn new(raw: Vec<String>) -> Self {
        let dense = raw.iter().enumerate().map(|(id, raw)| (raw.clone(), id as u32)).collect();
        Self { raw, dense }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The raw id of a dense id below [`IdMap::len`].
    pub fn raw(&self, dense: u32) -> &str {
        &self.raw[dense as usize]
    }

    /// All raw ids by dense id.
    pub fn all(&self) -> &[String] {
        &self.raw
    }

    /// The dense id of a raw id.
    pub fn dense(&self, raw: &str) -> Option<u32> {
        self.dense.get(raw).copied()
    }
}

/// A prepared data set: M users, N items, and disjoint sets of pairs.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Name for people, such as `ml-100k`.
    pub name: String,
    /// How train and test came about, for the protocol string of a result.
    pub split: String,
    /// Raw user ids, M.
    pub users: IdMap,
    /// Raw item ids, N. Items that occur only in test belong to the catalogue.
    pub items: IdMap,
    /// Training pairs [M, N].
    pub train: Csr,
    /// Validation pairs [M, N], where the data brings them.
    pub valid: Option<Csr>,
    /// Test pairs [M, N].
    pub test: Csr,
    /// What a person should know about the data: oddities that were mended or tolerated, one sentence each.
    pub warnings: Vec<String>,
}

impl Dataset {
    /// Adds a warning for users from whom nothing can be learned, and for users to whom nothing can be recommended.
    pub(crate) fn warn_about_users(&mut self) {
        let odd = |length: usize, what: &str, so: &str| {
            let mut users = (0..self.users.len() as u32).filter(|&user| self.train.row(user).len() == length);
            let first = crate::error::quote(self.users.raw(users.next()?));
            Some(format!("users {what}: {}, {so} (the first: {first})", users.count() + 1))
        };
        let none = odd(0, "without a training item", "not trained");
        let all = odd(self.items.len(), "with every item in train", "nothing is left to rank for them");
        self.warnings.extend(none.into_iter().chain(all));
    }

    /// Identifies ids, pairs and shape, independent of file format and order: two data sets with equal fingerprints train
    /// the same model and call its rows by the same names. 64-bit FNV-1a over the raw ids and the dense pairs.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut feed_bytes = |bytes: &[u8]| {
            for &byte in bytes {
                hash = (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for ids in [&self.users, &self.items] {
            feed_bytes(&(ids.len() as u64).to_le_bytes());
            for raw in ids.all() {
                feed_bytes(&(raw.len() as u64).to_le_bytes());
                feed_bytes(raw.as_bytes());
            }
        }
        let mut feed = |word: u64| feed_bytes(&word.to_le_bytes());
        for part in [Some(&self.train), self.valid.as_ref(), Some(&self.test)] {
            feed(part.map_or(u64::MAX, |part| part.len() as u64));
            for (user, item) in part.into_iter().flat_map(Csr::pairs) {
                feed((user as u64) << 32 | item as u64);
            }
        }
        hash
    }
}
