//! The sparse product on the CPU: rows of the matrix on all threads, columns of the tensor in SIMD registers.
//!
//! A product reads a row of x for every entry of the matrix, in no order that hardware guesses, and hardly computes: what
//! counts is where those rows come from.
//!
//! - **Columns in blocks.** Where x does not fit the last cache but 64 columns of it do, the product is done for 64 columns
//!   after another, so that x comes from memory once and then from the cache. The block is copied side by side first: rows that
//!   begin a power of two apart would share few sets of the cache.
//! - **Rows asked for ahead**, over the ends of the matrix's rows.
//! - **Tasks in order.** All threads take the next few rows of the matrix, so that they read the same part of x: of a
//!   bipartite graph, users read items only and items users.
//! - **Sums in registers**, written once. An element is the sum over its row's entries in their order, whatever the width
//!   of vectors and the number of threads; long rows are cut into pieces that are added up in their order.

use super::{
    ahead::prefetch_near,
    lent::{Lent, Packed, Spares, Strided, pack},
    memory::on_huge_pages,
    shared::Rows,
};
use crate::{
    Error, Sparse, SparseProduct,
    sparse::{Cut, Span},
};
use burn::tensor::{Device, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Entries of a row that one thread adds up in one go.
const LONGEST: u32 = 4096;

/// What a thread takes at a time, in entries; a row counts for a few.
const TASK: u32 = 4096;
const ROW: u32 = 4;

/// Columns of a block, where there are blocks.
const BLOCK: usize = 64;

/// Bytes of x that stay in the last cache, as good as it gets.
const CACHED: usize = 40 << 20;

/// Entries that a row of x is asked for ahead.
const AHEAD: usize = 16;

/// A sparse matrix for tensors of `burn-ndarray` or `burn-flex`.
pub struct HostSparse {
    shape: [usize; 2],
    indices: Vec<u32>,
    values: Vec<f32>,
    short: Stage,
    pieces: Stage,
    joined: Stage,
    /// Indices and values of `joined`.
    numbers: (Vec<u32>, Vec<f32>),
    packed: Mutex<Packed>,
    spares: Spares,
    arch: Arch,
    device: Device,
}

/// Rows to be added up, and where the tasks among them begin and end.
struct Stage {
    spans: Vec<Span>,
    tasks: Vec<u32>,
}

impl Stage {
    fn new(spans: Vec<Span>) -> Self {
        let (mut tasks, mut work) = (vec![0], 0);
        for (at, span) in spans.iter().enumerate() {
            work += span.end - span.start + ROW;
            if work >= TASK || at + 1 == spans.len() {
                tasks.push(at as u32 + 1);
                work = 0;
            }
        }
        Self { spans, tasks }
    }

    fn task(&self, task: usize) -> &[Span] {
        &self.spans[self.tasks[task] as usize..self.tasks[task + 1] as usize]
    }
}

/// One block of columns of a product: `out` row of a span = scale * (sum of the span's entries + added row).
struct Product<'a> {
    indices: &'a [u32],
    values: &'a [f32],
    /// x, and the column of x that is the block's first.
    x: (Strided<'a>, usize),
    added: Option<Strided<'a>>,
    scale: f32,
    out: &'a Rows<'a>,
    columns: Range<usize>,
}

impl Product<'_> {
    /// Does this block of all spans of `stage`, on all threads of the pool, in the order of the tasks.
    fn run(&self, arch: Arch, stage: &Stage) {
        let (next, count) = (AtomicUsize::new(0), stage.tasks.len() - 1);
        let threads = rayon::current_num_threads().min(count);
        (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
            loop {
                let task = next.fetch_add(1, Relaxed);
                if task >= count {
                    break;
                }
                arch.dispatch(Task(self, stage.task(task)));
            }
        });
    }

    /// As many vectors as fill registers, then fewer, then the elements that fill none.
    #[inline(always)]
    fn spans<S: Simd>(&self, simd: S, spans: &[Span]) {
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        let (mut at, end) = (self.columns.start, self.columns.end);
        while at + 8 * lanes <= end {
            self.vectors::<S, 8>(simd, spans, at);
            at += 8 * lanes;
        }
        if at + 4 * lanes <= end {
            self.vectors::<S, 4>(simd, spans, at);
            at += 4 * lanes;
        }
        if at + 2 * lanes <= end {
            self.vectors::<S, 2>(simd, spans, at);
            at += 2 * lanes;
        }
        if at + lanes <= end {
            self.vectors::<S, 1>(simd, spans, at);
            at += lanes;
        }
        if at < end {
            self.rest(simd, spans, at);
        }
    }

    /// Asks for the row of x that is needed `AHEAD` entries after entry `k`.
    #[inline(always)]
    fn prefetch(&self, k: usize, first: usize, width: usize) {
        if let Some(&index) = self.indices.get(k + AHEAD) {
            prefetch_near(self.x.0.place(index as usize, first), width);
        }
    }

    /// `V` vectors of every row, from column `at` on.
    #[inline(always)]
    fn vectors<S: Simd, const V: usize>(&self, simd: S, spans: &[Span], at: usize) {
        let width = V * size_of::<S::f32s>() / size_of::<f32>();
        let first = self.x.1 + at - self.columns.start;
        let scale = simd.splat_f32s(self.scale);
        for span in spans {
            let mut sums = [simd.splat_f32s(0.0); V];
            let range = span.start as usize..span.end as usize;
            for (k, (&index, &value)) in range.clone().zip(self.indices[range.clone()].iter().zip(&self.values[range]))
            {
                self.prefetch(k, first, width);
                let (row, _) = S::as_simd_f32s(self.x.0.row(index as usize, first, width));
                if let Some(row) = row.first_chunk::<V>() {
                    let value = simd.splat_f32s(value);
                    for v in 0..V {
                        sums[v] = simd.mul_add_f32s(value, row[v], sums[v]);
                    }
                }
            }
            if let Some(added) = &self.added {
                let (row, _) = S::as_simd_f32s(added.row(span.row as usize, at, width));
                for (sum, &added) in sums.iter_mut().zip(row) {
                    *sum = simd.add_f32s(*sum, added);
                }
            }
            // SAFETY: every row belongs to one span.
            let out = unsafe { self.out.row(span.row as usize) };
            let (out, _) = S::as_mut_simd_f32s(&mut out[at..at + width]);
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = simd.mul_f32s(scale, sum);
            }
        }
    }

    /// Less than a vector of every row, from column `at` on.
    #[inline(always)]
    fn rest<S: Simd>(&self, simd: S, spans: &[Span], at: usize) {
        let width = self.columns.end - at;
        let first = self.x.1 + at - self.columns.start;
        for span in spans {
            let mut sum = simd.splat_f32s(0.0);
            let range = span.start as usize..span.end as usize;
            for (k, (&index, &value)) in range.clone().zip(self.indices[range.clone()].iter().zip(&self.values[range]))
            {
                self.prefetch(k, first, width);
                let row = simd.partial_load_f32s(self.x.0.row(index as usize, first, width));
                sum = simd.mul_add_f32s(simd.splat_f32s(value), row, sum);
            }
            if let Some(added) = &self.added {
                sum = simd.add_f32s(sum, simd.partial_load_f32s(added.row(span.row as usize, at, width)));
            }
            // SAFETY: every row belongs to one span.
            let out = unsafe { self.out.row(span.row as usize) };
            simd.partial_store_f32s(&mut out[at..at + width], simd.mul_f32s(simd.splat_f32s(self.scale), sum));
        }
    }
}

struct Task<'a>(&'a Product<'a>, &'a [Span]);
impl WithSimd for Task<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.spans(simd, self.1);
    }
}

impl SparseProduct for HostSparse {
    fn new(matrix: &Sparse, device: &Device) -> Result<Self, Error> {
        let device = device.clone().without_autodiff();
        // Any other device is refused by its memory.
        super::memory::Memory::zeros([1, 1], &device)?;
        let Cut { short, pieces, joined } = matrix.cut(LONGEST);
        Ok(Self {
            shape: [matrix.rows(), matrix.columns()],
            indices: matrix.indices().to_vec(),
            values: matrix.values().to_vec(),
            numbers: ((0..pieces.len() as u32).collect(), vec![1.0; pieces.len()]),
            short: Stage::new(short),
            pieces: Stage::new(pieces),
            joined: Stage::new(joined),
            packed: Mutex::default(),
            spares: Spares::default(),
            arch: Arch::new(),
            device,
        })
    }

    fn product(&self, x: &Tensor<2>, added: Option<&Tensor<2>>, scale: f32) -> Result<Tensor<2>, Error> {
        let dim = Sparse::check(self.shape, x, added)?;
        let [rows, columns] = self.shape;
        if rows == 0 || columns == 0 || dim == 0 {
            return Ok(Sparse::empty_product(x, added, scale, rows));
        }
        let x = Lent::new(x, &self.device)?;
        let added = added.map(|added| Lent::new(added, &self.device)).transpose()?;
        let (x, added) = (x.rows(), added.as_ref().map(Lent::rows));
        let mut memory = self.spares.take([rows, dim], &self.device)?;
        let out = Rows::new(memory.as_mut_slice(), dim);

        let row = size_of::<f32>() * columns;
        let block = if row * dim <= CACHED || row * BLOCK > CACHED { dim } else { BLOCK };
        // Where another product is using the room for packed columns, x is read where it is.
        let mut packed = self.packed.try_lock().ok().filter(|_| block < dim);
        let mut partial = on_huge_pages(self.pieces.spans.len() * dim);
        partial.resize(self.pieces.spans.len() * dim, 0.0);
        for start in (0..dim).step_by(block) {
            let columns = start..dim.min(start + block);
            let x = match &mut packed {
                Some(packed) => (pack(x, start, columns.len(), packed), 0),
                None => (x, start),
            };
            let (indices, values) = (self.indices.as_slice(), self.values.as_slice());
            let product = Product { indices, values, x, added, scale, out: &out, columns: columns.clone() };
            product.run(self.arch, &self.short);
            if self.joined.spans.is_empty() {
                continue;
            }
            let parts = Rows::new(&mut partial, dim);
            Product { added: None, scale: 1.0, out: &parts, columns: columns.clone(), ..product }
                .run(self.arch, &self.pieces);
            let x = (Strided { values: &partial, stride: dim }, start);
            let (indices, values) = (self.numbers.0.as_slice(), self.numbers.1.as_slice());
            Product { indices, values, x, added, scale, out: &out, columns }.run(self.arch, &self.joined);
        }
        Ok(self.spares.lend([rows, dim], memory))
    }
}
