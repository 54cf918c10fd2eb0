//! Tensors of the CPU backends, read in place.

#![allow(deprecated)]

use super::memory::{Memory, aligned};
use crate::Error;
use burn::{
    backend::{Flex, NdArray, flex::FlexTensor, ndarray::NdArrayTensor},
    tensor::{DType, Device, Tensor},
};
use rayon::prelude::*;
use std::sync::Mutex;

/// A matrix that somebody else owns, to be read. Its rows have their elements side by side: a tensor that does not, as a
/// transposed one, was copied; slices of rows or columns were not.
pub enum Lent {
    NdArray(NdArrayTensor),
    Flex(FlexTensor),
}

/// A matrix whose rows lie `stride` floats apart.
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    pub values: &'a [f32],
    pub stride: usize,
}

impl Strided<'_> {
    /// Columns `first .. first + width` of row `row`.
    #[inline(always)]
    pub fn row(&self, row: usize, first: usize, width: usize) -> &[f32] {
        &self.values[row * self.stride + first..][..width]
    }

    /// Where column `first` of row `row` would be.
    #[inline(always)]
    pub fn place(&self, row: usize, first: usize) -> *const f32 {
        self.values.as_ptr().wrapping_add(row * self.stride + first)
    }
}

/// Whether rows of this shape and these strides have their elements side by side and lie in ascending order.
fn is_by_rows([rows, dim]: [usize; 2], [row, column]: [isize; 2]) -> bool {
    (dim <= 1 || column == 1) && (rows <= 1 || row >= dim as isize)
}

/// Floats from the first element of a matrix to behind its last one.
fn reach([rows, dim]: [usize; 2], stride: usize) -> usize {
    if dim == 0 || rows == 0 { 0 } else { (rows - 1) * stride + dim }
}

impl Lent {
    /// `tensor`, which must be one of f32 on `device`, `ndarray` or `flex`, without autodiff.
    ///
    /// # Errors
    /// [`Error::Execution`] where it is not.
    pub fn new(tensor: &Tensor<2>, device: &Device) -> Result<Self, Error> {
        let (shape, found) = (tensor.dims(), tensor.device());
        if found != *device || tensor.dtype() != DType::F32 {
            let dtype = tensor.dtype();
            return Err(Error::Execution(format!("a tensor is {dtype:?} on {found:?}, the matrix is on {device:?}")));
        }
        let elsewhere = || Error::Execution(format!("a tensor on {found:?} is out of reach"));
        if *device == Device::flex() {
            let tensor = tensor.clone().try_into_primitive::<Flex>().map_err(|_| elsewhere())?;
            let strides = tensor.layout().strides();
            let by_rows = strides.len() == 2 && is_by_rows(shape, [strides[0], strides[1]]);
            return Ok(Self::Flex(if by_rows { tensor } else { tensor.to_contiguous() }));
        }
        let tensor = tensor.clone().try_into_primitive::<NdArray>().map_err(|_| elsewhere())?;
        let NdArrayTensor::F32(storage) = &tensor else { return Err(elsewhere()) };
        let view = storage.view();
        let strides = view.strides();
        if strides.len() == 2 && is_by_rows(shape, [strides[0], strides[1]]) {
            return Ok(Self::NdArray(tensor));
        }
        let copy = view.as_standard_layout().into_owned();
        Ok(Self::NdArray(NdArrayTensor::from(copy.into_shared())))
    }

    /// Its elements.
    pub fn rows(&self) -> Strided<'_> {
        match self {
            Self::NdArray(tensor) => {
                // No other one was taken.
                let NdArrayTensor::F32(storage) = tensor else { return Strided { values: &[], stride: 0 } };
                let view = storage.view();
                let (shape, stride) = ([view.shape()[0], view.shape()[1]], view.strides()[0]);
                let stride = if shape[0] > 1 { stride.unsigned_abs() } else { shape[1] };
                // SAFETY: the view reaches from its first element, which is its lowest (`is_by_rows`), to that of the last
                // row and column, and its memory lives as long as `self`.
                let values = unsafe { std::slice::from_raw_parts(view.as_ptr(), reach(shape, stride)) };
                Strided { values, stride }
            }
            Self::Flex(tensor) => {
                let layout = tensor.layout();
                let (shape, first) = ([layout.shape()[0], layout.shape()[1]], layout.start_offset());
                let stride = if shape[0] > 1 { layout.strides()[0].unsigned_abs() } else { shape[1] };
                Strided { values: &tensor.storage::<f32>()[first..first + reach(shape, stride)], stride }
            }
        }
    }
}

/// Room for some columns of a matrix side by side, and where they begin.
pub type Packed = (Vec<f32>, usize);

/// Copies columns `first .. first + width` of `x` into `packed`, side by side.
pub fn pack<'a>(x: Strided<'_>, first: usize, width: usize, packed: &'a mut Packed) -> Strided<'a> {
    const ROWS: usize = 512;
    let rows = if x.stride == 0 { 0 } else { x.values.len().div_ceil(x.stride) };
    if packed.0.len() - packed.1 < rows * width {
        *packed = aligned(rows * width, |_| ());
    }
    let packed = &mut packed.0[packed.1..][..rows * width];
    packed.par_chunks_mut(ROWS * width).enumerate().for_each(|(chunk, packed)| {
        for (row, packed) in packed.chunks_exact_mut(width).enumerate() {
            packed.copy_from_slice(x.row(chunk * ROWS + row, first, width));
        }
    });
    Strided { values: packed, stride: width }
}

/// Results that were handed out, to be used again once nobody else holds them: new memory of this size costs a page fault
/// for every page of it, a good part of a product.
#[derive(Default)]
pub struct Spares(Mutex<Vec<([usize; 2], Memory)>>);

/// Results kept: one that is read while another one is written.
const SPARES: usize = 2;

impl Spares {
    /// Memory of this shape and of any contents.
    ///
    /// # Errors
    /// As [`Memory::new`].
    pub fn take(&self, shape: [usize; 2], device: &Device) -> Result<Memory, Error> {
        if let Ok(mut spares) = self.0.lock() {
            let found = spares.iter().position(|(other, memory)| *other == shape && memory.is_alone());
            if let Some(found) = found {
                return Ok(spares.swap_remove(found).1);
            }
        }
        Memory::zeros(shape, device)
    }

    /// Lends `memory` out, to be taken back when the tensor and all its copies are gone.
    pub fn lend(&self, shape: [usize; 2], memory: Memory) -> Tensor<2> {
        let tensor = memory.tensor();
        if let Ok(mut spares) = self.0.lock() {
            if spares.len() >= SPARES {
                spares.remove(0);
            }
            spares.push((shape, memory));
        }
        tensor
    }
}
