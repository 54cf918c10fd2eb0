//! Quality against epochs, and against seconds of training where all rows were run alike.

use crate::{
    Error, chart,
    experiment::Row,
    report::{
        figure,
        gathered::{Gathered, Place},
        section::{Block, Figure, Section},
        tabular::{Entry, Kind, Line, Tabular, seconds, share},
    },
    result::Curve,
};

/// Shares of the best value to which the time is told.
const SHARES: [f64; 3] = [0.9, 0.95, 0.99];

/// Adds a table and two figures for each data set, protocol and metric.
pub fn show(gathered: &Gathered<'_>, section: &mut Section) {
    for (data, protocol, _) in gathered.tables() {
        let timed = timed_alike(gathered, data, protocol);
        for metric in &gathered.experiment.metrics {
            let panels = [("epochs", false), ("seconds of training", true)];
            let panels = panels.iter().filter(|(_, seconds)| timed || !seconds);
            let figures = panels.map(|(axis, seconds)| figure(gathered, data, protocol, metric, axis, *seconds));
            section.draw(figures.collect());
        }
        let Some(metric) = gathered.experiment.metrics.last() else { continue };
        let table = table(gathered, (data, protocol), metric, timed);
        section.findings.extend(finding(&table, (data, protocol), metric, timed));
        section.blocks.push(Block::Table(table));
    }
}

/// Whether all rows were run on the same machine, with as many threads and others beside them: only then seconds compare.
fn timed_alike(gathered: &Gathered<'_>, data: &str, protocol: &str) -> bool {
    let rows = gathered.rows(data, protocol);
    let machine = |row: &&Row| {
        gathered.results(Place { data, protocol, row: &row.name, at: None }).first().map(|result| &result.machine)
    };
    let mut machines = rows.iter().filter_map(machine);
    let first = machines.next();
    machines.all(|machine| Some(machine) == first)
}

/// The curve of a row, of its first seed.
fn curve<'a>(gathered: &Gathered<'a>, data: &str, protocol: &str, row: &str) -> Option<&'a Curve> {
    gathered.results(Place { data, protocol, row, at: None }).first().map(|result| &result.curve)
}

fn figure(
    gathered: &Gathered<'_>,
    data: &str,
    protocol: &str,
    metric: &str,
    axis: &str,
    timed: bool,
) -> Result<Figure, Error> {
    let curves = gathered
        .rows(data, protocol)
        .into_iter()
        .filter_map(|row| Some((row.label(), curve(gathered, data, protocol, &row.name)?)));
    let curves: Vec<(&str, &Curve)> = curves.collect();
    let series = curves.iter().filter_map(|(label, curve)| {
        // The axis is logarithmic.
        let points: Vec<_> = curve_points(curve, metric, timed)?.into_iter().filter(|[x, _]| *x > 0.0).collect();
        Some(chart::LineSeries { name: label.to_string(), points: figure::thinned(&points), errors: Vec::new() })
    });
    let series = series.filter(|series| !series.points.is_empty());
    let part = curves.first().map_or("", |(_, curve)| &curve.part);
    let caption = format!("{metric} on {part} by {axis}, {data}, protocol `{protocol}`.");
    let lines = chart::Lines { series: series.collect(), log_x: true, references: Vec::new() };
    let id = format!("{}-{metric}-{axis}", gathered.name(data, protocol));
    figure::of(caption.clone(), chart::lines(&figure::labels(&id, &caption, axis, metric), &lines))
}

/// Epochs or seconds, and the values of a metric there.
pub fn curve_points(curve: &Curve, metric: &str, timed: bool) -> Option<Vec<[f64; 2]>> {
    let values = curve.metrics.get(metric)?;
    let at = |at: usize| {
        if timed { curve.seconds.get(at).copied() } else { curve.epoch.get(at).map(|&epoch| f64::from(epoch)) }
    };
    Some(values.iter().enumerate().filter_map(|(index, &value)| Some([at(index)?, value])).collect())
}

/// When each row first reaches shares of the best value of all rows.
fn table(gathered: &Gathered<'_>, (data, protocol): (&str, &str), metric: &str, timed: bool) -> Tabular {
    let rows = gathered.rows(data, protocol);
    let values = |row: &str| curve(gathered, data, protocol, row).and_then(|curve| curve.metrics.get(metric));
    let best = rows.iter().filter_map(|row| values(&row.name)).flatten().copied().fold(0.0, f64::max);
    let mut table = Tabular {
        name: gathered.name(data, protocol),
        caption: format!(
            "{} until {metric} first reaches a share of {}, the best of all rows, {data}, protocol `{protocol}`, first seed.",
            if timed { "Seconds of training" } else { "Epochs" },
            share(best)
        ),
        columns: SHARES
            .iter()
            .map(|share| format!("{:.0} %", 100.0 * share))
            .chain(["best".into(), "at epoch".into()])
            .chain(timed.then(|| "s/epoch".into()))
            .collect(),
        ..Tabular::default()
    };
    for row in rows {
        let Some((curve, values)) = curve(gathered, data, protocol, &row.name).zip(values(&row.name)) else { continue };
        let until = |goal: &f64| {
            let epoch = |at: usize| Some(Entry::number(f64::from(*curve.epoch.get(at)?), 0));
            let time = |at: usize| if timed { curve.seconds.get(at).copied().map(Entry::seconds) } else { epoch(at) };
            let at = values.iter().position(|&value| value >= goal * best);
            at.and_then(time).unwrap_or_else(|| Entry::text("never"))
        };
        let top = values.iter().copied().fold(0.0, f64::max);
        let epoch =
            values.iter().position(|&value| value == top).and_then(|at| curve.epoch.get(at)).copied().unwrap_or(0);
        let results = gathered.results(Place { data, protocol, row: &row.name, at: None });
        let per_epoch = results.first().map_or(0.0, |result| result.seconds_per_epoch);
        let best = [Entry::share(Some(top)), Entry::number(f64::from(epoch), 0)];
        let entries = SHARES.iter().map(until).chain(best).chain(timed.then(|| Entry::seconds(per_epoch)));
        table.rows.push(Line { label: row.label().into(), kind: Kind::Ours, entries: entries.collect() });
    }
    let unlike = if timed { "" } else { " Seconds of rows that were not run alike are not compared." };
    table.notes.push(format!("Machine: {}.{unlike}", super::machines(gathered, data, protocol)));
    table
}

/// Which row is first at each share.
fn finding(table: &Tabular, (data, protocol): (&str, &str), metric: &str, timed: bool) -> Option<String> {
    let first = |column: usize| {
        let times = table.rows.iter().filter_map(|line| Some((line.entries.get(column)?.value?, &line.label)));
        times.min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let firsts: Vec<String> = (0..SHARES.len())
        .filter_map(|column| {
            let (time, label) = first(column)?;
            let time = if timed { format!("{} s", seconds(time)) } else { format!("{time} epochs") };
            Some(format!("{} by {label} after {time}", table.columns[column]))
        })
        .collect();
    (!firsts.is_empty()).then(|| format!("{data}, `{protocol}`: of the best {metric}, {}.", firsts.join(", ")))
}
