//! Groups of bars: one group per data set, genre or metric, one bar in each per method.
//!
//! The axis starts at 0, since the length of a bar is what is compared. A whisker is a standard deviation or an interval,
//! as the caller says in the label; a diamond is the value that the paper prints.

use super::frame::{Frame, Horizontal, Key};
use super::marks::{Mark, whisker};
use super::scale::{Scale, plain};
use super::{Labels, Reference};
use crate::Error;

/// The bars of one method.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarSeries {
    /// Its name in the legend.
    pub name: String,
    /// A value for each group, `[G]`; `None` leaves the place free.
    pub values: Vec<Option<f64>>,
    /// Half-lengths of whiskers for each group, `[G]`, or nothing.
    pub errors: Vec<Option<f64>>,
    /// Values that the paper prints for each group, `[G]`, or nothing.
    pub paper: Vec<Option<f64>>,
}

/// The data of [`bars`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// Names of the groups, `[G]`.
    pub groups: Vec<String>,
    /// The methods.
    pub series: Vec<BarSeries>,
    /// What the legend says of the paper's values, such as `paper, Table 2`.
    pub paper: String,
    /// Horizontal lines over all groups.
    pub references: Vec<Reference>,
}

/// Draws groups of bars.
///
/// # Errors
/// [`Error::Chart`] where there is no group or series, lengths differ, a value is not finite or there is none.
pub fn bars(labels: &Labels, data: &Bars) -> Result<String, Error> {
    let groups = data.groups.len();
    labels.check_length("groups", groups, groups)?;
    labels.check_length("series", data.series.len(), data.series.len())?;
    let mut values: Vec<f64> = data.references.iter().map(|reference| reference.value).collect();
    for series in &data.series {
        labels.check_length("values in a series", series.values.len(), groups)?;
        for (what, optional) in [("whiskers in a series", &series.errors), ("values of the paper", &series.paper)] {
            labels.check_length(what, if optional.is_empty() { groups } else { optional.len() }, groups)?;
        }
        for group in 0..groups {
            let error = at(&series.errors, group).unwrap_or(0.0);
            values.extend(series.values[group].into_iter().flat_map(|value| [value, value + error, value - error]));
            values.extend(at(&series.paper, group));
        }
    }
    labels.check(&values)?;
    if data.series.iter().all(|series| series.values.iter().flatten().next().is_none()) {
        return Err(labels.error("has no value"));
    }
    let vertical = Scale::linear(values.into_iter().chain([0.0]), true);
    let mut legend: Vec<(String, Key)> =
        data.series.iter().enumerate().map(|(number, series)| (series.name.clone(), Key::Area(number))).collect();
    let has_paper = data.series.iter().any(|series| series.paper.iter().flatten().next().is_some());
    if has_paper {
        legend.push((data.paper.clone(), Key::Open(Mark::Diamond, false)));
    }
    legend.extend(Reference::legend(&data.references));
    let horizontal = Horizontal::Categories(&data.groups);
    let mut frame = Frame::new(labels, 240.0, &legend, &horizontal, &vertical, data.series.len().min(8));
    let wide = 0.8 / data.series.len() as f64;
    let zero = frame.y(&vertical, 0.0);
    for (number, series) in data.series.iter().enumerate() {
        for (group, name) in data.groups.iter().enumerate() {
            let share = 0.1 + number as f64 * wide;
            let (left, right) = (frame.slot(group, groups, share), frame.slot(group, groups, share + wide));
            let middle = (left + right) / 2.0;
            if let Some(value) = series.values[group] {
                let (y, room) = (frame.y(&vertical, value), 0.06 * (right - left));
                let tip = format!("{name}, {}: {}", series.name, plain((value * 1e6).round() / 1e6));
                frame.area([left + room, y.min(zero), right - left - 2.0 * room, (y - zero).abs()], number % 8, &tip);
                if let Some(error) = at(&series.errors, group) {
                    let ends = [value - error, value + error].map(|end| frame.y(&vertical, end));
                    let path = whisker(middle, ends, (0.25 * (right - left)).min(5.0));
                    frame.reference(&path, "none");
                }
            }
            if let Some(value) = at(&series.paper, group) {
                let y = frame.y(&vertical, value);
                frame.emphasis(&Mark::Diamond.path(middle, y, 4.0), false);
            }
        }
    }
    Reference::draw(&mut frame, &data.references, &vertical);
    Ok(frame.finish())
}

/// A value for a group that may be missing.
fn at(values: &[Option<f64>], group: usize) -> Option<f64> {
    values.get(group).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, labels};
    use super::*;

    fn data() -> Bars {
        let series = |name: &str, values: [Option<f64>; 2]| BarSeries {
            name: name.into(),
            values: values.to_vec(),
            errors: vec![Some(0.01), None],
            paper: vec![Some(0.4), None],
        };
        Bars {
            groups: vec!["ml-100k".into(), "R&D <set>".into()],
            series: vec![series("OneBP", [Some(0.41), Some(0.2)]), series("TwoBP & more", [Some(-0.1), None])],
            paper: "paper, Table 2".into(),
            references: vec![Reference { name: "popularity".into(), value: 0.1 }],
        }
    }

    #[test]
    fn everything_is_there() {
        let svg = bars(&labels("a"), &data()).unwrap();
        check(&svg, &["ml-100k", "R&amp;D &lt;set&gt;", "OneBP", "TwoBP &amp; more", "paper, Table 2", "popularity"]);
        // Three bars and two keys; two whiskers, two diamonds and one key.
        assert_eq!(svg.matches("fill=\"url(#c-a-fill-").count(), 5);
        assert_eq!(svg.matches("<title>").count(), 3);
        assert!(svg.contains("<title>ml-100k, OneBP: 0.41</title>"));
        assert_ne!(svg, bars(&labels("b"), &data()).unwrap());
        assert!(!bars(&labels("b"), &data()).unwrap().contains("c-a-"));
    }

    #[test]
    fn twenty_series_and_long_names() {
        let groups = vec!["a name of a group that is rather long".to_owned(); 9];
        let series = |number: usize| BarSeries {
            name: format!("series {number}"),
            values: vec![Some(number as f64 * 1e-7); 9],
            ..BarSeries::default()
        };
        let svg =
            bars(&labels("a"), &Bars { groups, series: (0..20).map(series).collect(), ..Bars::default() }).unwrap();
        check(&svg, &["series 19", "rotate(-40"]);
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        let error = |change: fn(&mut Bars)| {
            let mut data = data();
            change(&mut data);
            bars(&labels("a"), &data).unwrap_err().to_string()
        };
        assert_eq!(
            error(|data| data.groups.clear()),
            "the chart \"Title <of> & chart\" has no groups; draw it from the results of a finished run"
        );
        assert!(error(|data| data.series.clear()).contains("has no series"));
        assert!(error(|data| data.series[0].values = vec![None]).contains("has 1 values in a series, not 2"));
        assert!(error(|data| data.series[0].paper = vec![None]).contains("has 1 values of the paper, not 2"));
        assert!(error(|data| data.series[0].values[0] = Some(f64::NAN)).contains("has the value NaN"));
        assert!(error(|data| data.series[0].errors[0] = Some(f64::INFINITY)).contains("has the value inf"));
        assert!(
            error(|data| data.series.iter_mut().for_each(|series| series.values = vec![None; 2])).contains("no value")
        );
    }
}
