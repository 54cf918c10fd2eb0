//! One pass over users in blocks: score a block, exclude what each user has seen, hand every piece of a row to a visitor.
//!
//! Neither the matrix [M, N] of all scores nor a row [N] need exist: a scorer hands out pieces while they are in the
//! nearest cache, and what a visitor makes of a row so far is kept for each user of the block. Each thread owns one block
//! and takes the next when it is done, so memory is that of a block's visitors and of the scorer's tile, whatever M and N.
//! Every user has their own slot in the output, so which thread came first leaves no trace.

use crate::scorer::{Margin, Screen};
use crate::selection::EXCLUDED;
use crate::{Error, Scorer};
use onebp_data::Csr;
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Bytes that the rows of one block may hold, 32 MiB; a single row may exceed it.
const ROWS_OF_A_BLOCK: usize = 32 << 20;

/// A scorer prepares the items for each block anew, so more users share that work; beyond this number it hardly matters.
const LARGEST_BLOCK: usize = 1024;

/// With estimates items are prepared once, and what is kept of the rows of a block should stay in the second-level cache.
/// Groups of six fill it.
const LARGEST_SCREENED_BLOCK: usize = 252;

/// Users from which on estimates pay: before, all items are prepared for them.
const USERS_TO_SCREEN: usize = 64;

/// Items for each that a visitor keeps, from which on estimates pay: those it keeps are scored one by one.
const ITEMS_TO_SCREEN: usize = 16;

/// Neighbouring scores of a row.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) user: u32,
    /// Item of the first score.
    pub(crate) first: usize,
    /// Finite, or [`EXCLUDED`].
    pub(crate) scores: &'a [f32],
    /// How far from the scores they are, where they are estimates.
    pub(crate) margin: Option<Margin<'a>>,
}

/// Which scores a visitor must know.
pub(crate) struct Needs {
    /// Items of a row that are kept, with their scores.
    pub(crate) kept: usize,
    /// Scores that each score of a row is compared with, on average, besides those that are kept.
    pub(crate) compared: f64,
}

/// What happens to the rows of scores.
pub(crate) trait Visitor: Sync {
    /// What a thread carries from user to user.
    type Thread: Send;
    /// What is kept of the row of one user; reused for others.
    type Row;
    /// An element of the output.
    type Value: Send;

    /// Bytes of one [`Visitor::Row`], about.
    fn row_bytes(&self) -> usize;

    /// What it must know, where estimates will do for the rest; `None` where they will not, or are not worth while.
    fn needs(&self) -> Option<Needs>;

    /// For a thread that begins.
    fn thread(&self) -> Self::Thread;

    /// For one user of a block after another.
    fn row(&self) -> Self::Row;

    /// Begins the row of `user`.
    fn start(&self, row: &mut Self::Row, user: u32);

    /// Takes a piece of a row. They come in ascending order and cover the catalogue once; they are estimates only where
    /// [`Visitor::needs`] allows it.
    fn read(&self, row: &mut Self::Row, piece: Piece<'_>);

    /// Writes what was measured of `user` into their `slot` of the output.
    fn finish(
        &self,
        thread: &mut Self::Thread,
        row: &mut Self::Row,
        user: u32,
        slot: &mut [Self::Value],
    ) -> Result<(), Error>;
}

/// Which rows to visit.
pub(crate) struct Pass<'a> {
    pub(crate) scorer: &'a dyn Scorer,
    /// Items to exclude, `[M, N]`.
    pub(crate) seen: &'a Csr,
    pub(crate) users: &'a [u32],
    /// Users scored together, at least 1; `None` for a number that suits.
    pub(crate) block: Option<usize>,
}

impl Pass<'_> {
    /// Checks that the seen items and the users fit the scorer.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let shape = |what, expected, found| {
            if expected == found { Ok(()) } else { Err(Error::Shape { what, expected, found }) }
        };
        shape("users of the seen items", self.scorer.users(), self.seen.rows())?;
        shape("catalogue of the seen items", self.scorer.items(), self.seen.columns())?;
        match self.users.iter().find(|&&user| user as usize >= self.scorer.users()) {
            Some(&user) => Err(Error::UnknownUser { user, users: self.scorer.users() }),
            None => Ok(()),
        }
    }

    /// Visits the row of each user once, on the threads of the current rayon pool. `out` `[users, width]` holds the slots
    /// of the users, in their order. Returns the state of every thread that had work.
    ///
    /// [`Pass::check`] must have passed, `width` must not be 0, and `out` must be of the length above.
    ///
    /// # Errors
    /// [`Error::NotFinite`] and whatever [`Visitor::finish`] returns: the first in the order of the users.
    pub(crate) fn run<V: Visitor>(
        &self,
        visitor: &V,
        out: &mut [V::Value],
        width: usize,
    ) -> Result<Vec<V::Thread>, Error> {
        let users = self.users;
        let few = |needs: &Needs| needs.kept * ITEMS_TO_SCREEN <= self.scorer.items() && users.len() >= USERS_TO_SCREEN;
        let screen = visitor.needs().filter(few).and_then(|needs| self.scorer.screen(needs.compared));
        let screen = screen.as_deref();
        let threads = rayon::current_num_threads();
        let most = if screen.is_some() { LARGEST_SCREENED_BLOCK } else { LARGEST_BLOCK };
        let block = self.block.unwrap_or_else(|| block_size(users.len(), threads, visitor.row_bytes()).min(most));
        let block = block.clamp(1, users.len().max(1));
        let queue = Mutex::new(users.chunks(block).zip(out.chunks_mut(block * width)).enumerate());
        let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();

        let work = |_| -> Result<Option<V::Thread>, (usize, Error)> {
            // A thread that comes too late for any block allocates nothing.
            let Some(mut job) = take() else { return Ok(None) };
            let mut rows: Vec<Row<V>> = (0..block).map(|_| Row::new(visitor)).collect();
            let mut thread = visitor.thread();
            loop {
                let (at, (users, slots)) = job;
                if let Err(error) =
                    self.visit(visitor, screen, users, &mut rows, &mut thread, slots.chunks_exact_mut(width))
                {
                    // Blocks are taken in order: all before this one are done or in work, those after it do not matter.
                    while take().is_some() {}
                    return Err((at, error));
                }
                match take() {
                    Some(next) => job = next,
                    None => return Ok(Some(thread)),
                }
            }
        };
        let results: Vec<_> =
            (0..threads.min(users.len().div_ceil(block))).into_par_iter().with_max_len(1).map(work).collect();

        let mut states = Vec::with_capacity(results.len());
        let mut first: Option<(usize, Error)> = None;
        for result in results {
            match result {
                Ok(state) => states.extend(state),
                Err((at, error)) if first.as_ref().is_none_or(|&(block, _)| at < block) => first = Some((at, error)),
                Err(_) => {}
            }
        }
        first.map_or(Ok(states), |(_, error)| Err(error))
    }

    /// One block: at least as many `rows` as `users`, and a slot for each.
    fn visit<'s, V: Visitor<Value: 's>>(
        &self,
        visitor: &V,
        screen: Option<&dyn Screen>,
        users: &[u32],
        rows: &mut [Row<V>],
        thread: &mut V::Thread,
        slots: impl Iterator<Item = &'s mut [V::Value]>,
    ) -> Result<(), Error> {
        for (row, &user) in rows.iter_mut().zip(users) {
            row.start(visitor, user);
        }
        let screened = screen.is_some_and(|screen| {
            screen.estimates(users, &mut |at, first, scores, margin| {
                rows[at].read_finite(visitor, self.seen, users[at], first, scores, Some(margin));
            })
        });
        if !screened {
            self.scorer.scores(users, &mut |at, first, scores| {
                rows[at].read(visitor, self.seen, users[at], first, scores);
            });
        }
        for ((row, &user), slot) in rows.iter_mut().zip(users).zip(slots) {
            if let Some((item, score)) = row.not_finite {
                return Err(Error::NotFinite { user, item, score });
            }
            visitor.finish(thread, &mut row.of_visitor, user, slot)?;
        }
        Ok(())
    }
}

/// Users in a block where the caller names no number: within the memory budget, and small enough that every thread gets
/// several blocks, so that they end at about the same time.
fn block_size(users: usize, threads: usize, row_bytes: usize) -> usize {
    (ROWS_OF_A_BLOCK / row_bytes.max(1)).min(LARGEST_BLOCK).min(users.div_ceil(4 * threads)).max(1)
}

/// The row of one user of a block, as far as it has been read.
struct Row<V: Visitor> {
    of_visitor: V::Row,
    /// How many of the user's seen items are excluded.
    excluded: usize,
    /// The first item whose score cannot be ranked; nothing after it is read.
    not_finite: Option<(u32, f32)>,
}

impl<V: Visitor> Row<V> {
    fn new(visitor: &V) -> Self {
        Self { of_visitor: visitor.row(), excluded: 0, not_finite: None }
    }

    fn start(&mut self, visitor: &V, user: u32) {
        (self.excluded, self.not_finite) = (0, None);
        visitor.start(&mut self.of_visitor, user);
    }

    /// Refuses scores that cannot be ranked, reads the others.
    fn read(&mut self, visitor: &V, seen: &Csr, user: u32, first: usize, scores: &mut [f32]) {
        if self.not_finite.is_some() {
            return;
        }
        if !Arch::new().dispatch(AllFinite(scores)) {
            self.not_finite = (first as u32..).zip(scores.iter().copied()).find(|(_, score)| !score.is_finite());
            return;
        }
        self.read_finite(visitor, seen, user, first, scores, None);
    }

    /// Excludes the items that `user` has `seen` (ascending), passes on the others.
    fn read_finite(
        &mut self,
        visitor: &V,
        seen: &Csr,
        user: u32,
        first: usize,
        scores: &mut [f32],
        margin: Option<Margin<'_>>,
    ) {
        for &item in &seen.row(user)[self.excluded..] {
            let Some(score) = scores.get_mut(item as usize - first) else { break };
            *score = EXCLUDED;
            self.excluded += 1;
        }
        visitor.read(&mut self.of_visitor, Piece { user, first, scores, margin });
    }
}

struct AllFinite<'a>(&'a [f32]);

impl NullaryFnOnce for AllFinite<'_> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        // Without its sign, a number that is not finite has the largest bits. A maximum needs no branch.
        let magnitude = |score: &f32| score.to_bits() & 0x7fff_ffff;
        self.0.iter().map(magnitude).fold(0, u32::max) < f32::INFINITY.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scores;
    use crate::{Popularity, Visit};

    #[test]
    fn block_size_keeps_to_the_budget() {
        assert_eq!(block_size(1_000_000, 2, 1 << 20), 32);
        assert_eq!(block_size(1_000_000, 2, 1 << 30), 1);
        assert_eq!(block_size(1_000_000, 2, 10), LARGEST_BLOCK);
        assert_eq!(block_size(943, 2, 0), 118);
        assert_eq!(block_size(0, 1, 10), 1);
    }

    /// Keeps the whole row: out `[users, items]`, and the number of users of a thread.
    struct Collect;

    impl Visitor for Collect {
        type Thread = usize;
        type Row = Vec<f32>;
        type Value = f32;
        fn row_bytes(&self) -> usize {
            12
        }
        fn thread(&self) -> usize {
            0
        }
        fn row(&self) -> Vec<f32> {
            vec![f32::NAN; 2]
        }
        fn needs(&self) -> Option<Needs> {
            None
        }
        fn start(&self, row: &mut Vec<f32>, _: u32) {
            row.clear();
        }
        fn read(&self, row: &mut Vec<f32>, piece: Piece<'_>) {
            assert_eq!(piece.first, row.len());
            row.extend(piece.scores);
        }
        fn finish(&self, users: &mut usize, row: &mut Vec<f32>, _: u32, slot: &mut [f32]) -> Result<(), Error> {
            *users += 1;
            slot.copy_from_slice(row);
            Ok(())
        }
    }

    fn on_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
    }

    #[test]
    fn every_user_is_visited_once_with_their_own_slot() {
        let items = 41;
        let scorer = Scores { table: (0..50 * items as u32).map(|at| at as f32).collect(), items };
        let pairs: Vec<(u32, u32)> = vec![(7, 0), (7, 15), (7, 16), (7, 40), (49, 31), (49, 32), (3, 39)];
        let seen = Csr::from_pairs(50, items, &pairs).unwrap();
        let users: Vec<u32> = (0..50).rev().chain([7, 7]).collect();
        for threads in 1..4 {
            for block in [Some(0), Some(1), Some(3), Some(1000), None] {
                let mut out = vec![0.0; users.len() * items];
                let pass = Pass { scorer: &scorer, seen: &seen, users: &users, block };
                let visits = on_threads(threads, || pass.run(&Collect, &mut out, items)).unwrap();
                assert_eq!(visits.iter().sum::<usize>(), users.len());
                for (row, &user) in out.chunks(items).zip(&users) {
                    for (item, &score) in (0..).zip(row) {
                        let own = (user * items as u32 + item) as f32;
                        assert_eq!(score, if seen.contains(user, item) { EXCLUDED } else { own }, "{user} {item}");
                    }
                }
            }
        }
    }

    /// Not finite from user 5 on, at a different item each, in the second of two pieces or in both.
    struct Broken(f32);

    impl Scorer for Broken {
        fn users(&self) -> usize {
            40
        }
        fn items(&self) -> usize {
            40
        }
        fn scores(&self, users: &[u32], visit: &mut Visit<'_>) {
            for first in [0, 20] {
                for (row, &user) in users.iter().enumerate() {
                    let broken = |item: usize| user >= 5 && item + user as usize >= 39;
                    let scores = (first..first + 20).map(|item| if broken(item) { self.0 } else { 0.0 });
                    visit(row, first, &mut scores.collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn the_first_score_that_is_not_finite_is_named() {
        let seen = Csr::from_pairs(40, 40, &[(5, 34)]).unwrap();
        let users: Vec<u32> = (0..40).collect();
        for threads in 1..4 {
            for (block, score) in [(Some(1), f32::NEG_INFINITY), (Some(7), f32::INFINITY), (None, f32::NEG_INFINITY)] {
                let scorer = Broken(score);
                let pass = |users| Pass { scorer: &scorer, seen: &seen, users, block };
                let mut out = vec![0.0; 40 * 40];
                let error = on_threads(threads, || pass(&users).run(&Collect, &mut out, 40)).unwrap_err();
                assert_eq!(error, Error::NotFinite { user: 5, item: 34, score });
                let error = on_threads(threads, || pass(&[0, 30]).run(&Collect, &mut out[..80], 40)).unwrap_err();
                assert_eq!(error, Error::NotFinite { user: 30, item: 9, score });
            }
        }
    }

    #[test]
    fn not_a_number_is_not_finite_and_large_numbers_are() {
        let finite = [f32::MAX, f32::MIN, -0.0, 0.0, f32::MIN_POSITIVE / 2.0];
        assert!(Arch::new().dispatch(AllFinite(&finite.repeat(30))));
        for broken in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in 0..150 {
                let mut scores = finite.repeat(30);
                scores[at] = broken;
                assert!(!Arch::new().dispatch(AllFinite(&scores)));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let scorer = Popularity::new(2, &[3, 1, 2]);
        let check = |rows, columns, users: &[u32]| {
            let seen = Csr::from_pairs(rows, columns, &[]).unwrap();
            Pass { scorer: &scorer, seen: &seen, users, block: None }.check()
        };
        assert_eq!(check(2, 3, &[0, 1]), Ok(()));
        assert_eq!(check(2, 3, &[0, 2]), Err(Error::UnknownUser { user: 2, users: 2 }));
        assert!(matches!(check(3, 3, &[]), Err(Error::Shape { expected: 2, found: 3, .. })));
        assert!(matches!(check(2, 4, &[]), Err(Error::Shape { expected: 3, found: 4, .. })));
    }
}
