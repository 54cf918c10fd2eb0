//! The time of rows: at which step of dense Adam each row stands, which rows are late, and which way each goes.
//!
//! All of this follows from the schedule of batches and not from any value, so it stays on the host; kernels get the ways
//! as words, see [`super::kernels::adam`].

use super::kernels::adam::{PROJECT, REPLAY, REPLAY_BACK, STAY, TAIL, TAIL_BACK, WAY};
use crate::{
    Optimizer, Rule, Touched,
    optimizer::adam::{Correction, Schedule, Way},
};
use std::collections::HashMap;

/// The time of a table's rows.
pub struct Clock {
    optimizer: Optimizer,
    schedule: Option<Schedule>,
    /// The step at which each row stands, for dense Adam; `[rows]`, else empty.
    pub time: Vec<u32>,
    /// Steps done.
    pub step: u32,
    /// Index of the way of a rest, or [`NONE`]; for rests up to its length.
    by_rest: Vec<u32>,
}

const NONE: u32 = u32::MAX;

/// Ways of rows, by index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ways {
    /// Eight words each.
    pub words: Vec<u32>,
    /// Index of every row's way.
    pub of: Vec<u32>,
}

impl Ways {
    fn push(&mut self, way: [u32; WAY]) -> u32 {
        let index = (self.words.len() / WAY) as u32;
        self.words.extend(way);
        index
    }

    /// The most steps that any way replays.
    pub fn longest(&self) -> u32 {
        let replays = self.words.chunks_exact(WAY).filter(|way| way[0] == REPLAY);
        replays.map(|way| way[2] + 1 - way[1]).max().unwrap_or(0)
    }
}

/// The words of a way.
fn words(way: &Way, backwards: bool) -> [u32; WAY] {
    match *way {
        Way::Replay { from, to } => {
            // Nothing to replay ends before it begins: 1 and 0, so that no kernel sees step 0.
            let (from, to) = if from > to { (1, 0) } else { (from, to) };
            [if backwards { REPLAY_BACK } else { REPLAY }, from, to, 0, 0, 0, 0, 0]
        }
        Way::Tail(tail) => {
            let [n0, n1, x1, x2] = [tail.n0, tail.n1, tail.x1, tail.x2].map(f32::to_bits);
            let (fade_m, fade_v) = (tail.fade_m.to_bits(), tail.fade_v.to_bits());
            [if backwards { TAIL_BACK } else { TAIL }, n0, n1, x1, x2, fade_m, fade_v, 0]
        }
    }
}

/// How a row that stands at step `time`, before `now`, gets there over its silent steps.
fn silent(optimizer: &Optimizer, schedule: &Schedule, time: u32, now: u32) -> [u32; WAY] {
    match optimizer.drifts(time) {
        true => words(&schedule.way(time, now, false), false),
        // Projecting it once is as good as at every step.
        false => [PROJECT, 0, 0, 0, 0, 0, 0, 0],
    }
}

impl Clock {
    /// No step yet, for a table of `rows` rows.
    pub fn new(optimizer: &Optimizer, rows: usize) -> Self {
        let adam = matches!(optimizer.rule, Rule::Adam | Rule::LazyAdam);
        Self {
            optimizer: *optimizer,
            schedule: adam.then(|| Schedule::new(optimizer)),
            time: if optimizer.rule == Rule::Adam { vec![0; rows] } else { Vec::new() },
            step: 0,
            by_rest: Vec::new(),
        }
    }

    /// Bias corrections of steps 1 and up as (rate, root); the last ones hold for all later steps.
    pub fn corrections(&self) -> Vec<f32> {
        let Some(schedule) = &self.schedule else { return vec![0.0; 2] };
        let settled = schedule.correction(u32::MAX);
        // Both fall from step to step, so what is once equal stays equal.
        let before = (1..).map(|step| schedule.correction(step)).take_while(|correction| *correction != settled);
        before.chain([settled]).flat_map(|Correction { rate, root }| [rate, root]).collect()
    }

    /// The touched rows that are behind the last step, and their ways to it; they are settled from now on.
    pub fn settle(&mut self, touched: &Touched, late: &mut Vec<u32>, ways: &mut Ways) {
        late.clear();
        *ways = Ways::default();
        let Some(schedule) = self.schedule.as_ref().filter(|_| !self.time.is_empty()) else { return };
        let mut known = HashMap::new();
        for &row in &touched.rows {
            let time = &mut self.time[row as usize];
            if *time >= self.step || self.optimizer.rests(*time) {
                continue;
            }
            let way =
                known.entry(*time).or_insert_with(|| ways.push(silent(&self.optimizer, schedule, *time, self.step)));
            ways.of.push(*way);
            late.push(row);
            *time = self.step;
        }
    }

    /// The ways of the touched rows over the step under way and the silent steps that follow. Counts the step.
    pub fn advance(&mut self, touched: &Touched, ways: &mut Ways) {
        *ways = Ways::default();
        self.step += 1;
        let Some(schedule) = &self.schedule else { return };
        let now = self.step;
        if self.time.is_empty() {
            ways.push(words(&Way::Replay { from: now, to: now }, false));
            ways.of.resize(touched.len(), 0);
            return;
        }
        self.by_rest.fill(NONE);
        for (&row, &rest) in touched.rows.iter().zip(&touched.rest) {
            let rest = self.optimizer.ahead(rest);
            let at = rest as usize;
            if at >= self.by_rest.len() {
                self.by_rest.resize(at + 1, NONE);
            }
            if self.by_rest[at] == NONE {
                self.by_rest[at] = ways.push(words(&schedule.way(now, now + rest, true), false));
            }
            ways.of.push(self.by_rest[at]);
            self.time[row as usize] = now + rest;
        }
    }

    /// The ways of rows from where they stand to the last step, forwards or backwards; nothing where all are there.
    pub fn view(&self, rows: impl Iterator<Item = u32>) -> Option<Ways> {
        let schedule = self.schedule.as_ref().filter(|_| !self.time.is_empty())?;
        let now = self.step;
        let mut ways = Ways::default();
        ways.push([STAY, 0, 0, 0, 0, 0, 0, 0]);
        let mut known = HashMap::new();
        for row in rows {
            let time = self.time[row as usize];
            let index = if time < now && !self.optimizer.rests(time) {
                *known.entry(time).or_insert_with(|| ways.push(silent(&self.optimizer, schedule, time, now)))
            } else if time > now {
                *known.entry(time).or_insert_with(|| ways.push(words(&schedule.way(now, time, false), true)))
            } else {
                0
            };
            ways.of.push(index);
        }
        (ways.words.len() > WAY).then_some(ways)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grouping, Onto, Projection};

    fn touched(rows: &[u32], rest: &[u32]) -> Touched {
        let mut touched = Touched::default();
        Grouping::new(10).group(rows, &mut touched);
        touched.rest.copy_from_slice(rest);
        touched
    }

    #[test]
    fn rows_of_one_time_share_a_way() {
        let mut clock =
            Clock::new(&Optimizer { rule: Rule::Adam, learning_rate: 1e-3, weight_decay: 0.0, projection: None }, 10);
        let (mut late, mut ways) = (Vec::new(), Ways::default());
        let first = touched(&[2, 5, 7], &[0, 0, 2]);
        clock.settle(&first, &mut late, &mut ways);
        assert!(late.is_empty(), "nothing has moved yet");
        clock.advance(&first, &mut ways);
        assert_eq!((ways.of.as_slice(), ways.words.len()), ([0, 0, 1].as_slice(), 2 * WAY));
        assert_eq!(ways.words[..3], [REPLAY, 1, 1]);
        assert_eq!(ways.words[WAY..WAY + 3], [REPLAY, 1, 3]);
        clock.advance(&touched(&[9], &[0]), &mut ways);
        assert_eq!(clock.step, 2);
        clock.settle(&touched(&[2, 5, 7, 8, 9], &[0; 5]), &mut late, &mut ways);
        assert_eq!((late.as_slice(), ways.of.as_slice()), ([2, 5].as_slice(), [0, 0].as_slice()));
        assert_eq!(ways.words[..3], [REPLAY, 2, 2]);
        // Row 7 stands at step 3, one beyond the last; all others are there or have never moved.
        let view = clock.view(0..10).unwrap();
        assert_eq!(view.of, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(view.words[WAY..WAY + 3], [REPLAY_BACK, 3, 3]);
    }

    /// Every row gets to the last step, those that no step has moved too, and none goes beyond.
    #[test]
    fn projected_rows_are_never_ahead_and_never_rest() {
        let projection = Some(Projection { onto: Onto::Ball, vectors: 1 });
        let mut clock =
            Clock::new(&Optimizer { rule: Rule::Adam, learning_rate: 1e-3, weight_decay: 0.0, projection }, 4);
        let (mut late, mut ways) = (Vec::new(), Ways::default());
        clock.advance(&touched(&[2], &[7]), &mut ways);
        assert_eq!((ways.words[..3].to_vec(), clock.time.as_slice()), (vec![REPLAY, 1, 1], [0, 0, 1, 0].as_slice()));
        clock.advance(&touched(&[], &[]), &mut ways);
        clock.advance(&touched(&[], &[]), &mut ways);
        let view = clock.view(0..4).unwrap();
        assert_eq!(
            (view.of, view.words[WAY], view.words[2 * WAY..][..3].to_vec()),
            (vec![1, 1, 2, 1], PROJECT, vec![REPLAY, 2, 3])
        );
        clock.settle(&touched(&[0, 2], &[0; 2]), &mut late, &mut ways);
        assert_eq!(
            (late.as_slice(), ways.longest(), clock.time.as_slice()),
            ([0, 2].as_slice(), 2, [3, 0, 3, 0].as_slice())
        );
    }

    #[test]
    fn resting_rules_have_no_time() {
        for rule in [Rule::LazyAdam, Rule::Adagrad, Rule::RowwiseAdagrad, Rule::Sgd] {
            let mut clock =
                Clock::new(&Optimizer { rule, learning_rate: 1e-3, weight_decay: 0.1, projection: None }, 10);
            let (mut late, mut ways) = (Vec::new(), Ways::default());
            clock.advance(&touched(&[1, 2], &[3, 0]), &mut ways);
            assert_eq!(ways.of.len(), if rule == Rule::LazyAdam { 2 } else { 0 });
            clock.settle(&touched(&[1, 2, 3], &[0; 3]), &mut late, &mut ways);
            assert!(late.is_empty() && clock.view(0..10).is_none());
        }
    }

    #[test]
    fn corrections_end_where_they_settle() {
        let clock =
            Clock::new(&Optimizer { rule: Rule::Adam, learning_rate: 1e-3, weight_decay: 0.0, projection: None }, 1);
        let corrections = clock.corrections();
        assert!(corrections.len() < 40_002 && corrections.len() > 20_000);
        assert_eq!(corrections[corrections.len() - 2..], [1e-3, 1.0]);
    }
}
