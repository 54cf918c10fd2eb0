//! Batches are drawn, grouped by row, and wait until those within reach of them are drawn.
//!
//! Knowing the batches to come tells how long each row will rest: [`Touched::rest`], with which dense Adam carries a row over
//! its silent steps while it is in hand. That number depends on the epoch and the batch alone, not on threads or on where a run
//! was resumed. Of rows that are not carried ([`Carried`]) nobody asks it.

use crate::{Batch, Batches, Carried, Epoch};
use onebp_table::{Grouping, Touched};
use std::{collections::VecDeque, ops::RangeInclusive};

/// Places (B times 1 + S) of the batches that wait at a time.
const PLACES_AHEAD: usize = 1 << 18;

/// Batches ahead at most.
const MOST_AHEAD: usize = Touched::MOST_REST as usize;

/// Draws batches, epoch after epoch.
pub struct Drawing<'a> {
    batches: &'a Batches<'a>,
    /// The epoch under way, unless the next batch is the first one of the next epoch.
    epoch: Option<Epoch<'a>>,
    /// Epochs to come.
    later: RangeInclusive<u32>,
    /// The batch to draw next.
    next: usize,
    /// Batches that a row's rest looks ahead.
    ahead: usize,
    waiting: VecDeque<Batch>,
    spare: Vec<Batch>,
    users: Side,
    items: Side,
}

/// What is remembered of one table.
struct Side {
    grouping: Grouping,
    /// The batch of the epoch that last touched a row, counted from 1, and the row's index there; `[rows]`.
    last: Vec<(u32, u32)>,
}

impl<'a> Drawing<'a> {
    /// The batches of `epochs`, from batch `first` of the first epoch on.
    pub fn new(batches: &'a Batches<'a>, epochs: RangeInclusive<u32>, first: usize) -> Self {
        let side = |rows| Side { grouping: Grouping::new(rows), last: vec![(0, 0); rows] };
        Self {
            batches,
            epoch: None,
            later: epochs,
            next: first,
            ahead: (PLACES_AHEAD / batches.places().max(1)).clamp(1, MOST_AHEAD),
            waiting: VecDeque::new(),
            spare: Vec::new(),
            users: side(batches.train.rows()),
            items: side(batches.train.columns()),
        }
    }

    /// Batches that a row's rest looks ahead.
    pub fn ahead(&self) -> usize {
        self.ahead
    }

    /// Whether nothing is left to draw.
    pub fn is_over(&self) -> bool {
        self.epoch.is_none() && self.later.is_empty()
    }

    /// Takes back the memory of batches.
    pub fn take_back(&mut self, batches: impl IntoIterator<Item = Batch>) {
        self.spare.extend(batches);
    }

    /// Draws `count` batches, and moves to `complete` those whose turn may come; nothing stands for the end of an epoch.
    pub fn draw(&mut self, count: usize, complete: &mut VecDeque<Option<Batch>>) {
        for _ in 0..count {
            let epoch = match &self.epoch {
                Some(epoch) => epoch,
                None => {
                    let Some(number) = self.later.next() else { return };
                    self.users.last.fill((0, 0));
                    self.items.last.fill((0, 0));
                    self.epoch.insert(self.batches.epoch(number))
                }
            };
            let batches = epoch.len();
            if self.next < batches {
                let mut batch = self.spare.pop().unwrap_or_default();
                epoch.draw(self.next, &mut batch);
                self.next += 1;
                self.link(batch);
            }
            let last = self.next >= batches;
            let enough = if last || self.batches.carried == Carried::default() { 0 } else { self.ahead };
            while self.waiting.len() > enough
                && let Some(mut batch) = self.waiting.pop_front()
            {
                if let Carried { chosen: false, others: true, .. } = self.batches.carried {
                    stand_still(&mut batch);
                }
                complete.push_back(Some(batch));
            }
            if last {
                complete.push_back(None);
                (self.epoch, self.next) = (None, 0);
            }
        }
    }

    /// Groups a batch, tells those before it of its rows, and lets it wait.
    fn link(&mut self, mut batch: Batch) {
        batch.group(&mut self.users.grouping, &mut self.items.grouping);
        // Batches are counted from 1: 0 is a row that this epoch has not touched.
        let (number, ahead, waiting) = (self.next as u32, self.ahead as u32, &mut self.waiting);
        let carried = self.batches.carried;
        if carried.users {
            self.users.link(number, ahead, &batch.touched_users, waiting, |batch| &mut batch.touched_users);
        }
        // Items that a step is yet to choose from are read by it like others.
        if carried.others {
            self.items.link(number, ahead, &batch.touched_items, waiting, |batch| &mut batch.touched_items);
        }
        waiting.push_back(batch);
    }
}

/// The chosen items of a batch, which stand at the first place of each row, are not carried over silent steps.
fn stand_still(batch: &mut Batch) {
    let (width, touched) = (batch.width(), &mut batch.touched_items);
    for &slot in touched.slots.iter().step_by(width.max(1)) {
        touched.rest[slot as usize] = 0;
    }
}

impl Side {
    /// Tells the batches `waiting`, the last of which is `number - 1`, which of their rows batch `number` touches next.
    fn link(
        &mut self,
        number: u32,
        ahead: u32,
        touched: &Touched,
        waiting: &mut VecDeque<Batch>,
        of: impl Fn(&mut Batch) -> &mut Touched,
    ) {
        let oldest = number - waiting.len() as u32;
        for (index, &row) in touched.rows.iter().enumerate() {
            let (before, place) = std::mem::replace(&mut self.last[row as usize], (number, index as u32));
            if before >= oldest && number - before <= ahead {
                of(&mut waiting[(before - oldest) as usize]).rest[place as usize] = number - before - 1;
            }
        }
    }
}
