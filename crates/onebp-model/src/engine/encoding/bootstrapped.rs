//! Predictions of online rows beside target rows, see [`crate::encoder::Bootstrap`].

use super::{Encoding, Sides, all_rows, weights::Weights};
use crate::{
    Batch, Error, Hyperparameters, Tables,
    encoder::Bootstrap,
    engine::{Start, State, state::TARGETS, towers::Towers},
};
use burn::tensor::{Device, Tensor};
use onebp_table::{Aggregation, Duplicates, Embedding, Hardness, Touched};

/// Targets, which follow the online tables of the towers, and the predictor.
pub(in crate::engine) struct Bootstrapped<E: Embedding> {
    targets: Sides<E>,
    weights: Weights,
    all: Sides<Touched>,
    following: Aggregation,
    /// Online rows of the step under way.
    online: Option<Sides<Tensor<2>>>,
    device: Device,
}

impl<E: Embedding> Bootstrapped<E> {
    /// Targets that are copies of the tables that `start` has.
    pub fn new(
        bootstrap: Bootstrap,
        hyper: &Hyperparameters,
        start: &Start<'_>,
        device: &Device,
    ) -> Result<Self, Error> {
        let Tables { users, items, .. } = &start.tables;
        Ok(Self {
            targets: Sides { users: E::new(users, None, device)?, items: E::new(items, None, device)? },
            weights: Weights::new(Bootstrap::weights(hyper.dim), hyper, start.seed, device),
            all: Sides { users: all_rows(users.rows), items: all_rows(items.rows) },
            following: Aggregation { beta: bootstrap.momentum, duplicates: Duplicates::Last },
            online: None,
            device: device.clone(),
        })
    }
}

/// dq `[R, d]` of a gradient of rows [q, t] `[R, 2d]`.
fn of_prediction(gradient: Tensor<2>) -> Tensor<2> {
    let [rows, width] = gradient.dims();
    gradient.slice([0..rows, 0..width / 2])
}

impl<E: Embedding + Send> Encoding<E> for Bootstrapped<E> {
    fn keys(&mut self, _: &mut Towers<E>, _: &Batch, _: Hardness) -> Result<Vec<f32>, Error> {
        // Its loss has no negatives.
        Err(Error::Execution("a bootstrap encoder has no negatives to choose from".into()))
    }

    fn rows(&mut self, towers: &mut Towers<E>, batch: &Batch) -> Result<Sides<Tensor<2>>, Error> {
        let users = towers.users.gather(&batch.touched_users, &batch.users)?;
        let items = towers.items.gather(&batch.touched_items, &batch.items)?;
        let of_users = self.targets.users.gather(&batch.touched_users, &batch.users)?;
        let of_items = self.targets.items.gather(&batch.touched_items, &batch.items)?;
        let beside = |online: &Tensor<2>, target: Tensor<2>| {
            Tensor::cat(vec![Bootstrap::predict(online.clone(), &self.weights.values), target], 1)
        };
        let rows = Sides { users: beside(&users, of_users), items: beside(&items, of_items) };
        self.online = Some(Sides { users, items });
        Ok(rows)
    }

    fn learn(
        &mut self,
        towers: &mut Towers<E>,
        batch: &Batch,
        gradients: Sides<Option<Tensor<2>>>,
    ) -> Result<(), Error> {
        let (Some(users), Some(items), Some(online)) = (gradients.users, gradients.items, self.online.take()) else {
            return Err(Error::Execution("no gradient reached a trained table".into()));
        };
        let (users, items) = (of_prediction(users), of_prediction(items));
        let back = self.weights.values[0].clone().transpose();
        towers.users.update(&batch.touched_users, users.clone().matmul(back.clone()))?;
        towers.items.update(&batch.touched_items, items.clone().matmul(back))?;
        let of_matrix = online.users.transpose().matmul(users.clone()) + online.items.transpose().matmul(items.clone());
        self.weights.learn(vec![of_matrix, users.sum_dim(0) + items.sum_dim(0)]);
        // Every target follows its row, also one that no batch touches but momentum or decay moves.
        for (target, online, all) in [
            (&mut self.targets.users, &mut towers.users, &self.all.users),
            (&mut self.targets.items, &mut towers.items, &self.all.items),
        ] {
            online.settle(all)?;
            target.aggregate(all, &self.following, online, &all.rows)?;
        }
        Ok(())
    }

    fn embed(&self, inputs: Tables) -> Result<Tables, Error> {
        Bootstrap::embed_tables(inputs, &self.weights.values, &self.device)
    }

    fn store(&self, state: &mut State) -> Result<(), Error> {
        for (name, target) in TARGETS.into_iter().zip([&self.targets.users, &self.targets.items]) {
            state.store(name, target.state()?);
        }
        self.weights.store(state)
    }

    fn restore(&mut self, state: &State) -> Result<(), Error> {
        for (name, target) in TARGETS.into_iter().zip([&mut self.targets.users, &mut self.targets.items]) {
            target.restore(&state.table(name)?).map_err(|error| Error::of_table(name, error))?;
        }
        self.weights.restore(state)
    }
}
