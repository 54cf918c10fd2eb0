//! One pass over users in blocks: score a block, exclude what each user has seen, hand every row to a visitor.
//!
//! The matrix [M, N] of all scores never exists. Each thread owns one block [block, N] and takes the next block of users
//! when it is done, so memory is at most `threads * block * N * 4` bytes beyond what the visitor keeps. Every user has
//! their own slot in the output, so which thread came first leaves no trace.

use crate::selection::EXCLUDED;
use crate::{Error, Scorer};
use onebp_data::Csr;
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Bytes of scores a thread may hold at a time, 32 MiB; a single row may exceed it.
const SCORES_PER_THREAD: usize = 32 << 20;

/// More users than this make a block no faster, they only leave the cache.
const LARGEST_BLOCK: usize = 256;

/// Users in a block where the caller names no number: within the memory budget, and small enough that every thread gets
/// several blocks, so that they end at about the same time.
fn block_size(users: usize, items: usize, threads: usize) -> usize {
    let budget = SCORES_PER_THREAD / size_of::<f32>() / items.max(1);
    budget.min(LARGEST_BLOCK).min(users.div_ceil(4 * threads)).max(1)
}

/// Checks that `seen` and `users` fit the scorer.
pub(crate) fn check(scorer: &dyn Scorer, seen: &Csr, users: &[u32]) -> Result<(), Error> {
    let shape =
        |what, expected, found| if expected == found { Ok(()) } else { Err(Error::Shape { what, expected, found }) };
    shape("users of the seen items", scorer.users(), seen.rows())?;
    shape("catalogue of the seen items", scorer.items(), seen.columns())?;
    match users.iter().find(|&&user| user as usize >= scorer.users()) {
        Some(&user) => Err(Error::UnknownUser { user, users: scorer.users() }),
        None => Ok(()),
    }
}

/// Calls `visit(state, user, scores, slot)` once for each of `users`, on the threads of the current rayon pool. `scores`
/// is the user's row `[N]` with [`EXCLUDED`] at seen items, `slot` the user's own `width` elements of `out`
/// (`[users.len(), width]`, in the order of `users`). `block` users are scored together (at least 1), as many as the
/// memory budget allows where it is `None`. Returns the state of every thread that had work.
///
/// `seen` and `users` must have passed [`check`], `width` and the catalogue must not be empty, and `out` must be of the
/// length above.
///
/// # Errors
/// [`Error::NotFinite`] and whatever `visit` returns: the first in the order of `users`.
pub(crate) fn for_each_user<T: Send, S: Send>(
    (scorer, seen, users): (&dyn Scorer, &Csr, &[u32]),
    block: Option<usize>,
    out: &mut [T],
    width: usize,
    state: impl Fn() -> S + Sync,
    visit: impl Fn(&mut S, u32, &[f32], &mut [T]) -> Result<(), Error> + Sync,
) -> Result<Vec<S>, Error> {
    let items = scorer.items();
    let threads = rayon::current_num_threads();
    let block = block.unwrap_or_else(|| block_size(users.len(), items, threads)).clamp(1, users.len().max(1));
    let queue = Mutex::new(users.chunks(block).zip(out.chunks_mut(block * width)).enumerate());
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();

    let work = |_| -> Result<Option<S>, (usize, Error)> {
        // A thread that comes too late for any block allocates nothing.
        let Some(mut job) = take() else { return Ok(None) };
        let mut scores = vec![0.0f32; block * items];
        let mut state = state();
        loop {
            let (at, (users, slots)) = job;
            let scores = &mut scores[..users.len() * items];
            scorer.scores(users, scores);
            let rows = users.iter().zip(scores.chunks_exact_mut(items)).zip(slots.chunks_exact_mut(width));
            for ((&user, row), slot) in rows {
                let outcome = prepare(row, user, seen.row(user)).and_then(|()| visit(&mut state, user, row, slot));
                if let Err(error) = outcome {
                    // Blocks are taken in order: all before this one are done or in work, those after it do not matter.
                    while take().is_some() {}
                    return Err((at, error));
                }
            }
            match take() {
                Some(next) => job = next,
                None => return Ok(Some(state)),
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
            Err((at, error)) if first.as_ref().is_none_or(|&(earliest, _)| at < earliest) => first = Some((at, error)),
            Err(_) => {}
        }
    }
    first.map_or(Ok(states), |(_, error)| Err(error))
}

/// Refuses a row with a score that cannot be ranked, then excludes the seen items.
fn prepare(row: &mut [f32], user: u32, seen: &[u32]) -> Result<(), Error> {
    // Without a branch inside, so that the compiler tests several scores at once.
    if !row.iter().fold(true, |finite, score| finite & score.is_finite()) {
        for (&score, item) in row.iter().zip(0..) {
            if !score.is_finite() {
                return Err(Error::NotFinite { user, item, score });
            }
        }
    }
    for &item in seen {
        row[item as usize] = EXCLUDED;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Popularity;

    #[test]
    fn block_size_keeps_to_the_budget() {
        assert_eq!(block_size(1_000_000, 40_981, 2), (32 << 20) / 4 / 40_981);
        assert_eq!(block_size(1_000_000, 100_000_000, 2), 1);
        assert_eq!(block_size(1_000_000, 10, 2), LARGEST_BLOCK);
        assert_eq!(block_size(943, 1682, 2), 118);
        assert_eq!(block_size(0, 0, 1), 1);
    }

    #[test]
    fn every_user_is_visited_once_with_their_own_slot() {
        let scorer = Popularity::new(50, &[3, 1, 2]);
        let seen = Csr::from_pairs(50, 3, &[(7, 0), (7, 2), (49, 1)]).unwrap();
        let users: Vec<u32> = (0..50).rev().chain([7, 7]).collect();
        for threads in 1..4 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for block in [Some(1), Some(3), Some(1000), None] {
                let mut out = vec![(0, 0.0); users.len() * 2];
                let visit = |visits: &mut usize, user: u32, row: &[f32], slot: &mut [(u32, f32)]| {
                    *visits += 1;
                    slot.copy_from_slice(&[(user, row[0]), (user, row[1])]);
                    Ok(())
                };
                let visits = pool.install(|| for_each_user((&scorer, &seen, &users), block, &mut out, 2, || 0, visit));
                assert_eq!(visits.unwrap().iter().sum::<usize>(), users.len());
                for (slot, &user) in out.chunks(2).zip(&users) {
                    let zero = if user == 7 { EXCLUDED } else { 3.0 };
                    let one = if user == 49 { EXCLUDED } else { 1.0 };
                    assert_eq!(slot, [(user, zero), (user, one)]);
                }
            }
        }
    }

    /// NaN from user 5 on, at a different item each.
    struct Broken;
    impl Scorer for Broken {
        fn users(&self) -> usize {
            40
        }
        fn items(&self) -> usize {
            40
        }
        fn scores(&self, users: &[u32], out: &mut [f32]) {
            out.fill(0.0);
            for (row, &user) in users.iter().enumerate().filter(|&(_, &user)| user >= 5) {
                out[row * 40 + 39 - user as usize] = f32::NEG_INFINITY;
            }
        }
    }

    #[test]
    fn the_first_score_that_is_not_finite_is_named() {
        let seen = Csr::from_pairs(40, 40, &[(5, 34)]).unwrap();
        let users: Vec<u32> = (0..40).collect();
        for threads in 1..4 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for block in [Some(1), Some(2), Some(7), None] {
                let mut out = [(); 40];
                let visit = |_: &mut (), _: u32, _: &[f32], _: &mut [()]| Ok(());
                let error = pool.install(|| for_each_user((&Broken, &seen, &users), block, &mut out, 1, || (), visit));
                assert_eq!(error, Err(Error::NotFinite { user: 5, item: 34, score: f32::NEG_INFINITY }));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let scorer = Popularity::new(2, &[3, 1, 2]);
        let seen = |rows, columns| Csr::from_pairs(rows, columns, &[]).unwrap();
        assert_eq!(check(&scorer, &seen(2, 3), &[0, 1]), Ok(()));
        assert_eq!(check(&scorer, &seen(2, 3), &[0, 2]), Err(Error::UnknownUser { user: 2, users: 2 }));
        assert!(matches!(check(&scorer, &seen(3, 3), &[]), Err(Error::Shape { expected: 2, found: 3, .. })));
        assert!(matches!(check(&scorer, &seen(2, 4), &[]), Err(Error::Shape { expected: 3, found: 4, .. })));
    }
}
