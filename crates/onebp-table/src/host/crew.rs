//! Rows handed out to threads.

use super::simd::MOST_LANES;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::{cell::RefCell, ops::Range};

/// Elements of the rows that a thread takes at a time, at least: enough to be worth the handing over.
const GRAIN: usize = 8192;

/// Parts of the rows for each thread, so that all end at about the same time.
const PARTS: usize = 4;

/// Distinct rows of a batch, by their index in [`Touched`](crate::Touched), each to be worked on once.
pub trait RowWork: Sync {
    /// Works on the rows `range`. `scratch` is this thread's, as long as was asked for, of any contents.
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, scratch: &mut [f32]);
}

/// The threads that work on rows. What they write does not depend on how many they are.
#[derive(Clone, Copy, Debug)]
pub struct Crew {
    arch: Arch,
    /// At most; all of the pool where it has no more.
    threads: usize,
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Crew {
    /// All threads of the pool, with the best instruction set of the CPU.
    pub fn all() -> Self {
        Self { arch: Arch::new(), threads: usize::MAX }
    }

    /// So many of them at most.
    pub fn at_most(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Runs `work` on `count` rows of width `dim`, `weight` rows' worth of work each. Its scratch is as many rows long as a vector has
    /// lanes at most.
    pub fn for_rows(self, count: usize, dim: usize, weight: usize, work: &impl RowWork) {
        let pool = rayon::current_num_threads();
        // A part for each thread that may take one keeps the others out.
        let parts = if self.threads < pool { self.threads } else { PARTS * pool };
        let grain = (GRAIN / (dim * weight).max(1)).max(count.div_ceil(parts.max(1)));
        self.for_chunks((count, grain.next_multiple_of(MOST_LANES)), MOST_LANES * dim, work);
    }

    /// Runs `work` on `count` rows, `grain` of them at a time, with `length` floats of scratch.
    pub fn for_chunks(self, (count, grain): (usize, usize), length: usize, work: &impl RowWork) {
        let chunks = 0..count.div_ceil(grain);
        let rows = |chunk: usize| chunk * grain..count.min((chunk + 1) * grain);
        if self.threads == 1 {
            chunks.for_each(|chunk| self.run(rows(chunk), length, work));
        } else {
            chunks.into_par_iter().for_each(|chunk| self.run(rows(chunk), length, work));
        }
    }

    /// Runs `work` on `rows`, on this thread.
    #[inline(never)]
    fn run(self, rows: Range<usize>, length: usize, work: &impl RowWork) {
        struct Run<'a, W>(&'a W, Range<usize>, &'a mut [f32]);
        impl<W: RowWork> WithSimd for Run<'_, W> {
            type Output = ();
            // No closure in here: it would be compiled for the oldest CPU.
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                self.0.run(simd, self.1, self.2);
            }
        }
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.len() < length {
                scratch.resize(length, 0.0);
            }
            self.arch.dispatch(Run(work, rows, &mut scratch[..length]));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Visits(Vec<AtomicU32>);

    impl RowWork for Visits {
        fn run<S: Simd>(&self, _: S, range: Range<usize>, scratch: &mut [f32]) {
            assert!(scratch.len() >= 2 * MOST_LANES);
            self.0[range].iter().for_each(|visits| _ = visits.fetch_add(1, Ordering::Relaxed));
        }
    }

    /// However many threads may take part, of a pool with fewer or more.
    #[test]
    fn every_row_once() {
        for (pool, threads, count) in
            [(1, 1, 5000), (3, 1, 5000), (3, 2, 5000), (2, usize::MAX, 5000), (4, 2, 3), (2, 1, 0)]
        {
            let visits = Visits((0..count).map(|_| AtomicU32::new(0)).collect());
            let pool = rayon::ThreadPoolBuilder::new().num_threads(pool).build().unwrap();
            pool.install(|| Crew::all().at_most(threads).for_rows(count, 2, 100, &visits));
            assert!(visits.0.iter().all(|visits| visits.load(Ordering::Relaxed) == 1), "{threads} threads");
        }
    }
}
