//! The obvious engine: whole tables under Burn's autodiff, dense gradients, dense Adam. Slow, easy to check, and the oracle
//! for every faster engine.

use super::{
    Engine, State,
    losses::Losses,
    rows::shares,
    state::{ITEMS, USERS},
};
use crate::{
    Batch, Error, Hyperparameters, Method, Tables, TwoTower,
    encoder::Mf,
    loss::Loss,
    update::{Follow, Update},
};
use burn::tensor::{Device, Tensor};
use onebp_table::{
    Grouping, TableState, Touched,
    hardest::{Chosen, keys},
    portable::{PortableOptimizer, aggregate, ids, to_host},
};

/// Whole-table autodiff.
pub struct Autodiff {
    model: TwoTower,
    encoder: Mf,
    loss: Loss,
    temperature: f64,
    update: Update,
    /// Optimizers of the tables that learn.
    users: Option<PortableOptimizer>,
    items: Option<PortableOptimizer>,
    device: Device,
    losses: Losses,
}

impl Autodiff {
    /// An engine for `method` starting from `tables`, on `device`.
    pub fn new(method: Method, hyper: &Hyperparameters, tables: &Tables, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        let update = method.update(hyper);
        let optimizer = |learns: bool, rows: usize| {
            learns.then(|| PortableOptimizer::new(&hyper.optimizer(), [rows, hyper.dim], &device))
        };
        Self {
            model: TwoTower::new(tables, &device),
            encoder: Mf,
            loss: method.loss,
            temperature: hyper.temperature,
            update,
            users: optimizer(update.trains_users(), tables.users.rows),
            items: optimizer(update.trains_items(), tables.items.rows),
            device,
            losses: Losses::default(),
        }
    }

    fn forward(&self, batch: &Batch, users: Tensor<2>, items: Tensor<2>) -> Tensor<1> {
        let [_, dim] = users.dims();
        let users = self.encoder.encode(users, ids(&batch.users, &self.device));
        let items = self.encoder.encode(items, ids(&batch.items, &self.device));
        let items = items.reshape([batch.len(), batch.width(), dim]);
        self.loss.forward(self.temperature, users, items, Tensor::from_inner(shares(batch, &self.device)))
    }
}

/// One step of a table that learns; a table that follows stays.
fn learn(
    optimizer: &mut Option<PortableOptimizer>,
    table: Tensor<2>,
    gradient: Option<Tensor<2>>,
    touched: &Touched,
) -> Result<Tensor<2>, Error> {
    match (optimizer, gradient) {
        (None, _) => Ok(table),
        (Some(optimizer), Some(gradient)) => Ok(optimizer.step(table, gradient, &touched.rows)),
        (Some(_), None) => Err(Error::Execution("no gradient reached a trained table".into())),
    }
}

impl Engine for Autodiff {
    fn step(&mut self, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let (users, items) = (self.model.users.val(), self.model.items.val());
        let mut chosen = Chosen::new(items.dims()[0]);
        let batch = match batch.keep {
            None => batch,
            Some(keep) => {
                let of_users = users.clone().inner().select(0, ids(&batch.users, &self.device));
                let of_items = items.clone().inner().select(0, ids(&batch.items, &self.device));
                let [_, dim] = of_users.dims();
                let pools = of_items.reshape([batch.len(), batch.width(), dim]);
                chosen.of(batch, keep, &keys(of_users, pools, keep.hardness)?)
            }
        };
        // The one line that makes it OneBP: a detached table is a constant of the loss.
        let seen = |table: &Tensor<2>, trained| if trained { table.clone() } else { table.clone().detach() };
        let loss =
            self.forward(batch, seen(&users, self.update.trains_users()), seen(&items, self.update.trains_items()));
        let gradients = loss.backward();
        let of_users = users.grad(&gradients);
        let of_items = items.grad(&gradients);
        let users = learn(&mut self.users, users.inner(), of_users, &batch.touched_users)?;
        let items = learn(&mut self.items, items.inner(), of_items, &batch.touched_items)?;

        let positives: Vec<u32> = batch.positives().collect();
        let (users, items) = match self.update.follow() {
            Follow::Neither => (users, items),
            Follow::Users(aggregation) => {
                let towards = items.clone().select(0, ids(&positives, &self.device));
                (aggregate(users, &batch.touched_users, &aggregation, towards), items)
            }
            Follow::Items(aggregation) => {
                let mut touched = Touched::default();
                Grouping::new(items.dims()[0]).group(&positives, &mut touched);
                let towards = users.clone().select(0, ids(&batch.users, &self.device));
                (users, aggregate(items, &touched, &aggregation, towards))
            }
        };
        let track = |table: Tensor<2>| Tensor::from_inner(table).require_grad();
        let model = self.model.clone();
        self.model = TwoTower { users: model.users.map(|_| track(users)), items: model.items.map(|_| track(items)) };

        self.losses.push(loss.inner())
    }

    fn take_loss(&mut self) -> Result<f64, Error> {
        self.losses.take()
    }

    fn tables(&self) -> Result<Tables, Error> {
        self.model.tables()
    }

    fn state(&mut self) -> Result<State, Error> {
        let mut state = State::default();
        self.losses.store(&mut state)?;
        for (name, table, optimizer) in
            [(USERS, &self.model.users, &self.users), (ITEMS, &self.model.items, &self.items)]
        {
            let mut stored = TableState { weights: to_host(table.val().inner())?, ..TableState::default() };
            if let Some(optimizer) = optimizer {
                optimizer.store(&mut stored)?;
            }
            state.store(name, stored);
        }
        Ok(state)
    }

    fn restore(&mut self, state: &State) -> Result<(), Error> {
        let (users, items) = (state.table(USERS)?, state.table(ITEMS)?);
        for (name, stored, table, optimizer) in
            [(USERS, &users, &self.model.users, &mut self.users), (ITEMS, &items, &self.model.items, &mut self.items)]
        {
            let fits = |error| Error::of_table(name, error);
            stored.check(table.val().dims(), optimizer.as_ref().map(PortableOptimizer::optimizer)).map_err(fits)?;
            if let Some(optimizer) = optimizer {
                optimizer.restore(stored, &self.device).map_err(fits)?;
            }
        }
        self.model = TwoTower::new(&Tables { users: users.weights, items: items.weights }, &self.device);
        self.losses = Losses::restore(state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::ndarray;
    use onebp_table::Table;

    fn engine(method: Method, tables: &Tables, device: &Device) -> Autodiff {
        let hyper = Hyperparameters {
            dim: tables.users.dim,
            batch_size: 3,
            optimizer: Default::default(),
            learning_rate: 0.01,
            weight_decay: 0.0,
            beta: 0.9,
            negatives: 2,
            temperature: 1.0,
            duplicates: Default::default(),
            keep_last: true,
        };
        Autodiff::new(method, &hyper, tables, device)
    }

    fn table(rows: usize, dim: usize, f: impl Fn(usize, usize) -> f64) -> Table {
        let values = (0..rows * dim).map(|k| f(k / dim, k % dim) as f32).collect();
        Table { values, rows, dim }
    }

    fn gradients(engine: &Autodiff, batch: &Batch) -> (Vec<f32>, Vec<f32>) {
        let (users, items) = (engine.model.users.val(), engine.model.items.val());
        let gradients = engine.forward(batch, users.clone(), items.clone()).backward();
        let read = |table: Tensor<2>| table.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
        (read(users), read(items))
    }

    /// The closed form: dL/dv_j = (p_j - [j = +]) u / (T B), dL/du = sum_j (p_j - [j = +]) v_j / (T B), in f64.
    fn closed_form(tables: &Tables, batch: &Batch) -> (Vec<f64>, Vec<f64>) {
        let dim = tables.users.dim;
        let mut users = vec![0.0; tables.users.values.len()];
        let mut items = vec![0.0; tables.items.values.len()];
        let width = batch.width();
        for (row, &user) in batch.users.iter().enumerate() {
            let user = user as usize;
            let columns = &batch.items[row * width..(row + 1) * width];
            let scores: Vec<f64> = columns
                .iter()
                .map(|&item| {
                    let products = tables.users.row(user).iter().zip(tables.items.row(item as usize));
                    products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                })
                .collect();
            let total: f64 = scores.iter().map(|s| s.exp()).sum();
            for (column, (&item, score)) in columns.iter().zip(&scores).enumerate() {
                let c = (score.exp() / total - f64::from(column == 0)) / batch.len() as f64;
                for k in 0..dim {
                    items[item as usize * dim + k] += c * f64::from(tables.users.row(user)[k]);
                    users[user * dim + k] += c * f64::from(tables.items.row(item as usize)[k]);
                }
            }
        }
        (users, items)
    }

    /// T2, with users, positives and negatives that repeat, and across roles.
    #[test]
    fn gradients_equal_the_closed_form() {
        let tables = Tables {
            users: table(4, 3, |r, c| (1.3 * r as f64 - c as f64).sin()),
            items: table(6, 3, |r, c| (0.7 * r as f64 + 2.0 * c as f64).cos()),
        };
        let items = vec![1, 2, 5, 1, 5, 2, 5, 1, 2, 0, 1, 5];
        let batch = Batch::new(vec![0, 3, 0, 2], items, vec![1.0; 4], (4, 6));
        let expected = closed_form(&tables, &batch);
        for device in [ndarray(), Device::flex()] {
            let found = gradients(&engine(Method::TWO_BP, &tables, &device), &batch);
            let pairs = found.0.iter().zip(&expected.0).chain(found.1.iter().zip(&expected.1));
            for (found, expected) in pairs {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
            }
        }
    }

    /// Golden gradient of item 3 in the OneBP step whose tables are sines (evaluated in f64 outside this program).
    #[test]
    fn golden_item_gradient() {
        let tables = Tables {
            users: table(2, 4, |r, c| (0.7 * (4 * r + c) as f64 + 0.1).sin()),
            items: table(5, 4, |r, c| (1.1 * (4 * r + c) as f64 + 0.4).sin()),
        };
        let batch = Batch::new(vec![0, 1, 0], vec![0, 1, 3, 1, 0, 4, 2, 3, 4], vec![1.0; 3], (2, 5));
        let (_, items) = gradients(&engine(Method::TWO_BP, &tables, &ndarray()), &batch);
        for (found, expected) in items[12..16].iter().zip([0.00947090, 0.06805347, 0.09462943, 0.07669969]) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn rows_without_negatives_do_not_count() {
        let tables = Tables::init(3, 6, 4, 1);
        let one = Batch::new(vec![0], vec![1, 2, 3], vec![1.0], (3, 6));
        let both = Batch::new(vec![0, 1], vec![1, 2, 3, 4, 4, 4], vec![1.0, 0.0], (3, 6));
        let run = |batch: &Batch| {
            let mut engine = engine(Method::TWO_BP, &tables, &ndarray());
            engine.step(batch).unwrap();
            (engine.take_loss().unwrap(), engine.tables().unwrap())
        };
        assert_eq!(run(&one), run(&both));
        let none = Batch { weights: vec![0.0], ..one };
        assert_eq!(run(&none).0, 0.0);
    }
}
