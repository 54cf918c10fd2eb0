//! The memory of Burn's CPU backends, in place.
//!
//! A table on the CPU is a Burn tensor, of `burn-ndarray` or `burn-flex`, whose elements the row engine reads and writes
//! directly. Both backends copy a tensor before they write while somebody else holds it; this one is held alone, but for
//! the moments in which [`Memory::tensor`] lends it.
//!
//! Rows begin at cache lines (where d is a multiple of 16), and large tables ask for huge pages: random rows of a table of
//! hundreds of megabytes otherwise miss the translation cache once a row.

// `burn-ndarray` is deprecated upstream in favour of `burn-flex`; 0.22 still carries it.
#![allow(deprecated)]

use crate::Error;
use burn::{
    backend::{
        Flex, NdArray,
        flex::{FlexTensor, Layout},
        ndarray::NdArrayTensor,
    },
    tensor::{Bytes, DType, Device, Tensor},
};
use ndarray::{ArcArray, s};

/// Floats in a cache line.
const LINE: usize = 16;

/// Where huge pages begin to matter: beyond the second-level cache.
const LARGE: usize = 4 << 20;

/// A matrix `[rows, dim]` in a CPU backend's memory.
pub struct Memory {
    held: Held,
    /// Where the first row begins.
    offset: usize,
    shape: [usize; 2],
}

enum Held {
    NdArray(ArcArray<f32, ndarray::IxDyn>),
    Flex(FlexTensor),
}

impl Memory {
    /// Copies `values`, row-major `shape`, into memory of `device`, which must be `ndarray` or `flex`.
    ///
    /// # Errors
    /// [`Error::Device`] on any other device.
    pub fn new(values: &[f32], shape: [usize; 2], device: &Device) -> Result<Self, Error> {
        let (vector, offset) = aligned(values.len(), |vector| vector.extend_from_slice(values));
        Self::of(vector, offset, shape, device)
    }

    /// A matrix of zeros; otherwise as [`Memory::new`].
    ///
    /// # Errors
    /// As [`Memory::new`].
    pub fn zeros(shape: [usize; 2], device: &Device) -> Result<Self, Error> {
        let (vector, offset) = aligned(shape[0] * shape[1], |_| ());
        Self::of(vector, offset, shape, device)
    }

    /// The elements of `vector` from `offset` on.
    fn of(vector: Vec<f32>, offset: usize, shape: [usize; 2], device: &Device) -> Result<Self, Error> {
        let range = offset..offset + shape[0] * shape[1];
        let device = device.clone().without_autodiff();
        if device == Device::ndarray() {
            let rows = ArcArray::from_vec(vector).slice_move(s![range]);
            let rows = rows.into_shape_with_order(shape).map_err(|error| Error::Execution(error.to_string()))?;
            return Ok(Self { held: Held::NdArray(rows.into_dyn()), offset: 0, shape });
        }
        if device != Device::flex() {
            return Err(Error::Device(format!("{device:?} is no CPU backend")));
        }
        let layout = Layout::new(shape.into(), vec![shape[1] as isize, 1], offset);
        let held = Held::Flex(FlexTensor::new(Bytes::from_elems(vector), layout, DType::F32));
        Ok(Self { held, offset, shape })
    }

    /// Whether nobody else holds this memory.
    pub fn is_alone(&self) -> bool {
        match &self.held {
            Held::NdArray(array) => array.is_unique(),
            Held::Flex(tensor) => tensor.is_unique(),
        }
    }

    /// All elements, row-major.
    pub fn as_slice(&self) -> &[f32] {
        let length = self.shape[0] * self.shape[1];
        match &self.held {
            Held::NdArray(array) => array.as_slice().unwrap_or_default(),
            Held::Flex(tensor) => &tensor.storage::<f32>()[self.offset..self.offset + length],
        }
    }

    /// All elements, row-major, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        let length = self.shape[0] * self.shape[1];
        match &mut self.held {
            Held::NdArray(array) => {
                debug_assert!(array.is_unique(), "a table that is lent would be copied");
                array.as_slice_mut().unwrap_or_default()
            }
            Held::Flex(tensor) => {
                debug_assert!(tensor.is_unique(), "a table that is lent would be copied");
                &mut tensor.storage_mut::<f32>()[self.offset..self.offset + length]
            }
        }
    }

    /// The same memory as a Burn tensor `[rows, dim]`. While it lives, writing copies.
    pub fn tensor(&self) -> Tensor<2> {
        match &self.held {
            Held::NdArray(array) => Tensor::from_primitive::<NdArray>(NdArrayTensor::from(array.clone())),
            Held::Flex(tensor) => Tensor::from_primitive::<Flex>(tensor.clone()),
        }
    }
}

/// `length` floats that begin at a cache line, on huge pages where they are many, and where they begin; zeros but for what
/// `fill` appends.
pub fn aligned(length: usize, fill: impl FnOnce(&mut Vec<f32>)) -> (Vec<f32>, usize) {
    let mut vector = on_huge_pages(length + LINE);
    let offset = vector.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    vector.resize(offset, 0.0);
    fill(&mut vector);
    vector.resize(length + LINE, 0.0);
    (vector, offset)
}

/// Room for `capacity` floats, on huge pages where that is much and the system grants it.
pub fn on_huge_pages(capacity: usize) -> Vec<f32> {
    let mut vector: Vec<f32> = Vec::with_capacity(capacity);
    #[cfg(target_os = "linux")]
    if size_of::<f32>() * capacity >= LARGE {
        const PAGE: usize = 4096;
        let first = vector.as_mut_ptr() as usize;
        let start = first.next_multiple_of(PAGE);
        let length = (first + size_of::<f32>() * capacity - start) / PAGE * PAGE;
        // SAFETY: the range lies within the allocation of `vector`; the advice, a hint, does not change its contents.
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_HUGEPAGE);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = LARGE;
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_backends_own_memory() {
        let values: Vec<f32> = (0..6 * 16).map(|x| x as f32).collect();
        for device in [Device::ndarray(), Device::flex()] {
            let mut memory = Memory::new(&values, [6, 16], &device).unwrap();
            assert_eq!(memory.as_slice(), values);
            let first = memory.as_slice().as_ptr();
            assert_eq!(first as usize % 64, 0);
            let tensor = memory.tensor();
            assert_eq!(tensor.dims(), [6, 16]);
            assert_eq!(tensor.device(), device);
            let sum = tensor.sum().into_scalar::<f32>();
            assert_eq!(sum, values.iter().sum::<f32>());
            memory.as_mut_slice()[17] = -1.0;
            assert_eq!(memory.as_slice().as_ptr(), first, "written in place");
            let row = memory.tensor().narrow(0, 1, 1).into_data().try_to_vec::<f32>().unwrap();
            assert_eq!(row[..3], [16.0, -1.0, 18.0]);
        }
    }

    #[test]
    fn graphics_memory_is_refused() {
        if let Some(device) = Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec().first() {
            assert!(Memory::new(&[0.0], [1, 1], device).is_err());
        }
    }
}
