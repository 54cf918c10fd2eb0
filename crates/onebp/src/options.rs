//! The options of a training run: one definition for the flags, the configuration file and the saved `config.toml`.
//!
//! Layers are TOML tables with the same keys: flags over file over preset over general defaults. The resolved table is
//! printed and saved, and trains the same model again.

use crate::failure::Failure;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use onebp_data::{Format, LoadOptions, Preparation, ReadOptions, SplitRule};
use onebp_model::{Hyperparameters, Method, device::DeviceName, update::Duplicates};
use onebp_train::{EngineName, Protocol, Settings};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// A flag whose values have names; the names are those of the configuration file.
fn choice<T, const K: usize>(names: [&'static str; K]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| T::deserialize(toml::Value::String(name)))
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
    /// How, and how much of, the towers learn by backpropagation.
    #[arg(long, value_parser = choice::<Method, _>(Method::ALL.map(Method::as_str)))]
    pub method: Option<Method>,
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
    /// What to do with users that occur more than once in a batch (under user-only: items; its default is `last`).
    #[arg(long, help_heading = "Model", value_parser = choice::<Duplicates, _>(Duplicates::ALL.map(Duplicates::as_str)))]
    pub duplicates: Option<Duplicates>,

    /// Epochs at most.
    #[arg(long, help_heading = "Training")]
    pub epochs: Option<u32>,
    /// Interactions per step.
    #[arg(long, help_heading = "Training")]
    pub batch_size: Option<usize>,
    /// Learning rate of Adam.
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
    /// Train or compute these too, on the same data under the same settings, and print them beside.
    #[arg(long, help_heading = "Evaluation", value_delimiter = ',', value_parser = PossibleValuesParser::new(comparisons()), value_name = "METHOD,...")]
    pub compare: Option<Vec<String>>,

    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub reading: DataOptions,
}

/// What a method can be compared with.
fn comparisons() -> Vec<&'static str> {
    std::iter::once("popularity").chain(Method::ALL.map(Method::as_str)).collect()
}

fn separator(text: &str) -> Result<char, String> {
    let text = if text == "\\t" || text == "tab" { "\t" } else { text };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err("one character is needed; write \\t or tab for a tabulator".into()),
    }
}

/// The options with every default in place, and where each value came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The options.
    pub options: TrainOptions,
    /// Key, value and layer of every option that is set, in alphabetical order.
    pub origins: Vec<(String, toml::Value, &'static str)>,
    /// The preset that applied.
    pub preset: Option<String>,
}

impl Resolved {
    /// Options that are complete already, as those of a run that goes on.
    pub fn unchanged(options: TrainOptions) -> Self {
        Self { options, origins: Vec::new(), preset: None }
    }
}

impl TrainOptions {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// A usage failure that names the file, the line and, for an unknown key, the nearest known one.
    pub fn from_file(path: &Path) -> Result<Self, Failure> {
        let text =
            std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        Self::from_toml(&text).map_err(|message| Failure::usage(format!("{}{message}", path.display())))
    }

    /// Parses a configuration; an error starts with `:LINE: ` where a line is known.
    fn from_toml(text: &str) -> Result<Self, String> {
        let located = |error: toml::de::Error| {
            let line = error.span().map(|span| format!(":{}", text[..span.start].lines().count().max(1)));
            format!("{}: {}", line.unwrap_or_default(), error.message().lines().next().unwrap_or("invalid"))
        };
        let table: toml::Table = toml::from_str(text).map_err(located)?;
        let known = known_keys();
        for (key, value) in &table {
            if !known.iter().any(|name| name == key) {
                let line = line_of(text, key);
                return Err(format!("{line}: unknown key `{key}`{}", suggestion(key, &known)));
            }
            // Key by key, so that an error can name its line.
            let single: toml::Table = [(key.clone(), value.clone())].into_iter().collect();
            if let Err(error) = Self::deserialize(single) {
                let problem = error.message().lines().next().unwrap_or("invalid").to_string();
                return Err(format!("{}: {key} = {value}: {problem}", line_of(text, key)));
            }
            let names = comparisons();
            let listed = value.as_array().filter(|_| key == "compare");
            let known = |method: &&toml::Value| !method.as_str().is_some_and(|name| names.contains(&name));
            if let Some(odd) = listed.and_then(|methods| methods.iter().find(known)) {
                return Err(format!("{}: compare = {odd}: expected some of {names:?}", line_of(text, key)));
            }
        }
        Self::deserialize(table).map_err(located)
    }

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

    /// Puts defaults under `flags` and `file`. `preset_of` says which preset goes with a data set's name.
    ///
    /// # Errors
    /// A usage failure for an unknown preset.
    pub fn resolve(flags: &Self, file: &Self, preset_of: impl Fn(&str) -> Option<String>) -> Result<Resolved, Failure> {
        let defaults = Defaults::load()?;
        let mut layers = vec![("flag", flags.to_table()?), ("file", file.to_table()?)];
        let explicit = layers.clone();
        let given = |key: &str| explicit.iter().find_map(|(_, table)| table.get(key)).cloned();
        let text = |key: &str| {
            let value = given(key).or_else(|| defaults.general.get(key).cloned());
            value.and_then(|value| value.as_str().map(str::to_string)).unwrap_or_default()
        };
        let method = text("method");
        let named = given("preset").and_then(|name| name.as_str().map(str::to_string));
        let preset = named.or_else(|| preset_of(&text("data")).filter(|name| defaults.preset.contains_key(name)));
        if let Some(name) = &preset {
            let mut table = defaults.preset.get(name).cloned().ok_or_else(|| {
                let known: Vec<String> = defaults.preset.keys().cloned().collect();
                Failure::usage(format!("unknown preset `{name}`{}", suggestion(name, &known)))
            })?;
            let by_method = table.remove("method").and_then(|methods| methods.get(&method)?.as_table().cloned());
            layers.extend(by_method.map(|table| ("preset", table)));
            layers.push(("preset", table));
        }
        layers.extend(defaults.method.get(&method).map(|table| ("method", table.clone())));
        layers.push(("default", defaults.general.clone()));

        let mut merged = toml::Table::new();
        let mut origins = Vec::new();
        // Patience watches validation: a default must not contradict a protocol without it.
        let protocol = text("protocol");
        let validated = toml::Value::try_from(Protocol::Validated).ok();
        let without_patience = validated.is_some_and(|name| name.as_str() != Some(protocol.as_str()));
        for (layer, mut table) in layers {
            if without_patience
                && !matches!(layer, "flag" | "file")
                && let Some(patience) = table.get_mut("patience")
            {
                *patience = toml::Value::Integer(0);
            }
            for (key, value) in table {
                if !merged.contains_key(&key) {
                    origins.push((key.clone(), value.clone(), layer));
                    merged.insert(key, value);
                }
            }
        }
        origins.sort_by(|a, b| a.0.cmp(&b.0));
        let options = Self::deserialize(merged).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Resolved { options, origins, preset })
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
        let protocol = need(self.protocol, "protocol")?;
        let patience = need(self.patience, "patience")?;
        Ok(Settings {
            method: need(self.method, "method")?,
            hyper: Hyperparameters {
                dim: need(self.dim, "dim")?,
                batch_size: need(self.batch_size, "batch-size")?,
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

/// Adds the general defaults to the help of the flags of `onebp train`.
pub fn with_defaults(train: clap::Command) -> clap::Command {
    let general = Defaults::load().map(|defaults| defaults.general).unwrap_or_default();
    train.mut_args(|argument| {
        let default = argument.get_long().and_then(|name| general.get(name));
        match (default, argument.get_help()) {
            (Some(default), Some(help)) => {
                let text = default.as_str().map_or_else(|| default.to_string(), str::to_string);
                let help = format!("{help} [default: {text}]");
                argument.help(help)
            }
            _ => argument,
        }
    })
}

/// The table of defaults.
#[derive(Deserialize)]
struct Defaults {
    general: toml::Table,
    method: BTreeMap<String, toml::Table>,
    preset: BTreeMap<String, toml::Table>,
}

impl Defaults {
    fn load() -> Result<Self, Failure> {
        toml::from_str(include_str!("defaults.toml")).map_err(|error| Failure::usage(error.to_string()))
    }
}

fn need<T>(value: Option<T>, name: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::usage(format!("config.toml: `{name}` is missing; take it from another run's file")))
}

/// All keys of a configuration file: the long flags of [`TrainOptions`].
fn known_keys() -> Vec<String> {
    let command = <TrainOptions as clap::Args>::augment_args(clap::Command::new("train"));
    command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_string).collect()
}

fn suggestion(word: &str, known: &[String]) -> String {
    let nearest = known.iter().max_by(|a, b| {
        let closeness = |name: &str| strsim::jaro_winkler(&word.replace('_', "-"), name);
        closeness(a).total_cmp(&closeness(b))
    });
    match nearest {
        Some(name) if strsim::jaro_winkler(&word.replace('_', "-"), name) > 0.75 => format!("; did you mean `{name}`?"),
        _ => format!("; known are {}", known.join(", ")),
    }
}

/// `:LINE` of a top-level key.
fn line_of(text: &str, key: &str) -> String {
    let starts = |line: &str| {
        let rest = line.trim_start().trim_start_matches(['"', '\'', '[']).strip_prefix(key);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_'))
    };
    text.lines().position(starts).map(|line| format!(":{}", line + 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: &TrainOptions, file: &TrainOptions) -> Resolved {
        TrainOptions::resolve(flags, file, |data| Some(data.to_string())).unwrap()
    }

    #[test]
    fn every_preset_resolves_for_every_method_and_passes_the_checks() {
        let defaults = Defaults::load().unwrap();
        for name in defaults.preset.keys() {
            for method in Method::ALL {
                let flags =
                    TrainOptions { preset: Some(name.clone()), method: Some(method), ..TrainOptions::default() };
                let resolved = resolve(&flags, &TrainOptions::default());
                resolved.options.settings().unwrap().check().unwrap();
            }
        }
    }

    #[test]
    fn flags_over_file_over_preset_over_general() {
        let flags = TrainOptions { dim: Some(8), data: Some("ml-1m".into()), ..TrainOptions::default() };
        let file = TrainOptions::from_toml("dim = 9\nlr = 0.25\n").unwrap();
        let resolved = resolve(&flags, &file);
        let options = &resolved.options;
        assert_eq!((options.dim, options.lr, options.epochs), (Some(8), Some(0.25), Some(200)));
        assert_eq!((options.weight_decay, options.beta), (Some(1e-6), Some(0.99)));
        assert_eq!(resolved.preset.as_deref(), Some("ml-1m"));

        let two_bp = TrainOptions { method: Some(Method::TwoBp), ..flags };
        let resolved = resolve(&two_bp, &TrainOptions::default());
        assert_eq!(resolved.options.lr, Some(5e-4), "the preset knows the method");
        let user_only = TrainOptions { method: Some(Method::UserOnly), ..Default::default() };
        let resolved = resolve(&user_only, &TrainOptions::default());
        assert_eq!(resolved.options.duplicates, Some(Duplicates::Last), "so do the defaults");
    }

    #[test]
    fn the_saved_configuration_resolves_to_itself() {
        let flags = TrainOptions { data: Some("ml-100k".into()), method: Some(Method::TwoBp), ..Default::default() };
        let resolved = resolve(&flags, &TrainOptions::default()).options;
        let saved = TrainOptions::from_toml(&resolved.to_toml().unwrap()).unwrap();
        assert_eq!(saved, resolved);
        assert_eq!(resolve(&TrainOptions::default(), &saved).options, resolved);
    }

    #[test]
    fn mistakes_in_a_file_name_the_line() {
        let error = |text: &str| TrainOptions::from_toml(text).unwrap_err();
        assert_eq!(error("dim = 8\nbatch_size = 3\n"), ":2: unknown key `batch_size`; did you mean `batch-size`?");
        assert!(error("zzz = 1").starts_with(":1: unknown key `zzz`; known are data, "));
        assert!(
            error("dim = 8\nlr = \"fast\"\n").starts_with(":2: lr = \"fast\": invalid type"),
            "{}",
            error("lr = \"fast\"")
        );
        assert!(error("method = \"thrice\"").contains("unknown variant `thrice`"));
        assert!(error("dim = \n").starts_with(":1: "), "{}", error("dim = \n"));
        assert!(error("compare = [\"magic\"]").contains("expected some of"));
    }

    /// The names that flags accept are exactly those that files accept.
    #[test]
    fn names_of_choices_are_those_of_files() {
        fn all<T: Serialize, const K: usize>(values: [T; K], names: [&str; K]) {
            let serialized = values.map(|value| toml::Value::try_from(value).unwrap().as_str().unwrap().to_string());
            assert_eq!(serialized, names);
        }
        all(Method::ALL, Method::ALL.map(Method::as_str));
        all(DeviceName::ALL, DeviceName::ALL.map(DeviceName::as_str));
        all(EngineName::ALL, EngineName::ALL.map(EngineName::as_str));
        all(Protocol::ALL, Protocol::ALL.map(Protocol::as_str));
        all(Duplicates::ALL, Duplicates::ALL.map(Duplicates::as_str));
        all(Format::ALL, Format::ALL.map(Format::name));
        all(SplitRule::ALL, SplitRule::ALL.map(SplitRule::name));
    }

    /// `onebp data` prepares without a table of defaults of its own.
    #[test]
    fn the_defaults_of_data_are_those_of_training() {
        let resolved = resolve(&TrainOptions::default(), &TrainOptions::default());
        assert_eq!(resolved.options.reading.load_options(), DataOptions::default().load_options());
    }
}
