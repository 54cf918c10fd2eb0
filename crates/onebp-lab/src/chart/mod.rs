//! Charts as SVG text, to be put into a page of the report.
//!
//! | function | draws |
//! |---|---|
//! | [`bars`] | groups of bars with error bars, and a mark for the value that the paper prints |
//! | [`lines`] | curves with markers over numbers, on a linear or logarithmic axis, with horizontal lines to compare with |
//! | [`scatter`] | points of several classes, some of them emphasised |
//! | [`stacked`] | shares of a whole, one bar each |
//!
//! A chart is drawn in units of its `viewBox` and scales to the place it is given. Series differ in pattern, dash and
//! marker as well as in hue, so a print in black and white can be read. Text, axes and grid take the page's font and
//! `currentColor`, the background is transparent, and series take the custom properties `--series-1` to `--series-8` where
//! the page sets them: one chart serves light and dark pages. The legend stands above the plot, where no data are. A
//! `<title>` and a `<desc>` tell what is shown to those who do not see it.
//!
//! Why not a library: of those at hand, kuva draws all of this, but its legends cannot show a marker on a dashed line, nor
//! open marks, its patterns are greys only, and its ids are the same in every chart of a page.

mod bars;
mod frame;
mod lines;
mod marks;
mod scale;
mod scatter;
mod stacked;
#[cfg(test)]
mod testing;

pub use bars::{BarSeries, Bars, bars};
pub use lines::{LineSeries, Lines, Reference, lines};
pub use scatter::{Emphasis, EmphasisMark, Scatter, scatter};
pub use stacked::{Stacked, stacked};

use crate::Error;

/// What every chart says about itself. All text is plain text; it is escaped here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Name of the chart that no other chart of the page has; ids inside start with it. Letters, digits, `-` and `_`
    /// stay, other characters become `-`.
    pub id: String,
    /// Title, for the `<title>` and, where `heading` is set, above the chart.
    pub title: String,
    /// Whether the title is drawn.
    pub heading: bool,
    /// What there is to see, in a sentence or two, for those who do not see it.
    pub description: String,
    /// Label of the horizontal axis, with its unit; none where empty.
    pub x: String,
    /// Label of the vertical axis, with its unit; none where empty.
    pub y: String,
}

impl Labels {
    fn error(&self, problem: impl Into<String>) -> Error {
        Error::chart(&self.title, problem, "draw it from the results of a finished run")
    }

    /// Refuses values that are not finite numbers of a size that can be drawn.
    fn check<'a>(&self, values: impl IntoIterator<Item = &'a f64>) -> Result<(), Error> {
        match values.into_iter().find(|value| !value.is_finite() || value.abs() > 1e15) {
            Some(value) => Err(self.error(format!("has the value {value}"))),
            None => Ok(()),
        }
    }

    /// Refuses a chart without data or with parts of different lengths.
    fn check_length(&self, what: &str, found: usize, expected: usize) -> Result<(), Error> {
        match (found, expected) {
            (_, 0) => Err(self.error(format!("has no {what}"))),
            _ if found != expected => Err(self.error(format!("has {found} {what}, not {expected}"))),
            _ => Ok(()),
        }
    }
}
