//! `onebp experiment list` and `status`.

use super::{Selection, plan};
use crate::{
    failure::Failure,
    output::{self, Terminal},
};
use serde::Serialize;

#[derive(Serialize)]
struct Listed {
    name: String,
    title: String,
    about: String,
    finished: usize,
    failed: usize,
    runs: usize,
}

/// One line an experiment.
pub fn list(selection: &Selection, terminal: Terminal) -> Result<(), Failure> {
    let (experiments, store, mut shown) = selection.open()?;
    let mut lines = Vec::new();
    for experiment in experiments {
        let Some(gathered) = shown.keep(plan::gather(&experiment, selection, &store)) else { continue };
        let (finished, runs) = gathered.finished();
        let failed = gathered.placed.iter().filter(|placed| placed.failure.is_some()).count();
        let (title, about) = (experiment.title.clone(), experiment.about.clone());
        lines.push(Listed { name: experiment.name.clone(), title, about, finished, failed, runs });
    }
    if terminal.json {
        output::json(&lines)?;
        return shown.end();
    }
    let cells = |line: &Listed| {
        let failed = if line.failed > 0 { format!(", {} failed", line.failed) } else { String::new() };
        (line.name.clone(), vec![format!("{}/{}{failed}", line.finished, line.runs), line.title.clone()])
    };
    output::rows(&["experiment", "finished", "title"], &lines.iter().map(cells).collect::<Vec<_>>())?;
    shown.end()
}

#[derive(Serialize)]
struct Run {
    experiment: String,
    run: String,
    state: &'static str,
    epochs: Option<u32>,
    seconds: Option<f64>,
    problem: Option<String>,
}

/// One line a run.
pub fn status(selection: &Selection, terminal: Terminal) -> Result<(), Failure> {
    let (experiments, store, mut shown) = selection.open()?;
    let mut runs = Vec::new();
    for experiment in experiments {
        let Some(gathered) = shown.keep(plan::gather(&experiment, selection, &store)) else { continue };
        for placed in gathered.placed {
            runs.push(Run {
                experiment: experiment.name.clone(),
                run: placed.cell.name(),
                problem: match placed.failure {
                    Some(failure) => Some(failure.problem.clone()),
                    None => Some(placed.lacks(&experiment).join("; ")).filter(|lacks| !lacks.is_empty()),
                },
                state: match (placed.result, placed.failure) {
                    (Some(_), _) if !placed.lacks(&experiment).is_empty() => "unmeasured",
                    (Some(_), _) => "finished",
                    (None, Some(_)) => "failed",
                    (None, None) => "missing",
                },
                epochs: placed.result.map(|result| result.epochs),
                seconds: placed.result.map(|result| result.seconds),
            });
        }
    }
    if terminal.json {
        output::json(&runs)?;
        return shown.end();
    }
    let cells = |run: &Run| {
        let seconds = run.seconds.map_or_else(String::new, |seconds| format!("{seconds:.0} s"));
        let epochs = run.epochs.map_or_else(String::new, |epochs| epochs.to_string());
        let problem = run.problem.clone().unwrap_or_default();
        (run.experiment.clone(), vec![run.run.clone(), run.state.into(), epochs, seconds, problem])
    };
    output::rows(
        &["experiment", "run", "state", "epochs", "time", "problem"],
        &runs.iter().map(cells).collect::<Vec<_>>(),
    )?;
    shown.end()
}
