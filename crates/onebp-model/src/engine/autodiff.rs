//! The obvious engine: whole tables under Burn's autodiff, dense gradients, dense Adam, graphs as dense matrices. Slow, easy
//! to check, and the oracle for every faster engine.

use super::{
    Engine, Start, State,
    dropout::Dropout,
    encoding::{Sides, Weights, all_rows},
    losses::Losses,
    rows::{shares, user_shares},
    state::{ITEMS, TARGETS, USERS},
};
use crate::{
    Batch, Error, Hyperparameters, Method, Tables, TwoTower,
    encoder::{Bootstrap, Encoder, graph},
    loss::{Loss, LossRows, LossSetting, Value},
    update::{Follow, Order, Update},
};
use burn::tensor::{Device, Tensor, TensorData};
use onebp_table::{
    Grouping, Score, TableState, Touched,
    hardest::{Chosen, keys},
    portable::{PortableOptimizer, aggregate, ids, to_device, to_host},
};

/// Whole-table autodiff.
pub struct Autodiff {
    model: TwoTower,
    encoder: Encoder,
    /// The graph of encoders that have one, `[M + N, M + N]`.
    matrix: Option<Tensor<2>>,
    weights: Weights,
    dropout: Dropout,
    /// Targets of a bootstrap encoder.
    targets: Option<Sides<Tensor<2>>>,
    loss: Loss,
    score: Score,
    setting: LossSetting,
    update: Update,
    /// Optimizers of the tables that learn.
    users: Option<PortableOptimizer>,
    items: Option<PortableOptimizer>,
    /// All rows, where gradients reach all.
    all: Sides<Touched>,
    device: Device,
    losses: Losses,
}

impl Autodiff {
    /// An engine for `method`, on `device`.
    ///
    /// # Errors
    /// [`Error::Execution`] where the graph is too large.
    pub fn new(method: Method, hyper: &Hyperparameters, start: &Start<'_>, device: &Device) -> Result<Self, Error> {
        let device = device.clone().without_autodiff();
        let update = method.update(hyper);
        let tables = &start.tables;
        let [of_users, of_items] = method.projections();
        let optimizer = |learns: bool, table: &onebp_table::Table, projection| {
            let optimizer = hyper.optimizer(projection);
            learns.then(|| PortableOptimizer::new(&optimizer, [table.rows, table.dim], &device))
        };
        let (encoder, nodes) = (method.encoder, tables.users.rows + tables.items.rows);
        let dense =
            || Ok::<_, Error>(Tensor::from_inner(to_device(&graph::dense(&encoder.matrix(start.train)?), &device)));
        let targets = || Sides { users: to_device(&tables.users, &device), items: to_device(&tables.items, &device) };
        Ok(Self {
            model: TwoTower::new(tables, &device),
            encoder,
            matrix: encoder.is_graph().then(dense).transpose()?,
            weights: Weights::new(encoder.weights(hyper.dim), hyper, start.seed, &device),
            dropout: Dropout::new(&encoder, [nodes, hyper.dim], start.seed),
            targets: matches!(encoder, Encoder::Bootstrap(_)).then(targets),
            loss: method.loss,
            score: tables.score,
            setting: LossSetting { temperature: hyper.temperature, items: tables.items.rows },
            update,
            users: optimizer(update.trains_users(), &tables.users, of_users),
            items: optimizer(update.trains_items(), &tables.items, of_items),
            all: Sides { users: all_rows(tables.users.rows), items: all_rows(tables.items.rows) },
            device,
            losses: Losses::default(),
        })
    }

    /// What the loss sees of all users and all items, from tables and weights.
    fn encode(&self, users: Tensor<2>, items: Tensor<2>, weights: &[Tensor<2>]) -> Sides<Tensor<2>> {
        let matrix = match (&self.encoder, &self.targets, &self.matrix) {
            (Encoder::Bootstrap(_), Some(targets), _) => {
                let beside = |rows: Tensor<2>, target: &Tensor<2>| {
                    Tensor::cat(vec![Bootstrap::predict(rows, weights), Tensor::from_inner(target.clone())], 1)
                };
                return Sides { users: beside(users, &targets.users), items: beside(items, &targets.items) };
            }
            (Encoder::LightGcn(_) | Encoder::Ngcf(_), _, Some(matrix)) => matrix,
            _ => return Sides { users, items },
        };
        let count = users.dims()[0];
        let rows = Tensor::cat(vec![users, items], 0);
        let outputs = match &self.encoder {
            Encoder::Ngcf(ngcf) => {
                let masks = self.dropout.masks(&self.device).into_iter().map(Tensor::from_inner);
                ngcf.encode(rows, weights, matrix, &masks.collect::<Vec<_>>())
            }
            Encoder::LightGcn(lightgcn) => lightgcn.encode(rows, matrix),
            Encoder::Mf(_) | Encoder::Bootstrap(_) => rows,
        };
        let [nodes, dim] = outputs.dims();
        Sides { users: outputs.clone().slice([0..count, 0..dim]), items: outputs.slice([count..nodes, 0..dim]) }
    }

    /// The loss of a batch whose users and items are rows of what `encoded` holds.
    fn forward(&self, batch: &Batch, encoded: Sides<Tensor<2>>) -> Value {
        let Sides { users, items } = encoded;
        let [count, dim] = items.dims();
        let constant = |tensor: Tensor<2>| Tensor::from_inner(tensor);
        if self.loss.catalogue().is_some() {
            let touched = &batch.touched_users;
            let mut chosen = vec![0f32; touched.len() * count];
            for (&slot, &item) in touched.slots.iter().zip(&batch.items) {
                chosen[slot as usize * count + item as usize] = 1.0;
            }
            let counts = |q: usize| f32::from(u8::from(touched.places(q).len() < count));
            let counted = (0..touched.len()).map(counts).sum::<f32>().max(1.0);
            let shares: Vec<f32> = (0..touched.len()).map(|q| counts(q) / counted).collect();
            let column = super::rows::column(shares, &self.device);
            let chosen = Tensor::from_data(TensorData::new(chosen, [touched.len(), count]), &self.device);
            let rows = LossRows {
                users: users.select(0, ids(&touched.rows, &self.device)),
                items: items.reshape([1, count, dim]),
                shares: constant(column.clone()),
                user_shares: constant(column),
                chosen: Some(constant(chosen)),
            };
            return self.loss.forward(self.setting, rows);
        }
        let rows = LossRows {
            users: users.select(0, ids(&batch.users, &self.device)),
            items: items.select(0, ids(&batch.items, &self.device)).reshape([batch.len(), batch.width(), dim]),
            shares: constant(shares(batch, &self.device)),
            user_shares: constant(user_shares(batch, &self.device)),
            chosen: None,
        };
        self.loss.forward(self.setting, rows)
    }

    /// Lets a tower follow the other one over the pairs of a batch.
    fn follow(&self, batch: &Batch, users: Tensor<2>, items: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        match self.update.follow() {
            Follow::Neither => (users, items),
            Follow::Users(aggregation) => {
                let towards = items.clone().select(0, ids(&batch.positives, &self.device));
                (aggregate(users, &batch.touched_users, &aggregation, towards), items)
            }
            Follow::Items(aggregation) => {
                let mut touched = Touched::default();
                Grouping::new(items.dims()[0]).group(&batch.positives, &mut touched);
                let towards = users.clone().select(0, ids(&batch.users, &self.device));
                (users, aggregate(items, &touched, &aggregation, towards))
            }
        }
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

/// A table as a leaf of the graph.
fn track(table: Tensor<2>) -> Tensor<2> {
    Tensor::from_inner(table).require_grad()
}

impl Engine for Autodiff {
    fn step(&mut self, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let (mut users, mut items) = (self.model.users.val(), self.model.items.val());
        if self.update.order() == Order::Pre {
            let (of_users, of_items) = self.follow(batch, users.inner(), items.inner());
            (users, items) = (track(of_users), track(of_items));
        }
        // The one line that makes it OneBP: a detached table is a constant of the loss.
        let seen = |table: &Tensor<2>, trained| if trained { table.clone() } else { table.clone().detach() };
        let (trains_users, trains_items) = (self.update.trains_users(), self.update.trains_items());
        let weights: Vec<Tensor<2>> = self.weights.values.iter().cloned().map(track).collect();
        let encoded = self.encode(seen(&users, trains_users), seen(&items, trains_items), &weights);
        // Behind a graph, rows of a side that does not learn are made of the other one's too.
        let passes = self.update.passes();
        let cut = |encoded: Tensor<2>, passes: bool| if passes { encoded } else { encoded.detach() };
        let encoded = Sides { users: cut(encoded.users, passes.users), items: cut(encoded.items, passes.items) };
        let mut chosen = Chosen::new(items.dims()[0]);
        let batch = match batch.keep {
            None => batch,
            Some(keep) => {
                let of_users = encoded.users.clone().inner().select(0, ids(&batch.users, &self.device));
                let of_items = encoded.items.clone().inner().select(0, ids(&batch.items, &self.device));
                let [_, dim] = of_items.dims();
                let pools = of_items.reshape([batch.len(), batch.width(), dim]);
                chosen.of(batch, keep, &keys(of_users, pools, keep.hardness)?)
            }
        };
        let Value { loss, counted } = self.forward(batch, encoded);
        let gradients = loss.backward();
        let (of_users, of_items) = (users.grad(&gradients), items.grad(&gradients));
        let of_weights: Option<Vec<_>> = weights.iter().map(|weight| weight.grad(&gradients)).collect();
        self.weights.learn(of_weights.ok_or_else(|| Error::Execution("no gradient reached a weight".into()))?);
        // A graph brings a gradient to every row, and so does a loss that looks at every item.
        let dense = self.encoder.is_graph();
        let whole = dense || self.loss.catalogue().is_some();
        let touched_users = if dense { &self.all.users } else { &batch.touched_users };
        let touched_items = if whole { &self.all.items } else { &batch.touched_items };
        let mut users = learn(&mut self.users, users.inner(), of_users, touched_users)?;
        let mut items = learn(&mut self.items, items.inner(), of_items, touched_items)?;
        if let (Encoder::Bootstrap(bootstrap), Some(targets)) = (&self.encoder, &mut self.targets) {
            let follow = |target: &Tensor<2>, online: &Tensor<2>| {
                target.clone().mul_scalar(bootstrap.momentum) + online.clone().mul_scalar(1.0 - bootstrap.momentum)
            };
            *targets = Sides { users: follow(&targets.users, &users), items: follow(&targets.items, &items) };
        }
        if self.update.order() == Order::Post {
            (users, items) = self.follow(batch, users, items);
        }
        self.dropout.next();
        let model = self.model.clone();
        self.model = TwoTower { users: model.users.map(|_| track(users)), items: model.items.map(|_| track(items)) };
        self.losses.push(loss.inner(), counted.map(Tensor::inner))
    }

    fn take_loss(&mut self) -> Result<f64, Error> {
        self.losses.take()
    }

    fn take_counted(&mut self) -> Result<Option<f64>, Error> {
        self.losses.take_counted()
    }

    fn tables(&self) -> Result<Tables, Error> {
        let (users, items) = (self.model.users.val().inner(), self.model.items.val().inner());
        let count = users.dims()[0];
        let [users, items] = match (&self.encoder, &self.matrix) {
            (Encoder::Bootstrap(_), _) => Bootstrap::embed([users, items], &self.weights.values),
            (encoder, Some(matrix)) => {
                let rows = Tensor::cat(vec![users, items], 0);
                let matrix = matrix.clone().inner();
                let outputs = match encoder {
                    Encoder::Ngcf(ngcf) => ngcf.encode(rows, &self.weights.values, &matrix, &[]),
                    Encoder::LightGcn(lightgcn) => lightgcn.encode(rows, &matrix),
                    Encoder::Mf(_) | Encoder::Bootstrap(_) => rows,
                };
                let [nodes, dim] = outputs.dims();
                [outputs.clone().slice([0..count, 0..dim]), outputs.slice([count..nodes, 0..dim])]
            }
            _ => [users, items],
        };
        Ok(Tables { users: to_host(users)?, items: to_host(items)?, score: self.score })
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
        if let Some(Sides { users, items }) = &self.targets {
            for (name, target) in TARGETS.into_iter().zip([users, items]) {
                state.store(name, TableState { weights: to_host(target.clone())?, ..TableState::default() });
            }
        }
        self.dropout.store(&mut state);
        self.weights.store(&mut state)?;
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
        let tables = Tables { users: users.weights, items: items.weights, score: self.score };
        if let Some(targets) = &mut self.targets {
            for (name, target) in TARGETS.into_iter().zip([&mut targets.users, &mut targets.items]) {
                let stored = state.table(name)?;
                stored.check(target.dims(), None).map_err(|error| Error::of_table(name, error))?;
                *target = to_device(&stored.weights, &self.device);
            }
        }
        self.model = TwoTower::new(&tables, &self.device);
        self.dropout.restore(state)?;
        self.weights.restore(state)?;
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
        let train = onebp_data::Csr::from_pairs(tables.users.rows, tables.items.rows, &[]).unwrap();
        let start = Start { tables: tables.clone(), train: &train, seed: 1 };
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
        Autodiff::new(method, &hyper, &start, device).unwrap()
    }

    fn table(rows: usize, dim: usize, f: impl Fn(usize, usize) -> f64) -> Table {
        let values = (0..rows * dim).map(|k| f(k / dim, k % dim) as f32).collect();
        Table { values, rows, dim }
    }

    fn gradients(engine: &Autodiff, batch: &Batch) -> (Vec<f32>, Vec<f32>) {
        let (users, items) = (engine.model.users.val(), engine.model.items.val());
        let encoded = Sides { users: users.clone(), items: items.clone() };
        let gradients = engine.forward(batch, encoded).loss.backward();
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
            score: Score::Product,
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
            score: Score::Product,
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
