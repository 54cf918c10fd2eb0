//! From a chart to a figure of the page.

use super::section::Figure;
use crate::{Error, chart::Labels};

/// Points of a curve that are drawn at most.
const POINTS: usize = 200;

/// What a caption says of whiskers.
pub const WHISKERS: &str = "; whiskers are standard deviations over seeds";

/// Labels of a chart that is called `id` on the page and shows what `caption` says.
pub fn labels(id: &str, caption: &str, x: &str, y: &str) -> Labels {
    Labels {
        id: id.into(),
        title: caption.into(),
        heading: false,
        description: caption.into(),
        x: x.into(),
        y: y.into(),
    }
}

/// The figure.
///
/// # Errors
/// [`Error::Chart`] where it cannot be drawn.
pub fn of(caption: String, svg: Result<String, Error>) -> Result<Figure, Error> {
    Ok(Figure { caption, svg: svg? })
}

/// Every n-th point, so that pages stay small; the first and the last are kept.
pub fn thinned(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let step = points.len().div_ceil(POINTS).max(1);
    let last = points.len().wrapping_sub(1);
    points.iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last).map(|(_, &point)| point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_thinned_to_their_ends() {
        let points: Vec<[f64; 2]> = (0..1001).map(|x| [f64::from(x), 0.0]).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS + 1 && thin[0][0] == 0.0 && thin[thin.len() - 1][0] == 1000.0, "{}", thin.len());
        assert_eq!(thinned(&points[..3]), points[..3]);
        assert!(thinned(&[]).is_empty());
    }
}
