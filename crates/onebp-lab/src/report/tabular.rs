//! Tables as the report shows them, and the same as Markdown, LaTeX and records for CSV and JSON.

use super::gathered::Mean;
use serde::Serialize;
use std::fmt::Write;

/// A table: a column of labels and columns of entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tabular {
    /// Name of its files, such as `table-2-ml-100k-paper`.
    pub name: String,
    /// What it shows, with the protocol.
    pub caption: String,
    /// Heads of the columns of entries.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Line>,
    /// Sentences below the table.
    pub notes: Vec<String>,
}

/// A row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Line {
    /// What it is called.
    pub label: String,
    /// How it is set.
    pub kind: Kind,
    /// One entry for each column; fewer leave the others empty.
    pub entries: Vec<Entry>,
}

/// How a row is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What was measured here.
    #[default]
    Ours,
    /// The paper's numbers for the row above.
    Paper,
    /// More about the row above.
    Detail,
    /// A heading of the rows below.
    Group,
    /// What follows from the rows above.
    Summary,
}

impl Kind {
    /// The name of its class.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Paper => "paper",
            Self::Detail => "detail",
            Self::Group => "group",
            Self::Summary => "summary",
        }
    }
}

/// An entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Entry {
    /// As it is printed.
    pub text: String,
    /// Printed smaller behind it: a deviation, a difference.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The number itself.
    pub value: Option<f64>,
    /// The best of its column.
    pub best: bool,
    /// Why it should not be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

impl Entry {
    /// An entry without a number.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A value between 0 and 1, as `.4530`; a dash where there is none.
    pub fn share(value: Option<f64>) -> Self {
        Self { text: value.map_or_else(|| "-".into(), share), value, ..Self::default() }
    }

    /// A number with `digits` after the point.
    pub fn number(value: f64, digits: usize) -> Self {
        Self { text: fixed(value, digits), value: Some(value), ..Self::default() }
    }

    /// Seconds.
    pub fn seconds(value: f64) -> Self {
        Self { text: seconds(value), value: Some(value), ..Self::default() }
    }

    /// A mean between 0 and 1, with its standard deviation where it is one of several.
    pub fn mean(mean: Option<Mean>) -> Self {
        let entry = Self::share(mean.map(|mean| mean.value));
        match mean {
            Some(mean) if mean.count > 1 => entry.with(format!("±{}", share(mean.deviation))),
            _ => entry,
        }
    }

    /// The same with a detail behind it.
    pub fn with(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}

/// A number with `digits` after the point, and nothing before it where that would be a zero.
pub fn fixed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.strip_prefix("0.") {
        Some(rest) => format!(".{rest}"),
        None => text.strip_prefix("-0.").map_or(text.clone(), |rest| format!("-.{rest}")),
    }
}

/// A metric, as the paper prints it.
pub fn share(value: f64) -> String {
    fixed(value, 4)
}

/// Seconds to three digits.
pub fn seconds(value: f64) -> String {
    let digits = match value {
        v if v < 0.1 => 4,
        v if v < 1.0 => 3,
        v if v < 10.0 => 2,
        _ => 1,
    };
    fixed(value, digits)
}

/// A number of the long form of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Name of the table.
    pub table: String,
    /// The heading above the row.
    pub group: String,
    /// Label of the row; that of the row above for the paper's numbers beside it.
    pub row: String,
    /// `ours`, `paper`, `detail` or `summary`.
    pub kind: &'static str,
    /// Head of the column.
    pub column: String,
    /// The number.
    pub value: Option<f64>,
    /// As it is printed.
    pub text: String,
    /// What is printed behind it: a deviation, a difference.
    pub detail: String,
}

impl Tabular {
    /// Marks the best entry of each column among the rows of ours: the largest.
    pub fn mark_best(&mut self, columns: usize) {
        for column in 0..columns {
            let of = |line: &Line| line.entries.get(column).and_then(|entry| entry.value);
            let ours = self.rows.iter().filter(|line| line.kind == Kind::Ours);
            let Some(best) = ours.filter_map(of).max_by(f64::total_cmp) else { continue };
            for line in self.rows.iter_mut().filter(|line| line.kind == Kind::Ours) {
                if let Some(entry) = line.entries.get_mut(column) {
                    entry.best = entry.value == Some(best);
                }
            }
        }
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ");
        let mut text = format!("**{}**\n\n| |", self.caption);
        for column in &self.columns {
            let _ = write!(text, " {} |", cell(column));
        }
        let _ = write!(text, "\n|---|{}\n", "---|".repeat(self.columns.len()));
        for line in &self.rows {
            let label = if line.kind == Kind::Group { format!("**{}**", cell(&line.label)) } else { cell(&line.label) };
            let _ = write!(text, "| {label} |");
            for at in 0..self.columns.len() {
                let entry = line.entries.get(at).cloned().unwrap_or_default();
                let doubt = if entry.doubt.is_some() { "?" } else { "" };
                let number = if entry.best { format!("**{}**", cell(&entry.text)) } else { cell(&entry.text) };
                let _ = write!(text, " {} |", joined(&[&format!("{number}{doubt}"), &cell(&entry.detail)]));
            }
            text.push('\n');
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }

    /// As a LaTeX table of package booktabs.
    pub fn latex(&self) -> String {
        let mut text = String::from("\\begin{table}\n\\centering\n");
        let _ = writeln!(text, "\\caption{{{}}}", latex(&self.caption));
        let _ = writeln!(text, "\\begin{{tabular}}{{l{}}}\n\\toprule", "r".repeat(self.columns.len()));
        for column in &self.columns {
            let _ = write!(text, " & {}", latex(column));
        }
        text.push_str(" \\\\\n\\midrule\n");
        for line in &self.rows {
            if line.kind == Kind::Group {
                let _ = writeln!(
                    text,
                    "\\multicolumn{{{}}}{{l}}{{\\emph{{{}}}}} \\\\",
                    self.columns.len() + 1,
                    latex(&line.label)
                );
                continue;
            }
            text.push_str(&latex(&line.label));
            for at in 0..self.columns.len() {
                let entry = line.entries.get(at).cloned().unwrap_or_default();
                let number = latex(&entry.text);
                let number = if entry.best { format!("\\textbf{{{number}}}") } else { number };
                let doubt = if entry.doubt.is_some() { "?" } else { "" };
                let _ = write!(text, " & {}", joined(&[&format!("{number}{doubt}"), &latex(&entry.detail)]));
            }
            text.push_str(" \\\\\n");
        }
        text.push_str("\\bottomrule\n\\end{tabular}\n");
        for note in &self.notes {
            let _ = writeln!(text, "\\par\\footnotesize {}", latex(note));
        }
        let _ = writeln!(text, "\\label{{tab:{}}}\n\\end{{table}}", self.name);
        text
    }

    /// One record for each entry that is there.
    pub fn records(&self) -> Vec<Record> {
        let (mut group, mut ours) = (String::new(), String::new());
        let mut records = Vec::new();
        for line in &self.rows {
            match line.kind {
                Kind::Group => group.clone_from(&line.label),
                Kind::Ours => ours.clone_from(&line.label),
                _ => {}
            }
            let beside = line.kind == Kind::Paper && line.label == "paper";
            let record = |(column, entry): (&String, &Entry)| Record {
                table: self.name.clone(),
                group: group.clone(),
                row: if beside { ours.clone() } else { line.label.clone() },
                kind: line.kind.class(),
                column: column.clone(),
                value: entry.value,
                text: entry.text.clone(),
                detail: entry.detail.clone(),
            };
            records.extend(self.columns.iter().zip(&line.entries).map(record));
        }
        records
    }
}

/// The words that are not empty, with spaces between.
fn joined(words: &[&str]) -> String {
    words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

/// Text for LaTeX.
fn latex(text: &str) -> String {
    let (mut out, mut code) = (String::new(), false);
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '±' => out.push_str("$\\pm$"),
            '×' => out.push_str("$\\times$"),
            '≤' => out.push_str("$\\le$"),
            '<' | '>' | '|' => out.extend(['$', c, '$']),
            // What comes first in a cell could be taken for an argument.
            '[' => out.push_str("{[}"),
            '`' => {
                out.push_str(if code { "}" } else { "\\texttt{" });
                code = !code;
            }
            _ => out.push(c),
        }
    }
    if code {
        out.push('}');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Tabular {
        let line = |label: &str, kind, entries: Vec<Entry>| Line { label: label.into(), kind, entries };
        let mut table = Tabular {
            name: "t".into(),
            caption: "100 % of it".into(),
            columns: vec!["P@5".into(), "time".into()],
            rows: vec![
                line("Loss", Kind::Group, Vec::new()),
                line("a_b", Kind::Ours, vec![Entry::share(Some(0.4)).with("±.0010"), Entry::number(1.25, 1)]),
                line("c|d", Kind::Ours, vec![Entry::share(Some(0.5))]),
                line("paper", Kind::Paper, vec![Entry { doubt: Some("odd".into()), ..Entry::share(Some(0.9)) }]),
            ],
            notes: vec!["A note.".into()],
        };
        table.mark_best(1);
        table
    }

    #[test]
    fn markdown() {
        assert_eq!(
            table().markdown(),
            "**100 % of it**\n\n| | P@5 | time |\n|---|---|---|\n| **Loss** |  |  |\n| a_b | .4000 ±.0010 | 1.2 |\n\
             | c\\|d | **.5000** |  |\n| paper | .9000? |  |\n\nA note.\n"
        );
    }

    #[test]
    fn latex_and_records() {
        let text = table().latex();
        assert!(
            text.contains("\\caption{100 \\% of it}") && text.contains("a\\_b & .4000 $\\pm$.0010 & 1.2 \\\\"),
            "{text}"
        );
        assert!(text.contains("c$|$d & \\textbf{.5000} &  \\\\") && text.contains("\\multicolumn{3}{l}{\\emph{Loss}}"));
        let records = table().records();
        assert_eq!(records.len(), 4);
        assert_eq!((records[0].column.as_str(), records[0].value), ("P@5", Some(0.4)));
        assert_eq!((records[3].kind, records[3].row.as_str(), records[3].group.as_str()), ("paper", "c|d", "Loss"));
    }

    #[test]
    fn numbers() {
        assert_eq!([share(0.453), share(-0.02), share(1.0), share(0.0)], [".4530", "-.0200", "1.0000", ".0000"]);
        assert_eq!([seconds(0.01234), seconds(0.5), seconds(3.2), seconds(120.04)], [".0123", ".500", "3.20", "120.0"]);
        assert_eq!(Entry::share(None).text, "-");
    }
}
