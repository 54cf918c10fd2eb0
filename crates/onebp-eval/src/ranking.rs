//! The k best unseen items of each user: what `recommend` prints.
//!
//! Candidates of user u are all N items but those in `seen`. They are ordered by score descending, then item id
//! ascending. A user with fewer than k candidates gets all of them.

use crate::blocks::{Needs, Pass, Piece, Visitor};
use crate::selection::Selection;
use crate::{Error, Scorer};
use onebp_data::Csr;

/// Ranked lists of several users, in the order in which the users were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// Item and score, `[users, k]`; the end of a row beyond its length is padding.
    entries: Vec<(u32, f32)>,
    lengths: Vec<usize>,
    k: usize,
}

impl Ranking {
    /// Number of users.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether no user was asked for.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Items and scores of the user at `position` (below [`Ranking::len`]) of the users asked for, best first.
    pub fn list(&self, position: usize) -> &[(u32, f32)] {
        &self.entries[position * self.k..][..self.lengths[position]]
    }

    /// All lists, in the order of the users asked for.
    pub fn lists(&self) -> impl Iterator<Item = &[(u32, f32)]> {
        (0..self.len()).map(|position| self.list(position))
    }
}

/// Ranks the best `k` items not in `seen` `[M, N]` for each of `users`, on the threads of the current rayon pool.
///
/// `block` users are scored together; `None` takes a number that suits the number of users and threads, at most 1024 and
/// 32 MiB of lists a thread. The result does not depend on it, nor on the number of threads. Memory beyond the result (8
/// bytes an entry) is for each thread 40 bytes an entry of one block, and what the scorer needs, for estimates as well.
/// Scores of the result are those of the scorer, but +0.0 for both zeros.
///
/// # Errors
/// [`Error::Shape`] where `seen` is not `[scorer.users(), scorer.items()]`, [`Error::UnknownUser`], and
/// [`Error::NotFinite`] for the first user and item whose score is infinite or not a number.
pub fn rank(scorer: &dyn Scorer, seen: &Csr, users: &[u32], k: usize, block: Option<usize>) -> Result<Ranking, Error> {
    let pass = Pass { scorer, seen, users, block };
    pass.check()?;
    let k = k.min(scorer.items());
    let lengths = users.iter().map(|&user| k.min(scorer.items() - seen.row(user).len())).collect();
    let mut entries = vec![(0, 0.0); users.len() * k];
    if k > 0 {
        pass.run(&Best { scorer, k }, &mut entries, k)?;
    }
    Ok(Ranking { entries, lengths, k })
}

/// Lists the best `k` of each row.
struct Best<'a> {
    scorer: &'a dyn Scorer,
    k: usize,
}

impl Visitor for Best<'_> {
    type Thread = ();
    type Row = Selection;
    type Value = (u32, f32);

    fn row_bytes(&self) -> usize {
        Selection::bytes(self.k)
    }

    fn needs(&self) -> Option<Needs> {
        Some(Needs { kept: self.k, compared: 0.0 })
    }

    fn thread(&self) {}

    fn row(&self) -> Selection {
        Selection::new(self.k)
    }

    fn start(&self, selection: &mut Selection, _: u32) {
        selection.clear();
    }

    fn read(&self, selection: &mut Selection, piece: Piece<'_>) {
        selection.read(piece, self.scorer);
    }

    fn finish(&self, (): &mut (), selection: &mut Selection, user: u32, list: &mut [(u32, f32)]) -> Result<(), Error> {
        list.iter_mut().zip(selection.best(self.scorer, user)).for_each(|(entry, best)| *entry = best);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::EXCLUDED;
    use crate::testing::{Scores, full_sort, table};
    use crate::{DotProduct, Popularity};
    use proptest::prelude::*;

    /// Users, items, coarse scores (many ties, both zeros), seen pairs.
    fn case() -> impl Strategy<Value = (usize, Vec<f32>, Vec<(u32, u32)>)> {
        (1usize..9, 1usize..40).prop_flat_map(|(users, items)| {
            let score = prop_oneof![(-2i32..3).prop_map(|score| score as f32), Just(-0.0f32), -2.0f32..2.0];
            let pair = (0..users as u32, 0..items as u32);
            (
                Just(items),
                prop::collection::vec(score, users * items),
                prop::collection::vec(pair, 0..(users * items * 2)),
            )
        })
    }

    proptest! {
        #[test]
        fn equals_a_full_sort((items, table, pairs) in case(), k in 0usize..50, block in 1usize..10) {
            let users = table.len() / items;
            let seen = Csr::from_pairs(users, items, &pairs).unwrap();
            let scorer = Scores { table, items };
            let asked: Vec<u32> = (0..users as u32).rev().chain([0]).collect();
            let ranking = rank(&scorer, &seen, &asked, k, Some(block)).unwrap();
            prop_assert_eq!(ranking.len(), asked.len());
            for (&user, list) in asked.iter().zip(ranking.lists()) {
                let scores = &scorer.table[user as usize * items..][..items];
                let mut row = scores.to_vec();
                seen.row(user).iter().for_each(|&item| row[item as usize] = EXCLUDED);
                prop_assert_eq!(list.iter().map(|entry| entry.0).collect::<Vec<_>>(), full_sort(&row, k));
                // Adding +0.0 makes both zeros one.
                prop_assert!(list.iter().all(|&(item, score)| score.to_bits() == (scores[item as usize] + 0.0).to_bits()));
            }
        }
    }

    #[test]
    fn edges() {
        let none = |users, items| Csr::from_pairs(users, items, &[]).unwrap();
        let empty_catalogue = rank(&Popularity::new(2, &[]), &none(2, 0), &[1, 0], 5, None).unwrap();
        assert!(empty_catalogue.lists().eq([&[]; 2]));
        let popularity = Popularity::new(2, &[1, 3, 3]);
        assert!(rank(&popularity, &none(2, 3), &[], 5, None).unwrap().is_empty());
        assert!(rank(&popularity, &none(2, 3), &[1], 0, None).unwrap().list(0).is_empty());
        let all = rank(&popularity, &none(2, 3), &[1], usize::MAX, Some(0)).unwrap();
        assert_eq!(all.list(0), [(1, 3.0), (2, 3.0), (0, 1.0)]);
        assert_eq!(rank(&popularity, &none(2, 3), &[2], 0, None), Err(Error::UnknownUser { user: 2, users: 2 }));
    }

    #[test]
    fn block_size_and_threads_leave_no_trace() {
        let (m, n, dim) = (53, 301, 17);
        let (users, items) = (table(m, dim, 1), table(n, dim, 2));
        let scorer = DotProduct::new(&users, &items, dim).unwrap();
        let pairs: Vec<(u32, u32)> =
            (0..m as u32).flat_map(|u| (0..u * 5).map(move |i| (u, i * 7 % n as u32))).collect();
        let seen = Csr::from_pairs(m, n, &pairs).unwrap();
        let asked: Vec<u32> = (0..m as u32).collect();
        let first = rank(&scorer, &seen, &asked, 20, None).unwrap();
        for threads in 1..4 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for block in [1, 2, 13, 53, 1000] {
                assert_eq!(pool.install(|| rank(&scorer, &seen, &asked, 20, Some(block)).unwrap()), first);
            }
        }
    }
}
