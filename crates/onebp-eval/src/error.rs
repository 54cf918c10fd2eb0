//! What can go wrong while ranking and measuring.

/// Why a ranking or an evaluation was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A length that does not fit the others.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// What was measured, such as `rows of seen`.
        what: &'static str,
        /// The length that would fit.
        expected: usize,
        /// The length that came.
        found: usize,
    },
    /// A user the scorer does not know.
    #[error("user {user} is not below the number of users, {users}")]
    UnknownUser {
        /// The id that came.
        user: u32,
        /// Number of users the scorer knows.
        users: usize,
    },
    /// An item of a list that is not of the catalogue.
    #[error("item {item} is not below the number of items, {items}")]
    UnknownItem {
        /// The id that came.
        item: u32,
        /// Number of items.
        items: usize,
    },
    /// A score that is infinite or not a number. The tables have diverged: lower the learning rate, or look for
    /// infinite values in the initial tables.
    #[error("the score of user {user} and item {item} is {score}; only finite scores can be ranked")]
    NotFinite {
        /// User of the score.
        user: u32,
        /// Item of the score.
        item: u32,
        /// The score itself.
        score: f32,
    },
    /// A truth item that is excluded from the ranking could never be hit, so every average would be too low.
    #[error("item {item} of user {user} is in the truth and in the seen items; remove it from one of them")]
    TruthIsSeen {
        /// User of the pair.
        user: u32,
        /// Item of the pair.
        item: u32,
    },
    /// No average exists without a user who has a truth item.
    #[error("no user has an item in the truth, so there is nothing to measure")]
    NoTruth,
    /// Cutoffs that make no report.
    #[error("cutoffs must be positive and ascending without repetition, found {cutoffs:?}")]
    Cutoffs {
        /// The cutoffs that came.
        cutoffs: Vec<usize>,
    },
}
