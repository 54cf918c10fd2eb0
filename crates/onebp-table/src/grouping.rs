//! The places of a batch, grouped by the row of a table that is there.
//!
//! Where most rows of the table are in the batch, each of them has a count, and all are looked through. Where they are not, that
//! would wait for memory at every place: then places are sorted by row, a few bits at a time, which goes from one end of a small
//! array to the other. Neither asks the CPU for a guess.

use crate::Touched;

/// Groups places by row, for one table, batch after batch.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// Rows of the table.
    rows: usize,
    /// What is known of each, where they are looked through; all zero between batches.
    groups: Vec<Group>,
    /// Places in the order of their rows, and the same before the last pass.
    sorted: Vec<Place>,
    before: Vec<Place>,
    /// For every pass how many places have each value of its bits, then where the next one of these goes.
    counts: Vec<u32>,
}

/// What is known of a row of the table.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// How many places of the batch are its own, then where the next one goes.
    places: u32,
    /// Its index among the distinct rows.
    slot: u32,
}

/// A place of the batch, and its row.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    row: u32,
    place: u32,
}

/// A table with no more rows than this for each place is looked through.
const DENSE: usize = 2;

/// Bits that places are sorted by at a time, at most: for each value of these there is a line that is written to.
const MOST_BITS: u32 = 12;

impl Grouping {
    /// For a table of `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { rows, groups: Vec::new(), sorted: Vec::new(), before: Vec::new(), counts: Vec::new() }
    }

    /// Groups `rows` `[R]`, each below the number of rows of the table, into `touched`, whose memory is used again.
    pub fn group(&mut self, rows: &[u32], touched: &mut Touched) {
        touched.places.resize(rows.len(), 0);
        touched.slots.resize(rows.len(), 0);
        if self.rows <= DENSE * rows.len() {
            self.look_through(rows, touched);
        } else {
            self.sort(rows);
            self.cut(touched);
        }
        touched.rest.clear();
        touched.rest.resize(touched.rows.len(), 0);
    }

    /// Groups by counts of all rows of the table.
    fn look_through(&mut self, rows: &[u32], Touched { rows: distinct, starts, places, slots, .. }: &mut Touched) {
        self.groups.resize(self.rows, Group::default());
        rows.iter().for_each(|&row| self.groups[row as usize].places += 1);
        distinct.resize(self.rows, 0);
        starts.resize(self.rows + 1, 0);
        let (mut slot, mut end) = (0, 0);
        for (row, group) in self.groups.iter_mut().enumerate() {
            let places = std::mem::replace(&mut group.places, end);
            group.slot = slot as u32;
            // Of a row without a place the next one takes the slot.
            (distinct[slot], starts[slot]) = (row as u32, end);
            slot += usize::from(places > 0);
            end += places;
        }
        starts[slot] = end;
        distinct.truncate(slot);
        starts.truncate(slot + 1);
        for (place, (&row, slot)) in rows.iter().zip(slots).enumerate() {
            let group = &mut self.groups[row as usize];
            places[group.places as usize] = place as u32;
            group.places += 1;
            *slot = group.slot;
        }
        self.groups.fill(Group::default());
    }

    /// Sorts the places of `rows` by row and place, by the lowest bits of the row first.
    fn sort(&mut self, rows: &[u32]) {
        let bits = usize::BITS - self.rows.saturating_sub(1).leading_zeros();
        let passes = bits.div_ceil(MOST_BITS).max(1);
        let width = bits.div_ceil(passes);
        let digit = |row: u32, pass: usize| row as usize >> (pass as u32 * width) & ((1 << width) - 1);
        let Self { sorted, before, counts, .. } = self;
        counts.clear();
        counts.resize((passes as usize) << width, 0);
        sorted.resize(rows.len(), Place::default());
        before.resize(rows.len(), Place::default());
        for (pass, counts) in counts.chunks_exact_mut(1 << width).enumerate() {
            rows.iter().for_each(|&row| counts[digit(row, pass)] += 1);
            let mut end = 0;
            for count in &mut *counts {
                end += std::mem::replace(count, end);
            }
            std::mem::swap(sorted, before);
            let mut put = |place: Place| {
                let next = &mut counts[digit(place.row, pass)];
                sorted[*next as usize] = place;
                *next += 1;
            };
            if pass == 0 {
                rows.iter().zip(0..).for_each(|(&row, place)| put(Place { row, place }));
            } else {
                before.iter().copied().for_each(put);
            }
        }
    }

    /// Cuts the sorted places into rows.
    fn cut(&self, Touched { rows: distinct, starts, places, slots, .. }: &mut Touched) {
        distinct.resize(self.sorted.len(), 0);
        starts.resize(self.sorted.len() + 1, 0);
        let (mut count, mut last) = (0, None);
        starts[0] = 0;
        for (at, (&Place { row, place }, sorted)) in self.sorted.iter().zip(places).enumerate() {
            count += usize::from(last != Some(row));
            last = Some(row);
            (distinct[count - 1], slots[place as usize], *sorted) = (row, count as u32 - 1, place);
            // The last place of a row leaves its end there.
            starts[count] = at as u32 + 1;
        }
        distinct.truncate(count);
        starts.truncate(count + 1);
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
            rows in prop::sample::select(vec![20, 1000, 5000, 200_000, 1 << 25]),
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
