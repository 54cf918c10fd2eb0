//! What a person or a pipe sees: results on stdout, everything else on stderr.

use crate::failure::{Exit, Failure};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use onebp_train::{GUIDE, Observer, Row};
use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// How talkative the program is.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Say nothing but results and errors.
    pub quiet: bool,
    /// Results as JSON.
    pub json: bool,
}

impl Terminal {
    /// A line for a person, on stderr.
    pub fn tell(&self, line: &str) {
        if !self.quiet {
            // Nothing can be done about a closed stderr.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

/// A result, on stdout.
///
/// # Errors
/// Where stdout cannot be written. A reader that has seen enough (`| head`) ends the program without a word.
pub fn result(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written =
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::new(Exit::Output, format!("stdout: cannot be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// A result as JSON, on stdout.
///
/// # Errors
/// As [`result`].
pub fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Exit::Unexpected, format!("JSON: {error}")))?;
    result(&text)
}

/// Rows as an aligned table on a terminal, and tab-separated elsewhere.
///
/// # Errors
/// As [`result`].
pub fn rows(header: &[&str], rows: &[(String, Vec<String>)]) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        return result(&table(header, rows));
    }
    let line = |(name, values): &(String, Vec<String>)| {
        std::iter::once(name).chain(values).map(String::as_str).collect::<Vec<_>>().join("\t")
    };
    result(&std::iter::once(header.join("\t")).chain(rows.iter().map(line)).collect::<Vec<_>>().join("\n"))
}

/// A word for a command line that a person may copy.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-:@%+=".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// The columns of the paper's tables.
pub const COLUMNS: [&str; 12] =
    ["P@5", "R@5", "F1@5", "NDCG@5", "P@10", "R@10", "F1@10", "NDCG@10", "P@20", "R@20", "F1@20", "NDCG@20"];

/// A table with a name in the first column and numbers in the others.
pub fn table(header: &[&str], rows: &[(String, Vec<String>)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for (name, values) in rows {
        table.add_row(std::iter::once(name).chain(values));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines = table.to_string();
    lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A progress bar on a terminal; elsewhere a line now and then.
pub struct Progress {
    bar: ProgressBar,
    terminal: Terminal,
    epochs: u32,
    name: String,
    last_line: Instant,
    /// The newest line that has not been told.
    untold: Option<String>,
}

/// Time between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    /// Progress of a run of `epochs` epochs called `name`.
    pub fn new(terminal: Terminal, name: &str, epochs: u32) -> Self {
        let shown = !terminal.quiet && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {msg} [{elapsed}, {eta} left]") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_string());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, terminal, epochs, name: name.into(), last_line: Instant::now(), untold: None }
    }

    fn tell_last(&mut self) {
        if let Some(line) = self.untold.take().filter(|_| self.bar.is_hidden()) {
            self.last_line = Instant::now();
            self.terminal.tell(&line);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.tell_last();
        self.bar.finish_and_clear();
    }
}

/// Progress of many runs: a bar on a terminal, elsewhere a line for each finished run.
pub struct GridProgress {
    bar: ProgressBar,
    terminal: Terminal,
    runs: usize,
    finished: usize,
    jobs: usize,
    /// Estimated seconds of all runs, and of what is done of them.
    estimated: (f64, f64),
    started: Instant,
}

impl GridProgress {
    /// Progress of `runs` runs that are estimated to take `seconds` together, `jobs` at a time.
    pub fn new(terminal: Terminal, seconds: f64, runs: usize, jobs: usize) -> Self {
        let shown = !terminal.quiet && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(1000), target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {msg} [{elapsed}]") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self {
            bar,
            terminal,
            runs,
            finished: 0,
            jobs,
            estimated: (seconds.max(f64::MIN_POSITIVE), 0.0),
            started: Instant::now(),
        }
    }

    /// `seconds` of the estimate are done, by the run called `name`.
    pub fn moved(&mut self, seconds: f64, name: &str) {
        self.estimated.1 += seconds;
        self.bar.set_position((1000.0 * self.estimated.1 / self.estimated.0) as u64);
        self.bar.set_prefix(format!("{}/{} runs", self.finished, self.runs));
        self.bar.set_message(format!("{name}, {} left", self.left()));
    }

    /// A run is finished, and with it the last `seconds` of its estimate; `line` says what came of it.
    pub fn finished(&mut self, seconds: f64, line: &str) {
        self.finished += 1;
        self.estimated.1 += seconds;
        self.tell(&format!("{}/{} {line}; {} left", self.finished, self.runs, self.left()));
    }

    /// A line between the others.
    pub fn tell(&self, line: &str) {
        if self.bar.is_hidden() {
            self.terminal.tell(line);
        } else {
            self.bar.println(line);
        }
    }

    /// Ends the display; how many runs are left.
    pub fn close(&mut self) -> usize {
        self.bar.finish_and_clear();
        self.runs - self.finished
    }

    /// The time that is left, in words: the estimate, corrected by how long its done part took.
    fn left(&self) -> String {
        let (all, done) = self.estimated;
        if done < all / 1000.0 {
            return format!("about {}", words(all / self.jobs as f64));
        }
        format!("about {}", words(self.started.elapsed().as_secs_f64() * (all - done).max(0.0) / done))
    }
}

/// Seconds in words.
fn words(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

impl Observer for Progress {
    fn epoch_started(&mut self, epoch: u32, batches: usize, done: usize) {
        let batches = batches as u64;
        self.bar.set_length(u64::from(self.epochs) * batches);
        self.bar.set_position(u64::from(epoch - 1) * batches + done as u64);
        self.bar.set_prefix(format!("{} epoch {epoch}/{}", self.name, self.epochs));
    }

    fn batch_done(&mut self) {
        self.bar.inc(1);
    }

    fn evaluated(&mut self, row: &Row, _improved: bool) {
        let guide = row.metrics.get(GUIDE).unwrap_or(f64::NAN);
        let message = format!("loss {:.4}, {GUIDE} {guide:.4} ({})", row.loss, row.part);
        self.untold = Some(format!("{} epoch {}/{} {message}", self.name, row.epoch, self.epochs));
        if self.last_line.elapsed() >= LINE_EVERY {
            self.tell_last();
        }
        self.bar.set_message(message);
    }
}
