//! The memory of a table on a device: its columns in one buffer or several, and the matrices of its optimizer likewise.

use super::{
    columns::{Overlap, overlaps, split},
    gpu::{Buffer, Gpu, Traffic},
    kernels::{
        WindowLaunch,
        rows::{publish, read},
    },
    plan::Plan,
    projection::{Whole, launch_hold, together},
};
use crate::{Error, Projection, Table};
use std::ops::Range;

/// Bytes that are uploaded or read back at a time.
const BLOCK: usize = 16 << 20;

/// A matrix `[rows, dim]` in parts of some columns each, in ascending order.
#[derive(Clone)]
pub struct Parts {
    pub columns: Vec<Range<usize>>,
    pub buffers: Vec<Buffer>,
}

/// What a kernel sees of a matrix, and of another one, in one window of columns.
pub struct Seen<'a> {
    pub columns: Range<usize>,
    /// Which part of the matrix.
    pub part: usize,
    /// The other matrix, in this window.
    pub other: &'a Buffer,
    /// Floats in a vector.
    pub vector: usize,
    pub stride: usize,
    pub offset: usize,
    pub other_stride: usize,
    pub other_offset: usize,
    /// Whether this is the first window of the matrix, and the last one.
    pub first: bool,
    pub last: bool,
}

impl Seen<'_> {
    /// As an argument of a kernel.
    pub fn window(&self) -> WindowLaunch {
        let vectors = |columns: usize| (columns / self.vector) as u32;
        WindowLaunch::new(
            vectors(self.columns.len()),
            vectors(self.stride),
            vectors(self.offset),
            vectors(self.other_stride),
            vectors(self.other_offset),
        )
    }

    /// Vectors of a row in this window.
    pub fn width(&self) -> usize {
        self.columns.len() / self.vector
    }
}

impl Parts {
    /// One matrix in one buffer.
    pub fn whole(buffer: Buffer, dim: usize) -> Self {
        Self { columns: std::iter::once(0..dim).collect(), buffers: vec![buffer] }
    }

    /// Room for a matrix of this shape, of any contents.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is too small.
    pub fn room(gpu: &Gpu, [rows, dim]: [usize; 2]) -> Result<Self, Error> {
        let columns = split([rows, dim], gpu.part())?;
        let buffers = columns.iter().map(|columns| gpu.room(rows * columns.len())).collect::<Result<_, _>>()?;
        Ok(Self { columns, buffers })
    }

    /// A matrix of this shape, all zero.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is too small.
    pub fn zeros(gpu: &Gpu, [rows, dim]: [usize; 2], traffic: &mut Traffic) -> Result<Self, Error> {
        let columns = split([rows, dim], gpu.part())?;
        let zeros = columns.iter().map(|columns| gpu.zeros(rows * columns.len(), traffic));
        let buffers = zeros.collect::<Result<_, _>>()?;
        Ok(Self { columns, buffers })
    }

    /// Overwrites everything with `table`, of the same shape.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    pub fn write(&self, gpu: &Gpu, table: &Table, traffic: &mut Traffic) -> Result<(), Error> {
        for (columns, buffer) in self.columns.iter().zip(&self.buffers) {
            let block = (BLOCK / (size_of::<f32>() * columns.len())).max(1);
            for (number, rows) in table.values.chunks(block * table.dim).enumerate() {
                let mut values = Vec::with_capacity(rows.len() / table.dim * columns.len());
                rows.chunks_exact(table.dim).for_each(|row| values.extend_from_slice(&row[columns.clone()]));
                gpu.write(buffer, number * block * columns.len(), values, traffic)?;
            }
        }
        Ok(())
    }

    /// The windows of this matrix and another one of the same width, in ascending order.
    pub fn windows<'a>(&'a self, gpu: &'a Gpu, other: &'a Parts) -> impl Iterator<Item = Seen<'a>> + 'a {
        let dim = self.columns.last().map_or(0, |columns| columns.end);
        overlaps(&self.columns, &other.columns).map(move |Overlap { columns, one, other: two }| {
            let (mine, theirs) = (&self.columns[one], &other.columns[two]);
            let (stride, other_stride) = (mine.len(), theirs.len());
            let (offset, other_offset) = (columns.start - mine.start, columns.start - theirs.start);
            let vector = gpu.vector([stride, other_stride, offset, other_offset, columns.len()]);
            let (first, last) = (columns.start == 0, columns.end == dim);
            let other = &other.buffers[two];
            Seen { columns, part: one, other, vector, stride, offset, other_stride, other_offset, first, last }
        })
    }
}

/// Rows that are read as they are at the last step: the moments, the corrections, weight decay and the projection.
pub struct Moments<'a> {
    pub first: &'a Parts,
    pub second: &'a Parts,
    pub corrections: &'a Buffer,
    pub decay: f32,
    pub projection: Option<Projection>,
}

/// Where rows that are read go.
pub struct Target<'a> {
    pub buffer: &'a Buffer,
    /// Distance of rows, in floats.
    pub row_step: usize,
    /// Distance of columns, in floats: 1, or rows become columns.
    pub column_step: usize,
}

/// Copies `count` rows of `parts` by the head at `head` of `plan`, caught up where there are moments, over at most as many
/// silent steps as stand beside them.
///
/// # Errors
/// [`Error::Device`] where the device has no room.
pub fn launch_read(
    gpu: &Gpu,
    parts: &Parts,
    rows: (&Buffer, u32, usize),
    late: Option<(&Moments, u32)>,
    target: &Target,
    traffic: &mut Traffic,
) -> Result<(), Error> {
    let Some((moments, longest, projection)) =
        late.and_then(|(moments, longest)| Some((moments, longest, moments.projection.as_ref()?)))
    else {
        copy(gpu, parts, rows, (late.map(|(moments, _)| moments), false), target, traffic);
        return Ok(());
    };
    let dim = parts.columns.last().map_or(0, |columns| columns.end);
    let mut copies = |parts| together(gpu, parts, dim, rows, traffic);
    let (weights, first, second) = (copies(parts)?, copies(moments.first)?, copies(moments.second)?);
    let whole = Whole { weights: &weights, late: Some((&first, &second, moments, longest)), dim, placed: true };
    launch_hold(gpu, projection, &whole, rows, traffic);
    copy(gpu, &Parts::whole(weights, dim), rows, (None, true), target, traffic);
    Ok(())
}

/// [`launch_read`] of rows that are not projected; with `placed`, of rows in the order of the plan.
fn copy(
    gpu: &Gpu,
    parts: &Parts,
    (plan, head, count): (&Buffer, u32, usize),
    (late, placed): (Option<&Moments>, bool),
    target: &Target,
    traffic: &mut Traffic,
) {
    for (part, (columns, weights)) in parts.columns.iter().zip(&parts.buffers).enumerate() {
        let vector = match target.column_step {
            1 => gpu.vector([columns.len(), columns.start, target.row_step]),
            _ => 1,
        };
        let vectors = |columns: usize| (columns / vector) as u32;
        let width = vectors(columns.len());
        let window = WindowLaunch::new(width, width, 0, 0, vectors(columns.start));
        let (cubes, dim) = gpu.flat(count * width as usize);
        let [first, second, corrections] = match late {
            Some(late) => [&late.first.buffers[part], &late.second.buffers[part], late.corrections],
            None => [weights, weights, weights],
        };
        // SAFETY: the ids of the plan are below the number of rows (`Plan::ids`), windows lie within their matrices, and
        // the target has room for `count` rows.
        unsafe {
            read::launch_unchecked(
                &gpu.client,
                cubes,
                dim,
                vector,
                plan.arg(1),
                weights.arg(vector),
                first.arg(vector),
                second.arg(vector),
                corrections.arg(1),
                target.buffer.arg(vector),
                window,
                head,
                late.map_or(0.0, |late| late.decay),
                vectors(target.row_step),
                target.column_step as u32,
                late.is_some(),
                placed,
            );
        }
        let matrices = if late.is_some() { 4 } else { 2 };
        traffic.launches += 1;
        traffic.bytes_touched += (matrices * count * columns.len() * size_of::<f32>()) as u64;
    }
}

/// Copies the `count` rows of `staged` `[Q, d]` into `matrix`, by the head at `head` of `plan`.
pub fn launch_publish(
    gpu: &Gpu,
    matrix: &Parts,
    staged: &Parts,
    (plan, head, count): (&Buffer, u32, usize),
    traffic: &mut Traffic,
) {
    for seen in matrix.windows(gpu, staged) {
        let (cubes, dim) = gpu.flat(count * seen.width());
        // SAFETY: ids were checked when they were planned; `staged` holds `count` rows.
        unsafe {
            publish::launch_unchecked(
                &gpu.client,
                cubes,
                dim,
                seen.vector,
                plan.arg(1),
                seen.other.arg(seen.vector),
                matrix.buffers[seen.part].arg(seen.vector),
                seen.window(),
                head,
            );
        }
        traffic.launches += 1;
        traffic.bytes_touched += (2 * count * seen.columns.len() * size_of::<f32>()) as u64;
    }
}

/// Reads a whole matrix back, block by block. `late` says for a range of rows how they are caught up.
///
/// # Errors
/// [`Error::Execution`] where the device fails.
pub fn download<'a>(
    gpu: &Gpu,
    parts: &Parts,
    [rows, dim]: [usize; 2],
    mut late: impl FnMut(Range<usize>) -> Option<(super::clock::Ways, Moments<'a>)>,
) -> Result<Table, Error> {
    let mut table = Table { values: vec![0.0; rows * dim], rows, dim };
    let (mut plan, mut traffic) = (Plan::default(), Traffic::default());
    let most = BLOCK.min(gpu.limit()) / size_of::<f32>();
    let block = (most / dim.max(1)).clamp(1, rows.max(1));
    let out = gpu.room(block * dim)?;
    for start in (0..rows).step_by(block) {
        let range = start..rows.min(start + block);
        let count = range.len();
        let ids: Vec<u32> = range.clone().map(|row| row as u32).collect();
        let found = late(range.clone());
        plan.begin();
        let ids = plan.ids(&ids, rows)?;
        let (ways, way_of) = match &found {
            Some((ways, _)) => (plan.words(&ways.words), plan.words(&ways.of)),
            None => (0, 0),
        };
        let head = plan.head([count as u32, ids, ways, way_of]);
        let sent = plan.send(gpu, &mut traffic)?;
        let target = Target { buffer: &out, row_step: dim, column_step: 1 };
        let moments = found.as_ref().map(|(ways, moments)| (moments, ways.longest()));
        launch_read(gpu, parts, (&sent, head, count), moments, &target, &mut traffic)?;
        gpu.read(&out, 0, &mut table.values[range.start * dim..range.end * dim])?;
    }
    Ok(table)
}
