//! Points in the plane, of several classes, some of them emphasised: the pictures of Figure 4.
//!
//! Classes differ in hue and marker. Emphasised points keep these and get a mark in the colour of text around them, such as
//! rings around a user's training items. The axes have no ticks, since the places of a projection have no unit.

use super::Labels;
use super::frame::{Frame, Horizontal, Key};
use super::marks::Mark;
use super::scale::Scale;
use crate::Error;

/// The mark of emphasised points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmphasisMark {
    /// A ring around the point.
    Ring,
    /// A box around the point.
    Box,
    /// A large star on the point.
    Star,
}

impl EmphasisMark {
    fn shape(self) -> (Mark, bool, f64) {
        match self {
            Self::Ring => (Mark::Circle, false, 5.5),
            Self::Box => (Mark::Square, false, 6.5),
            Self::Star => (Mark::Star, true, 8.0),
        }
    }
}

/// Points to be emphasised.
#[derive(Clone, Debug, PartialEq)]
pub struct Emphasis {
    /// Their name in the legend, such as `training items of user 7`.
    pub name: String,
    /// How they are marked.
    pub mark: EmphasisMark,
    /// Which points, by number.
    pub points: Vec<u32>,
}

/// The data of [`scatter`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scatter {
    /// Places, `[n, 2]`.
    pub points: Vec<[f32; 2]>,
    /// Class of each point, `[n]`; `None` for one that shows its emphasis only, such as a user.
    pub class: Vec<Option<u32>>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// What is emphasised, later ones on top.
    pub emphasis: Vec<Emphasis>,
}

/// Draws points.
///
/// # Errors
/// [`Error::Chart`] where there is no point, lengths differ, a place is not finite, or a class or point is unknown.
pub fn scatter(labels: &Labels, data: &Scatter) -> Result<String, Error> {
    let n = data.points.len();
    labels.check_length("points", n, n)?;
    labels.check_length("classes of points", data.class.len(), n)?;
    let places: Vec<[f64; 2]> = data.points.iter().map(|place| place.map(f64::from)).collect();
    labels.check(places.iter().flatten())?;
    if let Some(class) = data.class.iter().flatten().find(|class| **class as usize >= data.classes.len()) {
        return Err(labels.error(format!("has a point of class {class} of {}", data.classes.len())));
    }
    if let Some(point) = data.emphasis.iter().flat_map(|one| &one.points).find(|point| **point as usize >= n) {
        return Err(labels.error(format!("emphasises point {point} of {n}")));
    }
    let horizontal = Scale::bare(places.iter().map(|place| place[0]));
    let vertical = Scale::bare(places.iter().map(|place| place[1]));
    let classes = data.classes.iter().enumerate();
    let mut legend: Vec<(String, Key)> = classes.map(|(number, name)| (name.clone(), Key::Point(number))).collect();
    legend.extend(data.emphasis.iter().map(|one| {
        let (mark, filled, _) = one.mark.shape();
        (one.name.clone(), Key::Open(mark, filled))
    }));
    let mut frame = Frame::new(labels, 480.0, &legend, &Horizontal::Numbers(&horizontal), &vertical, 0);
    let marks = |frame: &Frame, points: &mut dyn Iterator<Item = usize>, mark: Mark, r: f64| -> String {
        points
            .map(|point| {
                let [x, y] = places[point];
                mark.path(frame.x(&horizontal, x), frame.y(&vertical, y), r)
            })
            .collect()
    };
    // One path per class: a page may hold several charts of thousands of points.
    for class in 0..data.classes.len() {
        let mark = Mark::of(class);
        let mut of_class = (0..n).filter(|&point| data.class[point] == Some(class as u32));
        let path = marks(&frame, &mut of_class, mark, 2.6);
        frame.shape(&path, &format!("{} opacity=\"0.75\"", mark.paint(class)));
    }
    for one in &data.emphasis {
        let (mark, filled, r) = one.mark.shape();
        let path = marks(&frame, &mut one.points.iter().map(|&point| point as usize), mark, r);
        frame.emphasis(&path, filled);
    }
    Ok(frame.finish())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, labels};
    use super::*;

    fn data() -> Scatter {
        Scatter {
            points: vec![[0.0, 0.0], [1.0, 5.0], [-3.0, 2.0], [2.0, 2.0]],
            class: vec![Some(0), Some(1), Some(0), None],
            classes: vec!["type 1".into(), "type <2>".into()],
            emphasis: vec![
                Emphasis { name: "training items".into(), mark: EmphasisMark::Ring, points: vec![0, 1] },
                Emphasis { name: "test items".into(), mark: EmphasisMark::Box, points: vec![2] },
                Emphasis { name: "user & friend".into(), mark: EmphasisMark::Star, points: vec![3] },
            ],
        }
    }

    #[test]
    fn everything_is_there() {
        let svg = scatter(&labels("a"), &data()).unwrap();
        check(&svg, &["type 1", "type &lt;2&gt;", "training items", "test items", "user &amp; friend"]);
        // Two circles of class 0 in one path, a square of class 1 in another.
        assert!(svg.split("<path").any(|path| path.matches("0 1 0 5.2 0").count() == 2));
    }

    #[test]
    fn a_single_point_is_drawn() {
        let data = Scatter { points: vec![[1.0, 1.0]], class: vec![None], ..Scatter::default() };
        check(&scatter(&labels("a"), &data).unwrap(), &[]);
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        let error = |change: fn(&mut Scatter)| {
            let mut data = data();
            change(&mut data);
            scatter(&labels("a"), &data).unwrap_err().to_string()
        };
        assert!(error(|data| data.points.clear()).contains("has no points"));
        assert!(error(|data| data.class.clear()).contains("has 0 classes of points, not 4"));
        assert!(error(|data| data.class[0] = Some(2)).contains("has a point of class 2 of 2"));
        assert!(error(|data| data.emphasis[0].points[0] = 4).contains("emphasises point 4 of 4"));
        assert!(error(|data| data.points[0][0] = f32::NAN).contains("has the value NaN"));
    }
}
