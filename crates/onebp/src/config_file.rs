//! Configuration files: the options of a run as TOML, with mistakes named by file, line and nearest known key.

use crate::{
    failure::Failure,
    methods::PARTS,
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

    /// Parses a configuration, in which `[method]` may hold a name and the parts of a method; an error starts with `:LINE: ` where a line is known.
    pub(crate) fn from_toml(text: &str) -> Result<Self, String> {
        let located = |error: toml::de::Error| {
            let line = error.span().map(|span| format!(":{}", text[..span.start].matches('\n').count() + 1));
            format!("{}: {}", line.unwrap_or_default(), error.message().lines().next().unwrap_or("invalid"))
        };
        let mut table: toml::Table = toml::from_str(text).map_err(located)?;
        if let Some(toml::Value::Table(method)) = table.get("method").cloned() {
            table.remove("method");
            for (key, value) in method {
                let key = if key == "name" { "method".to_string() } else { key };
                if key != "method" && !PARTS.contains(&key.as_str()) {
                    let known: Vec<String> = ["name"].into_iter().chain(PARTS).map(str::to_string).collect();
                    let line = line_of(text, &key);
                    return Err(format!("{line}: unknown key `{key}` of [method]{}", suggestion(&key, &known)));
                }
                if table.insert(key.clone(), value).is_some() {
                    return Err(format!("{}: `{key}` is given twice", line_of(text, &key)));
                }
            }
        }
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

    /// Parts as text or as tables, at the top or under `[method]`.
    #[test]
    fn a_method_may_be_a_table() {
        let flat = TrainOptions::from_toml(
            "method = \"dcl\"\nencoder = \"lightgcn,layers=2\"\nloss = \"dcl,tau-plus=0.05,positives=5\"\nupdate = \"onebp\"\n",
        );
        let table = TrainOptions::from_toml(
            "[method]\nname = \"dcl\"\nencoder = { name = \"lightgcn\", layers = 2 }\nupdate = \"onebp\"\n\
             [method.loss]\nname = \"dcl\"\ntau-plus = 0.05\n",
        );
        assert_eq!(flat.unwrap(), table.unwrap());
        let error = |text: &str| TrainOptions::from_toml(text).unwrap_err();
        assert!(
            error("[method]\nlos = \"dcl\"\n").starts_with(":2: unknown key `los` of [method]; did you mean `loss`?")
        );
        assert!(error("loss = \"dcl\"\n[method]\nloss = \"hcl\"\n").contains("`loss` is given twice"));
        assert!(error("[method]\nencoder = { name = \"lightgcn\", layer = 2 }\n").contains("unknown field `layer`"));
        assert!(error("[method]\nencoder = { layers = 2 }\n").contains("missing field `name`"));
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
        assert!(error("method = \"thrice\"").contains("unknown method `thrice`; known are onebp, "));
        assert!(error("dim = \n").starts_with(":1: "), "{}", error("dim = \n"));
        assert!(error("compare = [\"magic\"]").contains("expected some of"));
    }
}
