//! Engines carry out steps. All engines of a method agree to float rounding; they differ in speed.
//!
//! | engine | a step |
//! |---|---|
//! | [`Fused`] | no autodiff: table lookup and a loss in closed form, optimizer and aggregation in one |
//! | [`FusedBootstrap`] | the same of BUIR, on the CPU: rows, their targets and the predictor |
//! | [`FusedGraph`] | the same behind a graph encoder, on the CPU: dense gradients and the encoder's adjoint |
//! | [`Rows`] | autodiff over the rows of the batch; row gradients go to row optimizers, through the encoder where there is one |
//! | [`Autodiff`] | autodiff over the whole tables, dense gradients, dense optimizer: the oracle |

mod autodiff;
mod dropout;
mod encoding;
mod fused;
mod fused_bootstrap;
mod fused_graph;
mod losses;
mod rows;
mod start;
mod state;
mod towers;
mod whole_users;

pub use autodiff::Autodiff;
pub use fused::Fused;
pub use fused_bootstrap::FusedBootstrap;
pub use fused_graph::FusedGraph;
pub use rows::Rows;
pub use start::Start;
pub use state::{Counters, State, Tensors, Times};

use crate::{
    Batch, Error, Hyperparameters, Method, Tables,
    device::{DeviceName, Found},
    encoder::Encoder,
    loss::{ClosedForm, LossSetting},
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

    /// Mean share of the rows that the loss counts ([`Objective::counts`](crate::loss::Objective::counts)), over the steps
    /// since the last call; waits for the device. Nothing where the loss counts none.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    fn take_counted(&mut self) -> Result<Option<f64>, Error>;

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

    /// Builds the engine for `method`, on a device.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the engine cannot do the method, [`Error::Execution`] or [`Error::DeviceUnavailable`]
    /// where the device refuses the tables.
    pub fn build(
        self,
        method: Method,
        hyper: &Hyperparameters,
        start: &Start<'_>,
        found: &Found,
    ) -> Result<Box<dyn Engine>, Error> {
        let (device, on_gpu) = (&found.device, found.name == DeviceName::Wgpu);
        let setting = LossSetting { temperature: hyper.temperature, items: start.tables.items.rows };
        let form = method.loss.in_closed_form(setting).filter(|form| method.is_fused(form, on_gpu));
        let follow = method.update(hyper).follow();
        Ok(match (self, form, on_gpu) {
            (Self::Auto | Self::Fused, Some(_), true) => {
                Box::new(Fused::new(CubeInfoNce::new(hyper.temperature, follow), method, hyper, start, device)?)
            }
            (Self::Auto | Self::Fused, Some(_), false) if let Encoder::Bootstrap(bootstrap) = method.encoder => {
                Box::new(FusedBootstrap::new(bootstrap, method, hyper, start, device)?)
            }
            (Self::Auto | Self::Fused, Some(form), false) if method.encoder.is_graph() => {
                Box::new(FusedGraph::new(form, method, hyper, start, device)?)
            }
            (Self::Auto | Self::Fused, Some(form), false) => {
                let step = match form.of_rows() {
                    None => HostStep::new(hyper.temperature, follow),
                    Some(loss) => HostStep::with_loss(loss, hyper.temperature, follow),
                };
                Box::new(Fused::new(step, method, hyper, start, device)?)
            }
            (Self::Fused, None, _) => {
                let expected = "auto, rows or autodiff: fused are mf, lightgcn, ngcf and bootstrap with a loss in closed \
                                form, on wgpu only mf with info-nce";
                return Err(Error::Parameter { name: "engine", value: self.as_str().into(), expected });
            }
            (Self::Autodiff, ..) => Box::new(Autodiff::new(method, hyper, start, device)?),
            (_, _, true) => Box::new(Rows::<CubeTable>::new(method, hyper, start, device)?),
            (_, _, false) => Box::new(Rows::<HostTable>::new(method, hyper, start, device)?),
        })
    }
}

impl Method {
    /// Whether the fused step can do it with a loss of this form.
    pub(crate) fn is_fused(&self, form: &ClosedForm, on_gpu: bool) -> bool {
        let on_device = !on_gpu || (matches!(form, ClosedForm::InfoNce) && self.encoder == Encoder::MF);
        let bootstraps = matches!(self.encoder, Encoder::Bootstrap(_));
        bootstraps == matches!(form, ClosedForm::Cosines) && on_device
    }
}
