//! Counts of the data sets: Table 1.

use crate::report::{
    gathered::Gathered,
    section::{Block, Section},
    tabular::{Entry, Kind, Line, Tabular},
};
use serde_json::Value;

const COLUMNS: [&str; 7] = ["users", "items", "interactions", "train", "test", "density, %", "item Gini"];

/// Adds the table to `section`.
pub fn show(gathered: &Gathered<'_>, section: &mut Section) {
    let mut table = Tabular {
        name: gathered.experiment.name.clone(),
        caption: format!("{}: users with a pair, items of the catalogue, pairs.", gathered.experiment.title),
        columns: COLUMNS.map(str::to_string).to_vec(),
        ..Tabular::default()
    };
    for data in gathered.data() {
        let result = gathered.placed.iter().filter(|placed| placed.cell.data == data).find_map(|placed| placed.result);
        let Some(result) = result else { continue };
        let statistics = &result.statistics;
        let of = |key: &str| statistics.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let pairs = of("train") + of("valid") + of("test");
        let density = 100.0 * of("density");
        let whole = [of("users"), of("items"), pairs, of("train"), of("test")].map(|value| Entry::number(value, 0));
        let entries = whole.into_iter().chain([Entry::number(density, 2), Entry::number(of("item_gini"), 2)]).collect();
        table.rows.push(Line { label: data.into(), kind: Kind::Ours, entries });
        let published = |column: &str| gathered.published(data, "data", column);
        let entries: Vec<Entry> = COLUMNS
            .iter()
            .map(|column| match (published(column), gathered.paper.suspicion(gathered.called(data), "data", column)) {
                (Some(value), doubt) => Entry {
                    doubt: doubt.map(str::to_string),
                    ..Entry::number(value, if column.starts_with("density") { 2 } else { 0 })
                },
                _ => Entry::default(),
            })
            .collect();
        let same = table.rows.last().is_some_and(|ours| {
            ours.entries.iter().zip(&entries).all(|(ours, paper)| paper.value.is_none() || ours.text == paper.text)
        });
        if entries.iter().any(|entry| entry.value.is_some()) {
            section.findings.push(format!(
                "{data}: {} as in the paper.",
                if same { "all counts are" } else { "not all counts are" }
            ));
            table.rows.push(Line { label: "paper".into(), kind: Kind::Paper, entries });
        }
        let doubts = gathered.paper.suspicious.iter().filter(|doubt| doubt.data == gathered.called(data));
        table.notes.extend(doubts.map(|doubt| format!("{data}: {}.", doubt.reason)));
    }
    section.blocks.push(Block::Table(table));
}
