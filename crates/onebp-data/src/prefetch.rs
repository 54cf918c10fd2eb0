//! A hint to the cache: what will be read soon.

/// Asks the cache for the first lines of `values`. Hints change no result; where there are none, nothing happens.
#[inline]
pub fn prefetch<T>(values: &[T]) {
    const LINE: usize = 64;
    const LINES: usize = 8;
    #[cfg(target_arch = "x86_64")]
    for value in values.iter().step_by((LINE / size_of::<T>().max(1)).max(1)).take(LINES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, LINE, LINES);
}
