//! `onebp methods`.

use crate::{
    failure::Failure,
    methods::{MethodName, Named},
    output::{self, Terminal},
};
use onebp_model::{Method, encoder::Encoder, loss::Loss, part::Part, sampler::Sampler, update::UpdateName};
use serde::Serialize;

/// A line of the list.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    aliases: &'static [String],
    #[serde(flatten)]
    method: Method,
    source: &'static str,
    /// Of an epoch in Table 2: ML-100k, ML-1M, Gowalla, Yelp2018.
    paper_seconds: Option<[f64; 4]>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed {
    methods: Vec<Line>,
    encoders: Vec<Part<Encoder>>,
    samplers: Vec<Part<Sampler>>,
    losses: Vec<Part<Loss>>,
    updates: Vec<Part<UpdateName>>,
}

pub fn run(terminal: Terminal) -> Result<(), Failure> {
    let lines = MethodName::all().filter_map(|name| Some((name, name.named()?))).map(|(name, named)| {
        let Named { aliases, source, paper_seconds, .. } = named;
        Ok(Line { name: name.as_str(), aliases, method: name.method()?, source, paper_seconds: *paper_seconds })
    });
    let methods = lines.collect::<Result<Vec<_>, Failure>>()?;
    if terminal.json {
        return output::json(&Printed {
            methods,
            encoders: Encoder::all().into_iter().map(Part).collect(),
            samplers: Sampler::all().into_iter().map(Part).collect(),
            losses: Loss::all().into_iter().map(Part).collect(),
            updates: UpdateName::ALL.into_iter().map(Part).collect(),
        });
    }
    let cells = |line: &Line| {
        let Method { encoder, sampler, loss, update } = line.method;
        let names =
            std::iter::once(line.name).chain(line.aliases.iter().map(String::as_str)).collect::<Vec<_>>().join(", ");
        let parts =
            [Part(encoder).to_string(), Part(sampler).to_string(), Part(loss).to_string(), Part(update).to_string()];
        (names, parts.into_iter().chain([line.source.to_string()]).collect())
    };
    output::rows(
        &["method", "encoder", "sampler", "loss", "update", "source"],
        &methods.iter().map(cells).collect::<Vec<_>>(),
    )
}
