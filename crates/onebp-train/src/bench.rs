//! How fast a method trains, and how much of the machine that is.
//!
//! Epochs run as in training, sampling ahead of compute, without evaluation and checkpoints. One further epoch runs its
//! parts one after the other, to time them apart. The yardsticks are the machine's own, measured in the same process: bytes read,
//! floating-point operations, and square roots with divisions in a second. The longest of the times that what an epoch needs of
//! them (see [`crate::cost`]) takes by itself bounds the epoch from below; the same for the method in plain form is printed beside.
//!
//! A machine reads faster than it updates, and caches are faster than both: an epoch whose tables stay there, or whose gathered
//! rows do, may take less time than this bound.

use crate::{
    Error, Parts, Settings,
    cost::{Counter, Unit},
    summary::median,
};
use onebp_data::Csr;
use onebp_model::{
    Batch, Batches, Feed,
    device::{DeviceName, Found},
    engine::{Engine, Start},
};
use onebp_table::host::{Machine, peak_memory};
use serde::Serialize;
use std::{collections::BTreeMap, ops::ControlFlow, time::Instant};

/// Pairs to train on before epochs are timed, in whole epochs: threads that have just begun may share a core for the time of
/// several short ones.
const WARM_UP: usize = 1 << 20;

/// Epochs of these at most.
const MOST_WARM_UP: usize = 16;

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
    /// Epochs to time after those that warm up.
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
    /// Those among them that are rows gathered by products with a graph, which come from caches where a table fits there.
    pub gathered_bytes: f64,
    /// Floating-point operations of an epoch.
    pub operations: f64,
    /// Square roots, each with a division, of an epoch.
    pub roots_and_divisions: f64,
    /// What silent steps of dense Adam need of these on top, at most, where they have no closed form; not part of the bound.
    pub silent_roots_and_divisions: f64,
    /// The longest of the times that bytes, operations, and square roots with divisions need by themselves.
    pub bound_seconds: Option<f64>,
    /// Which of them it is.
    pub bound_unit: Option<Unit>,
    /// The median epoch over that bound.
    pub times_bound: Option<f64>,
    /// Bytes of an epoch of the method as it is written down: dense Adam on all rows at every step, a row for every place.
    pub plain_bytes: f64,
    /// Floating-point operations of that.
    pub plain_operations: f64,
    /// The longest of the times that that needs for bytes, operations, and square roots with divisions.
    pub plain_seconds: Option<f64>,
    /// Which of them it is.
    pub plain_unit: Option<Unit>,
    /// The median epoch over that time.
    pub times_plain: Option<f64>,
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
        let warm = WARM_UP.div_ceil(fit.len().max(1)).min(MOST_WARM_UP) as u32;
        let last = warm + self.epochs;
        let mut feed = Feed::new(&batches, 1..=last, 0);
        let mut bench = Bench { steps: batches.len(), ..Bench::default() };
        for number in 1..=last {
            if number == 1 {
                tell("warming up");
            } else if number > warm {
                tell(&format!("epoch {} of {}", number - warm, self.epochs));
            }
            let clock = Instant::now();
            let step = |batch: &Batch| engine.step(batch).map_or_else(ControlFlow::Break, ControlFlow::Continue);
            feed.run(step).map_or(Ok(()), Err)?;
            bench.loss = engine.take_loss()?;
            if !bench.loss.is_finite() {
                return Err(Error::Diverged { epoch: number, loss: bench.loss });
            }
            if number > warm {
                bench.epochs.push(clock.elapsed().as_secs_f64());
            }
        }
        bench.epoch_seconds = median(&bench.epochs);

        tell("parts of an epoch");
        let counter = self.parts_of_an_epoch(&mut *engine, &batches, last, &mut bench)?;
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
        account(&counter, machine.as_ref(), &mut bench);
        Ok(bench)
    }

    /// An epoch whose parts run one after the other, after epoch `last` and one more.
    fn parts_of_an_epoch(
        &self,
        engine: &mut dyn Engine,
        batches: &Batches<'_>,
        last: u32,
        bench: &mut Bench,
    ) -> Result<Counter<'_>, Error> {
        let Settings { method, hyper, .. } = self.settings;
        let mut counter = Counter::new(method, hyper, (self.fit.rows(), self.fit.columns()), self.fit.len());
        // One epoch beforehand, so that memory is at hand.
        let mut feed = Feed::new(batches, last + 1..=last + 2, 0);
        while let Some(batch) = feed.take() {
            feed.give_back(batch);
        }
        engine.take_passes();
        let mut clock = Instant::now();
        let mut lap = |seconds: &mut f64| {
            let now = Instant::now();
            *seconds += (now - std::mem::replace(&mut clock, now)).as_secs_f64();
        };
        while let Some(batch) = feed.take() {
            lap(&mut bench.sampling_seconds);
            engine.step(&batch)?;
            lap(&mut bench.step_seconds);
            bench.pairs += batch.len();
            counter.count(&batch);
            feed.give_back(batch);
            lap(&mut 0.0);
        }
        engine.take_loss()?;
        lap(&mut bench.step_seconds);
        let passes = engine.take_passes();
        bench.pass_seconds = passes.into_iter().map(|(name, time)| (name.into(), time.as_secs_f64())).collect();
        Ok(counter)
    }
}

/// What an epoch had to do, and which share of the machine that took.
fn account(counter: &Counter, machine: Option<&Machine>, bench: &mut Bench) {
    let (cost, plain) = (&counter.least, &counter.plain);
    bench.bytes = cost.bytes;
    bench.gathered_bytes = cost.gathered_bytes;
    bench.operations = cost.operations;
    bench.roots_and_divisions = cost.roots_and_divisions;
    bench.silent_roots_and_divisions = cost.silent_roots_and_divisions;
    bench.plain_bytes = plain.bytes;
    bench.plain_operations = plain.operations;
    bench.pairs_per_second = bench.pairs as f64 / bench.epoch_seconds;
    bench.rows_per_second = cost.moved_rows / bench.epoch_seconds;
    if let Some(machine) = machine {
        let (seconds, unit) = cost.bound(machine);
        bench.bound_seconds = Some(seconds);
        bench.bound_unit = Some(unit);
        bench.times_bound = Some(bench.epoch_seconds / seconds);
        let (seconds, unit) = plain.bound(machine);
        bench.plain_seconds = Some(seconds);
        bench.plain_unit = Some(unit);
        bench.times_plain = Some(bench.epoch_seconds / seconds);
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
