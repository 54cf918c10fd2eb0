//! A few metrics of every row as bars: Figure 3.

use super::comparison;
use crate::{
    chart,
    report::{
        figure::{self, WHISKERS},
        gathered::{Gathered, Place},
        section::Section,
    },
};

/// Adds a figure for each data set and protocol, and the table behind it.
pub fn show(gathered: &Gathered<'_>, section: &mut Section) {
    for (data, protocol, rows) in gathered.tables() {
        let metrics = &gathered.experiment.metrics;
        let series = rows.into_iter().map(|row| {
            let place = Place { data, protocol, row: &row.name, at: None };
            let means: Vec<_> = metrics.iter().map(|metric| gathered.mean(place, metric)).collect();
            chart::BarSeries {
                name: row.label().into(),
                values: means.iter().map(|mean| Some(mean.as_ref()?.value)).collect(),
                errors: means
                    .iter()
                    .map(|mean| mean.filter(|mean| mean.count > 1).map(|mean| mean.deviation))
                    .collect(),
                paper: metrics.iter().map(|metric| gathered.published(data, &row.name, metric)).collect(),
            }
        });
        let series: Vec<_> = series.collect();
        let bars = chart::Bars { groups: metrics.clone(), series, paper: "paper".into(), references: Vec::new() };
        let caption = format!("{data}, protocol `{protocol}`{WHISKERS}.");
        let id = gathered.name(data, protocol);
        let labels = figure::labels(&id, &caption, "", "value on test");
        section.draw(vec![figure::of(caption, chart::bars(&labels, &bars))]);
    }
    comparison::show(gathered, section);
}
