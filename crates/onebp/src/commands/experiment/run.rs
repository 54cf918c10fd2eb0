//! `onebp experiment run`: the cheapest first, several at a time, each kept as soon as it is finished.

use super::{
    Selection, Shown,
    cell::{CellRun, Outcome},
    estimate,
    plan::Plan,
    usage,
};
use crate::{
    commands::train::{limit_threads, stop_on_interrupt},
    data_source::{self, Source},
    failure::{Exit, Failure},
    options::choice,
    output::{GridProgress, Terminal, shell_word},
};
use onebp_data::{Dataset, Genres, genres};
use onebp_lab::{
    CellResult,
    experiment::Wanted,
    grid,
    result::FailedCell,
    store::{self, Key, to_text},
};
use onebp_model::device::{self, DeviceName, Found};
use onebp_train::{Observer, Row, atomic};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// What is run, where, and for how long.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Folder of the runs themselves, with their checkpoints; nothing but time is lost with it.
    #[arg(long, value_name = "DIR", default_value = "runs/experiments")]
    work: PathBuf,
    /// Folder of named data sets; $ONEBP_DATA otherwise, or `datasets`.
    #[arg(long, value_name = "DIR")]
    data_directory: Option<PathBuf>,
    /// Where to compute; `auto` takes a real GPU where there is one.
    #[arg(long, default_value = "auto", value_parser = choice::<DeviceName, _>(DeviceName::ALL.map(DeviceName::as_str)))]
    device: DeviceName,
    /// Threads at most, of all runs together; all cores otherwise.
    #[arg(long)]
    threads: Option<u16>,
    /// Runs at a time, which share the threads; times of epochs are only good with 1.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// The I-th of N shares of the runs, as in 3/8; the shares may be run on different machines.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<(usize, usize)>,
    /// Stop after this time, as in 90m or 2h; what is under way is kept in a checkpoint.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    budget: Option<Duration>,
    /// Run those that failed again.
    #[arg(long)]
    retry: bool,
    /// Remove the folders of finished runs, their checkpoints with them.
    #[arg(long)]
    discard: bool,
}

fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
    parts
        .filter(|&(index, count)| index >= 1 && index <= count)
        .ok_or_else(|| "write I/N with I from 1 to N, as in 3/8".into())
}

fn duration(text: &str) -> Result<Duration, String> {
    let problem = || "write a number with s, m or h, as in 90m".to_string();
    let unit = text.chars().last().ok_or_else(problem)?;
    let seconds = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3600.0,
        _ => return Err(problem()),
    };
    let number: f64 = text.strip_suffix(unit).unwrap_or(text).parse().map_err(|_| problem())?;
    // A year is as good as for ever, and can be added to any moment.
    let year = 365.0 * 24.0 * 3600.0;
    Duration::try_from_secs_f64((number * seconds).min(year)).map_err(|_| problem())
}

/// A data set, and the genres of its items where they are known.
struct Loaded {
    data: Dataset,
    /// Its fingerprint, hexadecimal.
    fingerprint: String,
    genres: Option<Genres>,
}

/// A run that has to be done.
struct Job {
    plan: Plan,
    /// What is to be measured, or is still to be where the run is finished.
    wanted: Vec<Wanted>,
    data: Arc<Loaded>,
    /// Path of its file, without ending.
    stem: PathBuf,
    /// About how long it takes, in seconds.
    seconds: f64,
}

pub fn run(arguments: Arguments, terminal: Terminal) -> Result<(), Failure> {
    let ended = run_grid(&arguments, terminal);
    let shown = if terminal.json { super::list::status(&arguments.selection, terminal) } else { Ok(()) };
    // How the runs ended comes first.
    ended.and(shown)
}

fn run_grid(arguments: &Arguments, terminal: Terminal) -> Result<(), Failure> {
    limit_threads(arguments.threads)?;
    let found = device::find(arguments.device)?;
    let (todo, skipped) = todo(arguments, &terminal)?;
    if todo.is_empty() {
        return ended_with(&skipped, &terminal);
    }
    let jobs = usize::from(arguments.jobs).min(todo.len());
    let threads = (rayon::current_num_threads() / jobs).max(1);
    terminal.tell(&format!("device: {}; {jobs} at a time, {threads} threads each", found.description));
    let stop = stop_on_interrupt()?;
    let end = arguments.budget.map(|budget| Instant::now() + budget);
    let ended = watch(end, &stop);
    let board = Mutex::new(GridProgress::new(terminal, todo.iter().map(|job| job.seconds).sum(), todo.len(), jobs));
    let queue = Mutex::new(todo.iter());
    let failed: Mutex<Vec<Exit>> = Mutex::new(skipped);
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let work = || -> Result<(), Failure> {
                    let pool =
                        rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(Failure::unexpected)?;
                    while !stop.load(Ordering::Relaxed) {
                        let Some(job) = locked(&queue).next() else { return Ok(()) };
                        let worker = Worker { arguments, found: &found, stop: &stop, board: &board, jobs };
                        // Only the thread of a job asks for its pool: what the pool's own threads start stays in it.
                        let exit = pool.install(|| worker.run(job))?;
                        locked(&failed).extend(exit);
                    }
                    Ok(())
                };
                if let Err(failure) = work() {
                    stop.store(true, Ordering::Relaxed);
                    locked(&problems).push(failure);
                }
            });
        }
    });
    let left = locked(&board).close();
    if let Some(failure) = locked(&problems).pop() {
        return Err(failure);
    }
    let failed = locked(&failed);
    if left == 0 {
        return ended_with(&failed, &terminal);
    }
    let message = match failed.len() {
        0 => format!("{left} runs are left; the same command goes on with them"),
        failed => format!("{left} runs are left and {failed} failed; the same command goes on with those left"),
    };
    if ended.load(Ordering::Relaxed) {
        terminal.tell(&format!("the budget is used up: {message}"));
        return failed.first().map_or(Ok(()), |&exit| Err(Failure::new(exit, message.clone())));
    }
    if !stop.load(Ordering::Relaxed) {
        terminal.tell(&format!("other processes are at work on them: {message}"));
        return Ok(());
    }
    Err(Failure::new(Exit::Interrupted, format!("interrupted; {message}")))
}

/// How a grid ends of which nothing is left to do but what `failed`.
fn ended_with(failed: &[Exit], terminal: &Terminal) -> Result<(), Failure> {
    let Some(&exit) = failed.first() else {
        terminal.tell("everything is finished; next: onebp experiment report");
        return Ok(());
    };
    let message = format!("{} of the runs failed; `onebp experiment status` says why", failed.len());
    Err(Failure::new(exit, format!("{message}, --retry runs them again")))
}

/// A lock whose owner cannot have left nonsense behind.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Asks to stop at `end`; the flag that is returned says whether it did.
fn watch(end: Option<Instant>, stop: &Arc<AtomicBool>) -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    if let Some(end) = end {
        let (stop, flag) = (stop.clone(), ended.clone());
        std::thread::spawn(move || {
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            flag.store(true, Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
        });
    }
    ended
}

/// What is not finished, the cheapest first; and an exit code for each run that failed before.
fn todo(arguments: &Arguments, terminal: &Terminal) -> Result<(Vec<Job>, Vec<Exit>), Failure> {
    let selection = &arguments.selection;
    let directory = data_source::directory(arguments.data_directory.as_deref());
    let results = selection.results();
    let mut loaded: BTreeMap<String, Arc<Loaded>> = BTreeMap::new();
    let mut jobs: BTreeMap<String, Job> = BTreeMap::new();
    let (experiments, problems) = selection.read()?;
    Shown { problems }.end()?;
    for experiment in experiments {
        // Before hours of training rather than after them.
        super::plan::paper(&experiment)?;
        let wanted: Vec<Wanted> = experiment.measures.iter().map(|&measure| experiment.wanted(measure)).collect();
        for plan in Plan::all(&experiment, selection)? {
            if let Some(job) = jobs.get_mut(&plan.address) {
                job.wanted.extend(wanted.iter().cloned());
                continue;
            }
            let name = plan.options.data.clone().unwrap_or_default();
            let reading = plan.options.reading.load_options();
            let key = format!("{name} {reading:?}");
            let data = match loaded.get(&key) {
                Some(data) => data.clone(),
                None => {
                    let source = Source::find(&name, &directory)?;
                    let data = source.load(&reading)?.dataset;
                    let fingerprint = format!("{:016x}", data.fingerprint());
                    // Seeds change the data only where the program splits it.
                    let is_same =
                        |other: &&Arc<Loaded>| other.data.name == data.name && other.fingerprint == fingerprint;
                    let data = match loaded.values().find(is_same) {
                        Some(same) => same.clone(),
                        None => {
                            let genres = source.path().map(|path| genres(path, &data.items)).transpose()?.flatten();
                            Arc::new(Loaded { data, fingerprint, genres })
                        }
                    };
                    loaded.insert(key, data.clone());
                    data
                }
            };
            let settings = plan.options.settings()?;
            let seconds = if plan.cell.untrained { 1.0 } else { estimate::seconds(&settings, &data.data.train) };
            let method = if plan.cell.untrained { "untrained" } else { &settings.name };
            let stem = Key {
                data: &plan.cell.data,
                method,
                protocol: &plan.cell.protocol,
                seed: plan.cell.seed,
                config: &plan.address,
                fingerprint: &data.fingerprint,
                version: env!("CARGO_PKG_VERSION"),
            }
            .stem();
            jobs.insert(plan.address.clone(), Job { plan, wanted: wanted.clone(), data, stem, seconds });
        }
    }
    let mut jobs: Vec<Job> = jobs.into_values().collect();
    jobs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds).then_with(|| a.stem.cmp(&b.stem)));
    if let Some((index, count)) = arguments.shard {
        jobs = grid::shard(jobs, index, count);
    }
    let all = jobs.len();
    let (mut todo, mut failed) = (Vec::new(), Vec::new());
    for mut job in jobs {
        job.wanted.sort();
        job.wanted.dedup();
        let stem = results.join(&job.stem);
        let kept = match kept(&ending(&stem, "json")) {
            Ok(kept) => kept,
            // Not to be written over, and not in the way of the others.
            Err(failure) => {
                terminal.tell(&format!("skipped: {failure}"));
                failed.push(failure.exit);
                continue;
            }
        };
        if let Some(result) = kept {
            job.wanted.retain(|wanted| !result.measurements.contains_key(&wanted.key()));
            let known = job.wanted.iter().all(|wanted| result.unmeasured.contains_key(&wanted.key()));
            if job.wanted.is_empty() || known && !arguments.retry {
                failed.extend(job.wanted.first().map(|_| Exit::Data));
                continue;
            }
        } else if ending(&stem, "failed").exists() && !arguments.retry {
            terminal.tell(&format!("skipped, it failed before: {} (--retry runs it again)", job.plan.cell.name()));
            failed.push(Exit::Run);
            continue;
        }
        todo.push(job);
    }
    terminal.tell(&format!("{} of {all} runs are to be done", todo.len()));
    Ok((todo, failed))
}

/// The finished run of a file, if there is one.
fn kept(path: &Path) -> Result<Option<CellResult>, Failure> {
    if path.exists() { store::read(path).map(Some).map_err(usage) } else { Ok(None) }
}

/// The path with an ending; names hold points.
fn ending(stem: &Path, ending: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

/// What runs one job after another.
struct Worker<'a> {
    arguments: &'a Arguments,
    found: &'a Found,
    stop: &'a AtomicBool,
    board: &'a Mutex<GridProgress>,
    jobs: usize,
}

impl Worker<'_> {
    /// Runs `job` and keeps what comes of it; the exit code of a run that failed.
    ///
    /// # Errors
    /// Where results cannot be written: going on would lose them.
    fn run(&self, job: &Job) -> Result<Option<Exit>, Failure> {
        let name = job.plan.cell.name();
        let folder = self.arguments.work.join(&job.stem);
        let stem = self.arguments.selection.results().join(&job.stem);
        let mut observer = Watcher {
            board: self.board,
            name: &name,
            epochs: job.plan.options.epochs.unwrap_or(1),
            seconds: job.seconds,
            told: 0.0,
        };
        let cell = CellRun {
            plan: &job.plan,
            wanted: &job.wanted,
            data: &job.data.data,
            genres: job.data.genres.as_ref(),
            found: self.found,
            jobs: self.jobs,
        };
        // A bug in one run must not take the others along.
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cell.run(&folder, self.stop, &mut observer)));
        let told = observer.told;
        let outcome = outcome.unwrap_or_else(|_| Err(Failure::unexpected("internal error")));
        atomic::create_folder(stem.parent().unwrap_or(Path::new(".")))?;
        let done = |board: &Mutex<GridProgress>, line: &str| locked(board).finished(job.seconds - told, line);
        match outcome {
            Ok(Outcome::Stopped) => Ok(None),
            Ok(Outcome::Busy) => {
                locked(self.board).tell(&format!("{name}: another process trains it"));
                Ok(None)
            }
            Ok(Outcome::Finished(result)) => {
                let path = ending(&stem, "json");
                // What was measured for other experiments stays.
                let merged = match kept(&path)? {
                    Some(mut kept) => {
                        kept.unmeasured.retain(|key, _| !result.measurements.contains_key(key));
                        kept.unmeasured.extend(result.unmeasured.clone());
                        kept.measurements.extend(result.measurements.clone());
                        kept
                    }
                    None => *result.clone(),
                };
                atomic::write(&path, to_text(&merged).map_err(Failure::unexpected)?.as_bytes())?;
                let _ = std::fs::remove_file(ending(&stem, "failed"));
                if self.arguments.discard {
                    let _ = std::fs::remove_dir_all(&folder);
                }
                let value = result.reported("NDCG@20").unwrap_or(f64::NAN);
                let unmeasured: String =
                    result.unmeasured.values().map(|problem| format!("; not measured: {problem}")).collect();
                let line = format!(
                    "{name}: NDCG@20 {value:.4}, {} epochs, {:.0} s{unmeasured}",
                    result.epochs, result.seconds
                );
                done(self.board, &line);
                Ok((!result.unmeasured.is_empty()).then_some(Exit::Data))
            }
            // Nothing of the run, but of the place where it is run: all others would fail likewise.
            Err(failure) if matches!(failure.exit, Exit::Output | Exit::Device) => Err(failure),
            Err(failure) => {
                let record = FailedCell {
                    name: name.clone(),
                    config_address: job.plan.address.clone(),
                    problem: failure.to_string(),
                };
                let text = serde_json::to_string_pretty(&record).map_err(Failure::unexpected)?;
                atomic::write(&ending(&stem, "failed"), text.as_bytes())?;
                let folder = shell_word(&folder.display().to_string());
                done(self.board, &format!("{name}: failed: {failure} (its folder: {folder})"));
                Ok(Some(failure.exit))
            }
        }
    }
}

/// Moves the common progress along with one run.
struct Watcher<'a> {
    board: &'a Mutex<GridProgress>,
    name: &'a str,
    epochs: u32,
    seconds: f64,
    /// Seconds of the estimate that were told to be done.
    told: f64,
}

impl Observer for Watcher<'_> {
    fn epoch_started(&mut self, epoch: u32, _batches: usize, _done: usize) {
        let done = self.seconds * f64::from(epoch - 1) / f64::from(self.epochs.max(1));
        locked(self.board).moved(done - self.told, self.name);
        self.told = done;
    }

    fn evaluated(&mut self, _row: &Row, _improved: bool) {}
}
