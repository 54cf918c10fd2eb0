//! Rows by metrics beside the paper's numbers: Tables 2 and 3.
//!
//! A number of ours is the mean over seeds with its standard deviation; beside the paper's number stands how much ours is
//! above or below it. The last row says by how much the champion is ahead of the best other row, as in Table 2.

use crate::{
    analysis::significance::{self, BootstrapSettings, Comparison, Paired},
    experiment::{Measure, Row},
    report::{
        gathered::{Gathered, Mean, Place},
        section::{Block, Section},
        tabular::{Entry, Kind, Line, Tabular, share},
    },
    result::{PerUserValues, TESTED},
};

/// Head of the column of times.
const TIME: &str = "s/epoch";

/// Adds tables and findings to `section`.
pub fn show(gathered: &Gathered<'_>, section: &mut Section) {
    for (data, protocol, _) in gathered.tables() {
        section.blocks.push(Block::Table(table(gathered, data, protocol)));
        section.findings.extend(finding(gathered, data, protocol));
    }
    for data in gathered.data() {
        section.blocks.extend(tests(gathered, data).map(Block::Folded));
    }
}

/// The table of a data set under a protocol.
fn table(gathered: &Gathered<'_>, data: &str, protocol: &str) -> Tabular {
    let experiment = gathered.experiment;
    let metrics = &experiment.metrics;
    let rows = gathered.rows(data, protocol);
    let place = |row: &'_ Row| (data, protocol, row.name.clone());
    let mut table = Tabular {
        name: gathered.name(data, protocol),
        columns: metrics.iter().cloned().chain([TIME.to_string()]).collect(),
        ..Tabular::default()
    };
    let mut group = None;
    let mut runs = (usize::MAX, 0);
    // Row and reason, with the metrics that they are about.
    let mut doubts: Vec<(&str, String, Vec<&str>)> = Vec::new();
    for row in &rows {
        if row.group.is_some() && row.group != group {
            group = row.group.clone();
            table.rows.push(Line { label: group.clone().unwrap_or_default(), kind: Kind::Group, entries: Vec::new() });
        }
        let (data, protocol, name) = place(row);
        let place = Place { data, protocol, row: &name, at: None };
        let results = gathered.results(place);
        runs = (runs.0.min(results.len()), runs.1.max(results.len()));
        // Runs that shared the machine tell nothing about time.
        let alone = results.iter().filter(|result| result.machine.jobs <= 1 && !row.untrained);
        let times: Vec<f64> = alone.map(|result| result.seconds_per_epoch).collect();
        let entries = metrics.iter().map(|metric| Entry::mean(gathered.mean(place, metric)));
        let time = Mean::of(&times).map(|mean| Entry::seconds(mean.value));
        table.rows.push(Line {
            label: row.label().into(),
            kind: Kind::Ours,
            entries: entries.chain([time.unwrap_or_default()]).collect(),
        });
        let published: Vec<Entry> = metrics
            .iter()
            .map(|metric| {
                let value = gathered.published(data, &row.name, metric);
                let doubt = gathered.paper.suspicion(gathered.called(data), &row.name, metric).map(str::to_string);
                if let Some(doubt) = doubt.as_ref().filter(|_| value.is_some()) {
                    match doubts.iter_mut().find(|(label, reason, _)| *label == row.label() && reason == doubt) {
                        Some((.., metrics)) => metrics.push(metric),
                        None => doubts.push((row.label(), doubt.clone(), vec![metric])),
                    }
                }
                let ours = gathered.mean(place, metric);
                let difference =
                    ours.zip(value).map(|(ours, value)| format!("({})", percent(ours.value / value - 1.0)));
                let text = value.map(share).unwrap_or_default();
                Entry { text, detail: difference.unwrap_or_default(), value, best: false, doubt }
            })
            .chain([gathered.published(data, &row.name, "seconds").map_or_else(Entry::default, Entry::seconds)])
            .collect();
        if published.iter().any(|entry| entry.value.is_some()) {
            table.rows.push(Line { label: "paper".into(), kind: Kind::Paper, entries: published });
        }
    }
    table.mark_best(metrics.len());
    table.rows.extend(published_elsewhere(gathered, data));
    table.rows.extend(improvement(gathered, data, protocol, &rows));
    let of_protocol = gathered.placed.iter().filter(|placed| placed.cell.protocol == protocol);
    let sentence = of_protocol.filter_map(|placed| placed.result).next();
    let sentence = sentence.map(|result| result.protocol_text.as_str()).unwrap_or_default();
    let seeds = if runs.0 == runs.1 { format!("{}", runs.0) } else { format!("{} to {}", runs.0, runs.1) };
    let plural = if runs.1 == 1 { "" } else { "s" };
    table.caption = format!("{}, {data}, protocol `{protocol}`: {sentence}. {seeds} seed{plural}.", experiment.title);
    if !doubts.is_empty() {
        let doubts = doubts.iter().map(|(row, why, metrics)| format!("{why} ({row}: {})", metrics.join(", ")));
        let doubts = doubts.collect::<Vec<_>>().join("; ");
        table.notes.push(format!("Doubtful cells of the paper, marked `?`: {doubts}."));
    }
    let machines = super::machines(gathered, data, protocol);
    let has_times = table.rows.iter().any(|line| {
        line.kind == Kind::Ours && line.entries.get(metrics.len()).is_some_and(|entry| entry.value.is_some())
    });
    if !has_times {
        table.columns.pop();
    }
    table.notes.push(if has_times {
        format!("{TIME}: median of the epochs' training time. {machines}.")
    } else {
        format!("{machines}, so their times say nothing: see `times`.")
    });
    table
}

/// Rows of the paper's numbers that are none of the experiment: what others published on the same data.
fn published_elsewhere(gathered: &Gathered<'_>, data: &str) -> Vec<Line> {
    let experiment = gathered.experiment;
    let others = gathered.paper.rows.iter().filter(|_| experiment.others);
    let others = others.filter(|own| own.data == gathered.called(data) && experiment.row(&own.row).is_none());
    let line = |own: &crate::paper::PaperRow| {
        let entries = experiment.metrics.iter().map(|metric| match own.values.get(metric) {
            Some(&value) => Entry::share(Some(value)),
            None => Entry::default(),
        });
        Line { label: own.row.clone(), kind: Kind::Paper, entries: entries.collect() }
    };
    let mut lines: Vec<Line> = others.map(line).collect();
    if !lines.is_empty() {
        lines.insert(0, Line { label: gathered.paper.source.clone(), kind: Kind::Group, entries: Vec::new() });
    }
    lines
}

/// `+1.2 %`.
fn percent(ratio: f64) -> String {
    format!("{:+.1} %", 100.0 * ratio)
}

/// By how much the champion is ahead of the best other row, and what the paper's table gives for it.
fn improvement(gathered: &Gathered<'_>, data: &str, protocol: &str, rows: &[&Row]) -> Option<Line> {
    let champion = gathered.experiment.champion.as_deref()?;
    if rows.len() < 2 || rows.iter().all(|row| row.name != champion) {
        return None;
    }
    let entries = gathered.experiment.metrics.iter().map(|metric| {
        let ahead =
            lead(&|row| Some(gathered.mean(Place { data, protocol, row, at: None }, metric)?.value), champion, rows);
        let paper = lead(&|row| gathered.published(data, row, metric), champion, rows);
        let entry = ahead.map_or_else(Entry::default, |(ratio, _)| Entry {
            text: percent(ratio),
            value: Some(ratio),
            ..Entry::default()
        });
        paper.map_or(entry.clone(), |(ratio, _)| entry.with(format!("({})", percent(ratio))))
    });
    let published = |row: &&Row| gathered.published(data, &row.name, gathered.experiment.metrics.first()?);
    let beside = if rows.iter().any(|row| published(row).is_some()) { " (paper)" } else { "" };
    let label = format!("{} over the best other{beside}", gathered.experiment.row(champion)?.label());
    Some(Line { label, kind: Kind::Summary, entries: entries.collect() })
}

/// How far `champion` is ahead of the best of the other `rows`, and which that is.
fn lead<'b>(value: &dyn Fn(&str) -> Option<f64>, champion: &str, rows: &[&'b Row]) -> Option<(f64, &'b Row)> {
    let others = rows.iter().filter(|row| row.name != champion).filter_map(|row| Some((value(&row.name)?, *row)));
    let (best, row) = others.max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some((value(champion)? / best - 1.0, row))
}

/// In how many metrics the champion is ahead, and by how much in the last one.
fn finding(gathered: &Gathered<'_>, data: &str, protocol: &str) -> Option<String> {
    let champion = gathered.experiment.champion.as_deref()?;
    let rows = gathered.rows(data, protocol);
    let metrics = &gathered.experiment.metrics;
    let lead_in = |metric: &str| {
        lead(&|row| Some(gathered.mean(Place { data, protocol, row, at: None }, metric)?.value), champion, &rows)
    };
    let ahead = metrics.iter().filter(|metric| lead_in(metric).is_some_and(|(ratio, _)| ratio > 0.0)).count();
    let metric = metrics.last()?;
    let (ratio, other) = lead_in(metric)?;
    let label = gathered.experiment.row(champion)?.label();
    let others = match rows.len() - 1 {
        1 => "the other row".into(),
        count => format!("all {count} other rows"),
    };
    let value = gathered.mean(Place { data, protocol, row: champion, at: None }, metric)?.value;
    Some(format!(
        "{data}, `{protocol}`: {label} is ahead of {others} in {ahead} of {} metrics; {metric} {}, {} against {}, the best of the others.",
        metrics.len(),
        share(value),
        percent(ratio),
        other.label(),
    ))
}

/// Paired tests of the champion against every other row, user by user, on runs of one seed.
fn tests(gathered: &Gathered<'_>, data: &str) -> Option<Tabular> {
    let champion = gathered.experiment.row(gathered.experiment.champion.as_deref()?)?;
    // The protocol that makes claims, where it was run.
    let protocols = gathered.tables().into_iter().filter(|(own, ..)| *own == data).map(|(_, protocol, _)| protocol);
    let protocols: Vec<&str> = protocols.collect();
    let protocol = protocols.iter().find(|name| **name == "validated").or_else(|| protocols.first())?;
    let label = champion.label();
    let wanted = gathered.experiment.wanted(Measure::PerUser);
    let values = |result: &crate::CellResult| result.measurement::<PerUserValues>(&wanted)?.get(TESTED);
    let runs = |row: &Row| gathered.results(Place { data, protocol, row: &row.name, at: None });
    // Seeds may split the data differently: only runs of the same pairs can be compared user by user.
    let compared = |row| {
        let pairs = runs(champion).into_iter().flat_map(|own| runs(row).into_iter().map(move |other| (own, other)));
        let mut alike =
            pairs.filter(|(own, other)| own.seed() == other.seed() && own.data_fingerprint == other.data_fingerprint);
        let (seed, own, other) = alike.find_map(|(own, other)| Some((own.seed()?, values(own)?, values(other)?)))?;
        Some(((row, seed), Paired::new(&own, &other).ok()?))
    };
    let others = gathered.rows(data, protocol).into_iter().filter(|row| row.name != champion.name);
    let (compared, models): (Vec<_>, Vec<_>) = others.filter_map(compared).unzip();
    let tests = significance::compare(&models, &BootstrapSettings::default()).ok()?;
    let corrected = holm(&tests.iter().map(|test| test.wilcoxon.p).collect::<Vec<_>>());
    let line = |((row, seed), (test, corrected)): (&(&Row, u64), (&Comparison, f64))| Line {
        label: row.label().into(),
        kind: Kind::Ours,
        entries: vec![
            Entry::share(Some(test.difference)),
            Entry::text(test.bootstrap.interval.map(share).join(" to ")),
            probability(test.wilcoxon.p),
            probability(corrected),
            probability(test.bootstrap.p),
            Entry::number(*seed as f64, 0),
        ],
    };
    let rows: Vec<Line> = compared.iter().zip(tests.iter().zip(corrected)).map(line).collect();
    (!rows.is_empty()).then(|| Tabular {
        name: format!("{}-tests", gathered.name(data, protocol)),
        caption: format!("{label} minus each other row, {TESTED} user by user, {data}, protocol `{protocol}`."),
        columns: ["difference", "95 % interval", "p, Wilcoxon", "the same, Holm", "p, bootstrap", "seed"].map(str::to_string).to_vec(),
        rows,
        notes: vec!["Paired over users: signed-rank test, also corrected for the number of rows (Holm), and 10,000 resamples of the users, whose smallest p is .0002. One seed each: what the seed changes is not in it.".into()],
    })
}

/// A p value; the smallest ones as a bound.
fn probability(p: f64) -> Entry {
    if p < 1e-4 { Entry { text: "< .0001".into(), value: Some(p), ..Entry::default() } } else { Entry::share(Some(p)) }
}

/// p values of several tests, corrected for their number: with m of them ascending, p_i (m - i + 1), never below an earlier one
/// (Holm, Scandinavian Journal of Statistics 1979).
fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut corrected, mut largest) = (vec![0.0; p.len()], 0f64);
    for (rank, &test) in order.iter().enumerate() {
        largest = largest.max(p[test] * (p.len() - rank) as f64).min(1.0);
        corrected[test] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests_of_tests {
    use super::holm;

    #[test]
    fn holm_by_hand() {
        assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
