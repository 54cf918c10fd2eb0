//! How series are told apart: hue, pattern, dash and marker, so that each does without the first.
//!
//! Colours are those of Okabe and Ito ("Color universal design", 2008), which people with any of the common kinds of colour
//! blindness tell apart, without their yellow, which is lost on white. They can be read on white and on black.

use std::fmt::{self, Display};

/// A coordinate or length, to a tenth of a unit.
pub(super) struct N(pub(super) f64);

impl Display for N {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}", (self.0 * 10.0).round() / 10.0 + 0.0)
    }
}

/// Text as the content of an element or attribute: escaped, without characters that XML does not know.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push(' '),
            _ if character.is_control() => out.push(' '),
            _ => out.push(character),
        }
    }
    out
}

/// Width of a text in units, at `size` units a line; rather too large, since the page chooses the font.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let em = |character: char| match character {
        'i' | 'j' | 'l' | 't' | 'f' | 'I' | '.' | ',' | ':' | ';' | '|' | '!' | '\'' | ' ' | '(' | ')' => 0.36,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.95,
        'A'..='Z' => 0.72,
        '\u{2e80}'.. => 1.05,
        _ => 0.6,
    };
    text.chars().map(em).sum::<f64>() * size
}

const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d46", "#7a7a7a"];

/// Attributes that paint `property` (`fill` or `stroke`) in the colour of a series. Programs that do not know custom
/// properties take the attribute, others the style.
pub(super) fn paint(property: &str, series: usize) -> String {
    let number = series % COLOURS.len();
    let colour = COLOURS[number];
    format!("{property}=\"{colour}\" style=\"{property}:var(--series-{},{colour})\"", number + 1)
}

/// The path of a whisker at `x` from one end to the other, with caps of `half` to each side.
pub(super) fn whisker(x: f64, [low, high]: [f64; 2], half: f64) -> String {
    let (x, low, high, half) = (N(x), N(low), N(high), N(half));
    format!("M{x} {low}V{high}m-{half} 0h{half}h{half}M{x} {low}m-{half} 0h{half}h{half}")
}

/// Dashes of a series, as a value of `stroke-dasharray`.
pub(super) fn dash(series: usize) -> &'static str {
    ["none", "7 3", "2 2", "9 3 2 3", "12 3", "4 4", "9 3 2 3 2 3", "1 4"][series % 8]
}

/// The pattern of a series, for `<defs>`: the first is plain, others are lines or dots on a light ground.
pub(super) fn pattern(id: &str, series: usize) -> String {
    let (fill, stroke) = (paint("fill", series), paint("stroke", series));
    let lines = match series % 8 {
        0 => {
            return format!(
                "<pattern id=\"{id}-fill-{series}\" width=\"8\" height=\"8\" \
             patternUnits=\"userSpaceOnUse\"><path d=\"M0 0h8v8h-8z\" {fill}/></pattern>"
            );
        }
        1 => "M-1 1l2-2M0 8l8-8M7 9l2-2",
        2 => "M2 1v3M6 5v3",
        3 => "M0 4h8",
        4 => "M-1 7l2 2M0 0l8 8M7-1l2 2M-1 1l2-2M0 8l8-8M7 9l2-2",
        5 => "M4 0v8",
        6 => "M-1 7l2 2M0 0l8 8M7-1l2 2",
        _ => "M0 4h8M4 0v8",
    };
    format!(
        "<pattern id=\"{id}-fill-{series}\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><path d=\"M0 0h8v8h-8z\" \
         {fill} fill-opacity=\"0.2\"/><path d=\"{lines}\" fill=\"none\" stroke-width=\"2\" {stroke}/></pattern>"
    )
}

/// A shape around a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
    Plus,
    Down,
    Star,
}

impl Mark {
    /// The marker of a series or class.
    pub(super) fn of(series: usize) -> Self {
        use Mark::*;
        [Circle, Square, Triangle, Diamond, Cross, Plus, Down, Star][series % 8]
    }

    /// Whether the shape is made of lines and has no inside.
    pub(super) fn is_lines(self) -> bool {
        matches!(self, Self::Cross | Self::Plus)
    }

    /// Path of the shape of half-width `r` around (`x`, `y`).
    pub(super) fn path(self, x: f64, y: f64, r: f64) -> String {
        let corners = |corners: &[[f64; 2]]| {
            let mut path = String::new();
            for (number, [dx, dy]) in corners.iter().enumerate() {
                let command = if number == 0 { 'M' } else { 'L' };
                path.push_str(&format!("{command}{} {}", N(x + dx * r), N(y + dy * r)));
            }
            path + "z"
        };
        match self {
            Self::Circle => {
                let (r, d) = (N(r), N(2.0 * r));
                format!("M{} {}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z", N(x - r.0), N(y))
            }
            Self::Square => corners(&[[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]),
            Self::Triangle => corners(&[[0.0, -1.1], [1.1, 0.9], [-1.1, 0.9]]),
            Self::Down => corners(&[[0.0, 1.1], [1.1, -0.9], [-1.1, -0.9]]),
            Self::Diamond => corners(&[[0.0, -1.25], [1.25, 0.0], [0.0, 1.25], [-1.25, 0.0]]),
            Self::Cross => {
                let d = N(2.0 * r);
                format!("M{} {}l{d} {d}M{} {}l{d} -{d}", N(x - r), N(y - r), N(x - r), N(y + r))
            }
            Self::Plus => {
                let d = N(2.4 * r);
                format!("M{} {}h{d}M{} {}v{d}", N(x - 1.2 * r), N(y), N(x), N(y - 1.2 * r))
            }
            Self::Star => {
                let corner = |number: usize| {
                    let (angle, far) = (number as f64 * std::f64::consts::PI / 5.0, [1.4, 0.6][number % 2]);
                    [angle.sin() * far, -angle.cos() * far]
                };
                corners(&(0..10).map(corner).collect::<Vec<_>>())
            }
        }
    }

    /// Attributes of an element of such shapes in the colour of a series.
    pub(super) fn paint(self, series: usize) -> String {
        match self.is_lines() {
            true => format!("fill=\"none\" stroke-width=\"1.6\" {}", paint("stroke", series)),
            false => paint("fill", series),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("a<b & \"c\">\n\u{1}"), "a&lt;b &amp; &quot;c&quot;&gt;  ");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([N(1.0), N(-0.04), N(2.345), N(1e3)].map(|n| n.to_string()), ["1", "0", "2.3", "1000"]);
    }

    #[test]
    fn eight_series_differ_without_colour() {
        let distinct = |of: &dyn Fn(usize) -> String| {
            let mut all: Vec<String> = (0..8).map(of).collect();
            all.sort();
            all.dedup();
            all.len()
        };
        assert_eq!(distinct(&|series| dash(series).to_owned()), 8);
        assert_eq!(distinct(&|series| Mark::of(series).path(0.0, 0.0, 3.0)), 8);
        let lines = |series| pattern("x", series).rsplit("d=\"").next().unwrap().split('"').next().unwrap().to_owned();
        assert_eq!(distinct(&lines), 8);
        assert!(paint("fill", 8).contains("var(--series-1,"));
    }
}
