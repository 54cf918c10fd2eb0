//! The loop: epochs of batches, evaluation when due, checkpoints, and a summary at the end.

use crate::{
    Error, Protocol, Settings,
    checkpoint::{BestTables, Checkpoint, CheckpointFolder, Progress},
    metrics_log::{MetricsLog, Row},
    parts::Parts,
    summary::{Reported, Summary, median, versions},
};
use onebp_data::{Dataset, Statistics};
use onebp_eval::Report;
use onebp_model::{
    Batches, Feed,
    device::Found,
    engine::{Engine, Start},
};
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// Hears what happens while training. Every method may be left out.
pub trait Observer {
    /// Epoch `epoch` starts with `batches` batches, `done` of them done before a resume.
    fn epoch_started(&mut self, epoch: u32, batches: usize, done: usize) {
        let _ = (epoch, batches, done);
    }
    /// One more batch is done.
    fn batch_done(&mut self) {}
    /// An epoch was evaluated; `improved` says whether NDCG@20 is the best so far.
    fn evaluated(&mut self, row: &Row, improved: bool) {
        let _ = (row, improved);
    }
}

/// How training ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// All epochs are done, or patience ran out.
    Finished(Box<Summary>),
    /// It was asked to stop; a checkpoint has been written.
    Interrupted {
        /// Completed epochs.
        epoch: u32,
    },
}

/// One run: a method on a data set, in a folder.
pub struct Run<'a> {
    settings: &'a Settings,
    data: &'a Dataset,
    device: &'a Found,
    folder: &'a Path,
    parts: &'a Parts,
    engine: Box<dyn Engine>,
    checkpoints: CheckpointFolder,
    progress: Progress,
    best: Option<BestTables>,
    fingerprint: u64,
    last_checkpoint: Instant,
}

impl<'a> Run<'a> {
    /// A fresh run on `parts` of `data`, as [`Settings::arrange`] gives them. `folder` must exist.
    ///
    /// # Errors
    /// [`Error::Write`] where the folder cannot be written.
    pub fn start(
        settings: &'a Settings,
        data: &'a Dataset,
        parts: &'a Parts,
        device: &'a Found,
        folder: &'a Path,
    ) -> Result<Self, Error> {
        let start = Start::new(&settings.method, &settings.hyper, &parts.fit, settings.seed);
        let engine = settings.engine.build(settings.method, &settings.hyper, &start, device)?;
        drop(start);
        Ok(Self {
            settings,
            data,
            device,
            folder,
            parts,
            engine,
            checkpoints: CheckpointFolder::open(folder),
            progress: Progress::default(),
            best: None,
            fingerprint: data.fingerprint(),
            last_checkpoint: Instant::now(),
        })
    }

    /// Takes up the checkpoint in the run's folder; a run that ended before its first one begins anew.
    ///
    /// # Errors
    /// [`Error::Run`] where the checkpoint is damaged, or data, settings or device are not those it was made with.
    pub fn resumed(mut self) -> Result<Self, Error> {
        if !self.checkpoints.exists() {
            return Ok(self);
        }
        let checkpoint = self.checkpoints.load(self.settings.method.loss.score())?;
        checkpoint.check_data(self.fingerprint, self.folder)?;
        checkpoint.check_settings(self.identity()?, self.folder)?;
        let refuse = |problem: String, remedy: &str| {
            Err(Error::Run { path: self.folder.into(), problem, remedy: remedy.to_string() })
        };
        let Checkpoint { state, progress, best, .. } = checkpoint;
        if self.settings.epochs < progress.epoch {
            let problem = format!("{} epochs are done, {} are asked for", progress.epoch, self.settings.epochs);
            return refuse(problem, "ask for at least as many");
        }
        self.engine.restore(&state)?;
        (self.progress, self.best) = (progress, best);
        Ok(self)
    }

    /// Completed epochs.
    pub fn epoch(&self) -> u32 {
        self.progress.epoch
    }

    /// Trains until the end or until `stop` is set.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Diverged`] where the loss is no number any more.
    pub fn train(self, stop: &AtomicBool, observer: &mut (dyn Observer + Send)) -> Result<Outcome, Error> {
        // On a thread of the pool: from outside, every step would wait to be handed over.
        rayon::scope(|_| self.train_on_pool(stop, observer))
    }

    fn train_on_pool(mut self, stop: &AtomicBool, observer: &mut (dyn Observer + Send)) -> Result<Outcome, Error> {
        let Settings { seed, eval_every, epochs, .. } = *self.settings;
        let hyper = &self.settings.hyper;
        let fit = &self.parts.fit;
        let batches = Batches::new(&self.settings.method, hyper, fit, seed)?;
        let batches_of_an_epoch = batches.len();
        if self.progress.batch > batches_of_an_epoch {
            return Err(Error::Run {
                path: self.folder.into(),
                problem: format!("the checkpoint is at batch {} of {batches_of_an_epoch}", self.progress.batch),
                remedy: "restore it from a copy, or start a new run".into(),
            });
        }
        let mut feed = Feed::new(&batches, self.progress.epoch + 1..=epochs, self.progress.batch);
        if !self.checkpoints.exists() {
            // The first checkpoint comes before the first row: rows without one are those of a run that lost it.
            MetricsLog::refuse_existing(self.folder)?;
            self.checkpoint()?;
        }
        let mut log = MetricsLog::open(self.folder, self.progress.epoch, eval_every)?;
        if !self.is_over() {
            // What an earlier end of this run wrote is not true any more.
            Summary::remove(self.folder)?;
        }
        while !self.is_over() {
            let number = self.progress.epoch + 1;
            let mut clock = Instant::now();
            observer.epoch_started(number, batches_of_an_epoch, self.progress.batch);
            loop {
                if self.is_due(stop, batches_of_an_epoch) {
                    self.progress.partial_seconds += clock.elapsed().as_secs_f64();
                    self.checkpoint()?;
                    clock = Instant::now();
                    if stop.load(Ordering::Relaxed) {
                        return Ok(Outcome::Interrupted { epoch: self.progress.epoch });
                    }
                }
                let broken_off = feed.run(|batch| {
                    if let Err(error) = self.engine.step(batch) {
                        return ControlFlow::Break(Err(error));
                    }
                    self.progress.batch += 1;
                    observer.batch_done();
                    if self.is_due(stop, batches_of_an_epoch) {
                        ControlFlow::Break(Ok(()))
                    } else {
                        ControlFlow::Continue(())
                    }
                });
                match broken_off {
                    Some(outcome) => outcome?,
                    None => break,
                }
            }
            let loss = self.engine.take_loss()?;
            let counted = self.engine.take_counted()?;
            let seconds = self.progress.partial_seconds + clock.elapsed().as_secs_f64();
            if !loss.is_finite() {
                return Err(Error::Diverged { epoch: number, loss });
            }
            self.progress.epoch_seconds.push(seconds);
            (self.progress.epoch, self.progress.batch, self.progress.partial_seconds) = (number, 0, 0.0);
            if number.is_multiple_of(eval_every) || number == epochs {
                let (row, improved) = self.evaluate((loss, counted), seconds)?;
                log.append(&row)?;
                observer.evaluated(&row, improved);
            }
            if self.is_over() || self.last_checkpoint.elapsed() >= self.settings.checkpoint_every {
                log.sync()?;
                self.checkpoint()?;
            }
        }
        let folder = self.folder;
        let summary = self.summary()?;
        summary.write(folder)?;
        Ok(Outcome::Finished(Box::new(summary)))
    }

    /// Whether a checkpoint is due within an epoch.
    fn is_due(&self, stop: &AtomicBool, batches: usize) -> bool {
        let every = self.settings.checkpoint_every;
        let long = !every.is_zero() && self.last_checkpoint.elapsed() >= every;
        self.progress.batch < batches && (long || stop.load(Ordering::Relaxed))
    }

    /// What must not change within a run, beside the data.
    fn identity(&self) -> Result<serde_json::Value, Error> {
        let mut identity = self.settings.identity()?;
        identity["device"] = self.device.name.as_str().into();
        Ok(identity)
    }

    fn is_over(&self) -> bool {
        let stale = self.progress.selection.stale;
        self.progress.epoch >= self.settings.epochs || self.settings.patience.is_some_and(|patience| stale >= patience)
    }

    fn evaluate(&mut self, (loss, counted): (f64, Option<f64>), train_seconds: f64) -> Result<(Row, bool), Error> {
        let clock = Instant::now();
        let epoch = self.progress.epoch;
        let (metrics, tables) = self.parts.evaluate_engine(&mut *self.engine, self.device, &self.parts.watched)?;
        let mut improved = false;
        if self.settings.protocol != Protocol::Final {
            improved = self.progress.selection.observe(epoch, &metrics);
            if improved {
                let tables = tables.map_or_else(|| self.engine.tables(), Ok)?;
                self.best = Some(BestTables { epoch, tables });
            }
        }
        let part = self.parts.watched.name.to_string();
        let counted = self.settings.method.loss.counts().zip(counted);
        let counters = counted.into_iter().map(|(name, share)| (name.to_string(), share)).collect();
        let eval_seconds = clock.elapsed().as_secs_f64();
        Ok((Row { epoch, part, loss, counters, train_seconds, eval_seconds, metrics }, improved))
    }

    fn checkpoint(&mut self) -> Result<(), Error> {
        self.checkpoints.store(&Checkpoint {
            state: self.engine.state()?,
            progress: self.progress.clone(),
            best: self.best.clone(),
            data: self.fingerprint,
            settings: self.identity()?,
        })?;
        self.last_checkpoint = Instant::now();
        Ok(())
    }

    fn summary(mut self) -> Result<Summary, Error> {
        let (last, _) = self.parts.evaluate_engine(&mut *self.engine, self.device, &self.parts.test)?;
        // The best tables may need its room on the device.
        drop(self.engine);
        let at = |report: &Report, epoch: u32| -> BTreeMap<String, Reported> {
            report.iter().map(|(name, value)| (name.to_string(), Reported { value, epoch })).collect()
        };
        let best = match (self.settings.protocol, &self.best) {
            (Protocol::Final, _) => BTreeMap::new(),
            (Protocol::Paper, _) => {
                self.progress.selection.best.iter().map(|(name, best)| (name.clone(), (*best).into())).collect()
            }
            (Protocol::Validated, Some(best)) => {
                at(&self.parts.evaluate(&best.tables, self.device, &self.parts.test)?, best.epoch)
            }
            // Validation never rose above zero: the last epoch is as good as any.
            (Protocol::Validated, None) => at(&last, self.progress.epoch),
        };
        Ok(Summary {
            method: self.settings.name.clone(),
            settings: self.settings.clone(),
            protocol: self.settings.protocol,
            protocol_text: self.settings.protocol.describe().into(),
            selected_by: self.settings.selected_by(),
            best,
            last,
            epochs: self.progress.epoch,
            seconds_per_epoch: median(&self.progress.epoch_seconds),
            seed: self.settings.seed,
            data: self.data.name.clone(),
            split: self.data.split.clone(),
            data_fingerprint: format!("{:016x}", self.fingerprint),
            statistics: Statistics::of(self.data),
            device: self.device.description.clone(),
            threads: rayon::current_num_threads(),
            versions: versions(),
        })
    }
}
