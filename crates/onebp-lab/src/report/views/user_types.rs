//! What one user is recommended, by type: Figure 7.

use crate::{
    chart,
    experiment::{Measure, Row},
    measures::MapOfItems,
    report::{
        figure,
        gathered::Gathered,
        section::{Block, Section},
        tabular::{Entry, Kind, Line, Tabular},
    },
};

const COLUMNS: [&str; 7] = ["training items", "test items", "recommended", "share, %", "hits", "P", "R"];

/// Adds bars and a table for each data set and protocol.
pub fn show(gathered: &Gathered<'_>, section: &mut Section) {
    for (data, protocol, rows) in gathered.tables() {
        let maps: Vec<(&Row, MapOfItems)> = gathered.measured(data, protocol, &rows, Measure::Map);
        let Some((_, first)) = maps.first() else { continue };
        let (k, types) = (first.types.k, first.types.types.len());
        let shares = |map: &MapOfItems| map.types.types.iter().map(|kind| kind.share).collect::<Vec<_>>();
        let stacked = chart::Stacked {
            bars: maps.iter().map(|(row, _)| row.label().into()).collect(),
            parts: (1..=types).map(|rank| format!("type of rank {rank}")).collect(),
            shares: maps.iter().map(|(_, map)| shares(map)).collect(),
        };
        let caption = format!(
            "Types of the {k} items recommended to user {}, {data}; types in the order of the user's training items.",
            first.user
        );
        let id = gathered.name(data, protocol);
        let labels = figure::labels(&id, &caption, "", "share of the list, %");
        section.draw(vec![figure::of(caption, chart::stacked(&labels, &stacked))]);
        section.blocks.push(Block::Table(table(&id, data, &maps)));
        section.findings.extend(finding(data, protocol, &maps));
    }
}

fn table(name: &str, data: &str, maps: &[(&Row, MapOfItems)]) -> Tabular {
    let mut table = Tabular {
        name: name.into(),
        caption: format!(
            "The list of the user by type, {data}: P of the recommended items of a type, R of its test items."
        ),
        columns: COLUMNS.map(str::to_string).to_vec(),
        ..Tabular::default()
    };
    for (row, map) in maps {
        table.rows.push(Line {
            label: format!("{}, user {}", row.label(), map.user),
            kind: Kind::Group,
            entries: Vec::new(),
        });
        for (rank, kind) in (1..).zip(&map.types.types) {
            let count = |value: u32| Entry::number(f64::from(value), 0);
            let entries = vec![
                count(kind.train),
                count(kind.test),
                count(kind.recommended),
                Entry::number(100.0 * kind.share, 0),
                count(kind.hits),
                Entry::number(kind.precision, 2),
                kind.recall.map_or_else(|| Entry::text("-"), |recall| Entry::number(recall, 2)),
            ];
            table.rows.push(Line { label: format!("type of rank {rank}"), kind: Kind::Ours, entries });
        }
    }
    table.notes.push("Each model has clusters of its own: a type of one is not a type of the other.".into());
    table
}

fn finding(data: &str, protocol: &str, maps: &[(&Row, MapOfItems)]) -> Option<String> {
    let words = maps.iter().filter_map(|(row, map)| {
        let minority = map.types.types.get(1..)?;
        let (listed, hits): (u32, u32) =
            minority.iter().fold((0, 0), |sum, kind| (sum.0 + kind.recommended, sum.1 + kind.hits));
        Some(format!("{listed} of {} from minority types with {hits} hits under {}", map.types.k, row.label()))
    });
    let words: Vec<String> = words.collect();
    let user = &maps.first()?.1.user;
    Some(format!("{data}, `{protocol}`, user {user}: {}.", words.join(", ")))
}
