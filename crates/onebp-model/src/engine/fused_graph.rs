//! The fused engine behind a graph encoder, on the CPU: the closed-form gradient of the embeddings of all nodes, dense, then
//! the encoder's adjoint and the row optimizers.

use super::{
    Engine, Start, State,
    encoding::{Encoding, Graph, HostPass},
    losses::Losses,
    towers::Towers,
};
use crate::{
    Batch, Error, Hyperparameters, Method, Tables,
    loss::ClosedForm,
    update::{Order, Update},
};
use burn::tensor::Device;
use onebp_table::{
    hardest::Chosen,
    host::{HostGradients, HostTable},
};

/// Two tables, a graph encoder, and gradients in closed form.
pub struct FusedGraph {
    towers: Towers<HostTable>,
    graph: Graph<HostTable>,
    gradients: HostGradients,
    update: Update,
    chosen: Chosen,
    losses: Losses,
}

impl FusedGraph {
    /// An engine for `method` whose loss has the closed form `form`, on `device`.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device refuses the tables.
    pub fn new(
        form: ClosedForm,
        method: Method,
        hyper: &Hyperparameters,
        start: &Start<'_>,
        device: &Device,
    ) -> Result<Self, Error> {
        let device = device.clone().without_autodiff();
        let loss = form.of_rows();
        let (update, users) = (method.update(hyper), start.tables.users.rows);
        let passes = update.passes();
        let wanted = [passes.users, passes.items];
        Ok(Self {
            towers: Towers::new(method, hyper, &start.tables, &device)?,
            graph: Graph::new(&method, hyper, start, Box::new(HostPass::new(hyper.dim, &device)), &device)?,
            gradients: HostGradients::new(loss, hyper.temperature, users, wanted, &device),
            update,
            chosen: Chosen::new(start.tables.items.rows),
            losses: Losses::default(),
        })
    }

    fn collect(&mut self) {
        let (losses, counted) = self.gradients.take_losses();
        self.losses.add(&losses, &counted);
    }
}

impl Engine for FusedGraph {
    fn step(&mut self, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.update.order() == Order::Pre {
            self.towers.follow(self.update.follow(), batch)?;
        }
        self.graph.begin(&mut self.towers)?;
        let batch = match batch.keep {
            None => batch,
            Some(keep) => {
                let keys = self.graph.keys(&mut self.towers, batch, keep.hardness)?;
                self.chosen.of(batch, keep, &keys)
            }
        };
        let gradient = self.gradients.of(&self.graph.outputs()?, batch)?;
        self.graph.descend(&mut self.towers, gradient)?;
        if self.update.order() == Order::Post {
            self.towers.follow(self.update.follow(), batch)?;
        }
        Ok(())
    }

    fn take_loss(&mut self) -> Result<f64, Error> {
        self.collect();
        self.losses.take()
    }

    fn take_counted(&mut self) -> Result<Option<f64>, Error> {
        self.collect();
        self.losses.take_counted()
    }

    fn tables(&self) -> Result<Tables, Error> {
        self.graph.embed(self.towers.view()?)
    }

    fn state(&mut self) -> Result<State, Error> {
        self.collect();
        let mut state = State::default();
        self.losses.store(&mut state)?;
        self.towers.store(&mut state)?;
        self.graph.store(&mut state)?;
        Ok(state)
    }

    fn restore(&mut self, state: &State) -> Result<(), Error> {
        self.towers.restore(state)?;
        self.graph.restore(state)?;
        self.losses = Losses::restore(state);
        Ok(())
    }
}
