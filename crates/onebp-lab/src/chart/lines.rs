//! Curves over numbers: a metric over epochs, over a hyper-parameter or over the length of lists.

use super::Labels;
use super::frame::{Frame, Horizontal, Key};
use super::marks::{Mark, N, whisker};
use super::scale::Scale;
use crate::Error;

/// With more points than this a curve has markers at some of them only.
const MARKERS: usize = 12;

/// Half the width of a whisker's ends.
const WHISKER: f64 = 4.0;

/// One curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineSeries {
    /// Its name in the legend.
    pub name: String,
    /// Points (x, y) in the order in which they are joined.
    pub points: Vec<[f64; 2]>,
    /// Half-lengths of whiskers at the points, or nothing.
    pub errors: Vec<f64>,
}

/// A horizontal line to compare with, such as a value of the paper.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// Its name in the legend.
    pub name: String,
    /// Where it lies.
    pub value: f64,
}

impl Reference {
    const DASHES: [&'static str; 4] = ["5 4", "1 3", "8 3 1 3", "3 6"];

    pub(super) fn legend(references: &[Self]) -> impl Iterator<Item = (String, Key)> + '_ {
        let key = |number: usize| Key::Reference(Self::DASHES[number % 4]);
        references.iter().enumerate().map(move |(number, reference)| (reference.name.clone(), key(number)))
    }

    pub(super) fn draw(frame: &mut Frame, references: &[Self], vertical: &Scale) {
        for (number, reference) in references.iter().enumerate() {
            let y = N(frame.y(vertical, reference.value));
            frame.reference(&format!("M{} {y}H{}", N(frame.left), N(frame.right)), Self::DASHES[number % 4]);
        }
    }
}

/// The data of [`lines`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    /// The curves.
    pub series: Vec<LineSeries>,
    /// Whether the horizontal axis is logarithmic; every x must then be positive.
    pub log_x: bool,
    /// Horizontal lines.
    pub references: Vec<Reference>,
}

/// Draws curves.
///
/// # Errors
/// [`Error::Chart`] where there is no curve or one has no point, lengths differ, a value is not finite, or an x on a
/// logarithmic axis is not positive.
pub fn lines(labels: &Labels, data: &Lines) -> Result<String, Error> {
    labels.check_length("curves", data.series.len(), data.series.len())?;
    for series in &data.series {
        labels.check_length("points in a curve", series.points.len(), series.points.len())?;
        labels.check(series.points.iter().flatten().chain(&series.errors))?;
        let points = series.points.len();
        labels.check_length(
            "whiskers in a curve",
            if series.errors.is_empty() { points } else { series.errors.len() },
            points,
        )?;
    }
    labels.check(data.references.iter().map(|reference| &reference.value))?;
    let points = || data.series.iter().flat_map(|series| &series.points);
    if let Some([x, _]) = points().find(|[x, _]| data.log_x && *x < 1e-15) {
        return Err(labels.error(format!("has x = {x} on a logarithmic axis")));
    }
    let xs = points().map(|point| point[0]);
    let horizontal = if data.log_x { Scale::logarithmic(xs) } else { Scale::linear(xs, false) };
    let whiskers = |series: &LineSeries| -> Vec<[f64; 2]> {
        series.points.iter().zip(&series.errors).map(|([_, y], error)| [y - error, y + error]).collect()
    };
    let ends = data.series.iter().flat_map(|series| whiskers(series).into_flattened());
    let ys = points().map(|point| point[1]).chain(ends);
    let vertical = Scale::linear(ys.chain(data.references.iter().map(|reference| reference.value)), false);
    let curves = data.series.iter().enumerate();
    let mut legend: Vec<(String, Key)> = curves.map(|(number, one)| (one.name.clone(), Key::Line(number))).collect();
    legend.extend(Reference::legend(&data.references));
    let mut frame = Frame::new(labels, 240.0, &legend, &Horizontal::Numbers(&horizontal), &vertical, 0);
    Reference::draw(&mut frame, &data.references, &vertical);
    for (number, series) in data.series.iter().enumerate() {
        let places: Vec<[f64; 2]> =
            series.points.iter().map(|[x, y]| [frame.x(&horizontal, *x), frame.y(&vertical, *y)]).collect();
        let mut path = String::new();
        for (at, [x, y]) in places.iter().enumerate() {
            path.push_str(&format!("{}{} {}", if at == 0 { 'M' } else { 'L' }, N(*x), N(*y)));
        }
        frame.stroke(&path, number);
        let whiskers: String = whiskers(series)
            .iter()
            .zip(&places)
            .filter(|([low, high], _)| low < high)
            .map(|([low, high], [x, _])| whisker(*x, [*low, *high].map(|end| frame.y(&vertical, end)), WHISKER))
            .collect();
        if !whiskers.is_empty() {
            frame.reference(&whiskers, "none");
        }
        // Markers of different curves at different points, so that they do not hide each other.
        let every = places.len().div_ceil(MARKERS);
        let first = if every > 1 { number * every / data.series.len() } else { 0 };
        let mark = Mark::of(number);
        let marks: String = places.iter().skip(first).step_by(every).map(|[x, y]| mark.path(*x, *y, 4.0)).collect();
        frame.shape(&marks, &mark.paint(number));
    }
    Ok(frame.finish())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, labels};
    use super::*;

    fn data() -> Lines {
        let series = |name: &str, points: &[[f64; 2]]| LineSeries {
            name: name.into(),
            points: points.to_vec(),
            errors: Vec::new(),
        };
        Lines {
            series: vec![
                series("one <a>", &[[5.0, 0.4], [10.0, 0.35], [100.0, 0.2]]),
                series("two", &[[5.0, 0.3], [100.0, 0.25]]),
            ],
            log_x: true,
            references: vec![Reference { name: "paper".into(), value: 0.42 }],
        }
    }

    #[test]
    fn everything_is_there() {
        let svg = lines(&labels("a"), &data()).unwrap();
        check(&svg, &["one &lt;a&gt;", "two", "paper", ">5<", ">10<", ">100<", "stroke-dasharray=\"7 3\""]);
        let linear = lines(&labels("a"), &Lines { log_x: false, ..data() }).unwrap();
        check(&linear, &[">0<", ">20<", ">100<"]);
    }

    #[test]
    fn whiskers_are_drawn_and_have_room() {
        let mut data = data();
        let plain = lines(&labels("a"), &data).unwrap();
        data.series[0].errors = vec![0.01, 0.0, 0.3];
        let svg = lines(&labels("a"), &data).unwrap();
        check(&svg, &["one &lt;a&gt;"]);
        assert_eq!(svg.matches("m-4 0h4h4").count(), 4);
        assert_ne!(svg.contains(">0.5<"), plain.contains(">0.5<"), "the axis reaches to the ends");
    }

    #[test]
    fn long_curves_have_few_markers() {
        let points: Vec<[f64; 2]> = (0..2000).map(|x| [f64::from(x), f64::from(x).sqrt()]).collect();
        let series = (0..3)
            .map(|number| LineSeries { name: format!("{number}"), points: points.clone(), ..LineSeries::default() })
            .collect();
        let svg = lines(&labels("a"), &Lines { series, ..Lines::default() }).unwrap();
        check(&svg, &[]);
        let circles = svg.matches("a4 4 0 1 0 8 0").count();
        assert!((12..=14).contains(&circles), "{circles}");
    }

    #[test]
    fn single_points_and_equal_values_are_drawn() {
        for points in [vec![[1.0, 0.0]], vec![[3.0, 0.7], [4.0, 0.7]], vec![[-1e9, -1e-9], [1e9, 1e12]]] {
            let series = vec![LineSeries { name: "a".into(), points, errors: Vec::new() }];
            check(&lines(&labels("a"), &Lines { series, ..Lines::default() }).unwrap(), &[]);
        }
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        let error = |change: fn(&mut Lines)| {
            let mut data = data();
            change(&mut data);
            lines(&labels("a"), &data).unwrap_err().to_string()
        };
        assert!(error(|data| data.series.clear()).contains("has no curves"));
        assert!(error(|data| data.series[0].points.clear()).contains("has no points in a curve"));
        assert!(error(|data| data.series[0].points[0][1] = f64::NAN).contains("has the value NaN"));
        assert!(error(|data| data.series[0].errors = vec![f64::NAN; 3]).contains("has the value NaN"));
        assert!(error(|data| data.series[0].errors = vec![0.1]).contains("whiskers in a curve"));
        assert!(error(|data| data.references[0].value = f64::INFINITY).contains("has the value inf"));
        assert!(error(|data| data.series[0].points[0][0] = 0.0).contains("has x = 0 on a logarithmic axis"));
    }
}
