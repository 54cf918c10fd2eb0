//! Shares of a whole: one bar each, cut into parts. Figures 7 and 8 show types of items so.

use super::Labels;
use super::frame::{Frame, Horizontal, Key};
use super::scale::Scale;
use crate::Error;

/// The data of [`stacked`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stacked {
    /// Names of the bars, `[B]`.
    pub bars: Vec<String>,
    /// Names of the parts, the lowest first, `[P]`.
    pub parts: Vec<String>,
    /// Share of each part in each bar, `[B, P]`, 0 to 1; a bar sums to at most 1. Drawn in percent.
    pub shares: Vec<Vec<f64>>,
}

/// Draws shares.
///
/// # Errors
/// [`Error::Chart`] where there is no bar or part, lengths differ, a share is negative or not finite, or a bar sums to more
/// than 1.
pub fn stacked(labels: &Labels, data: &Stacked) -> Result<String, Error> {
    let (bars, parts) = (data.bars.len(), data.parts.len());
    labels.check_length("bars", bars, bars)?;
    labels.check_length("parts", parts, parts)?;
    labels.check_length("rows of shares", data.shares.len(), bars)?;
    for row in &data.shares {
        labels.check_length("shares in a bar", row.len(), parts)?;
        labels.check(row)?;
        let sum: f64 = row.iter().sum();
        if sum > 1.0 + 1e-6 || row.iter().any(|share| *share < 0.0) {
            return Err(labels.error(format!("has shares {row:?}, which are no parts of a whole")));
        }
    }
    let vertical = Scale::linear([0.0, 100.0], true);
    // Listed from the top, as the parts stand.
    let legend: Vec<(String, Key)> =
        data.parts.iter().enumerate().map(|(number, name)| (name.clone(), Key::Area(number % 8))).collect();
    let horizontal = Horizontal::Categories(&data.bars);
    let mut frame = Frame::new(labels, 240.0, &legend, &horizontal, &vertical, parts.min(8));
    for (number, (name, row)) in data.bars.iter().zip(&data.shares).enumerate() {
        let (left, right) = (frame.slot(number, bars, 0.15), frame.slot(number, bars, 0.85));
        let mut below = 0.0;
        for (part, share) in row.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let (low, high) = (frame.y(&vertical, 100.0 * below), frame.y(&vertical, 100.0 * (below + share)));
            let tip = format!("{name}, {}: {:.1} %", data.parts[part], 100.0 * share);
            frame.area([left, high, right - left, low - high], part % 8, &tip);
            below += share;
        }
    }
    Ok(frame.finish())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, labels};
    use super::*;

    fn data() -> Stacked {
        Stacked {
            bars: vec!["K = 5".into(), "K = 10 <b>".into()],
            parts: vec!["majority".into(), "minority & rest".into()],
            shares: vec![vec![0.75, 0.25], vec![1.0, 0.0]],
        }
    }

    #[test]
    fn everything_is_there() {
        let svg = stacked(&labels("a"), &data()).unwrap();
        check(&svg, &["K = 5", "K = 10 &lt;b&gt;", "majority", "minority &amp; rest", ">100<", "majority: 75.0 %"]);
        assert_eq!(svg.matches("<title>").count(), 3);
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        let error = |change: fn(&mut Stacked)| {
            let mut data = data();
            change(&mut data);
            stacked(&labels("a"), &data).unwrap_err().to_string()
        };
        assert!(error(|data| data.bars.clear()).contains("has no bars"));
        assert!(error(|data| data.parts.clear()).contains("has no parts"));
        assert!(error(|data| data.shares.truncate(1)).contains("has 1 rows of shares, not 2"));
        assert!(error(|data| data.shares[0].truncate(1)).contains("has 1 shares in a bar, not 2"));
        assert!(error(|data| data.shares[0][0] = f64::NAN).contains("has the value NaN"));
        assert!(error(|data| data.shares[0][0] = 0.8).contains("which are no parts of a whole"));
        assert!(error(|data| data.shares[0][0] = -0.1).contains("which are no parts of a whole"));
    }
}
