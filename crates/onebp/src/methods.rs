//! The methods by name: the `[[method]]` entries of `defaults.toml`.

use crate::{config_file::suggestion, failure::Failure, layers::Defaults};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use onebp_model::Method;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Keys of options that are parts of a method.
pub const PARTS: [&str; 4] = ["encoder", "sampler", "loss", "update"];

/// A method that has a name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Named {
    /// The name on the command line.
    pub name: String,
    /// Other names.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Who published it.
    pub source: String,
    /// Seconds of an epoch in Table 2 of the paper, on the authors' GPU: ML-100k, ML-1M, Gowalla, Yelp2018.
    pub paper_seconds: Option<[f64; 4]>,
    /// Options that differ from the general defaults, the parts above all.
    #[serde(default)]
    pub options: toml::Table,
}

/// The name of a method in `defaults.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MethodName(&'static str);

impl MethodName {
    /// All names.
    pub fn all() -> impl Iterator<Item = Self> {
        Defaults::get().method.iter().map(|named| Self(&named.name))
    }

    /// All names, other names included.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let names = |named: &'static Named| std::iter::once(&named.name).chain(&named.aliases).map(String::as_str);
        Defaults::get().method.iter().flat_map(names)
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// What is known of the method.
    pub fn named(self) -> Option<&'static Named> {
        Defaults::get().method.iter().find(|named| named.name == self.0)
    }

    /// The method's parts, by their keys.
    pub fn parts(self) -> toml::Table {
        let mut parts = Defaults::get().general.clone();
        parts.extend(self.named().map(|named| named.options.clone()).unwrap_or_default());
        parts.retain(|key, _| PARTS.contains(&key));
        parts
    }

    /// The method.
    ///
    /// # Errors
    /// A usage failure where a part does not exist.
    pub fn method(self) -> Result<Method, Failure> {
        Method::deserialize(self.parts()).map_err(|error| Failure::usage(error.to_string()))
    }

    /// For flags: names and aliases, turned into names.
    pub fn parser() -> impl TypedValueParser<Value = Self> {
        let value = |named: &'static Named| {
            PossibleValue::new(named.name.as_str()).aliases(named.aliases.iter().map(String::as_str))
        };
        PossibleValuesParser::new(Defaults::get().method.iter().map(value)).try_map(|name| name.parse())
    }
}

impl FromStr for MethodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Defaults::get()
            .method
            .iter()
            .find(|named| named.name == text || named.aliases.iter().any(|alias| alias == text));
        named.map(|named| Self(&named.name)).ok_or_else(|| {
            let known: Vec<String> = Self::all().map(|name| name.0.to_string()).collect();
            let aliases = Defaults::get().method.iter().flat_map(|named| named.aliases.clone());
            let near = suggestion(text, &known.iter().cloned().chain(aliases).collect::<Vec<_>>());
            format!("unknown method `{text}`{near}")
        })
    }
}

impl<'de> Deserialize<'de> for MethodName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_unique_and_every_method_is_whole() {
        let mut seen = std::collections::HashSet::new();
        for named in &Defaults::get().method {
            for name in named.aliases.iter().chain([&named.name]) {
                assert!(seen.insert(name), "{name} twice");
                let found: MethodName = name.parse().unwrap();
                assert_eq!(found.as_str(), named.name);
            }
            let method = named.name.parse::<MethodName>().unwrap().method().unwrap();
            method.loss.check().unwrap();
        }
        assert!("onbp".parse::<MethodName>().unwrap_err().contains("did you mean `onebp`?"));
        assert!("twobp".parse::<MethodName>().unwrap_err().contains("did you mean `two-bp`?"));
    }
}
