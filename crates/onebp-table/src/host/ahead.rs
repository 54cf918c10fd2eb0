//! Rows that are asked for before their turn: rows of a batch are anywhere in their table, which no hardware guesses.

use pulp::Simd;

/// Floats of a cache line.
const LINE: usize = 16;

/// Asks the second-level cache for a row that will be needed soon. The first level has few places for what is on its way, and what
/// is needed now would wait for them.
#[inline(always)]
pub fn prefetch(row: &[f32]) {
    prefetch_at(row.as_ptr(), row.len());
}

/// [`prefetch`] of `length` floats at `first`, which nobody needs to own; of 1024 at most.
#[inline(always)]
pub fn prefetch_at(first: *const f32, length: usize) {
    ask::<false>(first, length.min(1024));
}

/// Asks the first-level cache for `length` floats at `first`, of 128 at most, that the second level is likely to have.
#[inline(always)]
pub fn prefetch_near(first: *const f32, length: usize) {
    ask::<true>(first, length.min(128));
}

/// A part of a row that is asked for piece by piece, while vectors of other rows are worked on. Asked for at once, most of its
/// lines would have to wait for each other, and the work with them.
#[derive(Clone, Copy)]
pub struct Coming {
    /// Where it begins.
    pub first: *const f32,
    /// Floats of it for every vector of the other rows.
    pub pace: usize,
}

/// Several of them.
pub type Ahead<const P: usize> = [Coming; P];

impl Coming {
    /// The row that is `length` floats at `first`, while one as long is worked on.
    #[inline(always)]
    pub fn row<S: Simd>((first, _): (*const f32, usize)) -> Self {
        Self { first, pace: S::F32_LANES }
    }

    /// The first half of such a row.
    #[inline(always)]
    pub fn first_half<S: Simd>((first, _): (*const f32, usize)) -> Self {
        Self { first, pace: S::F32_LANES / 2 }
    }

    /// The second half of it.
    #[inline(always)]
    pub fn second_half<S: Simd>((first, length): (*const f32, usize)) -> Self {
        Self { first: first.wrapping_add(length / 2), pace: S::F32_LANES / 2 }
    }

    /// Asks the second-level cache for the piece that goes with vector `at` of the other rows.
    #[inline(always)]
    pub fn ask(&self, at: usize) {
        ask_line::<false>(self.first.wrapping_add(at * self.pace));
    }
}

/// Asks for `length` floats at `first`, into the first level or the second one.
#[inline(always)]
fn ask<const NEAREST: bool>(first: *const f32, length: usize) {
    for place in (0..length).step_by(LINE) {
        ask_line::<NEAREST>(first.wrapping_add(place));
    }
}

/// Asks for the line of `place`.
#[inline(always)]
fn ask_line<const NEAREST: bool>(place: *const f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        // SAFETY: a hint; any address is allowed.
        unsafe {
            if NEAREST {
                _mm_prefetch::<_MM_HINT_T0>(place.cast());
            } else {
                _mm_prefetch::<_MM_HINT_T1>(place.cast());
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
