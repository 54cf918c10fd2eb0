//! Batches, drawn ahead of the steps that use them, while others compute.
//!
//! One thread draws some batches in a row, those of the next epoch at the end of this one, and leaves the steps to the other
//! threads meanwhile. Where steps are short, threads that share one gain less than threads that go their own ways.

mod drawing;

use crate::{Batch, Batches};
use drawing::Drawing;
use std::{
    collections::VecDeque,
    ops::{ControlFlow, RangeInclusive},
    sync::atomic::{AtomicBool, Ordering},
};

/// The batches of one epoch after another.
pub struct Feed<'a> {
    drawing: Drawing<'a>,
    drawn: Drawn,
    /// Batches that are drawn in a row.
    portion: usize,
    /// Batches that are left when the next ones are drawn: as many as the steps get through meanwhile. It follows the clock and
    /// changes no batch.
    reserve: usize,
}

/// Batches that are drawn.
#[derive(Default)]
struct Drawn {
    /// In order; nothing at the end of an epoch.
    batches: VecDeque<Option<Batch>>,
    /// Those that have had their turn.
    used: Vec<Batch>,
}

impl<'a> Feed<'a> {
    /// The batches of `epochs`, from batch `first` of the first epoch on.
    pub fn new(batches: &'a Batches<'a>, epochs: RangeInclusive<u32>, first: usize) -> Self {
        let drawing = Drawing::new(batches, epochs, first);
        let portion = drawing.ahead().div_ceil(3);
        Self { drawing, drawn: Drawn::default(), portion, reserve: portion }
    }

    /// The next batch; nothing at the end of an epoch, and then the first batch of the next one.
    pub fn take(&mut self) -> Option<Batch> {
        while self.drawn.batches.is_empty() && !self.drawing.is_over() {
            self.drawing.draw(1, &mut self.drawn.batches);
        }
        self.drawn.batches.pop_front()?
    }

    /// Takes back the memory of a batch.
    pub fn give_back(&mut self, batch: Batch) {
        self.drawing.take_back([batch]);
    }

    /// Hands one batch after another to `work`, until the end of the epoch, then there is nothing to return, or until `work`
    /// breaks off. Called again, it goes on with the next batch.
    pub fn run<T: Send>(&mut self, mut work: impl FnMut(&Batch) -> ControlFlow<T> + Send) -> Option<T> {
        let Self { drawing, drawn, portion, reserve } = self;
        loop {
            let outcome = if drawing.is_over() {
                drawn.hand_out(&mut work, |_| true)
            } else if drawn.batches.len() > *reserve {
                drawn.hand_out(&mut work, |left| left > *reserve)
            } else {
                drawing.take_back(drawn.used.drain(..));
                let (mut fresh, done) = (VecDeque::new(), AtomicBool::new(false));
                let (outcome, ()) = rayon::join(
                    || drawn.hand_out(&mut work, |_| !done.load(Ordering::Relaxed)),
                    || {
                        drawing.draw(*portion, &mut fresh);
                        done.store(true, Ordering::Relaxed);
                    },
                );
                // Threads without a batch wait for the one that draws; batches that nobody needs yet fill the caches.
                match drawn.batches.len() {
                    0 => *reserve = (*reserve + 1).min(2 * *portion),
                    1 => {}
                    _ => *reserve = (*reserve - 1).max(1),
                }
                drawn.batches.append(&mut fresh);
                outcome
            };
            if let ControlFlow::Break(outcome) = outcome {
                return outcome;
            }
            if drawing.is_over() && drawn.batches.is_empty() {
                return None;
            }
        }
    }
}

impl Drawn {
    /// Hands out batches as long as `more`, told how many there are, says so. Breaks with nothing at the end of an epoch, and
    /// with what `work` breaks off with.
    fn hand_out<T>(
        &mut self,
        work: &mut impl FnMut(&Batch) -> ControlFlow<T>,
        more: impl Fn(usize) -> bool,
    ) -> ControlFlow<Option<T>> {
        while more(self.batches.len())
            && let Some(batch) = self.batches.pop_front()
        {
            let Some(batch) = batch else { return ControlFlow::Break(None) };
            let outcome = work(&batch);
            self.used.push(batch);
            if let ControlFlow::Break(outcome) = outcome {
                return ControlFlow::Break(Some(outcome));
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Carried,
        sampler::{Proposal, Static},
    };
    use onebp_data::Csr;
    use onebp_table::Touched;

    const ALL: Carried = Carried { users: true, chosen: true, others: true };
    const UNCHOSEN: Carried = Carried { users: false, chosen: false, others: true };

    fn train() -> Csr {
        let pairs: Vec<_> = (0..40u32).flat_map(|u| (0..9u32).map(move |k| (u, (u * 7 + k * 5) % 90))).collect();
        Csr::from_pairs(40, 90, &pairs).unwrap()
    }

    fn batches(train: &Csr, carried: Carried) -> Batches<'_> {
        Batches {
            train,
            sampler: Static::new(train, Proposal::Uniform(90), 3, 7),
            shared: false,
            positives: 1,
            whole_users: false,
            batch_size: 8,
            keep_last: true,
            keep: None,
            carried,
            seed: 7,
        }
    }

    /// Every batch of the epoch in order, and each row's rest is the distance to its next batch where that is in reach,
    /// wherever the feed was started.
    #[test]
    fn batches_come_in_order_and_know_when_their_rows_come_again() {
        let train = train();
        let batches = batches(&train, ALL);
        let mut feed = Feed::new(&batches, 1..=2, 0);
        for number in [1, 2] {
            let plain = batches.epoch(number);
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
                        let known = next.filter(|next| next - index <= Touched::MOST_REST as usize);
                        assert_eq!(rest as usize, known.map_or(0, |next| next - index - 1), "batch {index} row {row}");
                    }
                }
            }
            let mut late = Feed::new(&batches, number..=number, 11);
            assert!(std::iter::from_fn(|| late.take()).eq(whole[11..].iter().cloned()));
            assert_eq!(late.take(), None);
            let mut over = Feed::new(&batches, number..=2, whole.len());
            assert_eq!(over.take(), None, "an epoch that was over");
            assert_eq!(over.take().is_some(), number == 1);
            whole.into_iter().for_each(|batch| feed.give_back(batch));
        }
        assert_eq!(feed.take(), None);
    }

    /// What is drawn beside the steps is what is drawn before them: on one thread and on several, over epochs, also where
    /// steps break off.
    #[test]
    fn steps_get_the_same_batches_in_order() {
        let train = train();
        for (batch_size, every) in [(8, 1), (8, 7), (8, 1000), (3, 50), (200, 2)] {
            let batches = Batches { batch_size, ..batches(&train, UNCHOSEN) };
            let mut feed = Feed::new(&batches, 4..=6, 1);
            let expected: Vec<_> = (0..4).map(|_| Vec::from_iter(std::iter::from_fn(|| feed.take()))).collect();
            assert!(!expected[2].is_empty() && expected[3].is_empty());
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut feed = Feed::new(&batches, 4..=6, 1);
                for expected in &expected {
                    let mut found = Vec::new();
                    let mut run = || {
                        feed.run(|batch| {
                            found.push(batch.clone());
                            let due = found.len() % every == 0;
                            if due { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                        })
                    };
                    while pool.install(&mut run).is_some() {}
                    assert!(found == *expected, "batches of {batch_size}, {threads} threads");
                }
            }
        }
    }

    /// Rows that are not carried do not rest ahead, the others do.
    #[test]
    fn rows_rest_ahead_that_are_carried() {
        let train = train();
        for carried in [ALL, UNCHOSEN, Carried { users: false, ..ALL }, Carried::default()] {
            let batches = batches(&train, carried);
            let mut feed = Feed::new(&batches, 1..=1, 0);
            // Rows that rest ahead: users, chosen items, other items.
            let mut found = [false; 3];
            while let Some(batch) = feed.take() {
                found[0] |= batch.touched_users.rest.iter().any(|rest| *rest > 0);
                for (row, rest) in batch.touched_items.rows.iter().zip(&batch.touched_items.rest) {
                    found[if batch.positives.contains(row) { 1 } else { 2 }] |= *rest > 0;
                }
            }
            assert_eq!(found, [carried.users, carried.chosen, carried.others], "{carried:?}");
        }
    }
}
