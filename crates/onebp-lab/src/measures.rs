//! What is measured on trained tables, as it is kept beside a run's metrics.

use crate::analysis::{
    beyond::Beyond,
    clusters::{Clusters, UserDistances},
    groups::{ItemGroup, UserGroup},
    projection::Projection,
    types::{TypeShares, UserTypes},
};
use serde::{Deserialize, Serialize};

/// Lengths of lists by which genres are looked for, as in Table 5.
pub const GENRE_CUTOFFS: [usize; 4] = [5, 10, 20, 50];

/// Lengths of lists whose types are looked at, as in Figure 8.
pub const TYPE_CUTOFFS: [usize; 5] = [5, 10, 20, 50, 100];

/// Lengths of lists that are measured beyond accuracy.
pub const BEYOND_CUTOFFS: [usize; 2] = [10, 20];

/// Length of the list of the one user that is looked at, and of the lists that groups are made of.
pub const LIST: usize = 20;

/// Groups of items, of about equally many training pairs each.
pub const ITEM_GROUPS: usize = 5;

/// Items in the plane, their clusters, and one user among them (Figures 4 and 7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapOfItems {
    /// Clusters of the items.
    pub clusters: Clusters,
    /// Places of the items, and of the user, who comes last.
    pub projection: Projection,
    /// The user, by the data's own id.
    pub user: String,
    /// The user's training items.
    pub train: Vec<u32>,
    /// The user's test items.
    pub test: Vec<u32>,
    /// How far the user lies from items of the majority type and of the others.
    pub distances: UserDistances,
    /// The same for all users.
    pub all_distances: UserDistances,
    /// The user's list by type.
    pub types: UserTypes,
}

/// Types that all users are recommended (Figure 8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypesOfAll {
    /// Items in each cluster.
    pub sizes: Vec<u32>,
    /// Silhouette of the clusters.
    pub silhouette: f64,
    /// By length of the lists.
    pub shares: Vec<TypeShares>,
}

/// Lists beyond accuracy, and who gains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BeyondAccuracy {
    /// By length of the lists.
    pub lists: Vec<Beyond>,
    /// NDCG@20 by activity of users.
    pub users: Vec<UserGroup>,
    /// R@20 and NDCG@20 by popularity of items.
    pub items: Vec<ItemGroup>,
}
