//! Updating: which tower learns by backpropagation, and how the other one follows (Table 3 of the paper).
//!
//! | update | users | items |
//! |---|---|---|
//! | `onebp` | W_u[u] <- beta W_u[u] + (1 - beta) W_v[i] | W_v <- optimizer(W_v, dL/dW_v) |
//! | `two-bp` | W_u <- optimizer(W_u, dL/dW_u) | W_v <- optimizer(W_v, dL/dW_v) |
//! | `user-only` | W_u <- optimizer(W_u, dL/dW_u) | W_v[i] <- beta W_v[i] + (1 - beta) W_u[u] |
//!
//! A tower that follows reads the other one **after** its step. It is a constant of the loss: it has no gradient, no
//! optimizer state and no weight decay, and stays in the convex hull of its initial rows and all rows it has met. Under
//! user-only, negatives do not move, and an item that is never chosen keeps its initial row.

pub use onebp_table::{Aggregation, Duplicates, Follow};

use serde::{Deserialize, Serialize};

/// Which towers learn, and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum UpdateName {
    /// Equations 5 and 6 of the paper: backpropagation into the items; users follow by aggregation.
    #[serde(rename = "onebp")]
    OneBp(OneBp),
    /// Backpropagation into both towers, as everywhere else. With table lookup and InfoNCE this is the `MF` of Table 2.
    TwoBp,
    /// Backpropagation into the users; items follow by aggregation ("flip equations 5 and 6").
    UserOnly,
}

/// Parameters of `onebp`, which say something where a graph lies between the tables and the loss (Figure 3 of the paper).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct OneBp {
    /// Whether users follow before the step or after it. Default after it, as equation 6 has it.
    pub order: Order,
    /// Where the users' side is cut off from backpropagation. Default at its input.
    pub cut: Cut,
}

/// When users follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Before the step, towards the items as they are: the wording of section 4.4.2 of the paper, "first apply, then feed".
    Pre,
    /// After the step, towards the items as they have become.
    #[default]
    Post,
}

/// Where the users' side is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// The user table is a constant; gradients still reach items through the embeddings of users next to them.
    #[default]
    Input,
    /// The embeddings of users are constants.
    Output,
}

impl Default for UpdateName {
    fn default() -> Self {
        Self::ONE_BP
    }
}

impl UpdateName {
    /// OneBP as equations 5 and 6 have it.
    pub const ONE_BP: Self = Self::OneBp(OneBp { order: Order::Post, cut: Cut::Input });

    /// All update rules with their default parameters, in the order in which help texts list them.
    pub const ALL: [Self; 3] = [Self::ONE_BP, Self::TwoBp, Self::UserOnly];

    /// The rule with its aggregation.
    pub fn with(self, aggregation: Aggregation) -> Update {
        Update { name: self, aggregation }
    }
}

/// The update rule of a method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    name: UpdateName,
    aggregation: Aggregation,
}

impl Update {
    /// Whether the loss backpropagates into the users.
    pub fn trains_users(&self) -> bool {
        !matches!(self.name, UpdateName::OneBp(_))
    }

    /// Whether the loss backpropagates into the items.
    pub fn trains_items(&self) -> bool {
        self.name != UpdateName::UserOnly
    }

    /// The tower that follows.
    pub fn follow(&self) -> Follow {
        match self.name {
            UpdateName::OneBp(_) => Follow::Users(self.aggregation),
            UpdateName::TwoBp => Follow::Neither,
            UpdateName::UserOnly => Follow::Items(self.aggregation),
        }
    }

    /// When the tower that follows does so.
    pub fn order(&self) -> Order {
        match self.name {
            UpdateName::OneBp(OneBp { order, .. }) => order,
            _ => Order::Post,
        }
    }

    /// Where the tower that follows is cut off from backpropagation.
    pub fn cut(&self) -> Cut {
        match self.name {
            UpdateName::OneBp(OneBp { cut, .. }) => cut,
            _ => Cut::Input,
        }
    }
}
