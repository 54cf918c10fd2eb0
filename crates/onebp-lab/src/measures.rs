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

/// Items in the plane, their clusters, and one user among them (Figures 4 and 7). Items stand in the order of their places, so
/// that what is kept of a run tells nobody who chose what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapOfItems {
    /// Clusters of the items.
    pub clusters: Clusters,
    /// Places of the items, and of the user, who comes last.
    pub projection: Projection,
    /// The user, by the data's own id.
    pub user: String,
    /// The user's training items, by their places in that order.
    pub train: Vec<u32>,
    /// The user's test items, likewise.
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

impl MapOfItems {
    /// The map with its items, which come in the order of their ids, in the order of their places.
    pub fn in_order(mut self) -> Self {
        let places = &self.projection.points;
        let items = self.clusters.labels.len();
        let mut order: Vec<usize> = (0..items).collect();
        order.sort_by(|&a, &b| places[a][0].total_cmp(&places[b][0]).then(places[a][1].total_cmp(&places[b][1])));
        let mut rank = vec![0; items];
        order.iter().enumerate().for_each(|(at, &item)| rank[item] = at as u32);
        let ranked = |items: &[u32]| {
            let mut ranks: Vec<u32> = items.iter().map(|&item| rank[item as usize]).collect();
            ranks.sort_unstable();
            ranks
        };
        (self.train, self.test) = (ranked(&self.train), ranked(&self.test));
        self.clusters.labels = order.iter().map(|&item| self.clusters.labels[item]).collect();
        let others = places[items..].to_vec();
        self.projection.points = order.iter().map(|&item| places[item]).chain(others).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{clusters::KMeansSettings, projection::ProjectionSettings};

    /// Every item keeps its place, its cluster and its mark; only the order is another.
    #[test]
    fn items_go_by_their_places() {
        let distances = UserDistances { users: 1, majority: None, minority: None };
        let map = MapOfItems {
            clusters: Clusters {
                settings: KMeansSettings::default(),
                labels: vec![0, 1, 2],
                sizes: vec![1, 1, 1],
                inertia: 0.0,
                silhouette: 0.0,
            },
            projection: Projection {
                settings: ProjectionSettings::default(),
                points: vec![[2.0, 0.0], [1.0, 5.0], [1.0, 4.0], [9.0, 9.0]],
                divergence: 0.0,
            },
            user: "u".into(),
            train: vec![0, 2],
            test: vec![1],
            distances: distances.clone(),
            all_distances: distances,
            types: UserTypes { user: 0, k: 1, types: Vec::new() },
        }
        .in_order();
        assert_eq!(map.projection.points, [[1.0, 4.0], [1.0, 5.0], [2.0, 0.0], [9.0, 9.0]]);
        assert_eq!(map.clusters.labels, [2, 1, 0]);
        assert_eq!((map.train, map.test), (vec![0, 2], vec![1]));
    }
}
