//! Rows that several threads write at once, each row by one thread.

use super::ahead::prefetch_at;
use std::marker::PhantomData;

/// A matrix `[rows, dim]` whose rows are handed out one by one.
pub struct Rows<'a, T = f32> {
    first: *mut T,
    rows: usize,
    dim: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: a row is handed out as if the matrix had been split into rows beforehand; see `Rows::row`.
unsafe impl<T: Send> Send for Rows<'_, T> {}
// SAFETY: as above; shared access alone reaches no element.
unsafe impl<T: Send> Sync for Rows<'_, T> {}

impl<'a, T> Rows<'a, T> {
    /// Rows of width `dim`.
    pub fn new(values: &'a mut [T], dim: usize) -> Self {
        Self { first: values.as_mut_ptr(), rows: values.len() / dim.max(1), dim, borrowed: PhantomData }
    }

    /// Rows of a matrix that nobody writes.
    ///
    /// # Safety
    /// [`Rows::row`] must not be called on it.
    pub unsafe fn read_only(values: &'a [T], dim: usize) -> Self {
        Self { first: values.as_ptr().cast_mut(), rows: values.len() / dim.max(1), dim, borrowed: PhantomData }
    }

    /// Row `row`.
    ///
    /// # Safety
    /// No other reference to the same row may live as long as this one.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn row(&self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: within the matrix, as checked; alone by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(row * self.dim), self.dim) }
    }

    /// `count` rows from `row` on, one after another.
    ///
    /// # Safety
    /// No other reference to one of them may live as long as this one.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn span(&self, row: usize, count: usize) -> &mut [T] {
        assert!(row + count <= self.rows, "rows {row} and {count} of {}", self.rows);
        // SAFETY: within the matrix, as checked; alone by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(row * self.dim), count * self.dim) }
    }

    /// Writes the element at `place`, counted over all rows.
    ///
    /// # Safety
    /// No reference to its row may live, and no other thread may be at this element.
    #[inline(always)]
    pub unsafe fn set(&self, place: usize, value: T) {
        assert!(place < self.rows * self.dim, "place {place} of {} rows of {}", self.rows, self.dim);
        // SAFETY: within the matrix, as checked; alone by the caller's promise.
        unsafe { self.first.add(place).write(value) };
    }

    /// Where row `row` begins, and its length.
    #[inline(always)]
    pub fn place(&self, row: usize) -> (*const T, usize) {
        (self.first.wrapping_add(row * self.dim).cast_const(), self.dim)
    }

    /// Row `row`, to be read.
    ///
    /// # Safety
    /// No mutable reference to the same row may live as long as this one.
    #[inline(always)]
    pub unsafe fn read(&self, row: usize) -> &[T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: within the matrix, as checked; not written by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.first.add(row * self.dim), self.dim) }
    }
}

impl Rows<'_> {
    /// Asks the cache for row `row`, which will be needed soon, by whomever.
    #[inline(always)]
    pub fn prefetch(&self, row: usize) {
        let (first, length) = self.place(row);
        prefetch_at(first, length);
    }
}
