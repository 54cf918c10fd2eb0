//! One file for each way in which results are shown.

mod bars;
mod beyond;
mod comparison;
mod curves;
mod genres;
mod map;
mod statistics;
mod sweep;
mod times;
mod types;
mod user_types;

pub use curves::curve_points;

use super::{gathered::Gathered, section::Section};
use crate::experiment::View;

/// Fills `section` with the results of an experiment.
pub fn show(gathered: &Gathered<'_>, section: &mut Section) {
    let show = match gathered.experiment.view {
        View::Statistics => statistics::show,
        View::Comparison => comparison::show,
        View::Bars => bars::show,
        View::Sweep => sweep::show,
        View::GenreCounts => genres::counts,
        View::Genres => genres::table,
        View::GenreBars => genres::bars,
        View::Map => map::show,
        View::UserTypes => user_types::show,
        View::Types => types::show,
        View::Beyond => beyond::show,
        View::Curves => curves::show,
        View::Times => times::show,
    };
    show(gathered, section);
}

/// On which machines the runs of a table were made, and how.
fn machines(gathered: &Gathered<'_>, data: &str, protocol: &str) -> String {
    let mut found: Vec<String> = Vec::new();
    for placed in &gathered.placed {
        let Some(result) = placed.result.filter(|_| placed.cell.data == data && placed.cell.protocol == protocol)
        else {
            continue;
        };
        let machine = &result.machine;
        let threads = if machine.threads == 1 { "1 thread".into() } else { format!("{} threads", machine.threads) };
        let beside = match machine.jobs {
            0 | 1 => String::new(),
            jobs => format!(", {jobs} runs at a time"),
        };
        let text = format!("{} on {} with {threads}{beside}", machine.device, machine.processor);
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found.join("; ")
}
