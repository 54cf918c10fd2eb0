//! The sparse product on a device.
//!
//! The matrix stays on the device, its rows longest first, so that units beside each other are done at about the same time;
//! long rows are cut into pieces that are added up in their order. No atomics: the same bytes every time.

use super::{
    gpu::{Buffer, Gpu, Limits, Traffic, VECTOR},
    kernels::sparse::product,
};
use crate::{
    Error, Sparse, SparseProduct,
    sparse::{Cut, Span},
};
use burn::tensor::{Device, Tensor};

/// Entries that one unit adds up in one go.
const LONGEST: u32 = 512;

/// Bytes of x that are read at a time, where it is larger: what caches of large GPUs hold.
const CACHED: usize = 24 << 20;

/// Columns of a block, at least: shorter runs use memory badly.
const NARROWEST: usize = 32;

/// A sparse matrix on a CubeCL device.
pub struct CubeSparse {
    gpu: Gpu,
    shape: [usize; 2],
    indices: Buffer,
    values: Buffer,
    short: Stage,
    pieces: Stage,
    joined: Stage,
    /// Indices and values of `joined`.
    numbers: (Buffer, Buffer),
}

/// Spans on the device.
struct Stage {
    spans: Buffer,
    count: usize,
}

impl Stage {
    fn new(gpu: &Gpu, mut spans: Vec<Span>, traffic: &mut Traffic) -> Result<Self, Error> {
        spans.sort_by_key(|span| std::cmp::Reverse(span.end - span.start));
        let words = spans.iter().flat_map(|span| [span.row, span.start, span.end]).collect();
        Ok(Self { spans: gpu.upload::<u32>(words, traffic)?, count: spans.len() })
    }
}

/// A product's operands on the device: d, what is added, and a factor.
struct Operands<'a> {
    dim: usize,
    added: Option<&'a Buffer>,
    scale: f32,
}

impl CubeSparse {
    /// As [`SparseProduct::new`], on a device that is treated as if it could less.
    ///
    /// # Errors
    /// As [`SparseProduct::new`].
    pub fn with_limits(matrix: &Sparse, device: &Device, limits: Limits) -> Result<Self, Error> {
        let gpu = Gpu::new(device, limits)?;
        let mut traffic = Traffic::default();
        let Cut { short, pieces, joined } = matrix.cut(LONGEST);
        let numbers: Vec<u32> = (0..pieces.len() as u32).collect();
        let ones = vec![1.0f32; pieces.len()];
        Ok(Self {
            shape: [matrix.rows(), matrix.columns()],
            indices: gpu.upload(matrix.indices().to_vec(), &mut traffic)?,
            values: gpu.upload(matrix.values().to_vec(), &mut traffic)?,
            short: Stage::new(&gpu, short, &mut traffic)?,
            pieces: Stage::new(&gpu, pieces, &mut traffic)?,
            joined: Stage::new(&gpu, joined, &mut traffic)?,
            numbers: (gpu.upload(numbers, &mut traffic)?, gpu.upload(ones, &mut traffic)?),
            gpu,
        })
    }

    /// The elements of a tensor, if a kernel can see them all.
    fn buffer(&self, tensor: &Tensor<2>) -> Result<Buffer, Error> {
        let [rows, dim] = tensor.dims();
        self.fits([rows, dim])?;
        self.gpu.buffer(tensor.clone())
    }

    /// Whether a kernel can see a tensor of this shape.
    fn fits(&self, [rows, dim]: [usize; 2]) -> Result<(), Error> {
        let (bytes, limit) = (size_of::<f32>() * rows * dim, self.gpu.limit());
        if bytes <= limit {
            return Ok(());
        }
        let most = limit / (size_of::<f32>() * rows);
        Err(Error::Device(format!(
            "a tensor [{rows}, {dim}] has {bytes} bytes, the device shows a kernel {limit}: at most {most} columns at a time"
        )))
    }

    /// One kernel: the spans of `stage` over the rows of `x`.
    fn launch(
        &self,
        stage: &Stage,
        entries: (&Buffer, &Buffer),
        (x, height): (&Buffer, usize),
        out: &Buffer,
        operands: &Operands,
    ) {
        let Operands { dim, added, scale } = *operands;
        if stage.count == 0 {
            return;
        }
        let vector = self.gpu.vector([dim]);
        let fitting = CACHED / (size_of::<f32>() * height.max(1)) / VECTOR * VECTOR;
        let columns = if fitting >= NARROWEST { fitting.min(dim) } else { dim };
        let (width, block) = (dim / vector, columns.div_ceil(vector));
        let (cubes, units) = self.gpu.flat(stage.count * block * width.div_ceil(block));
        // SAFETY: spans lie within the entries, rows and indices within the shapes that were checked; units beyond the last
        // block do nothing.
        unsafe {
            product::launch_unchecked(
                &self.gpu.client,
                cubes,
                units,
                vector,
                stage.spans.arg(1),
                entries.0.arg(1),
                entries.1.arg(1),
                x.arg(vector),
                added.unwrap_or(x).arg(vector),
                out.arg(vector),
                stage.count as u32,
                width as u32,
                block as u32,
                scale,
                added.is_some(),
            );
        }
    }
}

impl SparseProduct for CubeSparse {
    fn new(matrix: &Sparse, device: &Device) -> Result<Self, Error> {
        Self::with_limits(matrix, device, Limits::default())
    }

    fn product(&self, x: &Tensor<2>, added: Option<&Tensor<2>>, scale: f32) -> Result<Tensor<2>, Error> {
        let dim = Sparse::check(self.shape, x, added)?;
        let [rows, columns] = self.shape;
        if rows == 0 || columns == 0 || dim == 0 {
            return Ok(Sparse::empty_product(x, added, scale, rows));
        }
        self.fits([rows, dim])?;
        let height = columns;
        let x = self.buffer(x)?;
        let added = added.map(|added| self.buffer(added)).transpose()?;
        let out = self.gpu.temporary(rows * dim)?;
        let entries = (&self.indices, &self.values);
        let last = Operands { dim, added: added.as_ref(), scale };
        self.launch(&self.short, entries, (&x, height), &out, &last);
        let pieces = self.pieces.count;
        if pieces > 0 {
            let partial = self.gpu.temporary(pieces * dim)?;
            let first = Operands { dim, added: None, scale: 1.0 };
            self.launch(&self.pieces, entries, (&x, height), &partial, &first);
            let numbers = (&self.numbers.0, &self.numbers.1);
            self.launch(&self.joined, numbers, (&partial, pieces), &out, &last);
        }
        Ok(self.gpu.tensor(out, [rows, dim]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cube::testing::device;

    #[test]
    fn tensors_beyond_the_device_are_refused_in_words() {
        let Some(device) = device() else { return };
        let product =
            CubeSparse::new(&Sparse::new([2, 3], vec![0, 1, 1], vec![2], vec![0.5]).unwrap(), &device).unwrap();
        let most = product.gpu.limit() / size_of::<f32>();
        assert_eq!(product.fits([most, 1]), Ok(()));
        let error = product.fits([most / 2, 3]).unwrap_err().to_string();
        assert!(error.contains("at most 2 columns"), "{error}");
    }
}
