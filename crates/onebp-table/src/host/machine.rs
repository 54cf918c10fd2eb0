//! What the CPU can do at most: the yardsticks for the row engine.

use super::memory::on_huge_pages;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::{hint::black_box, time::Instant};

/// Upper bounds of this machine, measured with all threads of the current pool.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Bytes that can be read from memory in a second.
    pub read_bytes: f64,
    /// Bytes that can be read and written back in a second, both counted.
    pub update_bytes: f64,
    /// Floating-point operations in a second, a fused multiply-add counted as two.
    pub operations: f64,
    /// Pairs of a square root and a division in a second.
    pub roots_and_divisions: f64,
}

/// Floats of each thread's part of memory, 128 MiB: far beyond any cache.
const PART: usize = 32 << 20;

/// Floats of all parts, 2 GiB: many threads have smaller ones.
const PARTS: usize = 512 << 20;

/// Passes of the arithmetic loops.
const PASSES: usize = 1 << 20;

/// Chains of arithmetic that hide each other's latency.
const CHAINS: usize = 12;

const ROUNDS: usize = 5;

impl Machine {
    /// Measures, for about two seconds.
    pub fn measure() -> Self {
        let threads = rayon::current_num_threads();
        let arch = Arch::new();
        let part = PART.min(PARTS / threads);
        let mut memory = on_huge_pages(part * threads);
        memory.resize(part * threads, 1.0);
        let bytes = (size_of::<f32>() * memory.len()) as f64;
        let read_bytes = best(bytes, || {
            memory.par_chunks(part).for_each(|part| {
                black_box(arch.dispatch(Sum(part)));
            });
        });
        let update_bytes = best(2.0 * bytes, || {
            memory.par_chunks_mut(part).for_each(|part| arch.dispatch(Scale(part)));
        });
        let on_all = |work: &(dyn Fn() -> f32 + Sync)| {
            (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
                black_box(work());
            });
        };
        let lanes = arch.dispatch(Lanes) * (threads * PASSES * CHAINS) as f64;
        let operations = best(2.0 * lanes, || on_all(&|| arch.dispatch(Multiply)));
        let roots_and_divisions = best(lanes / 8.0, || on_all(&|| arch.dispatch(RootAndDivide)));
        Self { read_bytes, update_bytes, operations, roots_and_divisions }
    }
}

/// `amount` over the shortest of several runs of `work`: what disturbs a yardstick only makes it shorter.
fn best(amount: f64, mut work: impl FnMut()) -> f64 {
    work();
    let seconds = (0..ROUNDS).map(|_| {
        let clock = Instant::now();
        work();
        clock.elapsed().as_secs_f64()
    });
    amount / seconds.fold(f64::INFINITY, f64::min)
}

struct Lanes;
impl WithSimd for Lanes {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        (size_of::<S::f32s>() / size_of::<f32>()) as f64
    }
}

struct Sum<'a>(&'a [f32]);
impl WithSimd for Sum<'_> {
    type Output = f32;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let mut sums = [simd.splat_f32s(0.0); 8];
        let (chunks, _) = S::as_simd_f32s(self.0).0.as_chunks::<8>();
        for chunk in chunks {
            for (sum, &x) in sums.iter_mut().zip(chunk) {
                *sum = simd.add_f32s(*sum, x);
            }
        }
        simd.reduce_sum_f32s(sums.into_iter().fold(simd.splat_f32s(0.0), |a, b| simd.add_f32s(a, b)))
    }
}

struct Scale<'a>(&'a mut [f32]);
impl WithSimd for Scale<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let factor = simd.splat_f32s(0.999_999);
        for x in S::as_mut_simd_f32s(self.0).0 {
            *x = simd.mul_f32s(*x, factor);
        }
    }
}

struct Multiply;
impl WithSimd for Multiply {
    type Output = f32;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (a, b) = (simd.splat_f32s(black_box(0.999_9)), simd.splat_f32s(black_box(1e-3)));
        let mut chains = [b; CHAINS];
        for _ in 0..PASSES {
            for chain in &mut chains {
                *chain = simd.mul_add_f32s(*chain, a, b);
            }
        }
        simd.reduce_sum_f32s(chains.into_iter().fold(a, |a, b| simd.add_f32s(a, b)))
    }
}

struct RootAndDivide;
impl WithSimd for RootAndDivide {
    type Output = f32;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let a = simd.splat_f32s(black_box(1.5));
        let mut chains = [a; CHAINS];
        for _ in 0..PASSES / 8 {
            for chain in &mut chains {
                *chain = simd.div_f32s(a, simd.sqrt_f32s(*chain));
            }
        }
        simd.reduce_sum_f32s(chains.into_iter().fold(a, |a, b| simd.add_f32s(a, b)))
    }
}

/// The most memory that this process has held, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    #[cfg(unix)]
    {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the call fills the structure, whole, where it returns 0.
        let usage = unsafe {
            if libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) != 0 {
                return None;
            }
            usage.assume_init()
        };
        // Kibibytes, but for macOS.
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        Some(usage.ru_maxrss as u64 * unit)
    }
    #[cfg(not(unix))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yardsticks_are_plausible() {
        let Machine { read_bytes, update_bytes, operations, roots_and_divisions } = Machine::measure();
        assert!(read_bytes > 1e8 && update_bytes > 1e8 && read_bytes < 1e14, "{read_bytes} {update_bytes}");
        assert!(operations > roots_and_divisions && roots_and_divisions > 1e6, "{operations} {roots_and_divisions}");
        assert!(peak_memory().is_none_or(|bytes| bytes > (PART * size_of::<f32>()) as u64));
    }
}
