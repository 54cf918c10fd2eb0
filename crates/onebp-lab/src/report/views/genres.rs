//! Genres found by their centroids: Tables 4 and 5, Figure 6.

use crate::{
    analysis::genres::{Distance, GenreRetrieval, GenreScore},
    chart,
    experiment::{Measure, Row},
    report::{
        figure,
        gathered::{Gathered, Mean, Place},
        section::{Block, Section},
        tabular::{Entry, Kind, Line, Tabular, fixed},
    },
};

/// What is told of a genre at each length.
const SCORES: [&str; 3] = ["P", "R", "F1"];

/// The distance whose values are near the paper's; the paper does not name its own.
const NEAREST: Distance = Distance::Cosine;

/// What the paper calls all genres together.
const OVERALL: &str = "Overall";

/// Items of each genre: Table 4.
pub fn counts(gathered: &Gathered<'_>, section: &mut Section) {
    for (data, protocol, rows) in gathered.tables() {
        let found = rows.first().and_then(|row| retrievals(gathered, data, protocol, row).into_iter().next());
        let Some(cutoff) = found.and_then(|run| run.into_iter().next()) else { continue };
        let mut table = Tabular {
            name: gathered.name(data, protocol),
            caption: format!("{}: items of each genre, {data}.", gathered.experiment.title),
            columns: vec!["items".into(), "paper".into()],
            ..Tabular::default()
        };
        let mut differ = 0;
        for score in cutoff.genres.iter().chain([&cutoff.overall]) {
            let items = score.items as f64;
            let paper = gathered.published(data, &score.genre, "items");
            differ += usize::from(paper.is_some_and(|paper| paper != items));
            let entries =
                vec![Entry::number(items, 0), paper.map_or_else(Entry::default, |paper| Entry::number(paper, 0))];
            table.rows.push(Line { label: score.genre.clone(), kind: Kind::Ours, entries });
        }
        let compared = table.rows.iter().any(|line| line.entries[1].value.is_some());
        section.findings.push(match differ {
            _ if !compared => format!("{data}: {} labels.", cutoff.overall.items),
            0 => format!("{data}: {} labels; every count is the paper's.", cutoff.overall.items),
            differ => format!("{data}: {} labels; {differ} counts differ from the paper's.", cutoff.overall.items),
        });
        section.blocks.push(Block::Table(table));
    }
}

/// P, R and F1 of every genre: Table 5.
pub fn table(gathered: &Gathered<'_>, section: &mut Section) {
    each(gathered, |data, protocol, rows, cutoffs| {
        section.blocks.push(Block::Table(overall(gathered, data, protocol, rows, cutoffs)));
        section.findings.extend(finding(gathered, data, protocol, rows, cutoffs));
        for &k in cutoffs {
            section.blocks.push(Block::Folded(by_genre(gathered, data, protocol, rows, k)));
        }
        section.blocks.push(Block::Folded(distances(gathered, data, protocol, rows, cutoffs)));
    });
}

/// F1 of every genre as bars: Figure 6.
pub fn bars(gathered: &Gathered<'_>, section: &mut Section) {
    each(gathered, |data, protocol, rows, cutoffs| {
        let figures = cutoffs.iter().map(|&k| {
            let genres = genres(gathered, data, protocol, rows, k);
            let series = rows.iter().map(|row| {
                let mean = |genre: &String| mean(gathered, data, protocol, row, genre, k, "P");
                chart::BarSeries {
                    name: row.label().into(),
                    values: genres.iter().map(|genre| Some(mean(genre)?.value)).collect(),
                    errors: Vec::new(),
                    paper: genres.iter().map(|genre| published(gathered, data, row, genre, k, "P")).collect(),
                }
            });
            let bars = chart::Bars {
                series: series.collect(),
                groups: genres.clone(),
                paper: "paper, Table 5".into(),
                references: Vec::new(),
            };
            let caption =
                format!("P@{k}: share of the {k} films nearest to a genre's mean vector that carry the genre, {data}, protocol `{protocol}`.");
            let labels = figure::labels(
                &format!("{}-{k}", gathered.name(data, protocol)),
                &caption,
                "",
                &format!("P@{k}"),
            );
            figure::of(caption, chart::bars(&labels, &bars))
        });
        section.draw(figures.collect());
        section.findings.extend(finding(gathered, data, protocol, rows, cutoffs));
    });
}

/// Calls `show` for each data set and protocol, with its rows and lengths.
fn each(gathered: &Gathered<'_>, mut show: impl FnMut(&str, &str, &[&Row], &[usize])) {
    for (data, protocol, rows) in gathered.tables() {
        let first = rows.iter().flat_map(|row| retrievals(gathered, data, protocol, row)).next();
        let cutoffs: Vec<usize> = first.into_iter().flatten().map(|cutoff| cutoff.k).collect();
        if !cutoffs.is_empty() {
            show(data, protocol, &rows, &cutoffs);
        }
    }
}

/// What was found by each run of a row, by the distance that is shown.
fn retrievals(gathered: &Gathered<'_>, data: &str, protocol: &str, row: &Row) -> Vec<Vec<GenreRetrieval>> {
    by_distance(gathered, data, protocol, row, NEAREST)
}

fn by_distance(
    gathered: &Gathered<'_>,
    data: &str,
    protocol: &str,
    row: &Row,
    distance: Distance,
) -> Vec<Vec<GenreRetrieval>> {
    let results = gathered.results(Place { data, protocol, row: &row.name, at: None });
    let wanted = gathered.experiment.wanted(Measure::Genres);
    let found = results.into_iter().filter_map(|result| result.measurement::<Vec<GenreRetrieval>>(&wanted));
    found.map(|run| run.into_iter().filter(|cutoff| cutoff.distance == distance).collect()).collect()
}

/// All genres together by other distances.
fn distances(gathered: &Gathered<'_>, data: &str, protocol: &str, rows: &[&Row], cutoffs: &[usize]) -> Tabular {
    let mut table = Tabular {
        name: format!("{}-distances", gathered.name(data, protocol)),
        caption: format!("Precision of all genres together by what counts as near, {data}, protocol `{protocol}`."),
        columns: cutoffs.iter().map(|k| format!("P@{k}")).collect(),
        ..Tabular::default()
    };
    for row in rows {
        for (distance, name) in
            [(Distance::Cosine, "cosine"), (Distance::Dot, "product"), (Distance::Euclidean, "Euclidean")]
        {
            let runs = by_distance(gathered, data, protocol, row, distance);
            let at = |k: &usize| {
                let values: Vec<f64> = runs
                    .iter()
                    .flatten()
                    .filter(|cutoff| cutoff.k == *k)
                    .map(|cutoff| cutoff.overall.precision)
                    .collect();
                entry(Mean::of(&values))
            };
            let entries = cutoffs.iter().map(at).collect();
            table.rows.push(Line { label: format!("{}, {name}", row.label()), kind: Kind::Ours, entries });
        }
        let paper = cutoffs.iter().map(|&k| published(gathered, data, row, OVERALL, k, "P"));
        let paper: Vec<Entry> =
            paper.map(|value| value.map_or_else(Entry::default, |value| Entry::number(value, 3))).collect();
        if paper.iter().any(|entry| entry.value.is_some()) {
            table.rows.push(Line { label: "paper".into(), kind: Kind::Paper, entries: paper });
        }
    }
    table
}

fn genres(gathered: &Gathered<'_>, data: &str, protocol: &str, rows: &[&Row], k: usize) -> Vec<String> {
    let first = rows.iter().flat_map(|row| retrievals(gathered, data, protocol, row)).next();
    let cutoff = first.into_iter().flatten().find(|cutoff| cutoff.k == k);
    cutoff.map(|cutoff| cutoff.genres.into_iter().map(|score| score.genre).collect()).unwrap_or_default()
}

/// The mean of a score over seeds.
fn mean(
    gathered: &Gathered<'_>,
    data: &str,
    protocol: &str,
    row: &Row,
    genre: &str,
    k: usize,
    score: &str,
) -> Option<Mean> {
    let of = |found: &GenreScore| match score {
        "P" => found.precision,
        "R" => found.recall,
        _ => found.f1,
    };
    let runs = retrievals(gathered, data, protocol, row);
    let cutoffs = runs.iter().flatten().filter(|cutoff| cutoff.k == k);
    let scores = cutoffs.flat_map(|cutoff| cutoff.genres.iter().chain([&cutoff.overall]));
    let values: Vec<f64> = scores.filter(|found| found.genre == genre).map(of).collect();
    Mean::of(&values)
}

/// The paper's value.
fn published(gathered: &Gathered<'_>, data: &str, row: &Row, genre: &str, k: usize, score: &str) -> Option<f64> {
    gathered.published(data, &format!("{}/{genre}", row.name), &format!("{score}@{k}"))
}

fn entry(mean: Option<Mean>) -> Entry {
    let text = mean.map_or_else(|| "-".into(), |mean| fixed(mean.value, 3));
    let detail =
        mean.filter(|mean| mean.count > 1).map_or_else(String::new, |mean| format!("±{}", fixed(mean.deviation, 3)));
    Entry { text, detail, value: mean.map(|mean| mean.value), ..Entry::default() }
}

/// All genres together, at every length.
fn overall(gathered: &Gathered<'_>, data: &str, protocol: &str, rows: &[&Row], cutoffs: &[usize]) -> Tabular {
    let columns: Vec<(usize, &str)> = cutoffs.iter().flat_map(|&k| SCORES.map(|score| (k, score))).collect();
    let mut table = Tabular {
        name: gathered.name(data, protocol),
        caption: format!(
            "{}: all genres together (micro-averaged), {data}, protocol `{protocol}`, tables of the best epoch by NDCG@20.",
            gathered.experiment.title
        ),
        columns: columns.iter().map(|(k, score)| format!("{score}@{k}")).collect(),
        ..Tabular::default()
    };
    for row in rows {
        let ours = columns.iter().map(|&(k, score)| entry(mean(gathered, data, protocol, row, OVERALL, k, score)));
        table.rows.push(Line { label: row.label().into(), kind: Kind::Ours, entries: ours.collect() });
        let paper: Vec<Entry> = columns
            .iter()
            .map(|&(k, score)| {
                published(gathered, data, row, OVERALL, k, score)
                    .map_or_else(Entry::default, |value| Entry::number(value, 3))
            })
            .collect();
        if paper.iter().any(|entry| entry.value.is_some()) {
            table.rows.push(Line { label: "paper".into(), kind: Kind::Paper, entries: paper });
        }
    }
    table.mark_best(columns.len());
    table
}

/// Every genre at one length.
fn by_genre(gathered: &Gathered<'_>, data: &str, protocol: &str, rows: &[&Row], k: usize) -> Tabular {
    let columns: Vec<(&Row, &str)> = rows.iter().flat_map(|row| SCORES.map(|score| (*row, score))).collect();
    let mut table = Tabular {
        name: format!("{}-top-{k}", gathered.name(data, protocol)),
        caption: format!(
            "Every genre, the {k} nearest items, {data}, protocol `{protocol}`; the paper's value behind ours."
        ),
        columns: columns.iter().map(|(row, score)| format!("{score}, {}", row.label())).collect(),
        ..Tabular::default()
    };
    let names = genres(gathered, data, protocol, rows, k);
    for genre in names.iter().map(String::as_str).chain([OVERALL]) {
        let entries = columns.iter().map(|&(row, score)| {
            let ours = entry(mean(gathered, data, protocol, row, genre, k, score));
            let paper = published(gathered, data, row, genre, k, score);
            Entry { detail: paper.map_or_else(String::new, |paper| format!("({})", fixed(paper, 3))), ..ours }
        });
        table.rows.push(Line { label: genre.into(), kind: Kind::Ours, entries: entries.collect() });
    }
    table
}

/// By how much the champion finds more than the row before it.
fn finding(gathered: &Gathered<'_>, data: &str, protocol: &str, rows: &[&Row], cutoffs: &[usize]) -> Option<String> {
    let champion = rows.iter().find(|row| Some(&row.name) == gathered.experiment.champion.as_ref())?;
    let mut others = rows.iter().filter(|row| row.name != champion.name && !row.untrained);
    let other = others.next_back()?;
    let words = cutoffs.iter().filter_map(|&k| {
        let value = |row: &Row| Some(mean(gathered, data, protocol, row, OVERALL, k, "P")?.value);
        let paper = |row: &Row| published(gathered, data, row, OVERALL, k, "P");
        let behind = paper(champion)
            .zip(paper(other))
            .map_or_else(String::new, |(a, b)| format!(" (paper {} and {})", fixed(a, 3), fixed(b, 3)));
        Some(format!("P@{k} {} against {}{behind}", fixed(value(champion)?, 3), fixed(value(other)?, 3)))
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty())
        .then(|| format!("{data}, `{protocol}`, {} against {}: {}.", champion.label(), other.label(), words.join(", ")))
}
