//! Item vectors in two dimensions, with a user among them: Figure 4.

use crate::{
    Error,
    chart::{self, Emphasis, EmphasisMark},
    experiment::{Measure, Row},
    measures::MapOfItems,
    report::{
        figure,
        gathered::Gathered,
        section::{Block, Figure, Section},
        tabular::{Entry, Kind, Line, Tabular},
    },
};

const COLUMNS: [&str; 6] = [
    "silhouette",
    "cluster sizes",
    "to own majority items",
    "to own minority items",
    "majority, all users",
    "minority, all users",
];

/// Adds a panel for each row, and what can be counted.
pub fn show(gathered: &Gathered<'_>, section: &mut Section) {
    for (data, protocol, rows) in gathered.tables() {
        let maps: Vec<(&Row, MapOfItems)> = gathered.measured(data, protocol, &rows, Measure::Map);
        let id = gathered.name(data, protocol);
        let panels = maps.iter().map(|(row, map)| panel(&format!("{id}-{}", row.name), row.label(), map));
        section.draw(panels.collect());
        section.blocks.push(Block::Table(table(gathered, data, protocol, &maps)));
        section.findings.extend(finding(data, protocol, &maps));
    }
}

fn panel(id: &str, label: &str, map: &MapOfItems) -> Result<Figure, Error> {
    let items = map.clusters.labels.len();
    let classes = (1..=map.clusters.sizes.len()).map(|number| format!("cluster {number}"));
    let scatter = chart::Scatter {
        points: map.projection.points.clone(),
        class: map.clusters.labels.iter().map(|&label| Some(label)).chain([None]).collect(),
        classes: classes.collect(),
        emphasis: vec![
            Emphasis { name: "training items".into(), mark: EmphasisMark::Ring, points: map.train.clone() },
            Emphasis { name: "test items".into(), mark: EmphasisMark::Box, points: map.test.clone() },
            Emphasis { name: format!("user {}", map.user), mark: EmphasisMark::Star, points: vec![items as u32] },
        ],
    };
    let caption = format!("{label}: item vectors by t-SNE, clusters by k-means, user {} and their items.", map.user);
    figure::of(caption.clone(), chart::scatter(&figure::labels(id, &caption, "", ""), &scatter))
}

fn table(gathered: &Gathered<'_>, data: &str, protocol: &str, maps: &[(&Row, MapOfItems)]) -> Tabular {
    let distance = |value: Option<f64>| value.map_or_else(|| Entry::text("-"), |value| Entry::number(value, 3));
    let line = |(row, map): &(&Row, MapOfItems)| Line {
        label: row.label().into(),
        kind: Kind::Ours,
        entries: vec![
            Entry::number(map.clusters.silhouette, 3),
            Entry::text(map.clusters.sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")),
            distance(map.distances.majority),
            distance(map.distances.minority),
            distance(map.all_distances.majority),
            distance(map.all_distances.minority),
        ],
    };
    let user = maps.last().map_or("", |(_, map)| &map.user);
    Tabular {
        name: gathered.name(data, protocol),
        caption: format!(
            "Clusters, and mean distances of user {user}, and of all users, to their training items of their first type and of the others, {data}, protocol `{protocol}`."
        ),
        columns: COLUMNS.map(str::to_string).to_vec(),
        rows: maps.iter().map(line).collect(),
        notes: vec!["Distances are in each model's own units: compare the two of a row, not rows.".into()],
    }
}

/// How much farther minority items are than majority items, for all users, by model.
fn finding(data: &str, protocol: &str, maps: &[(&Row, MapOfItems)]) -> Option<String> {
    let words = maps.iter().filter_map(|(row, map)| {
        let ratio = map.all_distances.minority? / map.all_distances.majority?;
        Some(format!("{ratio:.2} {}", row.label()))
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| {
        format!(
            "{data}, `{protocol}`: distance of users to their minority items over that to their majority items: {}.",
            words.join(", ")
        )
    })
}
