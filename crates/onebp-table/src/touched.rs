//! The distinct rows of one table that a batch touches, and where.
//!
//! Row gradients of repeated rows must accumulate, in a fixed order. Grouping the places of a batch by row once, on the
//! host, lets every implementation read and write each row once, and without atomics.

/// R places grouped by row: Q distinct rows in ascending order, so that memory is walked in one direction, each with its
/// places in ascending order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touched {
    /// Distinct rows, `[Q]`.
    pub rows: Vec<u32>,
    /// Row `q` occurs at `places[starts[q]..starts[q + 1]]`; `[Q + 1]`.
    pub starts: Vec<u32>,
    /// All places, `[R]`.
    pub places: Vec<u32>,
    /// For every place the index of its row in `rows`, `[R]`.
    pub slots: Vec<u32>,
    /// How many steps after this one the row is known to be touched by no batch, before one touches it again; `[Q]`. 0
    /// where that is not known, and at most [`Touched::MOST_REST`]. Optimizers whose untouched rows move carry the row over
    /// these steps at once, unless they project it after each.
    pub rest: Vec<u32>,
}

impl Touched {
    /// A row carried further ahead could not be brought back for a look at it: every step back enlarges the rounding of
    /// Adam's first moment by 1 / 0.9.
    pub const MOST_REST: u32 = 32;

    /// Number of distinct rows, Q.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is touched.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The places of the `q`-th distinct row.
    #[inline]
    pub fn places(&self, q: usize) -> &[u32] {
        &self.places[self.starts[q] as usize..self.starts[q + 1] as usize]
    }

    /// Whether the `q`-th distinct row occurs at one place only.
    #[inline]
    pub fn is_lone(&self, q: usize) -> bool {
        self.starts[q + 1] - self.starts[q] == 1
    }
}

/// Groups places by row, for one table, batch after batch.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// A bit for every row, all zero between batches.
    seen: Vec<u64>,
    rows: Vec<Group>,
}

/// What is known of a row of the table.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// How many places of the batch are its own, 0 between batches; then where the next one goes.
    places: u32,
    /// Its index among the distinct rows of this batch, or of an earlier one.
    slot: u32,
}

/// A table with more rows than this for each place is not looked through for the rows that were seen: sorting is faster.
const SPARSE: usize = 1024;

/// A table with no more rows than this for each place is looked through row by row: most of them were seen.
const DENSE: usize = 2;

impl Grouping {
    /// For a table of `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { seen: vec![0; rows.div_ceil(64)], rows: vec![Group::default(); rows] }
    }

    /// Groups `rows` `[R]`, each below the number of rows of the table, into `touched`, whose memory is used again.
    pub fn group(&mut self, rows: &[u32], touched: &mut Touched) {
        touched.rows.clear();
        touched.starts.clear();
        let dense = self.rows.len() <= DENSE * rows.len();
        if dense {
            self.find_among_all(rows, touched);
        } else {
            self.find(rows, touched);
        }
        let Touched { rows: distinct, places, slots, rest, .. } = touched;
        places.resize(rows.len(), 0);
        slots.resize(rows.len(), 0);
        for (place, (&row, slot)) in rows.iter().zip(slots).enumerate() {
            let group = &mut self.rows[row as usize];
            places[group.places as usize] = place as u32;
            group.places += 1;
            *slot = group.slot;
        }
        if dense {
            self.rows.fill(Group::default());
        } else {
            distinct.iter().for_each(|&row| self.rows[row as usize].places = 0);
        }
        rest.clear();
        rest.resize(distinct.len(), 0);
    }

    /// Finds the distinct rows and where their places begin, of all rows of the table: without a guess of the CPU which of them
    /// were seen.
    fn find_among_all(&mut self, rows: &[u32], Touched { rows: distinct, starts, .. }: &mut Touched) {
        rows.iter().for_each(|&row| self.rows[row as usize].places += 1);
        distinct.resize(self.rows.len(), 0);
        starts.resize(self.rows.len() + 1, 0);
        let (mut slot, mut end) = (0, 0);
        for (row, group) in self.rows.iter_mut().enumerate() {
            let places = std::mem::replace(&mut group.places, end);
            group.slot = slot as u32;
            (distinct[slot], starts[slot]) = (row as u32, end);
            slot += usize::from(places > 0);
            end += places;
        }
        starts[slot] = end;
        distinct.truncate(slot);
        starts.truncate(slot + 1);
    }

    /// Finds the distinct rows and where their places begin.
    fn find(&mut self, rows: &[u32], Touched { rows: distinct, starts, .. }: &mut Touched) {
        if self.rows.len() / SPARSE > rows.len() {
            distinct.extend_from_slice(rows);
            distinct.sort_unstable();
            distinct.dedup();
            rows.iter().for_each(|&row| self.rows[row as usize].places += 1);
        } else {
            for &row in rows {
                self.seen[row as usize / 64] |= 1 << (row % 64);
                self.rows[row as usize].places += 1;
            }
            for (word, bits) in self.seen.iter_mut().enumerate() {
                while *bits != 0 {
                    distinct.push(64 * word as u32 + bits.trailing_zeros());
                    *bits &= *bits - 1;
                }
            }
        }
        let mut end = 0;
        for (slot, &row) in distinct.iter().enumerate() {
            let group = &mut self.rows[row as usize];
            starts.push(end);
            end += std::mem::replace(&mut group.places, end);
            group.slot = slot as u32;
        }
        starts.push(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_place_once_under_its_row(
            batches in prop::collection::vec(prop::collection::vec(0u32..20, 0..60), 1..4),
            rows in prop::sample::select(vec![20, 1000, 200_000]),
        ) {
            let mut grouping = Grouping::new(rows);
            let mut touched = Touched::default();
            for rows in batches {
                grouping.group(&rows, &mut touched);
                let distinct: std::collections::BTreeSet<u32> = rows.iter().copied().collect();
                prop_assert_eq!(&touched.rows, &Vec::from_iter(distinct));
                for q in 0..touched.len() {
                    let expected: Vec<u32> =
                        (0..rows.len() as u32).filter(|&place| rows[place as usize] == touched.rows[q]).collect();
                    prop_assert_eq!(touched.places(q), &expected[..]);
                    prop_assert_eq!(touched.is_lone(q), expected.len() == 1);
                }
                let through_slots: Vec<u32> = touched.slots.iter().map(|&slot| touched.rows[slot as usize]).collect();
                prop_assert_eq!(through_slots, rows);
                prop_assert_eq!(touched.rest.len(), touched.len());
            }
        }
    }
}
