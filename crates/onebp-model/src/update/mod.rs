//! Updating: which tower learns by backpropagation, and how the other one follows.

mod aggregation;
mod one_bp;
mod two_bp;
mod user_only;

pub use aggregation::{Aggregation, Duplicates};

use crate::{Batch, Error, optimizer::Optimizer};
use burn::tensor::Tensor;

/// The update rule of a method (Table 3 of the paper).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Backpropagation into the items; users follow by aggregation.
    OneBp(Aggregation),
    /// Backpropagation into both towers.
    TwoBp,
    /// Backpropagation into the users; items follow by aggregation.
    UserOnly(Aggregation),
}

/// The two tables without autodiff, on their way through one update.
pub(crate) struct Towers {
    /// W_u, `[M, d]`.
    pub users: Tensor<2>,
    /// W_v, `[N, d]`.
    pub items: Tensor<2>,
}

/// What backpropagation brought for each table; nothing where the update detached it.
pub(crate) struct Gradients {
    pub users: Option<Tensor<2>>,
    pub items: Option<Tensor<2>>,
}

/// The optimizers of both tables. An update that detaches a table never calls its optimizer, so that table has no moments
/// and no weight decay.
pub(crate) struct Optimizers {
    pub users: Optimizer,
    pub items: Optimizer,
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

    /// Moves both tables one step on.
    pub(crate) fn apply(
        &self,
        towers: Towers,
        gradients: Gradients,
        optimizers: &mut Optimizers,
        batch: &Batch,
    ) -> Result<Towers, Error> {
        match self {
            Self::OneBp(aggregation) => one_bp::update(towers, gradients, optimizers, aggregation, batch),
            Self::TwoBp => two_bp::update(towers, gradients, optimizers),
            Self::UserOnly(aggregation) => user_only::update(towers, gradients, optimizers, aggregation, batch),
        }
    }
}
