//! What all users are recommended, by the rank of the type: Figure 8.

use crate::{
    chart,
    experiment::{Measure, Row},
    measures::TypesOfAll,
    report::{
        figure,
        gathered::Gathered,
        section::{Block, Section},
        tabular::{Entry, Kind, Line, Tabular, fixed},
    },
};

/// Adds bars and a table for each data set and protocol.
pub fn show(gathered: &Gathered<'_>, section: &mut Section) {
    for (data, protocol, rows) in gathered.tables() {
        let found: Vec<(&Row, TypesOfAll)> = gathered.measured(data, protocol, &rows, Measure::Types);
        let id = gathered.name(data, protocol);
        let panels = found.iter().map(|(row, types)| {
                let ranks = types.sizes.len();
                let stacked = chart::Stacked {
                    bars: types.shares.iter().map(|shares| format!("K = {}", shares.k)).collect(),
                    parts: (1..=ranks).map(|rank| format!("rank {rank}")).collect(),
                    shares: types.shares.iter().map(|shares| shares.share.clone()).collect(),
                };
                let what = "share of each type in lists of K items, types in the order of each user's training items, mean over users";
                let caption = format!("{}: {what}, {data}.", row.label());
                let labels = figure::labels(&format!("{id}-{}", row.name), &caption, "length of the list", "share of the list, %");
                figure::of(caption, chart::stacked(&labels, &stacked))
            });
        section.draw(panels.collect());
        section.blocks.push(Block::Table(table(&id, data, &found)));
        section.findings.extend(finding(data, protocol, &found));
    }
}

fn table(name: &str, data: &str, found: &[(&Row, TypesOfAll)]) -> Tabular {
    let ranks = found.first().map_or(0, |(_, types)| types.sizes.len());
    let columns = (1..=ranks).map(|rank| format!("rank {rank}")).chain(
        ["entropy", "entropy of a user", "divergence, bits", "hits of rank 1, %", "hits of the others, %"]
            .map(str::to_string),
    );
    let mut table = Tabular {
        name: name.into(),
        caption: format!(
            "Shares of types in lists of K items in percent, their normalised entropy, and the Jensen-Shannon divergence of users' lists from their training items, {data}."
        ),
        columns: columns.collect(),
        ..Tabular::default()
    };
    let percent = |value: f64| Entry::number(100.0 * value, 1);
    for (row, types) in found {
        table.rows.push(Line { label: row.label().into(), kind: Kind::Group, entries: Vec::new() });
        for shares in &types.shares {
            let (first, others) =
                shares.hits.split_first().map_or((0.0, 0.0), |(first, others)| (*first, others.iter().sum()));
            let more = [
                Entry::number(shares.entropy, 3),
                Entry::number(shares.user_entropy, 3),
                Entry::number(shares.divergence, 3),
                percent(first),
                percent(others),
            ];
            let entries = shares.share.iter().map(|&share| percent(share)).chain(more).collect();
            table.rows.push(Line { label: format!("K = {}", shares.k), kind: Kind::Ours, entries });
        }
    }
    if let Some(shares) = found.last().and_then(|(_, types)| types.shares.first()) {
        let entries = shares.train_share.iter().map(|&share| percent(share)).collect();
        table.rows.push(Line { label: "training items (last row's types)".into(), kind: Kind::Summary, entries });
    }
    table
}

fn finding(data: &str, protocol: &str, found: &[(&Row, TypesOfAll)]) -> Option<String> {
    let words = found.iter().filter_map(|(row, types)| {
        let (first, last) = (types.shares.first()?, types.shares.last()?);
        Some(format!(
            "from {:.1} % at K = {} to {:.1} % at K = {} under {} (entropy {} to {})",
            100.0 * first.share.first()?,
            first.k,
            100.0 * last.share.first()?,
            last.k,
            row.label(),
            fixed(first.entropy, 3),
            fixed(last.entropy, 3)
        ))
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| format!("{data}, `{protocol}`: the share of the first type goes {}.", words.join(", ")))
}
