//! `onebp methods`.

use crate::{
    failure::Failure,
    methods::MethodName,
    output::{self, Terminal},
};
use onebp_model::{Method, loss::Loss, part::Part, sampler::Sampler, update::UpdateName};
use serde::Serialize;

/// A line of the list.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    aliases: &'static [String],
    #[serde(flatten)]
    method: Method,
    source: &'static str,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed {
    methods: Vec<Line>,
    samplers: Vec<Part<Sampler>>,
    losses: Vec<Part<Loss>>,
    updates: [UpdateName; 3],
}

pub fn run(terminal: Terminal) -> Result<(), Failure> {
    let lines = MethodName::all().filter_map(|name| Some((name, name.named()?))).map(|(name, named)| {
        Ok(Line { name: name.as_str(), aliases: &named.aliases, method: name.method()?, source: &named.source })
    });
    let methods = lines.collect::<Result<Vec<_>, Failure>>()?;
    if terminal.json {
        let samplers = Sampler::all().map(Part).into();
        return output::json(&Printed {
            methods,
            samplers,
            losses: Loss::all().map(Part).into(),
            updates: UpdateName::ALL,
        });
    }
    let cells = |line: &Line| {
        let Method { sampler, loss, update } = line.method;
        let names =
            std::iter::once(line.name).chain(line.aliases.iter().map(String::as_str)).collect::<Vec<_>>().join(", ");
        let parts = [Part(sampler).to_string(), Part(loss).to_string(), update.as_str().into(), line.source.into()];
        (names, parts.into())
    };
    output::rows(&["method", "sampler", "loss", "update", "source"], &methods.iter().map(cells).collect::<Vec<_>>())
}
