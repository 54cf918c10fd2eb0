//! Configuration files: the options of a run as TOML, with mistakes named by file, line and nearest known key.

use crate::{
    failure::Failure,
    options::{TrainOptions, comparisons},
};
use serde::Deserialize;
use std::path::Path;

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
    pub(crate) fn from_toml(text: &str) -> Result<Self, String> {
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
}

/// All keys of a configuration file: the long flags of [`TrainOptions`].
fn known_keys() -> Vec<String> {
    let command = <TrainOptions as clap::Args>::augment_args(clap::Command::new("train"));
    command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_string).collect()
}

/// `; did you mean ...?`, or all that is known where nothing is near.
pub fn suggestion(word: &str, known: &[String]) -> String {
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
        assert!(error("method = \"thrice\"").contains("unknown method `thrice`; known are onebp, "));
        assert!(error("dim = \n").starts_with(":1: "), "{}", error("dim = \n"));
        assert!(error("compare = [\"magic\"]").contains("expected some of"));
    }
}
