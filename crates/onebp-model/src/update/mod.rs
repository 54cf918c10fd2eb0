//! Updating: which tower learns by backpropagation, and how the other one follows (Table 3 of the paper).
//!
//! | update | users | items |
//! |---|---|---|
//! | [`Update::OneBp`] | W_u[u] <- beta W_u[u] + (1 - beta) W_v[i] | W_v <- optimizer(W_v, dL/dW_v) |
//! | [`Update::TwoBp`] | W_u <- optimizer(W_u, dL/dW_u) | W_v <- optimizer(W_v, dL/dW_v) |
//! | [`Update::UserOnly`] | W_u <- optimizer(W_u, dL/dW_u) | W_v[i] <- beta W_v[i] + (1 - beta) W_u[u] |
//!
//! A tower that follows reads the other one **after** its step. It is a constant of the loss: it has no gradient, no
//! optimizer state and no weight decay, and stays in the convex hull of its initial rows and all rows it has met. Under
//! user-only, negatives do not move, and an item that is never chosen keeps its initial row.

pub use onebp_table::{Aggregation, Duplicates, Follow};

use serde::{Deserialize, Serialize};

/// Which towers learn, by its name on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateName {
    /// [`Update::OneBp`].
    #[default]
    #[serde(rename = "onebp")]
    OneBp,
    /// [`Update::TwoBp`].
    TwoBp,
    /// [`Update::UserOnly`].
    UserOnly,
}

impl UpdateName {
    /// All update rules, in the order in which help texts list them.
    pub const ALL: [Self; 3] = [Self::OneBp, Self::TwoBp, Self::UserOnly];

    /// The name on the command line and in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneBp => "onebp",
            Self::TwoBp => "two-bp",
            Self::UserOnly => "user-only",
        }
    }

    /// The rule with its aggregation.
    pub fn with(self, aggregation: Aggregation) -> Update {
        match self {
            Self::OneBp => Update::OneBp(aggregation),
            Self::TwoBp => Update::TwoBp,
            Self::UserOnly => Update::UserOnly(aggregation),
        }
    }
}

/// The update rule of a method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Equations 5 and 6 of the paper: backpropagation into the items; users follow by aggregation.
    OneBp(Aggregation),
    /// Backpropagation into both towers, as everywhere else. With table lookup and InfoNCE this is the `MF` of Table 2.
    TwoBp,
    /// Backpropagation into the users; items follow by aggregation ("flip equations 5 and 6").
    UserOnly(Aggregation),
}

impl Update {
    /// Whether the loss backpropagates into the users.
    pub fn trains_users(&self) -> bool {
        !matches!(self, Self::OneBp(_))
    }

    /// Whether the loss backpropagates into the items.
    pub fn trains_items(&self) -> bool {
        !matches!(self, Self::UserOnly(_))
    }

    /// The tower that follows.
    pub fn follow(&self) -> Follow {
        match *self {
            Self::OneBp(aggregation) => Follow::Users(aggregation),
            Self::TwoBp => Follow::Neither,
            Self::UserOnly(aggregation) => Follow::Items(aggregation),
        }
    }
}
