//! Batches, sampled ahead of the steps that use them.
//!
//! A batch is drawn and grouped by row some steps before its turn, on the threads of the pool, while another step computes.
//! Knowing the batches to come also tells how long each row will rest: [`Touched::rest`], with which dense Adam carries a
//! row over its silent steps while it is in hand. That number depends on the epoch and the batch alone, not on threads or
//! on where a run was resumed. Rows that something follows right after the step ([`Followed`]) are not carried: who follows
//! must see them as they are then.

use crate::{Batch, Epoch, Followed};
use onebp_table::{Grouping, Touched};
use std::collections::VecDeque;

/// Places (B times 1 + S) of the batches that wait at a time: few enough for the second-level cache.
const PLACES_AHEAD: usize = 1 << 18;

/// Batches ahead at most.
const MOST_AHEAD: usize = Touched::MOST_REST as usize;

/// Draws the batches of one epoch after another.
pub struct Feed<'a> {
    epoch: Epoch<'a>,
    /// The batch to draw next.
    next: usize,
    ahead: usize,
    ready: VecDeque<Batch>,
    spare: Vec<Batch>,
    users: Side,
    items: Side,
}

/// What is remembered of one table.
struct Side {
    grouping: Grouping,
    /// The batch that last touched a row, counted from 1 over all epochs, and the row's index there; `[rows]`.
    last: Vec<(u32, u32)>,
}

impl<'a> Feed<'a> {
    /// The batches of `epoch` from batch `first` on.
    pub fn new(epoch: Epoch<'a>, first: usize) -> Self {
        let (users, items) = epoch.tables();
        let side = |rows| Side { grouping: Grouping::new(rows), last: vec![(0, 0); rows] };
        let places = epoch.largest() * epoch.width();
        let ahead = (PLACES_AHEAD / places.max(1)).clamp(1, MOST_AHEAD);
        let (users, items) = (side(users), side(items));
        Self { epoch, next: first, ahead, ready: VecDeque::new(), spare: Vec::new(), users, items }
    }

    /// Goes on with another epoch of the same data, whatever is left of this one.
    pub fn restart(&mut self, epoch: Epoch<'a>) {
        (self.epoch, self.next) = (epoch, 0);
        self.spare.extend(self.ready.drain(..));
        for side in [&mut self.users, &mut self.items] {
            side.last.fill((0, 0));
        }
    }

    /// Draws one more batch, if the epoch has one.
    pub fn draw(&mut self) {
        if self.next == self.epoch.len() {
            return;
        }
        let mut batch = self.spare.pop().unwrap_or_default();
        self.epoch.draw(self.next, &mut batch);
        batch.group(&mut self.users.grouping, &mut self.items.grouping);
        self.next += 1;
        // Batches are counted from 1: 0 is a row that this epoch has not touched.
        let number = self.next as u32;
        let (ready, ahead, followed) = (&mut self.ready, self.ahead as u32, self.epoch.followed());
        if !matches!(followed, Followed::Users | Followed::All) {
            self.users.link(number, ahead, &batch.touched_users, ready, |batch| &mut batch.touched_users);
        }
        // Items that a step is yet to choose from are read by it like others.
        if followed != Followed::All {
            self.items.link(number, ahead, &batch.touched_items, ready, |batch| &mut batch.touched_items);
        }
        self.ready.push_back(batch);
    }

    /// The next batch, with what is known of the batches after it; nothing at the end of the epoch.
    pub fn take(&mut self) -> Option<Batch> {
        while self.ready.len() <= self.ahead && self.next < self.epoch.len() {
            self.draw();
        }
        let mut batch = self.ready.pop_front()?;
        if self.epoch.followed() == Followed::Positives {
            let (width, touched) = (batch.width(), &mut batch.touched_items);
            // The chosen items stand at the first place of each row.
            for &slot in touched.slots.iter().step_by(width.max(1)) {
                touched.rest[slot as usize] = 0;
            }
        }
        Some(batch)
    }

    /// Takes back the memory of a batch.
    pub fn give_back(&mut self, batch: Batch) {
        self.spare.push(batch);
    }

    /// Works on the next batch while another one is drawn, on whichever threads of the pool the work leaves idle; nothing
    /// at the end of the epoch.
    pub fn step<T: Send>(&mut self, work: impl FnOnce(&Batch) -> T + Send) -> Option<T> {
        let batch = self.take()?;
        let (result, ()) = rayon::join(|| work(&batch), || self.draw());
        self.give_back(batch);
        Some(result)
    }
}

impl Side {
    /// Tells the batches `ready`, the last of which is `number - 1`, which of their rows batch `number` touches next.
    fn link(
        &mut self,
        number: u32,
        ahead: u32,
        touched: &Touched,
        ready: &mut VecDeque<Batch>,
        of: impl Fn(&mut Batch) -> &mut Touched,
    ) {
        let oldest = number - ready.len() as u32;
        for (index, &row) in touched.rows.iter().enumerate() {
            let (before, place) = std::mem::replace(&mut self.last[row as usize], (number, index as u32));
            if before >= oldest && number - before <= ahead {
                of(&mut ready[(before - oldest) as usize]).rest[place as usize] = number - before - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Batches,
        sampler::{Proposal, Static},
    };
    use onebp_data::Csr;

    /// Every batch of the epoch in order, and each row's rest is the distance to its next batch where that is in reach,
    /// wherever the feed was started.
    #[test]
    fn batches_come_in_order_and_know_when_their_rows_come_again() {
        let pairs: Vec<_> = (0..40u32).flat_map(|u| (0..9u32).map(move |k| (u, (u * 7 + k * 5) % 90))).collect();
        let train = Csr::from_pairs(40, 90, &pairs).unwrap();
        let sampler = Static::new(&train, Proposal::Uniform(90), 3, 7);
        let batches = Batches {
            train: &train,
            sampler,
            shared: false,
            positives: 1,
            whole_users: false,
            batch_size: 8,
            keep_last: true,
            keep: None,
            followed: Followed::None,
            seed: 7,
        };
        let epoch = |number| batches.epoch(number);
        let mut feed = Feed::new(epoch(1), 0);
        for number in [1, 2] {
            let plain = epoch(number);
            let whole: Vec<Batch> = std::iter::from_fn(|| feed.take()).collect();
            assert_eq!(whole.len(), plain.len());
            for (index, batch) in whole.iter().enumerate() {
                let expected = plain.batch(index);
                assert_eq!(
                    (&batch.users, &batch.items, &batch.weights),
                    (&expected.users, &expected.items, &expected.weights)
                );
                for (found, of) in [
                    (&batch.touched_users, (|batch| &batch.touched_users) as fn(&Batch) -> &Touched),
                    (&batch.touched_items, |batch| &batch.touched_items),
                ] {
                    for (row, &rest) in found.rows.iter().zip(&found.rest) {
                        let next = (index + 1..whole.len()).find(|&later| of(&whole[later]).rows.contains(row));
                        let known = next.filter(|next| next - index <= MOST_AHEAD);
                        assert_eq!(rest as usize, known.map_or(0, |next| next - index - 1), "batch {index} row {row}");
                    }
                }
            }
            let mut late = Feed::new(epoch(number), 11);
            assert!(std::iter::from_fn(|| late.take()).eq(whole[11..].iter().cloned()));
            whole.into_iter().for_each(|batch| feed.give_back(batch));
            feed.restart(epoch(number + 1));
        }
    }

    /// Who is followed right after a step stands at that step; the others are carried on.
    #[test]
    fn followed_rows_do_not_rest_ahead() {
        let pairs: Vec<_> = (0..40u32).flat_map(|u| (0..9u32).map(move |k| (u, (u * 7 + k * 5) % 90))).collect();
        let train = Csr::from_pairs(40, 90, &pairs).unwrap();
        for followed in [Followed::None, Followed::Positives, Followed::Users, Followed::All] {
            let batches = Batches {
                train: &train,
                sampler: Static::new(&train, Proposal::Uniform(90), 3, 7),
                shared: false,
                positives: 1,
                whole_users: false,
                batch_size: 8,
                keep_last: true,
                keep: None,
                followed,
                seed: 7,
            };
            let mut feed = Feed::new(batches.epoch(1), 0);
            // Rows that rest ahead: users, chosen items, other items.
            let mut found = [false; 3];
            while let Some(batch) = feed.take() {
                found[0] |= batch.touched_users.rest.iter().any(|rest| *rest > 0);
                let positives: Vec<u32> = batch.positives().collect();
                for (row, rest) in batch.touched_items.rows.iter().zip(&batch.touched_items.rest) {
                    found[if positives.contains(row) { 1 } else { 2 }] |= *rest > 0;
                }
            }
            let expected = match followed {
                Followed::None => [true, true, true],
                Followed::Positives => [true, false, true],
                Followed::Users => [false, true, true],
                Followed::All => [false, false, false],
            };
            assert_eq!(found, expected, "{followed:?}");
        }
    }
}
