//! The options of a training run: one definition for the flags, the configuration file and the saved `config.toml`.

use crate::{failure::Failure, methods::MethodName, output::Terminal};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use onebp_data::{Format, LoadOptions, Preparation, ReadOptions, SplitRule};
use onebp_model::{
    Hyperparameters, Method, Rule,
    device::{self, DeviceName, Found},
    encoder::Encoder,
    engine::EngineName,
    loss::Loss,
    part::Part,
    sampler::Sampler,
    update::{Duplicates, UpdateName},
};
use onebp_train::{Protocol, Settings};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{path::PathBuf, time::Duration};

/// A flag whose values have names; the names are those of the configuration file.
pub fn choice<T, const K: usize>(names: [&'static str; K]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| T::deserialize(toml::Value::String(name)))
}

/// Where a trained model is ranked.
#[derive(Clone, Debug, clap::Args)]
pub struct DeviceOption {
    /// Where to rank; `auto` takes a real GPU where there is one.
    #[arg(long, default_value = "auto", value_parser = choice::<DeviceName, _>(DeviceName::ALL.map(DeviceName::as_str)))]
    pub device: DeviceName,
}

impl DeviceOption {
    /// The device behind the name; tells which.
    ///
    /// # Errors
    /// A device failure where it is not available.
    pub fn find(&self, terminal: &Terminal) -> Result<Found, Failure> {
        let found = device::find(self.device)?;
        terminal.tell(&format!("device: {}", found.description));
        Ok(found)
    }
}

/// How to find, read and prepare data.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DataOptions {
    /// File format; guessed from the content otherwise.
    #[arg(long, help_heading = "Data", value_parser = choice::<Format, _>(Format::ALL.map(Format::name)))]
    pub format: Option<Format>,
    /// Column of users, by name or number from 1.
    #[arg(long, help_heading = "Data", value_name = "COLUMN")]
    pub user_column: Option<String>,
    /// Column of items, by name or number from 1.
    #[arg(long, help_heading = "Data", value_name = "COLUMN")]
    pub item_column: Option<String>,
    /// Column of ratings, by name or number from 1.
    #[arg(long, help_heading = "Data", value_name = "COLUMN")]
    pub rating_column: Option<String>,
    /// Column of times, by name or number from 1.
    #[arg(long, help_heading = "Data", value_name = "COLUMN")]
    pub time_column: Option<String>,
    /// Character between fields; guessed otherwise.
    #[arg(long, help_heading = "Data", value_name = "CHAR", value_parser = separator)]
    pub separator: Option<char>,
    /// Whether the first line names the columns; guessed otherwise.
    #[arg(long, help_heading = "Data", value_name = "BOOL")]
    pub header: Option<bool>,
    /// Keep only interactions with at least this rating.
    #[arg(long, help_heading = "Data", value_name = "RATING", allow_negative_numbers = true)]
    pub min_rating: Option<f64>,
    /// Keep only users with at least this many items (with --item-core: iteratively, the k-core).
    #[arg(long, help_heading = "Data", value_name = "ITEMS")]
    pub user_core: Option<u32>,
    /// Keep only items with at least this many users.
    #[arg(long, help_heading = "Data", value_name = "USERS")]
    pub item_core: Option<u32>,
    /// How to cut test from data without a split of its own.
    #[arg(long, help_heading = "Data", value_parser = choice::<SplitRule, _>(SplitRule::ALL.map(SplitRule::name)))]
    pub split: Option<SplitRule>,
    /// Share of the interactions that goes to test.
    #[arg(long, help_heading = "Data", value_name = "SHARE")]
    pub test_ratio: Option<f64>,
    /// Refuse oddities of a split (test pairs also in train, test items unknown to train) instead of warning.
    #[arg(long, help_heading = "Data", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub strict: Option<bool>,
    /// Seed of the split and of everything random in training.
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
}

/// The options of `onebp train`; every one may be left out.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TrainOptions {
    /// `synthetic`, the NAME of a folder in the data directory, or the path of a file or folder.
    #[arg(long, value_name = "NAME|PATH")]
    pub data: Option<String>,
    /// Folder of named data sets; $ONEBP_DATA otherwise, or `datasets`.
    #[arg(long, value_name = "DIR")]
    pub data_directory: Option<PathBuf>,
    /// A method by its name, see `onebp methods`; the parts below replace its own.
    #[arg(long, value_parser = MethodName::parser())]
    pub method: Option<MethodName>,
    /// Use the published settings of a known data set.
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// Where to compute; `auto` takes a real GPU where there is one.
    #[arg(long, value_parser = choice::<DeviceName, _>(DeviceName::ALL.map(DeviceName::as_str)))]
    pub device: Option<DeviceName>,
    /// How steps are carried out.
    #[arg(long, value_parser = choice::<EngineName, _>(EngineName::ALL.map(EngineName::as_str)))]
    pub engine: Option<EngineName>,
    /// Threads at most; all cores otherwise.
    #[arg(long)]
    pub threads: Option<u16>,

    /// Encoder and its parameters, as in `lightgcn,layers=2`.
    #[arg(long, help_heading = "Method", value_name = "NAME[,KEY=VALUE...]")]
    pub encoder: Option<Part<Encoder>>,
    /// Negative sampler and its parameters, as in `popularity,exponent=0.75`.
    #[arg(long, help_heading = "Method", value_name = "NAME[,KEY=VALUE...]")]
    pub sampler: Option<Part<Sampler>>,
    /// Loss and its parameters, as in `dcl,tau-plus=0.05`.
    #[arg(long, help_heading = "Method", value_name = "NAME[,KEY=VALUE...]")]
    pub loss: Option<Part<Loss>>,
    /// Which towers learn by backpropagation, and its parameters, as in `onebp,cut=output`.
    #[arg(long, help_heading = "Method", value_name = "NAME[,KEY=VALUE...]")]
    pub update: Option<Part<UpdateName>>,

    /// Embedding width d.
    #[arg(long, help_heading = "Model")]
    pub dim: Option<usize>,
    /// Negatives per positive, S.
    #[arg(long, help_heading = "Model")]
    pub negatives: Option<usize>,
    /// Softmax temperature.
    #[arg(long, help_heading = "Model")]
    pub temperature: Option<f64>,
    /// How much of a user's vector stays at each interaction.
    #[arg(long, help_heading = "Model")]
    pub beta: Option<f64>,
    /// What to do with users that occur more than once in a batch (under user-only: items).
    #[arg(long, help_heading = "Model", value_parser = choice::<Duplicates, _>(Duplicates::ALL.map(Duplicates::as_str)))]
    pub duplicates: Option<Duplicates>,

    /// Epochs at most.
    #[arg(long, help_heading = "Training")]
    pub epochs: Option<u32>,
    /// Interactions per step.
    #[arg(long, help_heading = "Training")]
    pub batch_size: Option<usize>,
    /// How the tables that learn move along their gradients.
    #[arg(long, help_heading = "Training", value_parser = choice::<Rule, _>(Rule::ALL.map(Rule::as_str)))]
    pub optimizer: Option<Rule>,
    /// Learning rate.
    #[arg(long, help_heading = "Training")]
    pub lr: Option<f64>,
    /// L2 penalty in the gradient.
    #[arg(long, help_heading = "Training")]
    pub weight_decay: Option<f64>,
    /// Keep the incomplete last batch of an epoch.
    #[arg(long, help_heading = "Training", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub keep_last: Option<bool>,
    /// Seconds between checkpoints; 0 = after every epoch.
    #[arg(long, help_heading = "Training", value_name = "SECONDS")]
    pub checkpoint_every: Option<u64>,

    /// How numbers are selected and reported.
    #[arg(long, help_heading = "Evaluation", value_parser = choice::<Protocol, _>(Protocol::ALL.map(Protocol::as_str)))]
    pub protocol: Option<Protocol>,
    /// Epochs between evaluations.
    #[arg(long, help_heading = "Evaluation", value_name = "EPOCHS")]
    pub eval_every: Option<u32>,
    /// Stop after this many evaluations without a better NDCG@20 on validation; 0 = never.
    #[arg(long, help_heading = "Evaluation", value_name = "EVALUATIONS")]
    pub patience: Option<u32>,
    /// Share of each user's training items held out for validation.
    #[arg(long, help_heading = "Evaluation", value_name = "SHARE")]
    pub valid_ratio: Option<f64>,
    /// Train or compute these too, on the same data with the settings of this run, and print them beside.
    #[arg(long, help_heading = "Evaluation", value_delimiter = ',', value_parser = PossibleValuesParser::new(comparisons()), value_name = "METHOD,...")]
    pub compare: Option<Vec<String>>,

    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub reading: DataOptions,
}

/// What a method can be compared with.
pub fn comparisons() -> Vec<&'static str> {
    std::iter::once("popularity").chain(MethodName::names()).collect()
}

fn separator(text: &str) -> Result<char, String> {
    let text = if text == "\\t" || text == "tab" { "\t" } else { text };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err("one character is needed; write \\t or tab for a tabulator".into()),
    }
}

impl TrainOptions {
    /// The options that are set, by their keys.
    ///
    /// # Errors
    /// A usage failure where a value has no TOML form.
    pub fn to_table(&self) -> Result<toml::Table, Failure> {
        toml::Table::try_from(self).map_err(|error| Failure::usage(error.to_string()))
    }

    /// These options where they are set, those of `under` elsewhere.
    ///
    /// # Errors
    /// A usage failure where a value has no TOML form.
    pub fn over(&self, under: &Self) -> Result<Self, Failure> {
        let mut table = under.to_table()?;
        table.extend(self.to_table()?);
        Self::deserialize(table).map_err(|error| Failure::usage(error.to_string()))
    }

    /// These options for another method: its parts, and everything else as it is.
    ///
    /// # Errors
    /// A usage failure where a part does not exist.
    pub fn as_method(&self, method: MethodName) -> Result<Self, Failure> {
        let mut table = self.to_table()?;
        table.extend(method.parts());
        table.insert("method".into(), method.as_str().into());
        Self::deserialize(table).map_err(|error| Failure::usage(error.to_string()))
    }

    /// The text of `config.toml`.
    ///
    /// # Errors
    /// A usage failure where the options cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String, Failure> {
        toml::to_string(self).map_err(|error| Failure::usage(error.to_string()))
    }

    /// The settings of the run. Every option must have been resolved.
    ///
    /// # Errors
    /// A usage failure naming an option without a value, as in an edited `config.toml`.
    pub fn settings(&self) -> Result<Settings, Failure> {
        need(self.data.as_ref(), "data")?;
        need(self.device, "device")?;
        let protocol = need(self.protocol, "protocol")?;
        let patience = need(self.patience, "patience")?;
        Ok(Settings {
            name: need(self.method, "method")?.to_string(),
            method: Method {
                encoder: need(self.encoder, "encoder")?.0,
                sampler: need(self.sampler, "sampler")?.0,
                loss: need(self.loss, "loss")?.0,
                update: need(self.update, "update")?.0,
            },
            hyper: Hyperparameters {
                dim: need(self.dim, "dim")?,
                batch_size: need(self.batch_size, "batch-size")?,
                optimizer: need(self.optimizer, "optimizer")?,
                learning_rate: need(self.lr, "lr")?,
                weight_decay: need(self.weight_decay, "weight-decay")?,
                beta: need(self.beta, "beta")?,
                negatives: need(self.negatives, "negatives")?,
                temperature: need(self.temperature, "temperature")?,
                duplicates: need(self.duplicates, "duplicates")?,
                keep_last: need(self.keep_last, "keep-last")?,
            },
            engine: need(self.engine, "engine")?,
            epochs: need(self.epochs, "epochs")?,
            eval_every: need(self.eval_every, "eval-every")?,
            patience: (patience > 0).then_some(patience),
            protocol,
            valid_ratio: need(self.valid_ratio, "valid-ratio")?,
            seed: need(self.reading.seed, "seed")?,
            checkpoint_every: Duration::from_secs(need(self.checkpoint_every, "checkpoint-every")?),
        })
    }
}

impl DataOptions {
    /// How to load a data set. What is left out keeps the general default.
    pub fn load_options(&self) -> LoadOptions {
        let default = Preparation::default();
        LoadOptions {
            read: ReadOptions {
                format: self.format,
                user_column: self.user_column.clone(),
                item_column: self.item_column.clone(),
                rating_column: self.rating_column.clone(),
                time_column: self.time_column.clone(),
                separator: self.separator,
                header: self.header,
            },
            preparation: Preparation {
                min_rating: self.min_rating,
                user_core: self.user_core.unwrap_or(default.user_core),
                item_core: self.item_core.unwrap_or(default.item_core),
                split: self.split.unwrap_or(default.split),
                test_ratio: self.test_ratio.unwrap_or(default.test_ratio),
                seed: self.seed.unwrap_or(default.seed),
            },
            strict: self.strict.unwrap_or(false),
        }
    }
}

fn need<T>(value: Option<T>, name: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::usage(format!("config.toml: `{name}` is missing; take it from another run's file")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that flags accept are exactly those that files accept.
    #[test]
    fn names_of_choices_are_those_of_files() {
        fn all<T: Serialize, const K: usize>(values: [T; K], names: [&str; K]) {
            let serialized = values.map(|value| toml::Value::try_from(value).unwrap().as_str().unwrap().to_string());
            assert_eq!(serialized, names);
        }
        all(DeviceName::ALL, DeviceName::ALL.map(DeviceName::as_str));
        all(EngineName::ALL, EngineName::ALL.map(EngineName::as_str));
        all(Rule::ALL, Rule::ALL.map(Rule::as_str));
        all(Protocol::ALL, Protocol::ALL.map(Protocol::as_str));
        all(Duplicates::ALL, Duplicates::ALL.map(Duplicates::as_str));
        all(Format::ALL, Format::ALL.map(Format::name));
        all(SplitRule::ALL, SplitRule::ALL.map(SplitRule::name));
    }
}
