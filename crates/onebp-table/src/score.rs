//! What a pair of a user and an item is worth: the quantity that losses compare and rankings sort by.

use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

/// The score of a user vector u and an item vector v. Of a user who has several vectors the best one counts, of equally
/// good ones the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// <u, v>.
    #[default]
    Product,
    /// -|u - v|^2.
    Distance,
}

impl Score {
    /// The name in files and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Distance => "distance",
        }
    }

    /// Scores `[B, W]` of `users` `[B, C d]`, C vectors each, against `items` `[B, W, d]`.
    pub fn of_rows(self, users: Tensor<2>, items: Tensor<3>) -> Tensor<2> {
        let [batch, columns, dim] = items.dims();
        let vectors = users.dims()[1] / dim;
        let users = users.reshape([batch, 1, vectors, dim]);
        let items = items.reshape([batch, columns, 1, dim]);
        let all = match self {
            Self::Product => (users * items).sum_dim(3),
            Self::Distance => {
                let apart = users - items;
                (apart.clone() * apart).sum_dim(3).neg()
            }
        };
        if vectors == 1 {
            return all.reshape([batch, columns]);
        }
        let all = all.reshape([batch, columns, vectors]);
        let best: Tensor<3, Int> = all.clone().detach().argmax(2);
        all.gather(2, best).reshape([batch, columns])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn the_best_of_several_vectors_counts() {
        let device = Device::flex();
        let users = Tensor::<2>::from_data(TensorData::new(vec![1f32, 0.0, 0.0, 2.0], [1, 4]), &device);
        let items = Tensor::<3>::from_data(TensorData::new(vec![3f32, 1.0, 0.0, 1.0], [1, 2, 2]), &device);
        for (score, expected) in [(Score::Product, [3.0, 2.0]), (Score::Distance, [-5.0, -1.0])] {
            let found = score.of_rows(users.clone(), items.clone()).into_data().try_to_vec::<f32>().unwrap();
            assert_eq!(found, expected, "{score:?}");
        }
    }
}
