//! The fused engine of BUIR, on the CPU: predictions and their gradients in closed form, rows, targets and predictor in one.

use super::{Engine, Start, State, losses::Losses, state::TARGETS, towers::Towers};
use crate::{Batch, Error, Hyperparameters, Method, Tables, encoder::Bootstrap};
use burn::tensor::Device;
use onebp_table::{
    Embedding,
    host::{HostBootstrap, HostTable},
    portable::to_device,
};
use std::time::Duration;

/// Two online tables with their targets and the predictor.
pub struct FusedBootstrap {
    towers: Towers<HostTable>,
    step: HostBootstrap,
    /// Names of the step's parts in a stored state.
    names: [String; 4],
    losses: Losses,
    device: Device,
}

impl FusedBootstrap {
    /// An engine for `method`, whose encoder is `bootstrap`, on `device`.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device refuses the tables.
    pub fn new(
        bootstrap: Bootstrap,
        method: Method,
        hyper: &Hyperparameters,
        start: &Start<'_>,
        device: &Device,
    ) -> Result<Self, Error> {
        let device = device.clone().without_autodiff();
        let mut towers: Towers<HostTable> = Towers::new(method, hyper, &start.tables, &device)?;
        let (weights, optimizer) = (Bootstrap::weights(hyper.dim), hyper.optimizer(None));
        let predictor =
            |which: usize| HostTable::new(&weights[which].init(which, start.seed), Some(&optimizer), &device);
        let predictor = [predictor(0)?, predictor(1)?];
        let online = [&mut towers.users, &mut towers.items];
        let step = HostBootstrap::new(bootstrap.momentum, online, predictor, &device)?;
        let [matrix, bias] = [0, 1].map(|which| weights[which].name.clone());
        let [users, items] = TARGETS.map(String::from);
        Ok(Self { towers, step, names: [users, items, matrix, bias], losses: Losses::default(), device })
    }

    fn collect(&mut self) {
        self.losses.add(&self.step.take_losses(), &[]);
    }
}

impl Engine for FusedBootstrap {
    fn step(&mut self, batch: &Batch) -> Result<(), Error> {
        Ok(self.step.step([&mut self.towers.users, &mut self.towers.items], batch)?)
    }

    fn take_loss(&mut self) -> Result<f64, Error> {
        self.collect();
        self.losses.take()
    }

    fn take_counted(&mut self) -> Result<Option<f64>, Error> {
        self.losses.take_counted()
    }

    fn tables(&self) -> Result<Tables, Error> {
        let [.., matrix, bias] = self.step.parts();
        let weights = [to_device(&matrix.view()?, &self.device), to_device(&bias.view()?, &self.device)];
        Bootstrap::embed_tables(self.towers.view()?, &weights, &self.device)
    }

    fn state(&mut self) -> Result<State, Error> {
        self.collect();
        // Rows and targets of a stored state stand at the last step, as those of the other engines do.
        self.step.settle([&mut self.towers.users, &mut self.towers.items])?;
        let mut state = State::default();
        self.losses.store(&mut state)?;
        self.towers.store(&mut state)?;
        for (name, part) in self.names.iter().zip(self.step.parts()) {
            state.store(name, part.state()?);
        }
        Ok(state)
    }

    fn restore(&mut self, state: &State) -> Result<(), Error> {
        self.towers.restore(state)?;
        for (name, part) in self.names.iter().zip(self.step.parts_mut()) {
            part.restore(&state.table(name)?).map_err(|error| Error::of_table(name, error))?;
        }
        self.step.resume([&mut self.towers.users, &mut self.towers.items])?;
        self.losses = Losses::restore(state);
        Ok(())
    }

    fn take_passes(&mut self) -> Vec<(&'static str, Duration)> {
        self.step.take_passes()
    }
}
