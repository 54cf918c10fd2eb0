//! Calibration and diversity of lists, and which users and items gain.

use super::comparison;
use crate::{
    experiment::{Measure, Row},
    measures::BeyondAccuracy,
    report::{
        gathered::Gathered,
        section::{Block, Section},
        tabular::{Entry, Kind, Line, Tabular, fixed, share},
    },
};

const LISTS: [&str; 7] = [
    "novelty, bits",
    "tail share",
    "entropy",
    "personalisation",
    "diversity by genre",
    "diversity by row",
    "miscalibration, bits",
];

/// Adds three tables for each data set and protocol, and the metrics.
pub fn show(gathered: &Gathered<'_>, section: &mut Section) {
    for (data, protocol, rows) in gathered.tables() {
        let found: Vec<(&Row, BeyondAccuracy)> = gathered.measured(data, protocol, &rows, Measure::Beyond);
        if found.is_empty() {
            continue;
        }
        let name = gathered.name(data, protocol);
        let caption = format!("{data}, protocol `{protocol}`");
        section.blocks.push(Block::Table(lists(&name, &caption, &found)));
        section.blocks.push(Block::Table(users(&name, &caption, &found)));
        section.blocks.push(Block::Table(items(&name, &caption, &found)));
        section.findings.extend(finding(data, protocol, &found));
    }
    comparison::show(gathered, section);
}

fn lists(name: &str, caption: &str, found: &[(&Row, BeyondAccuracy)]) -> Tabular {
    let mut table = Tabular {
        name: format!("{name}-lists"),
        caption: format!(
            "Lists beyond accuracy, {caption}. Miscalibration: smaller is nearer to the genres of a user's training items."
        ),
        columns: LISTS.map(str::to_string).to_vec(),
        ..Tabular::default()
    };
    let optional = |value: Option<f64>| value.map_or_else(|| Entry::text("-"), |value| Entry::number(value, 4));
    for (row, beyond) in found {
        for lists in &beyond.lists {
            let numbers = [Some(lists.novelty), Some(lists.tail_share), Some(lists.entropy), lists.personalisation];
            let more = [lists.genre_diversity, lists.row_diversity, lists.miscalibration];
            let entries = numbers.into_iter().chain(more).map(optional).collect();
            table.rows.push(Line { label: format!("{}, k = {}", row.label(), lists.k), kind: Kind::Ours, entries });
        }
    }
    table
        .notes
        .push("Diversity by row is measured with each model's own vectors and cannot be compared between rows.".into());
    table
}

fn users(name: &str, caption: &str, found: &[(&Row, BeyondAccuracy)]) -> Tabular {
    let first = found.first().map(|(_, beyond)| beyond.users.as_slice()).unwrap_or_default();
    let columns = first.iter().map(|group| format!("{} to {} training items", group.train[0], group.train[1]));
    let line = |(row, beyond): &(&Row, BeyondAccuracy)| Line {
        label: row.label().into(),
        kind: Kind::Ours,
        entries: beyond.users.iter().map(|group| Entry::share(group.mean)).collect(),
    };
    let mut table = Tabular {
        name: format!("{name}-users"),
        caption: format!("NDCG@20 by activity of users, quarters of the users, {caption}."),
        columns: columns.collect(),
        rows: found.iter().map(line).collect(),
        notes: Vec::new(),
    };
    let columns = table.columns.len();
    table.mark_best(columns);
    table
}

fn items(name: &str, caption: &str, found: &[(&Row, BeyondAccuracy)]) -> Tabular {
    let first = found.first().map(|(_, beyond)| beyond.items.as_slice()).unwrap_or_default();
    let columns =
        first.iter().map(|group| format!("{} to {} users, {} items", group.train[0], group.train[1], group.items));
    let mut table = Tabular {
        name: format!("{name}-items"),
        caption: format!(
            "Recall at 20 within groups of items of equally many training pairs, the most popular last, and the share of the group in lists, {caption}."
        ),
        columns: columns.rev().collect(),
        ..Tabular::default()
    };
    for (row, beyond) in found {
        let recall = beyond.items.iter().rev().map(|group| Entry::share(group.recall));
        table.rows.push(Line {
            label: format!("{}, recall", row.label()),
            kind: Kind::Ours,
            entries: recall.collect(),
        });
        let listed = beyond.items.iter().rev().map(|group| Entry::share(Some(group.listed)));
        table.rows.push(Line {
            label: format!("{}, share of lists", row.label()),
            kind: Kind::Detail,
            entries: listed.collect(),
        });
    }
    let columns = table.columns.len();
    table.mark_best(columns);
    table
}

/// Who gains most from the first row to the last.
fn finding(data: &str, protocol: &str, found: &[(&Row, BeyondAccuracy)]) -> Option<String> {
    let ((from, before), (to, after)) = (found.first()?, found.last()?);
    let gains: Vec<String> = before
        .users
        .iter()
        .zip(&after.users)
        .filter_map(|(before, after)| Some(format!("{:+.1} %", 100.0 * (after.mean? / before.mean? - 1.0))))
        .collect();
    let (a, b) = (before.lists.last()?, after.lists.last()?);
    let calibration = a
        .miscalibration
        .zip(b.miscalibration)
        .map_or_else(String::new, |(a, b)| format!("; miscalibration {} to {} bits", fixed(a, 3), fixed(b, 3)));
    Some(format!(
        "{data}, `{protocol}`, from {} to {}: NDCG@20 of users by activity, least active first, {}; tail share of lists {} to {}{calibration}.",
        from.label(),
        to.label(),
        gains.join(", "),
        share(a.tail_share),
        share(b.tail_share)
    ))
}
