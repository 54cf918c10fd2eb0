//! Item vectors in two dimensions, with a user among them: Figure 4.

use crate::{
    chart::{self, Emphasis, EmphasisMark},
    experiment::{Measure, short_name},
    measures::MapOfItems,
    report::{
        figure,
        gathered::{Gathered, Place},
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
    for data in gathered.data() {
        for protocol in gathered.protocols() {
            let maps: Vec<(&str, &str, MapOfItems)> = gathered
                .rows(data, protocol)
                .into_iter()
                .filter_map(|row| {
                    let place = Place { data, protocol, row: &row.name, at: None };
                    Some((row.name.as_str(), row.label(), gathered.measurement(place, Measure::Map)?))
                })
                .collect();
            let panels = maps.iter().filter_map(|(name, label, map)| {
                panel(&format!("{}-{}-{protocol}-{name}", gathered.experiment.name, short_name(data)), label, map)
            });
            section.blocks.push(Block::Panels(panels.collect()));
            section.blocks.push(Block::Table(table(gathered, data, protocol, &maps)));
            section.findings.extend(finding(data, &maps));
        }
    }
}

fn panel(id: &str, label: &str, map: &MapOfItems) -> Option<Figure> {
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

fn table(gathered: &Gathered<'_>, data: &str, protocol: &str, maps: &[(&str, &str, MapOfItems)]) -> Tabular {
    let distance = |value: Option<f64>| value.map_or_else(|| Entry::text("-"), |value| Entry::number(value, 3));
    let line = |(_, label, map): &(&str, &str, MapOfItems)| Line {
        label: label.to_string(),
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
    let user = maps.last().map_or("", |(_, _, map)| &map.user);
    Tabular {
        name: format!("{}-{}-{protocol}", gathered.experiment.name, short_name(data)),
        caption: format!(
            "Clusters, and mean distances of user {user}, and of all users, to their training items of their first type and of the others, {data}."
        ),
        columns: COLUMNS.map(str::to_string).to_vec(),
        rows: maps.iter().map(line).collect(),
        notes: vec!["Distances are in each model's own units: compare the two of a row, not rows.".into()],
    }
}

/// How much farther minority items are than majority items, for all users, by model.
fn finding(data: &str, maps: &[(&str, &str, MapOfItems)]) -> Option<String> {
    let words = maps.iter().filter_map(|(_, label, map)| {
        let ratio = map.all_distances.minority? / map.all_distances.majority?;
        Some(format!("{ratio:.2} times {label}"))
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| {
        format!(
            "{data}: users lie farther from their minority items than from their majority items: {}.",
            words.join(", ")
        )
    })
}
