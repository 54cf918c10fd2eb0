//! The page: one HTML file that needs nothing else.

use super::{
    section::{Block, Section},
    tabular::Tabular,
};
use askama::Template;

/// The whole report.
#[derive(Clone, Debug, Default, PartialEq, Template)]
#[template(path = "report.html")]
pub struct Page {
    /// Title.
    pub title: String,
    /// What the page is made from, in a sentence.
    pub subtitle: String,
    /// Facts at the top: versions, counts of runs.
    pub facts: Vec<(String, String)>,
    /// The sections.
    pub sections: Vec<Section>,
}

/// A table within the page.
#[derive(Template)]
#[template(path = "table.html")]
struct TableOf<'a> {
    table: &'a Tabular,
}

impl Page {
    /// The page as HTML.
    ///
    /// # Errors
    /// Where the template cannot be filled, which is a bug.
    pub fn html(&self) -> Result<String, askama::Error> {
        self.render()
    }
}

/// Text of a sentence as HTML, with what stands between backticks as code.
fn inline(text: &str) -> String {
    let mut html = String::new();
    let pieces: Vec<&str> = text.split('`').collect();
    for (at, piece) in pieces.iter().enumerate() {
        // A last backtick without a partner stands for itself.
        html.push_str(match at {
            0 => "",
            _ if at + 1 == pieces.len() && at % 2 == 1 => "`",
            _ if at % 2 == 1 => "<code>",
            _ => "</code>",
        });
        for c in piece.chars() {
            match c {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                _ => html.push(c),
            }
        }
    }
    html
}

/// A table as HTML.
fn table_html(table: &Tabular) -> String {
    TableOf { table }.render().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        section::Figure,
        tabular::{Entry, Kind, Line},
    };

    #[test]
    fn code_within_sentences() {
        assert_eq!(inline("a `b` <c> `d` `e"), "a <code>b</code> &lt;c&gt; <code>d</code> `e");
        assert_eq!(inline("`"), "`");
    }

    #[test]
    fn everything_is_on_the_page_and_nothing_is_fetched() {
        let table = Tabular {
            name: "t".into(),
            caption: "Cap <1> `x`".into(),
            columns: vec!["P@5".into()],
            rows: vec![Line { label: "mf & co".into(), kind: Kind::Ours, entries: vec![Entry::share(Some(0.25))] }],
            notes: vec!["Note.".into()],
        };
        let figure = Figure { caption: "Fig".into(), svg: "<svg viewBox=\"0 0 1 1\"></svg>".into() };
        let section = Section {
            id: "table-9".into(),
            title: "Table 9".into(),
            about: "Why?".into(),
            claim: Some("So.".into()),
            verdict: Some("Yes.".into()),
            findings: vec!["It is.".into()],
            blocks: vec![Block::Heading("H".into()), Block::Table(table), Block::Panels(vec![figure])],
            remarks: vec!["R.".into()],
            gaps: vec!["missing".into()],
        };
        let page = Page { title: "Report".into(), sections: vec![section, Section::default()], ..Page::default() };
        let html = page.html().unwrap();
        let seen = [
            "Cap &lt;1&gt; <code>x</code>",
            "mf &#38; co",
            ".2500",
            "Note.",
            "<svg viewBox",
            "It is.",
            "R.",
            "missing",
            "href=\"#table-9\"",
        ];
        for text in seen {
            assert!(html.contains(text), "{text}: {html}");
        }
        assert!(!html.contains("http"), "nothing from elsewhere");
    }
}
