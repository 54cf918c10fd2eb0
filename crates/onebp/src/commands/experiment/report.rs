//! `onebp experiment report`.

use super::{Selection, plan};
use crate::{
    failure::{Exit, Failure},
    frame,
    output::{self, Terminal},
};
use onebp_lab::report::{Block, Page, Section, Tabular, section};
use onebp_train::atomic;
use polars::prelude::Column;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What is reported, and where to.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Folder of the report: report.html, report.md, and tables/ with every table as Markdown, LaTeX, CSV and JSON.
    #[arg(long, value_name = "DIR", default_value = "report")]
    out: PathBuf,
    /// Print the tables as Markdown instead, and write nothing.
    #[arg(long)]
    markdown: bool,
}

/// What the report of experiments is called.
const TITLE: &str = "OneBP: tables and figures, measured";

pub fn run(arguments: Arguments, terminal: Terminal) -> Result<(), Failure> {
    let selection = &arguments.selection;
    let (experiments, store, mut shown) = selection.open()?;
    let mut sections = Vec::new();
    let (mut finished, mut runs) = (0, 0);
    // Experiments share runs.
    let mut seconds = BTreeMap::new();
    for experiment in experiments {
        let Some(gathered) = shown.keep(plan::gather(&experiment, selection, &store)) else { continue };
        let counts = gathered.finished();
        (finished, runs) = (finished + counts.0, runs + counts.1);
        let results = gathered.placed.iter().filter_map(|placed| placed.result);
        seconds.extend(results.map(|one| ((one.config_address.clone(), one.data_fingerprint.clone()), one.seconds)));
        // What has not been begun would fill the page with what is missing.
        if counts.0 > 0 {
            sections.push(section(&gathered));
        }
    }
    if sections.is_empty() {
        shown.end()?;
        let problem = format!("{}: none of these runs is finished", selection.results().display());
        return Err(Failure::new(Exit::Run, format!("{problem}; run them first: onebp experiment run")));
    }
    let facts = vec![
        ("program".to_string(), format!("onebp {}", env!("CARGO_PKG_VERSION"))),
        ("runs".into(), format!("{finished} of {runs} finished, {} different ones", seconds.len())),
        ("time".into(), format!("{:.1} hours of training and evaluation", seconds.values().sum::<f64>() / 3600.0)),
        ("profile".into(), selection.profile.clone().unwrap_or_else(|| "the whole grid".into())),
    ];
    let page = Page {
        title: TITLE.into(),
        subtitle: "\"One Backpropagation in Two Tower Recommendation Models\" (arXiv 2403.18227), rerun by onebp."
            .into(),
        facts,
        sections,
    };
    if arguments.markdown {
        output::result(markdown(&page).trim_end())?;
    } else if terminal.json {
        output::json(&page.sections)?;
    } else {
        write(&page, &arguments.out, &terminal)?;
    }
    shown.end()
}

/// What was found, with the tables behind it, as Markdown.
fn markdown(page: &Page) -> String {
    let facts: Vec<String> = page.facts.iter().map(|(name, fact)| format!("{name}: {fact}")).collect();
    let mut text = format!("# {}\n\n{}\n\n{}\n\n", page.title, page.subtitle, facts.join("; "));
    for section in &page.sections {
        text.push_str(&format!("## {}\n\n{}\n\n", section.title, section.about));
        for (who, sentence) in [("The paper", &section.claim), ("Here", &section.verdict)] {
            if let Some(sentence) = sentence {
                text.push_str(&format!("**{who}:** {sentence}\n\n"));
            }
        }
        let mut list = |sentences: &[String]| {
            sentences.iter().for_each(|sentence| text.push_str(&format!("- {sentence}\n")));
            text.push_str(if sentences.is_empty() { "" } else { "\n" });
        };
        list(&section.findings);
        list(&section.remarks);
        if !section.gaps.is_empty() {
            list(&[format!("Missing: {} (`onebp experiment status` lists them).", section.gaps.len())]);
        }
        // Folded tables are for those who look for them: they lie in tables/.
        let tables =
            section.blocks.iter().filter_map(|block| if let Block::Table(table) = block { Some(table) } else { None });
        tables.for_each(|table| text.push_str(&format!("{}\n", table.markdown())));
    }
    text
}

/// Writes the page and its tables.
///
/// # Errors
/// An output failure where `folder` cannot be written.
pub fn write(page: &Page, folder: &Path, terminal: &Terminal) -> Result<(), Failure> {
    atomic::create_folder(folder)?;
    let html = page.html().map_err(Failure::unexpected)?;
    atomic::write(&folder.join("report.html"), html.as_bytes())?;
    atomic::write(&folder.join("report.md"), markdown(page).as_bytes())?;
    let tables = atomic::create_folder(&folder.join("tables"))?;
    let mut count = 0;
    for table in page.sections.iter().flat_map(Section::tables) {
        let json = serde_json::to_vec_pretty(table).map_err(Failure::unexpected)?;
        let files = [
            ("md", table.markdown().into_bytes()),
            ("tex", table.latex().into_bytes()),
            ("csv", csv(table)?),
            ("json", json),
        ];
        for (ending, bytes) in files {
            atomic::write(&tables.join(format!("{}.{ending}", table.name)), &bytes)?;
        }
        count += 1;
    }
    terminal.tell(&format!("{} KiB, {count} tables beside it as .md, .tex, .csv and .json", html.len() / 1024));
    output::result(&folder.join("report.html").display().to_string())
}

/// A table in its long form: a line an entry.
fn csv(table: &Tabular) -> Result<Vec<u8>, Failure> {
    let records = table.records();
    let text = |of: fn(&onebp_lab::report::Record) -> &str| records.iter().map(of).collect::<Vec<&str>>();
    let frame = frame::frame(vec![
        Column::new("group".into(), text(|record| &record.group)),
        Column::new("row".into(), text(|record| &record.row)),
        Column::new("kind".into(), text(|record| record.kind)),
        Column::new("column".into(), text(|record| &record.column)),
        Column::new("value".into(), records.iter().map(|record| record.value).collect::<Vec<Option<f64>>>()),
        Column::new("text".into(), text(|record| &record.text)),
        Column::new("detail".into(), text(|record| &record.detail)),
    ])?;
    frame::encode(frame, frame::TableFormat::Csv)
}
