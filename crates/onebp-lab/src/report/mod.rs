//! The report: what experiments measured, beside the paper's numbers, as one page and as tables for other programs.

mod figure;
mod gathered;
mod page;
mod runs;
mod section;
mod tabular;
mod views;

pub use gathered::{Gathered, Mean, Place, Placed};
pub use page::Page;
pub use runs::{OwnRun, of_runs};
pub use section::{Block, Figure, Section};
pub use tabular::{Entry, Kind, Line, Record, Tabular};

/// The section of an experiment.
pub fn section(gathered: &Gathered<'_>) -> Section {
    let experiment = gathered.experiment;
    let mut section = Section {
        id: experiment.name.clone(),
        title: experiment.title.clone(),
        about: experiment.about.clone(),
        claim: experiment.claim.clone(),
        verdict: experiment.verdict.clone(),
        remarks: experiment.remarks.clone(),
        ..Section::default()
    };
    for placed in &gathered.placed {
        let name = placed.cell.name();
        section.gaps.extend(placed.lacks(experiment).into_iter().map(|lack| format!("{name}: {lack}")));
        match (placed.result, placed.failure) {
            (Some(_), _) => {}
            (None, Some(failure)) => section.gaps.push(format!("{name} failed: {}", failure.problem)),
            (None, None) => section.gaps.push(format!("{name} has not been run")),
        }
    }
    views::show(gathered, &mut section);
    section
}
