//! Layers of options: flags over file over preset over defaults, all of them TOML tables with the same keys.

use crate::{
    config_file::suggestion,
    failure::Failure,
    methods::{MethodName, Named, PARTS},
    options::TrainOptions,
};
use onebp_model::{encoder::Encoder, loss::Loss, part::Part, sampler::Sampler, update::UpdateName};
use onebp_train::Protocol;
use serde::Deserialize;
use std::{collections::BTreeMap, sync::LazyLock};

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
    /// Puts defaults under `flags` and `file`. `preset_of` says which preset goes with a data set's name.
    ///
    /// # Errors
    /// A usage failure for an unknown preset.
    pub fn resolve(flags: &Self, file: &Self, preset_of: impl Fn(&str) -> Option<String>) -> Result<Resolved, Failure> {
        let defaults = Defaults::get();
        let mut layers = vec![("flag", flags.to_table()?), ("file", file.to_table()?)];
        let explicit = layers.clone();
        let given = |key: &str| explicit.iter().find_map(|(_, table)| table.get(key)).cloned();
        let text = |key: &str| {
            let value = given(key).or_else(|| defaults.general.get(key).cloned());
            value.and_then(|value| value.as_str().map(str::to_string)).unwrap_or_default()
        };
        let method: MethodName = text("method").parse().map_err(Failure::usage)?;
        // Presets are for Adam; the step sizes of other optimizers have nothing in common with theirs.
        layers.extend(defaults.optimizer.get(&text("optimizer")).map(|table| ("optimizer", table.clone())));
        let mut of_data = None;
        let named = given("preset").and_then(|name| name.as_str().map(str::to_string));
        let preset = named.or_else(|| preset_of(&text("data")).filter(|name| defaults.preset.contains_key(name)));
        if let Some(name) = &preset {
            let mut table = defaults.preset.get(name).cloned().ok_or_else(|| {
                let known: Vec<String> = defaults.preset.keys().cloned().collect();
                Failure::usage(format!("unknown preset `{name}`{}", suggestion(name, &known)))
            })?;
            let by_method =
                table.remove("method").and_then(|methods| methods.get(method.as_str())?.as_table().cloned());
            layers.extend(by_method.map(|table| ("preset", table)));
            of_data = Some(("preset", table));
        }
        layers.extend(method.named().map(|named| ("method", named.options.clone())));
        layers.extend(of_data);
        layers.push(("default", defaults.general.clone()));

        let mut merged = toml::Table::new();
        let mut origins = Vec::new();
        // Patience watches validation: a default must not contradict a protocol without it.
        let without_patience = text("protocol") != Protocol::Validated.as_str();
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
}

/// Adds the defaults, and the names of presets, to the help of the flags of `onebp train`.
pub fn with_defaults(train: clap::Command) -> clap::Command {
    let defaults = Defaults::get();
    train.mut_args(|argument| {
        let (Some(name), Some(help)) = (argument.get_long(), argument.get_help()) else { return argument };
        let word = |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        let methods = defaults.method.iter().map(|named| (&named.name, &named.options));
        let owners = defaults.optimizer.iter().chain(methods.filter(|_| !PARTS.contains(&name)));
        let by_owner =
            owners.filter_map(|(owner, table)| table.get(name).map(|value| format!("; with {owner}: {}", word(value))));
        let help = match (name, defaults.general.get(name)) {
            ("encoder", _) => format!("{help} [default: that of the method; known: {}]", known(Encoder::all())),
            ("sampler", _) => format!("{help} [default: that of the method; known: {}]", known(Sampler::all())),
            ("loss", _) => format!("{help} [default: that of the method; known: {}]", known(Loss::all())),
            ("update", _) => format!("{help} [default: that of the method; known: {}]", known(UpdateName::ALL)),
            ("preset", _) => {
                let names: Vec<&str> = defaults.preset.keys().map(String::as_str).collect();
                format!("{help} [known: {}]", names.join(", "))
            }
            (_, Some(value)) => format!("{help} [default: {}{}]", word(value), by_owner.collect::<String>()),
            _ => return argument,
        };
        argument.help(help)
    })
}

/// Parts with their default parameters, for a help text.
fn known<T: serde::Serialize>(parts: impl IntoIterator<Item = T>) -> String {
    parts.into_iter().map(|part| Part(part).to_string()).collect::<Vec<_>>().join("; ")
}

/// The table of defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// For everything.
    pub general: toml::Table,
    /// By optimizer.
    pub optimizer: BTreeMap<String, toml::Table>,
    /// The methods.
    pub method: Vec<Named>,
    /// By data set.
    pub preset: BTreeMap<String, toml::Table>,
}

impl Defaults {
    /// What `defaults.toml` says.
    pub fn get() -> &'static Self {
        static DEFAULTS: LazyLock<Defaults> = LazyLock::new(|| {
            // The file is part of the program, and a test reads it.
            toml::from_str(include_str!("defaults.toml")).unwrap_or_default()
        });
        &DEFAULTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::DataOptions;
    use onebp_model::{Rule, update::Duplicates};

    fn resolve(flags: &TrainOptions, file: &TrainOptions) -> Resolved {
        TrainOptions::resolve(flags, file, |data| Some(data.to_string())).unwrap()
    }

    #[test]
    fn every_preset_resolves_for_every_method_and_passes_the_checks() {
        let defaults: Defaults = toml::from_str(include_str!("defaults.toml")).unwrap();
        for name in defaults.preset.keys() {
            for method in MethodName::all() {
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

        let two_bp = TrainOptions { method: Some("two-bp".parse().unwrap()), ..flags };
        let resolved = resolve(&two_bp, &TrainOptions::default());
        assert_eq!(resolved.options.lr, Some(5e-4), "the preset knows the method");
        let user_only = TrainOptions { method: Some("user-only".parse().unwrap()), ..Default::default() };
        let resolved = resolve(&user_only, &TrainOptions::default());
        assert_eq!(resolved.options.duplicates, Some(Duplicates::Last), "so do the defaults");
    }

    #[test]
    fn other_optimizers_have_rates_of_their_own() {
        let rate = |flags: &TrainOptions| resolve(flags, &TrainOptions::default()).options.lr;
        let ml_1m = TrainOptions { data: Some("ml-1m".into()), ..Default::default() };
        let sgd = TrainOptions { optimizer: Some(Rule::Sgd), ..ml_1m.clone() };
        assert_eq!(rate(&sgd), rate(&TrainOptions { optimizer: Some(Rule::Sgd), ..Default::default() }));
        assert_ne!(rate(&sgd), rate(&ml_1m), "a preset's rate is Adam's");
        assert_eq!(rate(&TrainOptions { lr: Some(0.5), ..sgd }), Some(0.5));
        let lazy = TrainOptions { optimizer: Some(Rule::LazyAdam), ..ml_1m.clone() };
        assert_eq!(rate(&lazy), rate(&ml_1m));
    }

    #[test]
    fn the_saved_configuration_resolves_to_itself() {
        let flags =
            TrainOptions { data: Some("ml-100k".into()), method: Some("mf".parse().unwrap()), ..Default::default() };
        let resolved = resolve(&flags, &TrainOptions::default()).options;
        let saved = TrainOptions::from_toml(&resolved.to_toml().unwrap()).unwrap();
        assert_eq!(saved, resolved);
        assert_eq!(resolve(&TrainOptions::default(), &saved).options, resolved);
    }

    /// `onebp data` prepares without a table of defaults of its own.
    #[test]
    fn the_defaults_of_data_are_those_of_training() {
        let resolved = resolve(&TrainOptions::default(), &TrainOptions::default());
        assert_eq!(resolved.options.reading.load_options(), DataOptions::default().load_options());
    }
}
