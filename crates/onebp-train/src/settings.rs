//! What a run needs to know beside its data.

use crate::{Error, Parts, Protocol, memory};
use onebp_data::Dataset;
use onebp_model::{Hyperparameters, Method, engine::EngineName};
use serde::Serialize;
use std::time::Duration;

/// Resolved settings of a run. Serialized are those that decide what is computed: they must not change within a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// What the method is called; its parts decide.
    #[serde(skip)]
    pub name: String,
    /// The method.
    pub method: Method,
    /// Its hyper-parameters.
    pub hyper: Hyperparameters,
    /// Engine that carries out the steps.
    pub engine: EngineName,
    /// Epochs at most.
    #[serde(skip)]
    pub epochs: u32,
    /// Epochs between evaluations; the last epoch is always evaluated.
    pub eval_every: u32,
    /// Stop after this many evaluations without improvement of NDCG@20.
    #[serde(skip)]
    pub patience: Option<u32>,
    /// How numbers are selected and reported.
    pub protocol: Protocol,
    /// Share of each user's training items that `validated` holds out where the data brings no validation part.
    pub valid_ratio: f64,
    /// Seed of the validation split, the initial tables, the shuffles and the negatives.
    pub seed: u64,
    /// Time between checkpoints; zero means after every epoch.
    #[serde(skip)]
    pub checkpoint_every: Duration,
}

impl Settings {
    /// Checks these settings against `data`, and arranges it for them.
    ///
    /// # Errors
    /// Any [`Error`] of settings or data; nothing has been written then.
    pub fn arrange(&self, data: &Dataset) -> Result<Parts, Error> {
        self.check()?;
        let parts = Parts::new(data, self.protocol, self.valid_ratio, self.seed)?;
        self.check_memory(data.users.len(), data.items.len(), parts.fit.len())?;
        Ok(parts)
    }

    /// Checks that training M users and N items on `pairs` pairs can fit into this machine's memory.
    ///
    /// # Errors
    /// [`Error::Settings`] with the estimate.
    pub fn check_memory(&self, users: usize, items: usize, pairs: usize) -> Result<(), Error> {
        memory::check(self, users, items, pairs)
    }

    /// The settings that decide what is computed, as a checkpoint stores them: floats as text, which no parser changes.
    ///
    /// # Errors
    /// [`Error::Settings`] where a value has no JSON form.
    pub fn identity(&self) -> Result<serde_json::Value, Error> {
        fn as_text(value: serde_json::Value) -> serde_json::Value {
            match value {
                serde_json::Value::Number(number) => serde_json::Value::String(number.to_string()),
                serde_json::Value::Object(fields) => {
                    fields.into_iter().map(|(key, value)| (key, as_text(value))).collect()
                }
                other => other,
            }
        }
        serde_json::to_value(self).map(as_text).map_err(|error| Error::Settings {
            problem: error.to_string(),
            remedy: "give numbers that are finite".into(),
        })
    }

    /// Checks ranges and contradictions.
    ///
    /// # Errors
    /// [`Error::Settings`] or [`Error::Model`] names the first offence.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |problem: &str, remedy: &str| {
            Err(Error::Settings { problem: problem.to_string(), remedy: remedy.to_string() })
        };
        self.hyper.check()?;
        self.method.check(&self.hyper)?;
        if self.epochs == 0 {
            return refuse("epochs = 0 trains nothing", "give at least 1");
        }
        if self.eval_every == 0 {
            return refuse("eval-every = 0 is not a distance", "give at least 1; the last epoch is always evaluated");
        }
        if self.patience == Some(0) {
            return refuse("patience = 0 stops before it starts", "give at least 1 evaluation");
        }
        if self.patience.is_some() && self.protocol != Protocol::Validated {
            return refuse(
                &format!("patience would stop on test under protocol {}", self.protocol.as_str()),
                "use --protocol validated, or --patience 0",
            );
        }
        if !(1e-6..=1.0 - 1e-6).contains(&self.valid_ratio) {
            let problem = format!("valid-ratio = {} is out of range", self.valid_ratio);
            return refuse(&problem, "give a number between 0.000001 and 0.999999");
        }
        Ok(())
    }
}
