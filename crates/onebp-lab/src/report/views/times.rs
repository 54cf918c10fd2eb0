//! Seconds of an epoch of every row, beside the paper's.

use crate::{
    experiment::Row,
    report::{
        gathered::{Gathered, Mean, Place},
        section::{Block, Section},
        tabular::{Entry, Kind, Line, Tabular},
    },
};

const COLUMNS: [&str; 7] = [
    "d",
    "s/epoch",
    "times the first row",
    "s/evaluation",
    "paper, s/epoch",
    "paper, times the first row",
    "paper over ours",
];

/// Adds a table for each data set.
pub fn show(gathered: &Gathered<'_>, section: &mut Section) {
    for (data, protocol, rows) in gathered.tables() {
        section.blocks.push(Block::Table(table(gathered, data, protocol, &rows)));
    }
}

fn table(gathered: &Gathered<'_>, data: &str, protocol: &str, rows: &[&Row]) -> Tabular {
    let of = |row: &Row, value: fn(&crate::CellResult) -> f64| {
        let results = gathered.results(Place { data, protocol, row: &row.name, at: None });
        Some(Mean::of(&results.into_iter().map(value).collect::<Vec<_>>())?.value)
    };
    let epoch = |row: &Row| of(row, |result| result.seconds_per_epoch);
    let paper = |row: &Row| gathered.published(data, &row.name, "seconds");
    let time = |value: Option<f64>| value.map_or_else(|| Entry::text("-"), Entry::seconds);
    let ratio = |value: Option<f64>| {
        value.map_or_else(|| Entry::text("-"), |value| Entry::number(value, if value < 10.0 { 2 } else { 0 }))
    };
    let first = rows.first();
    let line = |row: &&Row| {
        let dim = of(row, |result| result.config.get("dim").and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN));
        let (ours, theirs) = (epoch(row), paper(row));
        let against = |value: Option<f64>, base: Option<f64>| value.zip(base).map(|(value, base)| value / base);
        let entries = vec![
            dim.map_or_else(Entry::default, |dim| Entry::number(dim, 0)),
            time(ours),
            ratio(against(ours, first.and_then(|row| epoch(row)))),
            time(of(row, |result| result.seconds_per_evaluation)),
            time(theirs),
            ratio(against(theirs, first.and_then(|row| paper(row)))),
            ratio(against(theirs, ours)),
        ];
        Line { label: row.label().into(), kind: Kind::Ours, entries }
    };
    Tabular {
        name: gathered.name(data, protocol),
        caption: format!(
            "{}: median seconds of training an epoch, {data}. {}",
            gathered.experiment.title, gathered.paper.source
        ),
        columns: COLUMNS.map(str::to_string).to_vec(),
        rows: rows.iter().map(line).collect(),
        notes: vec![format!("{}.", super::machines(gathered, data, protocol))],
    }
}
