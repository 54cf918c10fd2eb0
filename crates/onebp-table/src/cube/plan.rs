//! The plan of a step: everything the kernels need to know about a batch, packed into one upload.
//!
//! Words of 32 bits: first the heads of the kernels, then the sections that the heads point at. A head is at the same place
//! at every step, so a kernel's launch arguments stay as they are. The buffer on the device is written in place, step
//! after step.

use super::gpu::{Buffer, Gpu, Scratch, Traffic};
use crate::{Error, Touched};

/// Words of a head.
const HEAD: usize = 12;
/// Heads of a plan.
const HEADS: usize = 6;

/// A plan under way.
#[derive(Default)]
pub struct Plan {
    words: Vec<u32>,
    heads: usize,
    scratch: Scratch,
}

/// Groups of places in a plan.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    /// Number of distinct rows.
    pub count: u32,
    /// Section of distinct rows.
    pub rows: u32,
    /// Section of starts.
    pub starts: u32,
    /// Section of places.
    pub places: u32,
}

impl Plan {
    /// Starts anew.
    pub fn begin(&mut self) {
        self.words.clear();
        self.words.resize(HEAD * HEADS, 0);
        self.heads = 0;
    }

    /// Adds a section of words; returns where it begins.
    pub fn words(&mut self, words: &[u32]) -> u32 {
        let at = self.words.len() as u32;
        self.words.extend_from_slice(words);
        at
    }

    /// Adds a section of floats.
    pub fn floats(&mut self, floats: impl Iterator<Item = f32>) -> u32 {
        let at = self.words.len() as u32;
        self.words.extend(floats.map(f32::to_bits));
        at
    }

    /// Adds a section of row ids, each below `rows`: kernels do not check them.
    ///
    /// # Errors
    /// [`Error::Execution`] names an id that is not.
    pub fn ids(&mut self, ids: &[u32], rows: usize) -> Result<u32, Error> {
        self.check(ids, rows)?;
        Ok(self.words(ids))
    }

    /// Checks that ids are below `rows`.
    ///
    /// # Errors
    /// [`Error::Execution`] names an id that is not.
    pub fn check(&self, ids: &[u32], rows: usize) -> Result<(), Error> {
        // Without a branch inside, so that the compiler compares several at once.
        let highest = ids.iter().fold(0, |highest, &id| highest.max(id));
        if !ids.is_empty() && highest as usize >= rows {
            return Err(Error::Execution(format!("row {highest} of a table of {rows}")));
        }
        Ok(())
    }

    /// Adds the distinct rows of a table of `rows` rows and their places, each below `places`.
    ///
    /// # Errors
    /// [`Error::Execution`] where groups do not fit together.
    pub fn groups(&mut self, touched: &Touched, rows: usize, places: usize) -> Result<Groups, Error> {
        let count = touched.len();
        let ends = touched.starts.last().copied().unwrap_or(0) as usize;
        if touched.starts.len() != count + 1 || ends != touched.places.len() || !touched.starts.is_sorted() {
            return Err(Error::Execution("places are not grouped by row".into()));
        }
        Ok(Groups {
            count: count as u32,
            rows: self.ids(&touched.rows, rows)?,
            starts: self.words(&touched.starts),
            places: self.ids(&touched.places, places)?,
        })
    }

    /// Sets the next head; returns where it begins.
    pub fn head<const N: usize>(&mut self, words: [u32; N]) -> u32 {
        const { assert!(N <= HEAD) };
        let at = self.heads * HEAD;
        debug_assert!(self.heads < HEADS, "a plan has {HEADS} heads");
        self.words[at..at + N].copy_from_slice(&words);
        self.heads += 1;
        at as u32
    }

    /// Leaves the next head empty, so that those after it stay where they are.
    pub fn skip(&mut self) {
        self.heads += 1;
    }

    /// Uploads it.
    ///
    /// # Errors
    /// [`Error::Device`] where the device has no room.
    pub fn send(&mut self, gpu: &Gpu, traffic: &mut Traffic) -> Result<Buffer, Error> {
        let buffer = self.scratch.room(gpu, self.words.len())?;
        let capacity = self.words.len();
        let words = std::mem::replace(&mut self.words, Vec::with_capacity(capacity));
        gpu.write(&buffer, 0, words, traffic)?;
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grouping;

    #[test]
    fn sections_and_heads() {
        let mut plan = Plan::default();
        plan.begin();
        let mut touched = Touched::default();
        Grouping::new(9).group(&[8, 3, 8], &mut touched);
        let groups = plan.groups(&touched, 9, 3).unwrap();
        let floats = plan.floats([1.5f32].into_iter());
        assert_eq!(plan.head([7, 8]), 0);
        plan.skip();
        assert_eq!(plan.head([9]), 2 * HEAD as u32);
        assert_eq!(plan.words[..2], [7, 8]);
        assert_eq!(plan.words[2 * HEAD], 9);
        let section = |at: u32, length: usize| &plan.words[at as usize..][..length];
        assert_eq!(section(groups.rows, 2), touched.rows);
        assert_eq!(section(groups.starts, 3), touched.starts);
        assert_eq!(section(groups.places, 3), touched.places);
        assert_eq!(section(floats, 1), [1.5f32.to_bits()]);
    }

    #[test]
    fn what_a_kernel_could_not_read_is_refused() {
        let mut plan = Plan::default();
        plan.begin();
        assert!(plan.ids(&[0, 4], 4).is_err());
        assert!(plan.ids(&[], 0).is_ok());
        let torn = Touched { rows: vec![1], starts: vec![0, 2], places: vec![0], slots: vec![0], rest: vec![0] };
        assert!(plan.groups(&torn, 4, 1).is_err());
    }
}
