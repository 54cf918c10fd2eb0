//! Embeddings that depend on the graph of interactions: LightGCN and NGCF.
//!
//! A step passes all rows through the graph, takes the rows of the batch, puts their gradients where they were taken, and
//! passes those back through the adjoint, to all rows: dense gradients, and every row moves.

use super::{Encoding, Sides, all_rows, ngcf_pass::NgcfPass, weights::Weights};
use crate::{
    Batch, Error, Hyperparameters, Method, Tables,
    encoder::Encoder,
    engine::{Start, State, dropout::Dropout, towers::Towers},
    update::Update,
};
use burn::tensor::{Device, Tensor};
use onebp_table::{Embedding, Hardness, Sparse, SparseProduct, Touched, hardest::keys, portable::ids};

/// A graph encoder over the tables of type `E`.
pub(in crate::engine) struct Graph<E: Embedding> {
    encoder: Encoder,
    matrix: E::Sparse,
    /// The transposed matrix, where that is another one.
    adjoint: Option<E::Sparse>,
    weights: Weights,
    dropout: Dropout,
    all: Sides<Touched>,
    learns: Sides<bool>,
    outputs: Option<Tensor<2>>,
    pass: Box<dyn NgcfPass<E::Sparse>>,
    device: Device,
}

impl<E: Embedding> Graph<E> {
    /// The encoder of `method` on the graph of what `start` trains on; `pass` passes rows through NGCF.
    pub fn new(
        method: &Method,
        hyper: &Hyperparameters,
        start: &Start<'_>,
        pass: Box<dyn NgcfPass<E::Sparse>>,
        device: &Device,
    ) -> Result<Self, Error> {
        let encoder = method.encoder;
        let sparse = encoder.matrix(start.train)?;
        let update = method.update(hyper);
        let adjoint = match encoder {
            Encoder::Ngcf(ngcf) if ngcf.rw_self => Some(E::Sparse::new(&sparse.transposed(), device)?),
            _ => None,
        };
        Ok(Self {
            encoder,
            matrix: E::Sparse::new(&sparse, device)?,
            adjoint,
            weights: Weights::new(encoder.weights(hyper.dim), hyper, start.seed, device),
            dropout: Dropout::new(&encoder, [start.train.rows() + start.train.columns(), hyper.dim], start.seed),
            all: Sides { users: all_rows(start.train.rows()), items: all_rows(start.train.columns()) },
            learns: Sides { users: update.trains_users(), items: update.trains_items() },
            outputs: None,
            pass,
            device: device.clone(),
        })
    }

    /// Embeddings of all nodes in the step under way, `[M + N, D]`.
    pub fn outputs(&self) -> Result<Tensor<2>, Error> {
        self.outputs.clone().ok_or_else(|| Error::Execution("rows before the step began".into()))
    }

    /// Rows of the graph's nodes.
    fn select(&self, batch: &Batch) -> Result<Sides<Tensor<2>>, Error> {
        let first_item = self.all.users.len() as u32;
        let items: Vec<u32> = batch.items.iter().map(|item| first_item + item).collect();
        let outputs = self.outputs()?;
        Ok(Sides {
            users: outputs.clone().select(0, ids(&batch.users, &self.device)),
            items: outputs.select(0, ids(&items, &self.device)),
        })
    }

    /// Moves what learns, along the gradient of the embeddings of all nodes.
    pub fn descend(&mut self, towers: &mut Towers<E>, gradient: Tensor<2>) -> Result<(), Error> {
        self.dropout.next();
        self.outputs = None;
        let gradient = match &self.encoder {
            Encoder::Ngcf(ngcf) => {
                let adjoint = self.adjoint.as_ref().unwrap_or(&self.matrix);
                let (gradient, of_weights) = self.pass.backward(ngcf, gradient, &self.weights.values, adjoint)?;
                self.weights.learn(of_weights);
                gradient
            }
            // Linear and symmetric: the adjoint is the encoder.
            encoder => encoder.forward(gradient, &[], &self.matrix)?,
        };
        let ([nodes, dim], users) = (gradient.dims(), self.all.users.len());
        if self.learns.users {
            towers.users.update(&self.all.users, gradient.clone().slice([0..users, 0..dim]))?;
        }
        if self.learns.items {
            towers.items.update(&self.all.items, gradient.slice([users..nodes, 0..dim]))?;
        }
        Ok(())
    }

    /// Puts gradients of a batch's rows where they were taken: each node's are added up in the order of its places.
    fn scatter(&self, batch: &Batch, gradients: Sides<Option<Tensor<2>>>) -> Result<Option<Tensor<2>>, Error> {
        let mut parts = Vec::new();
        let (mut offsets, mut indices) = (vec![0], Vec::new());
        for (gradient, touched, rows) in [
            (gradients.users, &batch.touched_users, self.all.users.len()),
            (gradients.items, &batch.touched_items, self.all.items.len()),
        ] {
            let first = parts.iter().map(|part: &Tensor<2>| part.dims()[0] as u32).sum::<u32>();
            let mut next = 0;
            for row in 0..rows as u32 {
                if gradient.is_some() && touched.rows.get(next) == Some(&row) {
                    indices.extend(touched.places(next).iter().map(|place| first + place));
                    next += 1;
                }
                offsets.push(indices.len() as u32);
            }
            parts.extend(gradient);
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let all = Tensor::cat(parts, 0);
        let (shape, values) = ([offsets.len() - 1, all.dims()[0]], vec![1.0; indices.len()]);
        let sparse = Sparse::new(shape, offsets, indices, values)?;
        Ok(Some(E::Sparse::new(&sparse, &self.device)?.product(&all, None, 1.0)?))
    }
}

impl<E: Embedding + Send> Encoding<E> for Graph<E> {
    fn begin(&mut self, towers: &mut Towers<E>) -> Result<(), Error> {
        let users = towers.users.whole(&self.all.users)?;
        let items = towers.items.whole(&self.all.items)?;
        let inputs = Tensor::cat(vec![users, items], 0);
        let outputs = match &self.encoder {
            Encoder::Ngcf(ngcf) => {
                let masks = self.dropout.masks(&self.device);
                self.pass.forward(ngcf, inputs, &self.weights.values, &self.matrix, &masks)?
            }
            encoder => encoder.forward(inputs, &self.weights.values, &self.matrix)?,
        };
        self.outputs = Some(outputs);
        Ok(())
    }

    fn keys(&mut self, _: &mut Towers<E>, batch: &Batch, hardness: Hardness) -> Result<Vec<f32>, Error> {
        let Sides { users, items } = self.select(batch)?;
        let [rows, dim] = users.dims();
        Ok(keys(users, items.reshape([rows, batch.width(), dim]), hardness)?)
    }

    fn rows(&mut self, _: &mut Towers<E>, batch: &Batch) -> Result<Sides<Tensor<2>>, Error> {
        self.select(batch)
    }

    fn learn(
        &mut self,
        towers: &mut Towers<E>,
        batch: &Batch,
        gradients: Sides<Option<Tensor<2>>>,
    ) -> Result<(), Error> {
        match self.scatter(batch, gradients)? {
            Some(gradient) => self.descend(towers, gradient),
            None => Ok(()),
        }
    }

    /// Rows of a side that does not learn are made of rows of the other one too.
    fn tracked(&self, update: &Update) -> Sides<bool> {
        update.passes()
    }

    fn embed(&self, inputs: Tables) -> Result<Tables, Error> {
        self.encoder.encode_tables(inputs, &self.weights.values, &self.matrix, &self.device)
    }

    fn store(&self, state: &mut State) -> Result<(), Error> {
        self.dropout.store(state);
        self.weights.store(state)
    }

    fn restore(&mut self, state: &State) -> Result<(), Error> {
        self.dropout.restore(state)?;
        self.weights.restore(state)
    }
}
