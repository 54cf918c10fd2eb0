//! The distinct rows of one table that a batch touches, and where.
//!
//! Row gradients of repeated rows must accumulate, in a fixed order. Grouping the places of a batch by row once, on the
//! host, lets every implementation read and write each row once, and without atomics.

/// R places grouped by row: Q distinct rows in order of first appearance, each with its places in ascending order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touched {
    /// Distinct rows, `[Q]`.
    pub rows: Vec<u32>,
    /// Row `q` occurs at `places[starts[q]..starts[q + 1]]`; `[Q + 1]`.
    pub starts: Vec<u32>,
    /// All places, `[R]`.
    pub places: Vec<u32>,
    /// How many steps after this one the row is known to be touched by no batch, before one touches it again; `[Q]`. 0
    /// where that is not known. Optimizers whose untouched rows move carry the row over these steps at once.
    pub rest: Vec<u32>,
}

impl Touched {
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

    /// For every place the index of its row in [`Touched::rows`], `[R]`.
    pub fn slots(&self) -> Vec<u32> {
        let mut slots = vec![0; self.places.len()];
        for q in 0..self.len() {
            self.places(q).iter().for_each(|&place| slots[place as usize] = q as u32);
        }
        slots
    }
}

/// Groups places by row, for one table, batch after batch.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// Index of a row among the distinct ones, or [`NONE`]; `[rows of the table]`.
    slot_of: Vec<u32>,
    /// Index of every place's row, `[R]`.
    slots: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Grouping {
    /// For a table of `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { slot_of: vec![NONE; rows], slots: Vec::new() }
    }

    /// Groups `rows` `[R]`, each below the number of rows of the table, into `touched`, whose memory is used again.
    pub fn group(&mut self, rows: &[u32], touched: &mut Touched) {
        let Touched { rows: distinct, starts, places, rest } = touched;
        distinct.clear();
        starts.clear();
        self.slots.clear();
        // Counts first, in `starts`.
        for &row in rows {
            let slot = &mut self.slot_of[row as usize];
            if *slot == NONE {
                *slot = distinct.len() as u32;
                distinct.push(row);
                starts.push(0);
            }
            starts[*slot as usize] += 1;
            self.slots.push(*slot);
        }
        for &row in distinct.iter() {
            self.slot_of[row as usize] = NONE;
        }
        // Then ends; filling from the last place on turns ends into starts and keeps places ascending.
        let mut end = 0;
        for count in starts.iter_mut() {
            end += *count;
            *count = end;
        }
        places.resize(rows.len(), 0);
        for (place, &slot) in self.slots.iter().enumerate().rev() {
            let start = &mut starts[slot as usize];
            *start -= 1;
            places[*start as usize] = place as u32;
        }
        starts.push(end);
        rest.clear();
        rest.resize(distinct.len(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_place_once_under_its_row(batches in prop::collection::vec(prop::collection::vec(0u32..20, 0..60), 1..4)) {
            let mut grouping = Grouping::new(20);
            let mut touched = Touched::default();
            for rows in batches {
                grouping.group(&rows, &mut touched);
                let mut first_seen = Vec::new();
                rows.iter().for_each(|row| if !first_seen.contains(row) { first_seen.push(*row) });
                prop_assert_eq!(&touched.rows, &first_seen);
                for q in 0..touched.len() {
                    let expected: Vec<u32> =
                        (0..rows.len() as u32).filter(|&place| rows[place as usize] == touched.rows[q]).collect();
                    prop_assert_eq!(touched.places(q), &expected[..]);
                }
                let through_slots: Vec<u32> = touched.slots().iter().map(|&slot| touched.rows[slot as usize]).collect();
                prop_assert_eq!(through_slots, rows);
                prop_assert_eq!(touched.rest.len(), touched.len());
            }
        }
    }
}
