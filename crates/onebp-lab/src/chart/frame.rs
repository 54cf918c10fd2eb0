//! The frame of a chart: title, legend, axes, ticks and grid; what is drawn in it comes from the kinds of charts.
//!
//! Places are computed from the top: heading, rows of the legend, plot, ticks, label of the horizontal axis. Widths of text
//! are estimates on the safe side, since the page chooses the font. Labels of categories that do not fit side by side are
//! turned.

use super::Labels;
use super::marks::{Mark, N, dash, escaped, paint, width};
use super::scale::Scale;
use std::fmt::Write;

/// Width of every chart, in units.
pub(super) const WIDTH: f64 = 640.0;
/// Size of text, in units.
const TEXT: f64 = 12.0;

/// How the legend shows an entry.
#[derive(Clone, Debug)]
pub(super) enum Key {
    /// An area with the pattern of a series.
    Area(usize),
    /// A line with the dash and marker of a series.
    Line(usize),
    /// A thin line without a marker, with these dashes.
    Reference(&'static str),
    /// The marker of a class.
    Point(usize),
    /// A mark in the colour of text, filled or open.
    Open(Mark, bool),
}

/// The horizontal axis.
pub(super) enum Horizontal<'a> {
    /// One place for each name.
    Categories(&'a [String]),
    /// Numbers.
    Numbers(&'a Scale),
}

/// A chart under construction: what is written so far, and where the plot is.
pub(super) struct Frame {
    id: String,
    out: String,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Frame {
    /// Starts a chart whose plot is `height` units high.
    pub(super) fn new(
        labels: &Labels,
        height: f64,
        legend: &[(String, Key)],
        horizontal: &Horizontal,
        vertical: &Scale,
        patterns: usize,
    ) -> Self {
        let ticks = vertical.ticks.iter().map(|(_, text)| width(text, TEXT)).fold(0.0, f64::max);
        let left = 10.0 + ticks + if labels.y.is_empty() { 0.0 } else { TEXT + 10.0 };
        // The label of the last tick hangs over by half.
        let overhang = match horizontal {
            Horizontal::Numbers(scale) => {
                scale.ticks.iter().map(|(_, text)| width(text, TEXT) / 2.0 + 6.0).fold(0.0, f64::max)
            }
            Horizontal::Categories(_) => 0.0,
        };
        let right = WIDTH - overhang.max(16.0);
        let (legend, rows) = place(legend, left, right);
        let heading = if labels.heading { 22.0 } else { 0.0 };
        let top = 8.0 + heading + rows as f64 * 18.0 + 8.0;
        let bottom = top + height;
        let mut frame = Self { id: id(labels), out: String::new(), left, right, top, bottom };
        let turned = match horizontal {
            Horizontal::Categories(names) => {
                let slot = (right - left) / names.len().max(1) as f64;
                let widest = names.iter().map(|name| width(name, TEXT)).fold(0.0, f64::max);
                (widest > slot - 4.0).then_some(widest)
            }
            Horizontal::Numbers(_) => None,
        };
        let below = match (turned, horizontal) {
            // The sine of 40 degrees.
            (Some(widest), _) => widest * 0.643 + 16.0,
            (None, Horizontal::Numbers(scale)) if scale.ticks.is_empty() => 4.0,
            (None, _) => 20.0,
        };
        let all = bottom + below + if labels.x.is_empty() { 4.0 } else { 20.0 };
        frame.open(labels, all, patterns);
        if labels.heading {
            frame.text(8.0, 20.0, "font-size=\"14\" font-weight=\"600\"", &labels.title);
        }
        for (name, key, x, row) in legend {
            frame.key(&key, x, 8.0 + heading + row as f64 * 18.0 + 9.0);
            frame.text(x + 34.0, 8.0 + heading + row as f64 * 18.0 + 13.0, "", &name);
        }
        frame.vertical(vertical, labels);
        match horizontal {
            Horizontal::Categories(names) => frame.names(names, turned.is_some()),
            Horizontal::Numbers(scale) => frame.numbers(scale),
        }
        if !labels.x.is_empty() {
            frame.text((left + right) / 2.0, all - 6.0, "text-anchor=\"middle\"", &labels.x);
        }
        frame
    }

    fn open(&mut self, labels: &Labels, height: f64, patterns: usize) {
        let id = self.id.clone();
        let (title, description) = (escaped(&labels.title), escaped(&labels.description));
        self.push(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-desc\" fill=\"currentColor\" font-size=\"{TEXT}\">\
             <title id=\"{id}-title\">{title}</title><desc id=\"{id}-desc\">{description}</desc>",
            N(WIDTH),
            N(height.ceil())
        ));
        if patterns > 0 {
            let all: String = (0..patterns).map(|series| super::marks::pattern(&id, series)).collect();
            self.push(format_args!("<defs>{all}</defs>"));
        }
    }

    fn vertical(&mut self, scale: &Scale, labels: &Labels) {
        for (value, text) in &scale.ticks {
            let y = self.y(scale, *value);
            let (left, right) = (N(self.left), N(self.right));
            self.push(format_args!(
                "<path d=\"M{left} {y}H{right}\" stroke=\"currentColor\" stroke-opacity=\"0.15\"/>",
                y = N(y)
            ));
            self.text(self.left - 6.0, y + 4.0, "text-anchor=\"end\"", text);
        }
        let (left, top, bottom, right) = (N(self.left), N(self.top), N(self.bottom), N(self.right));
        self.push(format_args!(
            "<path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"currentColor\" stroke-opacity=\"0.6\"/>"
        ));
        if !labels.y.is_empty() {
            let middle = (self.top + self.bottom) / 2.0;
            let turn = format!("text-anchor=\"middle\" transform=\"rotate(-90 14 {})\"", N(middle));
            self.text(14.0, middle, &turn, &labels.y);
        }
    }

    fn names(&mut self, names: &[String], turned: bool) {
        for (number, name) in names.iter().enumerate() {
            let x = self.slot(number, names.len(), 0.5);
            let y = self.bottom + 16.0;
            match turned {
                true => {
                    let turn = format!("text-anchor=\"end\" transform=\"rotate(-40 {} {})\"", N(x + 4.0), N(y - 2.0));
                    self.text(x + 4.0, y - 2.0, &turn, name);
                }
                false => self.text(x, y, "text-anchor=\"middle\"", name),
            }
        }
    }

    fn numbers(&mut self, scale: &Scale) {
        let mut free = f64::NEG_INFINITY;
        for (value, text) in &scale.ticks {
            let x = self.x(scale, *value);
            let (bottom, half) = (self.bottom, width(text, TEXT) / 2.0);
            self.push(format_args!(
                "<path d=\"M{} {}v5\" stroke=\"currentColor\" stroke-opacity=\"0.6\"/>",
                N(x),
                N(bottom)
            ));
            // Close ticks, as 1 and 2 beside 1000, keep their stroke and lose their text.
            if x - half > free {
                self.text(x, bottom + 18.0, "text-anchor=\"middle\"", text);
                free = x + half + 3.0;
            }
        }
    }

    fn key(&mut self, key: &Key, x: f64, y: f64) {
        match key {
            Key::Area(series) => self.area([x, y - 6.0, 26.0, 12.0], *series, ""),
            Key::Line(series) => {
                self.stroke(&format!("M{} {}h28", N(x), N(y)), *series);
                let mark = Mark::of(*series);
                self.shape(&mark.path(x + 14.0, y, 4.0), &mark.paint(*series));
            }
            Key::Reference(dashes) => self.reference(&format!("M{} {}h28", N(x), N(y)), dashes),
            Key::Point(class) => {
                let mark = Mark::of(*class);
                self.shape(&mark.path(x + 20.0, y, 4.0), &mark.paint(*class));
            }
            Key::Open(mark, filled) => self.emphasis(&mark.path(x + 20.0, y, 6.0), *filled),
        }
    }

    /// The place of `value` on the horizontal axis.
    pub(super) fn x(&self, scale: &Scale, value: f64) -> f64 {
        self.left + scale.at(value) * (self.right - self.left)
    }

    /// The place of `value` on the vertical axis.
    pub(super) fn y(&self, scale: &Scale, value: f64) -> f64 {
        self.bottom - scale.at(value) * (self.bottom - self.top)
    }

    /// The place at `share` (0 to 1) of slot `number` of `count` on the horizontal axis.
    pub(super) fn slot(&self, number: usize, count: usize, share: f64) -> f64 {
        self.left + (number as f64 + share) / count as f64 * (self.right - self.left)
    }

    /// A rectangle (left, top, width, height) with the pattern of a series, and a tip that tells its value.
    pub(super) fn area(&mut self, [x, y, width, height]: [f64; 4], series: usize, tip: &str) {
        let outline = paint("stroke", series);
        let tip = if tip.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(tip)) };
        let (x, y, w, h, fill) = (N(x), N(y), N(width), N(height), format!("url(#{}-fill-{series})", self.id));
        self.push(format_args!("<path d=\"M{x} {y}h{w}v{h}h-{w}z\" fill=\"{fill}\" {outline}>{tip}</path>"));
    }

    /// A curve with the colour and dashes of a series.
    pub(super) fn stroke(&mut self, path: &str, series: usize) {
        let (paint, dash) = (paint("stroke", series), dash(series));
        self.push(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke-width=\"2\" stroke-dasharray=\"{dash}\" {paint}/>"
        ));
    }

    /// A thin line in the colour of text.
    pub(super) fn reference(&mut self, path: &str, dashes: &str) {
        self.push(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.2\" stroke-dasharray=\"{dashes}\"/>"
        ));
    }

    /// Shapes with attributes of their own.
    pub(super) fn shape(&mut self, path: &str, attributes: &str) {
        self.push(format_args!("<path d=\"{path}\" {attributes}/>"));
    }

    /// Shapes in the colour of text, open or filled.
    pub(super) fn emphasis(&mut self, path: &str, filled: bool) {
        let fill = if filled { "currentColor" } else { "none" };
        self.push(format_args!("<path d=\"{path}\" fill=\"{fill}\" stroke=\"currentColor\" stroke-width=\"1.4\"/>"));
    }

    fn text(&mut self, x: f64, y: f64, attributes: &str, text: &str) {
        let space = if attributes.is_empty() { "" } else { " " };
        self.push(format_args!("<text x=\"{}\" y=\"{}\"{space}{attributes}>{}</text>", N(x), N(y), escaped(text)));
    }

    fn push(&mut self, text: std::fmt::Arguments) {
        // Writing to a string cannot fail.
        let _ = self.out.write_fmt(text);
    }

    /// The finished chart.
    pub(super) fn finish(mut self) -> String {
        self.out.push_str("</svg>");
        self.out
    }
}

/// The id of a chart with what ids may hold.
fn id(labels: &Labels) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() || character == '_' { character } else { '-' };
    format!("c-{}", labels.id.chars().map(plain).collect::<String>())
}

/// Places the entries of a legend in rows from `left` to `right`: name, key, x and row of each; and the number of rows.
fn place(legend: &[(String, Key)], left: f64, right: f64) -> (Vec<(String, Key, f64, usize)>, usize) {
    let (mut x, mut row) = (left, 0);
    let mut placed = Vec::new();
    for (name, key) in legend {
        let wide = 34.0 + width(name, TEXT) + 16.0;
        if x > left && x + wide > right {
            (x, row) = (left, row + 1);
        }
        placed.push((name.clone(), key.clone(), x, row));
        x += wide;
    }
    (placed, if legend.is_empty() { 0 } else { row + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legends_wrap() {
        let entry = |name: &str| (name.to_owned(), Key::Point(0));
        let (placed, rows) = place(&[entry("aaaaaaaaaa"), entry("bbbbbbbbbb"), entry("c")], 10.0, 200.0);
        assert_eq!(rows, 2);
        assert_eq!(placed.iter().map(|(_, _, _, row)| *row).collect::<Vec<_>>(), [0, 1, 1]);
        assert!(placed[2].2 > placed[1].2 + 100.0);
        assert_eq!(place(&[], 0.0, 1.0).1, 0);
    }

    #[test]
    fn ids_are_plain() {
        assert_eq!(id(&Labels { id: "Fig. 5\"<é".into(), ..Labels::default() }), "c-Fig--5---");
    }
}
