//! How many threads share a step, by the clock.
//!
//! Threads on one chip share a step of a hundred microseconds well. Threads on two chips, which hand each other rows for longer
//! than they compute, are slower together than one of them alone. No program is told which it is, and on a virtual machine it
//! changes from one minute to the next. So from time to time some steps are tried with half or twice as many threads. What
//! steps write does not depend on it.

use std::time::Duration;

/// Steps that are timed together.
const STEPS: u32 = 32;

/// A pace is the fastest of so many laps: what else the machine does only ever makes them slower.
const LAPS: usize = 3;

/// Laps between two trials after one that was a success; twice as many after each that was none.
const PATIENCE: u32 = 16;

/// Laps between two trials at most, and the seconds that these may take: threads move to other chips from minute to minute.
const MOST_PATIENCE: u32 = 512;
const MOST_SECONDS: f64 = 5.0;

/// What a trial must make of a step's time to be a success: less is noise.
const GAIN: f64 = 0.92;

/// What makes of a step's time something else than noise.
const LOSS: f64 = 1.3;

/// Longer steps are worth sharing anyway, and a trial of theirs with fewer threads would take long.
const LONG: Duration = Duration::from_millis(1);

/// The pace of steps, and the number of threads that makes it.
#[derive(Debug)]
pub struct Pace {
    /// Threads of the pool.
    pool: usize,
    /// How often these are halved.
    halved: u32,
    /// The same for a trial that is under way.
    trial: Option<u32>,
    /// Whether the next trial is one with fewer threads.
    fewer: bool,
    /// Steps of this lap, and the time they took.
    steps: u32,
    time: Duration,
    /// Seconds of a step in the latest laps, those of the trial where one is under way.
    laps: Vec<f64>,
    /// The pace beside a trial; without one, the best since the last one.
    usual: f64,
    /// Laps until the next trial, and from then on to the one after it.
    left: u32,
    patience: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            pool: 0,
            halved: 0,
            trial: None,
            fewer: true,
            steps: 0,
            time: Duration::ZERO,
            laps: Vec::new(),
            usual: f64::INFINITY,
            left: PATIENCE,
            patience: PATIENCE,
        }
    }
}

impl Pace {
    /// Threads for the next step, of a pool of `pool`.
    pub fn threads(&mut self, pool: usize) -> usize {
        if pool != self.pool {
            *self = Self { pool, ..Self::default() };
        }
        pool >> self.trial.unwrap_or(self.halved)
    }

    /// The step took that long.
    pub fn took(&mut self, time: Duration) {
        self.steps += 1;
        self.time += time;
        if self.steps == STEPS {
            let seconds = self.time.as_secs_f64() / f64::from(STEPS);
            (self.steps, self.time) = (0, Duration::ZERO);
            match self.trial {
                None => self.go_on(seconds),
                Some(halved) => self.try_out(halved, seconds),
            }
        }
    }

    /// A lap without a trial.
    fn go_on(&mut self, seconds: f64) {
        if self.laps.len() == LAPS {
            self.laps.remove(0);
        }
        self.laps.push(seconds);
        self.left = self.left.saturating_sub(1);
        if self.laps.len() < LAPS {
            return;
        }
        let pace = fastest(&self.laps);
        self.usual = self.usual.min(pace);
        if pace > LOSS * self.usual {
            // Something has changed.
            (self.patience, self.left) = (PATIENCE, 0);
        }
        let long = pace >= LONG.as_secs_f64();
        if self.left == 0
            && let Some(halved) = if long { self.halved.checked_sub(1) } else { self.other() }
        {
            self.trial = Some(halved);
            self.usual = pace;
            self.laps.clear();
        }
    }

    /// What to try next: fewer threads and more, in turns.
    fn other(&mut self) -> Option<u32> {
        let most = self.pool.checked_ilog2()?;
        let (down, up) = (self.halved < most, self.halved > 0);
        let fewer = down && (self.fewer || !up);
        self.fewer = !fewer;
        if fewer { Some(self.halved + 1) } else { self.halved.checked_sub(1) }
    }

    /// A lap of a trial.
    fn try_out(&mut self, halved: u32, seconds: f64) {
        self.laps.push(seconds);
        let pace = fastest(&self.laps);
        if self.laps.len() < LAPS && pace <= LOSS * self.usual {
            return;
        }
        if pace < GAIN * self.usual {
            (self.halved, self.usual, self.patience) = (halved, pace, PATIENCE);
        } else {
            self.patience = (2 * self.patience).min(MOST_PATIENCE);
        }
        let most = MOST_SECONDS / (f64::from(STEPS) * self.usual);
        self.left = self.patience.min(most as u32);
        self.trial = None;
        self.laps.clear();
    }
}

fn fastest(laps: &[f64]) -> f64 {
    laps.iter().copied().fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps whose time in microseconds is a function of their number and of the threads; how many had how many threads.
    fn run(pace: &mut Pace, pool: usize, steps: std::ops::Range<u32>, time: impl Fn(u32, usize) -> u64) -> Vec<u32> {
        let mut counts = vec![0; pool + 1];
        for step in steps {
            let threads = pace.threads(pool);
            counts[threads] += 1;
            // Every seventh step something else takes the core.
            let disturbed = if step % 7 == 0 { 3 } else { 1 };
            pace.took(Duration::from_micros(disturbed * time(step, threads)));
        }
        counts
    }

    #[test]
    fn the_faster_number_of_threads_does_nearly_all_steps() {
        let mut pace = Pace::default();
        let together = |_, threads| [140, 100][threads - 1];
        let counts = run(&mut pace, 2, 0..50_000, together);
        assert!(counts[2] > 49_000 && counts[1] >= 32, "{counts:?}");
        // The threads move apart: that is noticed within a few laps.
        let apart = |_, threads| [140, 200][threads - 1];
        let counts = run(&mut pace, 2, 0..50_000, apart);
        assert!(counts[1] > 49_000, "{counts:?}");
        // And together again: that is found out by a trial.
        let counts = run(&mut pace, 2, 0..100_000, together);
        assert!(counts[2] > 80_000, "{counts:?}");
    }

    #[test]
    fn many_threads_are_halved_as_long_as_it_pays() {
        let mut pace = Pace::default();
        let counts = run(&mut pace, 16, 0..100_000, |_, threads| match threads {
            16 => 400,
            8 => 250,
            4 => 120,
            2 => 150,
            _ => 230,
        });
        assert!(counts[4] > 95_000, "{counts:?}");
    }

    #[test]
    fn no_trials_of_long_steps_of_one_thread_or_of_noise() {
        let counts = run(&mut Pace::default(), 4, 0..10_000, |_, threads| 20_000 / threads as u64);
        assert_eq!(counts[4], 10_000);
        assert_eq!(run(&mut Pace::default(), 1, 0..10_000, |_, _| 100)[1], 10_000);
        let mut pace = Pace::default();
        let counts = run(&mut pace, 2, 0..100_000, |step, _| 100 + u64::from(step * 7919 % 5));
        assert!(counts[2] > 98_000, "{counts:?}");
    }

    /// Also steps that one thread takes long for, long after the threads have moved apart.
    #[test]
    fn long_steps_are_shared_again() {
        let mut pace = Pace::default();
        let counts = run(&mut pace, 2, 0..50_000, |_, threads| [650, 750][threads - 1]);
        assert!(counts[1] > 47_000, "{counts:?}");
        let counts = run(&mut pace, 2, 0..50_000, |_, threads| [825, 500][threads - 1]);
        assert!(counts[2] > 46_000, "{counts:?}");
    }

    #[test]
    fn another_pool_begins_anew() {
        let mut pace = Pace::default();
        run(&mut pace, 2, 0..5_000, |_, threads| [100, 200][threads - 1]);
        assert_eq!((pace.threads(2), pace.threads(3)), (1, 3));
    }
}
