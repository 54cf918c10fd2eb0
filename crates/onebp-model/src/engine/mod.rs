//! Engines carry out steps. All engines of a method agree to float rounding; they differ in speed.
//!
//! | engine | a step |
//! |---|---|
//! | [`Fused`] | no autodiff: the closed-form gradient of table lookup, optimizer and aggregation in one |
//! | [`Rows`] | autodiff over the gathered rows of the batch; row gradients go to row optimizers |
//! | [`Autodiff`] | autodiff over the whole tables, dense gradients, dense optimizer: the oracle |

mod autodiff;
mod fused;
mod losses;
mod rows;
mod state;
mod towers;

pub use autodiff::Autodiff;
pub use fused::Fused;
pub use rows::Rows;
pub use state::{Counters, State, Tensors, Times};

use crate::{
    Batch, Error, Hyperparameters, Method, Tables,
    device::{DeviceName, Found},
    loss::Loss,
};
use onebp_table::{
    FusedStep, Ranked, Ranking,
    cube::{CubeInfoNce, CubeTable},
    host::{HostStep, HostTable},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Trains two tables batch by batch.
pub trait Engine: Send {
    /// One step. The loss is kept on the device until [`Engine::take_loss`].
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn step(&mut self, batch: &Batch) -> Result<(), Error>;

    /// Mean loss of the steps since the last call; waits for the device. NaN without a step.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn take_loss(&mut self) -> Result<f64, Error>;

    /// Both tables as they would be evaluated now.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn tables(&self) -> Result<Tables, Error>;

    /// Ranks on the engine's own device, by the tables as they would be evaluated now. Nothing where that is left to the
    /// host: where the tables are there already, lists are very long, or a score is not finite.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails or the ranking does not fit the tables.
    fn rank(&mut self, ranking: &Ranking<'_>) -> Result<Option<Ranked>, Error> {
        let _ = ranking;
        Ok(None)
    }

    /// A copy of the whole state, the losses since the last [`Engine::take_loss`] included.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn state(&mut self) -> Result<State, Error>;

    /// Continues from a stored state.
    ///
    /// # Errors
    /// [`Error::State`] where tables are missing or have other shapes.
    fn restore(&mut self, state: &State) -> Result<(), Error>;

    /// Where the time of the steps since the last call went, by pass, as far as the engine knows.
    fn take_passes(&mut self) -> Vec<(&'static str, Duration)> {
        Vec::new()
    }
}

/// An engine by its name on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    /// The fastest engine that can do the method on the device.
    #[default]
    Auto,
    /// [`Fused`].
    Fused,
    /// [`Rows`].
    Rows,
    /// [`Autodiff`].
    Autodiff,
}

impl EngineName {
    /// All names, in the order in which help texts list them.
    pub const ALL: [EngineName; 4] = [Self::Auto, Self::Fused, Self::Rows, Self::Autodiff];

    /// The name on the command line and in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fused => "fused",
            Self::Rows => "rows",
            Self::Autodiff => "autodiff",
        }
    }

    /// Builds the engine for `method`, starting from `tables`, on a device.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the engine cannot do the method, [`Error::Execution`] or [`Error::DeviceUnavailable`]
    /// where the device refuses the tables.
    pub fn build(
        self,
        method: Method,
        hyper: &Hyperparameters,
        tables: &Tables,
        found: &Found,
    ) -> Result<Box<dyn Engine>, Error> {
        let device = &found.device;
        let on_gpu = found.name == DeviceName::Wgpu;
        let is_fused = method.loss == Loss::InfoNce || !on_gpu;
        let engine = match self {
            Self::Auto if is_fused => Self::Fused,
            Self::Auto => Self::Rows,
            named => named,
        };
        if engine == Self::Fused && !is_fused {
            let expected = "auto, rows or autodiff with this loss on wgpu, where only info-nce is fused";
            return Err(Error::Parameter { name: "engine", value: self.as_str().into(), expected });
        }
        let (temperature, follow) = (hyper.temperature, method.update(hyper).follow());
        Ok(match (engine, found.name) {
            (Self::Autodiff, _) => Box::new(Autodiff::new(method, hyper, tables, device)),
            (Self::Rows, DeviceName::Wgpu) => Box::new(Rows::<CubeTable>::new(method, hyper, tables, device)?),
            (Self::Rows, _) => Box::new(Rows::<HostTable>::new(method, hyper, tables, device)?),
            (_, DeviceName::Wgpu) => {
                Box::new(Fused::new(CubeInfoNce::new(temperature, follow), method, hyper, tables, device)?)
            }
            _ => {
                let step = match method.loss.in_closed_form(temperature) {
                    Some(loss) => HostStep::with_loss(loss, temperature, follow),
                    None => HostStep::new(temperature, follow),
                };
                Box::new(Fused::new(step, method, hyper, tables, device)?)
            }
        })
    }
}
