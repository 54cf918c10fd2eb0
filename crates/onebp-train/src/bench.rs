//! How fast a method trains, and how much of the machine that is.
//!
//! Epochs run as in training, sampling ahead of compute, without evaluation and checkpoints. One further epoch runs its
//! parts one after the other, to time them apart. The yardsticks are the machine's own, measured in the same process:
//!
//! - bytes: every touched row of a table that learns is read and written once a step, with its optimizer's state; a row
//!   that follows is read and written once;
//! - operations: two for each element of a score and of a gradient, [`ADAM_OPERATIONS`] for each element that Adam moves;
//! - square roots with divisions: one for each element that an adaptive optimizer moves; silent steps that are replayed
//!   come on top and are not counted.
//!
//! The longest of the times that these need by themselves bounds an epoch from below.

use crate::{Error, Parts, Settings, summary::median};
use onebp_data::Csr;
use onebp_model::{
    Batch, Batches, Epoch, Feed, Rule,
    device::{DeviceName, Found},
    engine::{Engine, Start},
};
use onebp_table::host::{Machine, peak_memory};
use serde::Serialize;
use std::{collections::BTreeMap, time::Instant};

/// Additions, multiplications and the like of Adam on one element.
const ADAM_OPERATIONS: f64 = 12.0;

/// Evaluations that are timed.
const EVALUATIONS: usize = 3;

/// What is measured.
pub struct Workload<'a> {
    /// Method, hyper-parameters, engine and seed.
    pub settings: &'a Settings,
    /// The pairs to train on.
    pub fit: &'a Csr,
    /// What to evaluate on, if at all.
    pub parts: Option<&'a Parts>,
    /// The device.
    pub found: &'a Found,
    /// Epochs to time after the one that warms up.
    pub epochs: u32,
}

/// What came out. Times in seconds, of an epoch where nothing else is said.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Bench {
    /// Median of the epochs.
    pub epoch_seconds: f64,
    /// Every timed epoch.
    pub epochs: Vec<f64>,
    /// Drawing and grouping all batches, by itself.
    pub sampling_seconds: f64,
    /// All steps, by themselves.
    pub step_seconds: f64,
    /// The passes of the steps.
    pub pass_seconds: BTreeMap<String, f64>,
    /// Median of evaluations, all metrics.
    pub eval_seconds: Option<f64>,
    /// Training pairs in a second.
    pub pairs_per_second: f64,
    /// Rows of both tables that were moved in a second.
    pub rows_per_second: f64,
    /// Steps of an epoch.
    pub steps: usize,
    /// Training pairs of an epoch.
    pub pairs: usize,
    /// Bytes that an epoch moves at least.
    pub bytes: f64,
    /// Floating-point operations of an epoch.
    pub operations: f64,
    /// Square roots, each with a division, of an epoch.
    pub roots_and_divisions: f64,
    /// The machine's bytes read in a second.
    pub machine_bytes_per_second: Option<f64>,
    /// The machine's bytes read and written back in a second.
    pub machine_update_bytes_per_second: Option<f64>,
    /// The machine's floating-point operations in a second.
    pub machine_operations_per_second: Option<f64>,
    /// The machine's square roots with divisions in a second.
    pub machine_roots_and_divisions_per_second: Option<f64>,
    /// Share of the machine's bandwidth that the median epoch used. Above 1 where tables stay in cache.
    pub bandwidth_share: Option<f64>,
    /// Share of the machine's arithmetic.
    pub arithmetic_share: Option<f64>,
    /// Share of the machine's square roots and divisions.
    pub roots_and_divisions_share: Option<f64>,
    /// The most memory that the process held.
    pub peak_rss_bytes: Option<u64>,
    /// Mean loss of the last epoch: a fast engine that computes something else shows here.
    pub loss: f64,
}

/// Rows that the batches of an epoch touch.
#[derive(Default)]
struct Touches {
    users: usize,
    items: usize,
    pairs: usize,
}

impl Touches {
    fn count(&mut self, batch: &Batch) {
        self.users += batch.touched_users.len();
        self.items += batch.touched_items.len();
        self.pairs += batch.len();
    }
}

impl Workload<'_> {
    /// Measures. `tell` hears of every stage.
    ///
    /// # Errors
    /// Any [`Error`] of the engine or the evaluation.
    pub fn measure(&self, tell: impl FnMut(&str) + Send) -> Result<Bench, Error> {
        // On a thread of the pool, as training does.
        rayon::scope(|_| self.measure_on_pool(tell))
    }

    fn measure_on_pool(&self, mut tell: impl FnMut(&str)) -> Result<Bench, Error> {
        let Self { settings, fit, found, .. } = self;
        let hyper = &settings.hyper;
        let on_cpu = found.name != DeviceName::Wgpu;
        let start = Start::new(&settings.method, hyper, fit, settings.seed);
        let mut engine = settings.engine.build(settings.method, hyper, &start, found)?;
        drop(start);
        let batches = Batches::new(&settings.method, hyper, fit, settings.seed)?;
        let epoch = |number| batches.epoch(number);
        let first = epoch(1);
        let steps = first.len();
        let mut feed = Feed::new(first, 0);
        let mut bench = Bench { steps, ..Bench::default() };
        for number in 1..=self.epochs + 1 {
            tell(&if number == 1 { "warming up".into() } else { format!("epoch {} of {}", number - 1, self.epochs) });
            let clock = Instant::now();
            if number > 1 {
                feed.restart(epoch(number));
            }
            while let Some(stepped) = feed.step(|batch| engine.step(batch)) {
                stepped?;
            }
            bench.loss = engine.take_loss()?;
            if !bench.loss.is_finite() {
                return Err(Error::Diverged { epoch: number, loss: bench.loss });
            }
            if number > 1 {
                bench.epochs.push(clock.elapsed().as_secs_f64());
            }
        }
        bench.epoch_seconds = median(&bench.epochs);

        tell("parts of an epoch");
        let touches = self.parts_of_an_epoch(&mut *engine, &mut feed, epoch(self.epochs + 2), &mut bench)?;
        if let Some(parts) = self.parts {
            tell("evaluating");
            let mut seconds = Vec::new();
            for _ in 0..EVALUATIONS {
                let clock = Instant::now();
                parts.evaluate_engine(&mut *engine, found, &parts.test)?;
                seconds.push(clock.elapsed().as_secs_f64());
            }
            bench.eval_seconds = Some(median(&seconds));
        }
        // Before the machine is measured, which takes memory of its own.
        bench.peak_rss_bytes = peak_memory();
        tell("measuring the machine");
        let machine = on_cpu.then(Machine::measure);
        self.account(&touches, machine.as_ref(), &mut bench);
        Ok(bench)
    }

    /// An epoch whose parts run one after the other.
    fn parts_of_an_epoch<'a>(
        &self,
        engine: &mut dyn Engine,
        feed: &mut Feed<'a>,
        epoch: Epoch<'a>,
        bench: &mut Bench,
    ) -> Result<Touches, Error> {
        let mut touches = Touches::default();
        engine.take_passes();
        let mut clock = Instant::now();
        let mut lap = |seconds: &mut f64| {
            let now = Instant::now();
            *seconds += (now - std::mem::replace(&mut clock, now)).as_secs_f64();
        };
        feed.restart(epoch);
        while let Some(batch) = feed.take() {
            lap(&mut bench.sampling_seconds);
            engine.step(&batch)?;
            lap(&mut bench.step_seconds);
            touches.count(&batch);
            feed.give_back(batch);
        }
        engine.take_loss()?;
        lap(&mut bench.step_seconds);
        let passes = engine.take_passes();
        bench.pass_seconds = passes.into_iter().map(|(name, time)| (name.into(), time.as_secs_f64())).collect();
        Ok(touches)
    }

    /// What an epoch had to do, and which share of the machine that took.
    fn account(&self, touches: &Touches, machine: Option<&Machine>, bench: &mut Bench) {
        let hyper = &self.settings.hyper;
        let update = self.settings.method.update(hyper);
        let dim = hyper.dim as f64;
        let state = hyper.optimizer.state().iter().filter(|(_, whole)| *whole).count() as f64;
        let per_row = |learns: bool| 2.0 * 4.0 * dim * (1.0 + if learns { state } else { 0.0 });
        let mut elements = 0.0;
        for (rows, learns) in [(touches.users, update.trains_users()), (touches.items, update.trains_items())] {
            bench.bytes += rows as f64 * per_row(learns);
            elements += if learns { rows as f64 * dim } else { 0.0 };
        }
        let towers = f64::from(u8::from(update.trains_users()) + u8::from(update.trains_items()));
        let scored = touches.pairs as f64 * (1.0 + hyper.negatives as f64) * dim;
        bench.operations = 2.0 * scored * (1.0 + towers) + ADAM_OPERATIONS * elements;
        bench.roots_and_divisions = match hyper.optimizer {
            Rule::Sgd => 0.0,
            Rule::RowwiseAdagrad => elements / dim,
            Rule::Adam | Rule::LazyAdam | Rule::Adagrad => elements,
        };
        bench.pairs = touches.pairs;
        bench.pairs_per_second = touches.pairs as f64 / bench.epoch_seconds;
        bench.rows_per_second = (touches.users + touches.items) as f64 / bench.epoch_seconds;
        if let Some(machine) = machine {
            let share = |amount: f64, rate: f64| Some(amount / bench.epoch_seconds / rate);
            bench.bandwidth_share = share(bench.bytes, machine.read_bytes);
            bench.arithmetic_share = share(bench.operations, machine.operations);
            bench.roots_and_divisions_share = share(bench.roots_and_divisions, machine.roots_and_divisions);
            bench.machine_bytes_per_second = Some(machine.read_bytes);
            bench.machine_update_bytes_per_second = Some(machine.update_bytes);
            bench.machine_operations_per_second = Some(machine.operations);
            bench.machine_roots_and_divisions_per_second = Some(machine.roots_and_divisions);
        }
    }
}
