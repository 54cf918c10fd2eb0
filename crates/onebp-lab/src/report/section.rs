//! What the report shows of one experiment: tables, figures and sentences, one after another.

use super::tabular::Tabular;
use crate::Error;
use serde::Serialize;

/// A part of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Section {
    /// Name of the experiment, for links.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The question.
    pub about: String,
    /// What the paper says.
    pub claim: Option<String>,
    /// Whether that holds here.
    pub verdict: Option<String>,
    /// What came out here, each in a sentence with its figure.
    pub findings: Vec<String>,
    /// Tables and figures.
    pub blocks: Vec<Block>,
    /// Where and why results differ.
    pub remarks: Vec<String>,
    /// Runs that failed or are missing.
    pub gaps: Vec<String>,
}

/// A table or a figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Block {
    /// A heading within the section.
    Heading(String),
    /// A table.
    Table(Tabular),
    /// A table that is folded up at first.
    Folded(Tabular),
    /// A picture.
    Figure(Figure),
    /// Pictures side by side.
    Panels(Vec<Figure>),
    /// A text as it stands, folded up at first.
    Text {
        /// What it is.
        title: String,
        /// The text.
        text: String,
    },
}

/// A picture with its caption.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What it shows.
    pub caption: String,
    /// The picture, as SVG.
    pub svg: String,
}

impl Section {
    /// Adds figures side by side; what cannot be drawn becomes a gap.
    pub fn draw(&mut self, figures: Vec<Result<Figure, Error>>) {
        let mut drawn = Vec::new();
        for figure in figures {
            match figure {
                Ok(figure) => drawn.push(figure),
                Err(error) => self.gaps.push(error.to_string()),
            }
        }
        match drawn.len() {
            0 => {}
            1 => self.blocks.extend(drawn.into_iter().map(Block::Figure)),
            _ => self.blocks.push(Block::Panels(drawn)),
        }
    }

    /// The tables, folded ones too.
    pub fn tables(&self) -> impl Iterator<Item = &Tabular> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Table(table) | Block::Folded(table) => Some(table),
            _ => None,
        })
    }

    /// The pictures.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.blocks.iter().flat_map(|block| match block {
            Block::Figure(figure) => std::slice::from_ref(figure),
            Block::Panels(figures) => figures.as_slice(),
            _ => &[],
        })
    }
}
