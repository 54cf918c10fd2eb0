//! The obvious engine: whole tables under Burn's autodiff, dense gradients, dense Adam. Slow, easy to check, and the oracle
//! for every faster engine.

use super::{Engine, State};
use crate::{
    Batch, Error, Method,
    batch::ids,
    encoder::Mf,
    loss::InfoNce,
    method::Hyperparameters,
    optimizer::Optimizer,
    two_tower::{Table, Tables, TwoTower, read_vector},
    update::{Gradients, Optimizers, Towers, Update},
};
use burn::tensor::{Device, Tensor, TensorData};

/// Losses waiting on the device before they are read; bounds memory, not accuracy.
const PENDING: usize = 1024;

/// Names of the unread losses in a stored state: the bits of their sum, and their number.
const LOSS_SUM: &str = "loss.sum.bits";
const LOSS_STEPS: &str = "loss.steps";

/// Whole-table autodiff.
pub struct Autodiff {
    model: TwoTower,
    encoder: Mf,
    loss: InfoNce,
    update: Update,
    optimizers: Optimizers,
    device: Device,
    pending: Vec<Tensor<1>>,
    sum: f64,
    steps: u64,
}

impl Autodiff {
    /// An engine for `method` starting from `tables`, on `device`.
    pub fn new(method: Method, hyper: &Hyperparameters, tables: &Tables, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        let optimizer = || Optimizer::new(hyper.learning_rate, hyper.weight_decay);
        Self {
            model: TwoTower::new(tables, &device),
            encoder: Mf,
            loss: InfoNce { temperature: hyper.temperature },
            update: method.update(hyper),
            optimizers: Optimizers { users: optimizer(), items: optimizer() },
            device,
            pending: Vec::new(),
            sum: 0.0,
            steps: 0,
        }
    }

    fn forward(&self, batch: &Batch, users: Tensor<2>, items: Tensor<2>) -> Tensor<1> {
        let [_, dim] = users.dims();
        let (rows, width) = (batch.len(), batch.negatives.len() / batch.len());
        let mut columns = Vec::with_capacity(rows * (1 + width));
        for (row, &positive) in batch.positives.iter().enumerate() {
            columns.push(positive);
            columns.extend_from_slice(&batch.negatives[row * width..(row + 1) * width]);
        }
        let total: f32 = batch.weights.iter().sum();
        let shares: Vec<f32> = batch.weights.iter().map(|w| if total > 0.0 { w / total } else { 0.0 }).collect();
        let shares = Tensor::<2>::from_data(TensorData::new(shares, [rows, 1]), &self.device);
        let users = self.encoder.encode(users, ids(&batch.users, &self.device));
        let items = self.encoder.encode(items, ids(&columns, &self.device)).reshape([rows, 1 + width, dim]);
        self.loss.forward(users, items, Tensor::from_inner(shares))
    }

    fn drain(&mut self) -> Result<(), Error> {
        if !self.pending.is_empty() {
            let losses = read_vector(Tensor::cat(std::mem::take(&mut self.pending), 0))?;
            self.steps += losses.len() as u64;
            // One by one, so that the sum does not depend on when it is drained.
            self.sum = losses.iter().fold(self.sum, |sum, &loss| sum + f64::from(loss));
        }
        Ok(())
    }
}

impl Engine for Autodiff {
    fn step(&mut self, batch: &Batch) -> Result<(), Error> {
        let (users, items) = (self.model.users.val(), self.model.items.val());
        // The one line that makes it OneBP: a detached table is a constant of the loss.
        let seen = |table: &Tensor<2>, trained| if trained { table.clone() } else { table.clone().detach() };
        let loss =
            self.forward(batch, seen(&users, self.update.trains_users()), seen(&items, self.update.trains_items()));
        let gradients = loss.backward();
        let gradients = Gradients { users: users.grad(&gradients), items: items.grad(&gradients) };

        let towers = Towers { users: users.inner(), items: items.inner() };
        let moved = self.update.apply(towers, gradients, &mut self.optimizers, batch)?;
        let track = |table: Tensor<2>| Tensor::from_inner(table).require_grad();
        let (users, items) = (self.model.users.clone(), self.model.items.clone());
        self.model = TwoTower { users: users.map(|_| track(moved.users)), items: items.map(|_| track(moved.items)) };

        self.pending.push(loss.inner());
        if self.pending.len() == PENDING { self.drain() } else { Ok(()) }
    }

    fn take_loss(&mut self) -> Result<f64, Error> {
        self.drain()?;
        let mean = self.sum / self.steps as f64;
        (self.sum, self.steps) = (0.0, 0);
        Ok(mean)
    }

    fn tables(&self) -> Result<Tables, Error> {
        self.model.tables()
    }

    fn state(&mut self) -> Result<State, Error> {
        self.drain()?;
        let mut state = State::default();
        state.counters.insert(LOSS_SUM.into(), self.sum.to_bits());
        state.counters.insert(LOSS_STEPS.into(), self.steps);
        let Tables { users, items } = self.model.tables()?;
        state.tensors.insert("users".into(), users);
        state.tensors.insert("items".into(), items);
        self.optimizers.users.store("users", &mut state.tensors, &mut state.counters)?;
        self.optimizers.items.store("items", &mut state.tensors, &mut state.counters)?;
        Ok(state)
    }

    fn restore(&mut self, state: &State) -> Result<(), Error> {
        let tables = Tables::from_tensors(&state.tensors)?;
        let current = self.model.tables()?;
        let shape = |table: &Table| (table.rows, table.dim);
        for (name, current) in [("users", &current.users), ("items", &current.items)] {
            for (tensor, stored) in state.tensors.iter().filter(|(tensor, _)| tensor.starts_with(name)) {
                if shape(stored) != shape(current) {
                    let (stored, current) = (shape(stored), shape(current));
                    return Err(Error::State(format!("{tensor} is {stored:?}, the model expects {current:?}")));
                }
            }
        }
        self.model = TwoTower::new(&tables, &self.device);
        self.pending.clear();
        let counter = |name: &str| state.counters.get(name).copied().unwrap_or(0);
        (self.sum, self.steps) = (f64::from_bits(counter(LOSS_SUM)), counter(LOSS_STEPS));
        for (name, optimizer) in [("users", &mut self.optimizers.users), ("items", &mut self.optimizers.items)] {
            optimizer.restore(name, &state.tensors, &state.counters, &self.device)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::ndarray;

    fn engine(method: Method, tables: &Tables, device: &Device) -> Autodiff {
        let hyper = Hyperparameters {
            dim: tables.users.dim,
            batch_size: 3,
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
        let width = batch.negatives.len() / batch.len();
        for (row, &user) in batch.users.iter().enumerate() {
            let user = user as usize;
            let mut columns = vec![batch.positives[row]];
            columns.extend(&batch.negatives[row * width..(row + 1) * width]);
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
        let batch = Batch {
            users: vec![0, 3, 0, 2],
            positives: vec![1, 1, 5, 0],
            negatives: vec![2, 5, 5, 2, 1, 2, 1, 5],
            weights: vec![1.0; 4],
        };
        let expected = closed_form(&tables, &batch);
        for device in [ndarray(), Device::flex()] {
            let found = gradients(&engine(Method::TwoBp, &tables, &device), &batch);
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
        let batch = Batch {
            users: vec![0, 1, 0],
            positives: vec![0, 1, 2],
            negatives: vec![1, 3, 0, 4, 3, 4],
            weights: vec![1.0; 3],
        };
        let (_, items) = gradients(&engine(Method::TwoBp, &tables, &ndarray()), &batch);
        for (found, expected) in items[12..16].iter().zip([0.00947090, 0.06805347, 0.09462943, 0.07669969]) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn rows_without_negatives_do_not_count() {
        let tables = Tables::init(3, 6, 4, 1);
        let one = Batch { users: vec![0], positives: vec![1], negatives: vec![2, 3], weights: vec![1.0] };
        let both =
            Batch { users: vec![0, 1], positives: vec![1, 4], negatives: vec![2, 3, 0, 0], weights: vec![1.0, 0.0] };
        let run = |batch: &Batch| {
            let mut engine = engine(Method::TwoBp, &tables, &ndarray());
            engine.step(batch).unwrap();
            (engine.take_loss().unwrap(), engine.tables().unwrap())
        };
        assert_eq!(run(&one), run(&both));
        let none = Batch { weights: vec![0.0], ..one };
        assert_eq!(run(&none).0, 0.0);
    }
}
