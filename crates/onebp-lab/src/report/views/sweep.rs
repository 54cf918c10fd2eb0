//! Metrics against an option that varies: Figure 5.

use crate::{
    Error, chart,
    experiment::Vary,
    report::{
        figure::{self, WHISKERS},
        gathered::{Gathered, Mean, Place},
        section::{Block, Figure, Section},
        tabular::{Entry, Kind, Line, Tabular, share},
    },
};

/// Adds a table and a figure for each data set and protocol.
pub fn show(gathered: &Gathered<'_>, section: &mut Section) {
    for (data, protocol, _) in gathered.tables() {
        let Some(vary) = &gathered.experiment.vary else { continue };
        let figures = gathered.experiment.metrics.iter().map(|metric| figure(gathered, data, protocol, metric, vary));
        section.draw(figures.collect());
        section.blocks.push(Block::Table(table(gathered, data, protocol)));
        section.findings.extend(findings(gathered, data, protocol));
    }
}

/// Places on the axis, in order.
fn places(gathered: &Gathered<'_>) -> Vec<f64> {
    let mut places: Vec<f64> =
        gathered.experiment.vary.iter().flat_map(|vary| &vary.points).map(|point| point.at).collect();
    places.sort_by(f64::total_cmp);
    places
}

/// Places and means of a metric for a row.
fn points(gathered: &Gathered<'_>, data: &str, protocol: &str, row: &str, metric: &str) -> Vec<(f64, Mean)> {
    let at = |at: f64| Some((at, gathered.mean(Place { data, protocol, row, at: Some(at) }, metric)?));
    places(gathered).into_iter().filter_map(at).collect()
}

fn figure(gathered: &Gathered<'_>, data: &str, protocol: &str, metric: &str, vary: &Vary) -> Result<Figure, Error> {
    let reference = gathered.experiment.reference.as_deref().and_then(|row| gathered.published(data, row, metric));
    let references = reference.map(|value| chart::Reference { name: "paper".into(), value }).into_iter().collect();
    let series = gathered.rows(data, protocol).into_iter().map(|row| {
        let points = points(gathered, data, protocol, &row.name, metric);
        let errors = points.iter().map(|(_, mean)| mean.deviation).collect();
        let points = points.into_iter().map(|(at, mean)| [at, mean.value]).collect();
        chart::LineSeries { name: row.label().into(), points, errors }
    });
    let series = series.filter(|series| !series.points.is_empty()).collect();
    let lines = chart::Lines { series, log_x: vary.logarithmic, references };
    let caption = format!("{metric} against {}, {data}, protocol `{protocol}`{WHISKERS}.", vary.axis);
    let id = format!("{}-{metric}", gathered.name(data, protocol));
    figure::of(caption.clone(), chart::lines(&figure::labels(&id, &caption, &vary.axis, metric), &lines))
}

fn table(gathered: &Gathered<'_>, data: &str, protocol: &str) -> Tabular {
    let experiment = gathered.experiment;
    let places = places(gathered);
    let axis = experiment.vary.as_ref().map_or("", |vary| &vary.axis);
    let mut table = Tabular {
        name: gathered.name(data, protocol),
        caption: format!("{}: metrics by {axis}, {data}, protocol `{protocol}`.", experiment.title),
        columns: places.iter().map(|at| format!("{at}")).collect(),
        ..Tabular::default()
    };
    for row in gathered.rows(data, protocol) {
        for metric in &experiment.metrics {
            let entry =
                |&at: &f64| Entry::mean(gathered.mean(Place { data, protocol, row: &row.name, at: Some(at) }, metric));
            let mut entries: Vec<Entry> = places.iter().map(entry).collect();
            let best = entries.iter().filter_map(|entry| entry.value).max_by(f64::total_cmp);
            entries.iter_mut().for_each(|entry| entry.best = entry.value.is_some() && entry.value == best);
            table.rows.push(Line { label: format!("{}, {metric}", row.label()), kind: Kind::Ours, entries });
        }
    }
    table.notes.push(format!("Machine: {}.", super::machines(gathered, data, protocol)));
    table
}

/// From where to where the last metric goes, and where it is best.
fn findings(gathered: &Gathered<'_>, data: &str, protocol: &str) -> Vec<String> {
    let Some((vary, metric)) = gathered.experiment.vary.as_ref().zip(gathered.experiment.metrics.last()) else {
        return Vec::new();
    };
    let sentence = |row: &crate::experiment::Row| {
        let points = points(gathered, data, protocol, &row.name, metric);
        let (first, last) = (points.first()?, points.last()?);
        let best = points.iter().max_by(|a, b| a.1.value.total_cmp(&b.1.value))?;
        Some(format!(
            "{data}, `{protocol}`, {}: {metric} is {} at {} = {}, best at {} ({}) and {} at {}.",
            row.label(),
            share(first.1.value),
            vary.axis,
            first.0,
            best.0,
            share(best.1.value),
            share(last.1.value),
            last.0
        ))
    };
    gathered.rows(data, protocol).into_iter().filter_map(sentence).collect()
}
