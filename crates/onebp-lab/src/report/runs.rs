//! A page about runs of one's own: curves, results side by side, configuration, protocol.

use super::{
    figure,
    page::Page,
    section::{Block, Figure, Section},
    tabular::{Entry, Kind, Line, Tabular},
    views::curve_points,
};
use crate::{
    Error, chart,
    result::{Curve, Reported},
};
use std::collections::BTreeMap;

/// A run folder, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnRun {
    /// What it is called: its folder.
    pub name: String,
    /// Name of the data set, and how train and test came about.
    pub data: String,
    /// Name of the protocol, and the protocol in words.
    pub protocol: (String, String),
    /// Completed epochs, and whether the run has ended.
    pub epochs: (u32, bool),
    /// Median training seconds of an epoch.
    pub seconds_per_epoch: f64,
    /// Test values as the protocol reports them.
    pub best: BTreeMap<String, Reported>,
    /// Test values at the last epoch.
    pub last: BTreeMap<String, f64>,
    /// The evaluated epochs.
    pub curve: Curve,
    /// Its `config.toml`.
    pub config: String,
}

/// Metrics of the table, as far as runs have them.
const METRICS: [&str; 8] = ["P@5", "R@5", "NDCG@5", "P@20", "R@20", "NDCG@20", "coverage@20", "AUC"];

/// The page about `runs`.
pub fn of_runs(runs: &[OwnRun], facts: Vec<(String, String)>) -> Page {
    let mut results = Section {
        id: "results".into(),
        title: "Results".into(),
        about: "Test values as each run's protocol reports them. Values of different protocols, or of different data, are not comparable.".into(),
        ..Section::default()
    };
    results.blocks.push(Block::Table(table(runs)));
    let mut protocols: Vec<String> =
        runs.iter().map(|run| format!("`{}`: {}.", run.protocol.0, run.protocol.1)).collect();
    protocols.sort();
    protocols.dedup();
    results.remarks = protocols;
    results.gaps = runs
        .iter()
        .filter(|run| !run.epochs.1)
        .map(|run| format!("{} has not ended: {} epochs so far", run.name, run.epochs.0))
        .collect();
    let mut curves = Section {
        id: "curves".into(),
        title: "Curves".into(),
        about: "What was evaluated while training, by epochs and by seconds of training, evaluation left out.".into(),
        ..Section::default()
    };
    for metric in ["NDCG@20", "R@20", "P@5"] {
        if runs.iter().any(|run| run.curve.metrics.contains_key(metric)) {
            let figures = [("epochs", false), ("seconds of training", true)].into_iter();
            curves.draw(figures.map(|(axis, timed)| figure(runs, metric, axis, timed)).collect());
        }
    }
    curves.draw(vec![loss(runs)]);
    let configuration = Section {
        id: "configuration".into(),
        title: "Configuration".into(),
        about: "The resolved options of each run; `onebp train --config` repeats it.".into(),
        blocks: runs.iter().map(|run| Block::Text { title: run.name.clone(), text: run.config.clone() }).collect(),
        ..Section::default()
    };
    let title = if let [run] = runs { run.name.clone() } else { format!("{} runs", runs.len()) };
    Page { title, subtitle: "Runs of onebp.".into(), facts, sections: vec![results, curves, configuration] }
}

fn table(runs: &[OwnRun]) -> Tabular {
    let metrics: Vec<&str> =
        METRICS.into_iter().filter(|name| runs.iter().any(|run| run.last.contains_key(*name))).collect();
    let columns = ["data", "protocol"].into_iter().chain(metrics.iter().copied()).chain(["epochs", "s/epoch"]);
    let line = |run: &OwnRun| {
        let value = |metric: &&str| {
            let best = run.best.get(*metric);
            let entry = Entry::share(best.map(|best| best.value).or_else(|| run.last.get(*metric).copied()));
            best.map_or(entry.clone(), |best| entry.with(format!("epoch {}", best.epoch)))
        };
        let words = [Entry::text(&run.data), Entry::text(&run.protocol.0)];
        let cost = [Entry::number(f64::from(run.epochs.0), 0), Entry::seconds(run.seconds_per_epoch)];
        Line {
            label: run.name.clone(),
            kind: Kind::Ours,
            entries: words.into_iter().chain(metrics.iter().map(value)).chain(cost).collect(),
        }
    };
    let rows = runs.iter().map(line).collect();
    Tabular {
        name: "runs".into(),
        caption: "Results on test.".into(),
        columns: columns.map(str::to_string).collect(),
        rows,
        notes: Vec::new(),
    }
}

fn figure(runs: &[OwnRun], metric: &str, axis: &str, timed: bool) -> Result<Figure, Error> {
    let series = runs.iter().filter_map(|run| {
        let points = curve_points(&run.curve, metric, timed)?;
        Some(chart::LineSeries {
            name: format!("{} ({})", run.name, run.curve.part),
            points: figure::thinned(&points),
            errors: Vec::new(),
        })
    });
    lines(metric, axis, series.collect())
}

fn loss(runs: &[OwnRun]) -> Result<Figure, Error> {
    let series = runs.iter().map(|run| {
        let points = run
            .curve
            .epoch
            .iter()
            .zip(&run.curve.loss)
            .map(|(&epoch, &loss)| [f64::from(epoch), loss])
            .collect::<Vec<_>>();
        chart::LineSeries { name: run.name.clone(), points: figure::thinned(&points), errors: Vec::new() }
    });
    lines("training loss", "epochs", series.collect())
}

fn lines(what: &str, axis: &str, series: Vec<chart::LineSeries>) -> Result<Figure, Error> {
    let caption = format!("{what} by {axis}.");
    let lines = chart::Lines { series, log_x: false, references: Vec::new() };
    let labels = figure::labels(&format!("{what}-{axis}"), &caption, axis, what);
    figure::of(caption, chart::lines(&labels, &lines))
}
