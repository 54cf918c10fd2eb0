//! The fused step of OneBP written out by hand for one shape: what a program that can do nothing else would take.
//!
//! AVX-512, a width that the compiler knows, nothing checked, every row addressed by a pointer, threads that spin while they wait.
//! It has no silent steps, keeps no losses, and takes a polynomial for exp. So it is no trainer, but `step/*/bare` beside
//! `step/*/adam` says how much there is left to gain.

use onebp_table::Batch;
use std::{
    arch::x86_64::*,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// Floats of a vector.
const LANES: usize = 16;

/// A vector's worth of floats, at a cache line.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[expect(dead_code, reason = "read through pointers")] [f32; LANES]);

/// The tables, `D` floats to a row, a multiple of 32 and 128 at most, and the factors of a batch.
pub struct Bare<const D: usize> {
    users: Vec<Line>,
    items: Vec<Line>,
    moments: [Vec<Line>; 2],
    factors: Vec<f32>,
}

/// What threads share of it.
#[derive(Clone, Copy)]
struct Shared {
    users: *mut f32,
    items: *mut f32,
    moments: [*mut f32; 2],
    factors: *mut f32,
}

// SAFETY: threads keep to rows of their own between two meetings.
unsafe impl Send for Shared {}

/// Threads that wait for each other.
struct Meeting {
    threads: usize,
    come: AtomicUsize,
}

impl Meeting {
    fn wait(&self) {
        let turn = self.come.fetch_add(1, Ordering::AcqRel) / self.threads;
        while self.come.load(Ordering::Acquire) < (turn + 1) * self.threads {
            std::hint::spin_loop();
        }
    }
}

impl<const D: usize> Bare<D> {
    /// Tables of so many users and items; nothing where the CPU lacks AVX-512.
    pub fn new((users, items): (usize, usize)) -> Option<Self> {
        let [f, dq] = [is_x86_feature_detected!("avx512f"), is_x86_feature_detected!("avx512dq")];
        if !(f && dq && is_x86_feature_detected!("fma")) {
            return None;
        }
        let table = |rows: usize, scale: f32| {
            let value = |at: usize| scale * ((at % 17) as f32 - 8.0);
            (0..rows * D / LANES).map(|line| Line(std::array::from_fn(|lane| value(line * LANES + lane)))).collect()
        };
        let moments = [table(items, 0.0), vec![Line([1e-4; LANES]); items * D / LANES]];
        Some(Self { users: table(users, 0.01), items: table(items, 0.02), moments, factors: Vec::new() })
    }

    /// How long `count` steps over `batches`, in turn, take on `threads` threads.
    pub fn time(&mut self, batches: &[Batch], count: u64, threads: usize) -> Duration {
        self.factors.resize(batches.iter().map(|batch| batch.items.len()).max().unwrap_or(0), 0.0);
        let [m, v] = &mut self.moments;
        let shared = Shared {
            users: self.users.as_mut_ptr().cast(),
            items: self.items.as_mut_ptr().cast(),
            moments: [m.as_mut_ptr().cast(), v.as_mut_ptr().cast()],
            factors: self.factors.as_mut_ptr(),
        };
        let meeting = &Meeting { threads, come: AtomicUsize::new(0) };
        // SAFETY: `new` has seen to AVX-512.
        let work = move |thread| unsafe { run::<D>(shared, batches, count, (thread, threads), meeting) };
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 1..threads {
                scope.spawn(move || work(thread));
            }
            work(0);
        });
        start.elapsed()
    }
}

/// The steps of one thread.
#[target_feature(enable = "avx512f,avx512dq,fma")]
unsafe fn run<const D: usize>(
    shared: Shared,
    batches: &[Batch],
    count: u64,
    (thread, threads): (usize, usize),
    meeting: &Meeting,
) {
    let part = |all: usize| thread * all / threads..(thread + 1) * all / threads;
    for batch in batches.iter().cycle().take(count as usize) {
        let (rows, users, items) =
            (part(batch.len()), part(batch.touched_users.len()), part(batch.touched_items.len()));
        // SAFETY: rows of a part are this thread's until the others are met.
        unsafe {
            scores::<D>(shared, batch, items.clone());
            meeting.wait();
            soften(shared, batch, rows);
            meeting.wait();
            adam::<D>(shared, batch, items);
            meeting.wait();
            follow::<D>(shared, batch, users);
            meeting.wait();
        }
    }
}

/// Item by item, the product with the user at each place.
#[target_feature(enable = "avx512f,avx512dq,fma")]
unsafe fn scores<const D: usize>(shared: Shared, batch: &Batch, part: Range<usize>) {
    let (touched, width) = (&batch.touched_items, batch.width());
    for q in part {
        unsafe {
            let item = shared.items.add(touched.rows[q] as usize * D);
            for &place in touched.places(q) {
                let user = shared.users.add(*batch.users.get_unchecked(place as usize / width) as usize * D);
                let mut sums = [_mm512_setzero_ps(); 2];
                for at in (0..D).step_by(2 * LANES) {
                    for (k, sum) in sums.iter_mut().enumerate() {
                        let (x, y) = (user.add(at + k * LANES), item.add(at + k * LANES));
                        *sum = _mm512_fmadd_ps(_mm512_load_ps(x), _mm512_load_ps(y), *sum);
                    }
                }
                *shared.factors.add(place as usize) = _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
            }
        }
    }
}

/// Row by row, the slopes of InfoNCE, with (1 + x / 8)^8 for exp.
#[target_feature(enable = "avx512f,avx512dq,fma")]
unsafe fn soften(shared: Shared, batch: &Batch, part: Range<usize>) {
    let width = batch.width();
    for row in part {
        let row = unsafe { std::slice::from_raw_parts_mut(shared.factors.add(row * width), width) };
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut total = 0.0;
        for score in &mut *row {
            let root = 1.0 + (*score - highest) / 8.0;
            *score = root * root * root * root * root * root * root * root;
            total += *score;
        }
        row.iter_mut().for_each(|score| *score /= total * batch.users.len() as f32);
        row[0] -= 1.0 / batch.users.len() as f32;
    }
}

/// Item by item, the sum of the gradients of its places and a step of Adam.
#[target_feature(enable = "avx512f,avx512dq,fma")]
unsafe fn adam<const D: usize>(shared: Shared, batch: &Batch, part: Range<usize>) {
    const MOST: usize = 8;
    let (touched, width, end) = (&batch.touched_items, batch.width(), part.end);
    let user =
        |place: u32| unsafe { shared.users.add(*batch.users.get_unchecked(place as usize / width) as usize * D) };
    for q in part {
        let row = touched.rows[q] as usize * D;
        unsafe {
            if q + 1 < end {
                for &place in touched.places(q + 1) {
                    for at in (0..D).step_by(LANES) {
                        _mm_prefetch::<_MM_HINT_T0>(user(place).add(at).cast());
                    }
                }
            }
            let mut sums = [_mm512_setzero_ps(); MOST];
            for &place in touched.places(q) {
                let factor = _mm512_set1_ps(*shared.factors.add(place as usize));
                for (k, sum) in sums[..D / LANES].iter_mut().enumerate() {
                    *sum = _mm512_fmadd_ps(factor, _mm512_load_ps(user(place).add(k * LANES)), *sum);
                }
            }
            for (k, &g) in sums[..D / LANES].iter().enumerate() {
                let [w, m, v] =
                    [shared.items, shared.moments[0], shared.moments[1]].map(|table| table.add(row + k * LANES));
                let g = _mm512_fmadd_ps(_mm512_set1_ps(1e-6), _mm512_load_ps(w), g);
                let first = _mm512_mul_ps(_mm512_set1_ps(0.9), _mm512_load_ps(m));
                let first = _mm512_fmadd_ps(_mm512_set1_ps(0.1), g, first);
                let second = _mm512_mul_ps(_mm512_set1_ps(1e-3), _mm512_mul_ps(g, g));
                let second = _mm512_fmadd_ps(_mm512_set1_ps(0.999), _mm512_load_ps(v), second);
                let below = _mm512_fmadd_ps(_mm512_sqrt_ps(second), _mm512_set1_ps(1.01), _mm512_set1_ps(1e-8));
                let moved = _mm512_fmadd_ps(_mm512_set1_ps(-1e-3), _mm512_div_ps(first, below), _mm512_load_ps(w));
                _mm512_store_ps(w, moved);
                _mm512_store_ps(m, first);
                _mm512_store_ps(v, second);
            }
        }
    }
}

/// User by user, towards the items it chose.
#[target_feature(enable = "avx512f,avx512dq,fma")]
unsafe fn follow<const D: usize>(shared: Shared, batch: &Batch, part: Range<usize>) {
    let touched = &batch.touched_users;
    for q in part {
        for &row in touched.places(q) {
            unsafe {
                let user = shared.users.add(touched.rows[q] as usize * D);
                let item = shared.items.add(batch.positives[row as usize] as usize * D);
                for at in (0..D).step_by(LANES) {
                    let kept = _mm512_mul_ps(_mm512_set1_ps(0.99), _mm512_load_ps(user.add(at)));
                    let moved = _mm512_fmadd_ps(_mm512_set1_ps(0.01), _mm512_load_ps(item.add(at)), kept);
                    _mm512_store_ps(user.add(at), moved);
                }
            }
        }
    }
}
