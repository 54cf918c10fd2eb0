//! A device as the kernels of this folder need it: a client to launch on, what it can do, and buffers.

use super::kernels::{rows::clear, scores::Lanes};
use crate::Error;
use burn::{
    backend::wgpu::{CubeBackend, CubeTensor},
    tensor::{Bytes, DType, Device, Shape, StreamId, Tensor},
};
use cubecl::{
    ir::features::Plane,
    prelude::{BufferArg, Client, CubeCount, CubeDim},
    server::Handle,
};

/// Units of a cube of the flat kernels.
const UNITS: usize = 256;
/// Widest load of a unit, in floats.
pub const VECTOR: usize = 4;
/// More lanes than this find too little to do in a row.
const WIDEST_PLANE: usize = 64;
/// More groups than this in a cube hide no more latency.
const MOST_GROUPS: usize = 8;

/// The stream of all work of this folder. CubeCL gives every thread a stream of its own and orders work across streams by
/// where a buffer was made, not by who wrote it last: steps from thread to thread would overtake each other. The first
/// thread's stream, so that a program of one thread has one stream.
const STREAM: StreamId = StreamId { value: 0 };

/// What has been asked of a device since it was last counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Kernels launched.
    pub launches: u64,
    /// Uploads, one for each step in the fused step.
    pub uploads: u64,
    /// Bytes uploaded.
    pub bytes_uploaded: u64,
    /// Bytes of tables and of their matrices that kernels read and wrote, by arithmetic: what memory must carry where
    /// no cache helps.
    pub bytes_touched: u64,
}

impl Traffic {
    /// The sum of two counts.
    pub fn plus(self, other: Self) -> Self {
        Self {
            launches: self.launches + other.launches,
            uploads: self.uploads + other.uploads,
            bytes_uploaded: self.bytes_uploaded + other.bytes_uploaded,
            bytes_touched: self.bytes_touched + other.bytes_touched,
        }
    }
}

/// What a device is asked to do with less than it could; for tests of tables that are split, and of devices without
/// planes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Largest part of a table, in bytes.
    pub part: Option<usize>,
    /// Whether planes are used, whatever the device says.
    pub planes: Option<bool>,
}

/// A device.
#[derive(Clone)]
pub struct Gpu {
    /// Works on [`STREAM`].
    pub client: Client,
    /// For tensors that leave: works on the stream of its thread.
    lent: Client,
    device: cubecl::Device,
    /// Largest buffer that a kernel can see, in bytes.
    limit: usize,
    /// Largest part of a table.
    part: usize,
    lanes: Lanes,
}

/// A buffer of 32-bit words on a device.
#[derive(Clone)]
pub struct Buffer {
    pub handle: Handle,
    pub words: usize,
}

/// A failure of the device.
pub fn failed(error: impl std::fmt::Display) -> Error {
    Error::Execution(error.to_string())
}

impl Gpu {
    /// The device behind a Burn device.
    ///
    /// # Errors
    /// [`Error::Device`] where that is no device of CubeCL.
    pub fn new(device: &Device, limits: Limits) -> Result<Self, Error> {
        let probe = Tensor::<1>::empty([1], &device.clone().without_autodiff());
        let probe = probe.try_into_primitive::<CubeBackend>();
        let CubeTensor { client: lent, device, .. } =
            probe.map_err(|_| Error::Device(format!("{device:?} is no device for kernels")))?;
        let mut client = lent.clone();
        // SAFETY: the stream exists for every device, and no capture of launches is under way on it.
        unsafe { client.set_stream(STREAM) };
        let properties = client.properties();
        let hardware = &properties.hardware;
        let width = (hardware.plane_size_max as usize).next_power_of_two().clamp(1, WIDEST_PLANE);
        // Where planes differ in size, nobody knows which size a kernel will get.
        let fixed = [hardware.plane_size_min, hardware.plane_size_max] == [width as u32; 2];
        let offered = fixed && properties.features.plane.contains(Plane::Ops);
        let planes = limits.planes.unwrap_or(offered);
        let limit = usize::try_from(properties.memory.max_page_size).unwrap_or(usize::MAX);
        let part = limits.part.unwrap_or(limit).min(limit);
        let groups = (UNITS.min(hardware.max_units_per_cube as usize) / width).clamp(1, MOST_GROUPS);
        Ok(Self { client, lent, device, limit, part, lanes: Lanes { width, groups, planes } })
    }

    /// Largest buffer that a kernel can see, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Largest part of a table, in bytes.
    pub fn part(&self) -> usize {
        self.part
    }

    /// Floats that a unit can load at once from rows whose widths and offsets are these.
    pub fn vector<const C: usize>(&self, columns: [usize; C]) -> usize {
        let widest = self.client.properties().hardware.max_vector_size;
        if widest >= VECTOR && columns.into_iter().all(|column| column % VECTOR == 0) { VECTOR } else { 1 }
    }

    /// Whether a cube has workgroup memory for `many` sums and what it takes to add them up.
    pub fn holds(&self, many: usize) -> bool {
        let words = many + self.lanes.width * self.lanes.groups;
        words * size_of::<f32>() <= self.client.properties().hardware.max_shared_memory_size
    }

    /// Whether `other` is the same device.
    pub fn is(&self, other: &Self) -> bool {
        self.device == other.device
    }

    /// How the units of a cube add up `many` sums.
    pub fn lanes(&self, many: usize) -> Lanes {
        Lanes { groups: self.lanes.groups.min(many).max(1), ..self.lanes }
    }

    /// The cubes of a flat kernel over `units` units.
    pub fn flat(&self, units: usize) -> (CubeCount, CubeDim) {
        (self.cubes(units.div_ceil(UNITS)), CubeDim::new_1d(UNITS as u32))
    }

    /// At least `count` cubes; a grid has two dimensions where one is not enough.
    pub fn cubes(&self, count: usize) -> CubeCount {
        let most = self.client.properties().hardware.max_cube_count.0 as usize;
        let rows = count.div_ceil(most).max(1);
        CubeCount::Static(count.div_ceil(rows) as u32, rows as u32, 1)
    }

    /// Bytes of `words` words, if a kernel can see that many.
    fn fitting(&self, words: usize) -> Result<usize, Error> {
        let bytes = words.max(VECTOR) * size_of::<f32>();
        if bytes > self.limit {
            let limit = self.limit;
            return Err(Error::Device(format!("a buffer of {bytes} bytes is needed, the device offers {limit}")));
        }
        Ok(bytes)
    }

    /// Room for `words` words that will be kept, of any contents.
    ///
    /// # Errors
    /// [`Error::Device`] where that is more than a kernel can see.
    pub fn room(&self, words: usize) -> Result<Buffer, Error> {
        let bytes = self.fitting(words)?;
        // Outside all pools: exact in size, and given back to the driver when it is dropped.
        let empty = || self.client.memory_dedicated_allocation((), |()| self.client.empty(bytes));
        let handle = STREAM.executes(empty);
        Ok(Buffer { handle, words: words.max(VECTOR) })
    }

    /// Room for `words` words that will soon be given back, of any contents.
    ///
    /// # Errors
    /// As [`Gpu::room`].
    pub fn temporary(&self, words: usize) -> Result<Buffer, Error> {
        let bytes = self.fitting(words)?;
        Ok(Buffer { handle: self.client.empty(bytes), words: words.max(VECTOR) })
    }

    /// Room for `words` words, all zero.
    ///
    /// # Errors
    /// As [`Gpu::room`].
    pub fn zeros(&self, words: usize, traffic: &mut Traffic) -> Result<Buffer, Error> {
        let buffer = self.room(words)?;
        let (count, dim) = self.flat(buffer.words);
        traffic.launches += 1;
        // SAFETY: the kernel writes below `buffer.words` only.
        unsafe { clear::launch_unchecked(&self.client, count, dim, buffer.arg(1), buffer.words as u32) };
        Ok(buffer)
    }

    /// Uploads words to a buffer, from its word `first` on.
    ///
    /// # Errors
    /// [`Error::Execution`] where they do not fit.
    pub fn write<T: Word>(
        &self,
        buffer: &Buffer,
        first: usize,
        words: Vec<T>,
        traffic: &mut Traffic,
    ) -> Result<(), Error> {
        if first + words.len() > buffer.words {
            return Err(failed(format!("{} words from {first} on for a buffer of {}", words.len(), buffer.words)));
        }
        if !words.is_empty() {
            let bytes = size_of_val(words.as_slice()) as u64;
            self.client.write(&buffer.section(first, words.len()), T::into_bytes(words));
            traffic.uploads += 1;
            traffic.bytes_uploaded += bytes;
        }
        Ok(())
    }

    /// A new buffer with these words.
    ///
    /// # Errors
    /// As [`Gpu::room`].
    pub fn upload<T: Word>(&self, words: Vec<T>, traffic: &mut Traffic) -> Result<Buffer, Error> {
        let buffer = self.room(words.len())?;
        self.write(&buffer, 0, words, traffic)?;
        Ok(buffer)
    }

    /// Reads words `first .. first + words.len()` of a buffer; waits for the device.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device has failed since it was last read.
    pub fn read<T: Word>(&self, buffer: &Buffer, first: usize, words: &mut [T]) -> Result<(), Error> {
        if words.is_empty() {
            return Ok(());
        }
        if first + words.len() > buffer.words {
            return Err(failed(format!("{} words from {first} on of a buffer of {}", words.len(), buffer.words)));
        }
        let bytes = self.client.read_one(buffer.section(first, words.len())).map_err(failed)?;
        if bytes.len() < size_of_val(words) {
            return Err(failed("the device returned less than it was asked for"));
        }
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = T::from_bytes(*bytes);
        }
        Ok(())
    }

    /// A buffer as a Burn tensor `[rows, dim]`.
    pub fn tensor(&self, buffer: Buffer, [rows, dim]: [usize; 2]) -> Tensor<2> {
        let (client, device) = (self.lent.clone(), self.device.clone());
        let shape = Shape::from([rows, dim]);
        Tensor::from_primitive::<CubeBackend>(CubeTensor::new_contiguous(
            client,
            device,
            shape,
            buffer.handle,
            DType::F32,
        ))
    }

    /// The elements of a Burn tensor of this device, row-major.
    ///
    /// # Errors
    /// [`Error::Execution`] where it lies on another device or is not of 32-bit floats.
    pub fn buffer(&self, tensor: Tensor<2>) -> Result<Buffer, Error> {
        let dims = tensor.dims();
        let primitive = |tensor: Tensor<2>| {
            let tensor = tensor.try_into_primitive::<CubeBackend>();
            let tensor = tensor.map_err(|_| failed("a tensor lies on another device"))?;
            if tensor.dtype != DType::F32 || tensor.device != self.device {
                return Err(failed(format!("a tensor is {:?} on {:?}", tensor.dtype, tensor.device)));
            }
            Ok(tensor)
        };
        let mut found = primitive(tensor)?;
        if !found.is_contiguous() || found.meta.is_tiled() {
            // Broadcast or transposed: added to zeros it becomes contiguous.
            let strided = Tensor::<2>::from_primitive::<CubeBackend>(found);
            let zeros = Tensor::zeros(dims, &strided.device());
            found = primitive(zeros + strided)?;
        }
        Ok(Buffer { handle: found.handle, words: dims[0] * dims[1] })
    }
}

impl Buffer {
    /// Words `first .. first + words`, which must be within it.
    fn section(&self, first: usize, words: usize) -> Handle {
        let word = size_of::<f32>() as u64;
        let rest = self.handle.size_in_used() - word * (first + words) as u64;
        self.handle.clone().offset_start(word * first as u64).offset_end(rest)
    }

    /// As an argument of a kernel that takes vectors of `vector` words.
    pub fn arg(&self, vector: usize) -> BufferArg {
        // SAFETY: the buffer has this many words.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.words / vector) }
    }
}

/// A 32-bit word.
pub trait Word: Copy {
    /// Many of them as bytes.
    fn into_bytes(words: Vec<Self>) -> Bytes;

    /// From its bytes.
    fn from_bytes(bytes: [u8; 4]) -> Self;
}

impl Word for f32 {
    fn into_bytes(words: Vec<Self>) -> Bytes {
        Bytes::from_elems(words)
    }

    fn from_bytes(bytes: [u8; 4]) -> Self {
        Self::from_ne_bytes(bytes)
    }
}

impl Word for u32 {
    fn into_bytes(words: Vec<Self>) -> Bytes {
        Bytes::from_elems(words)
    }

    fn from_bytes(bytes: [u8; 4]) -> Self {
        Self::from_ne_bytes(bytes)
    }
}

/// A buffer that grows and is used again.
#[derive(Default)]
pub struct Scratch(Option<Buffer>);

impl Scratch {
    /// Room for `words` words.
    ///
    /// # Errors
    /// As [`Gpu::room`].
    pub fn room(&mut self, gpu: &Gpu, words: usize) -> Result<Buffer, Error> {
        match &self.0 {
            Some(buffer) if buffer.words >= words => Ok(buffer.clone()),
            _ => {
                // Twice as much, so that batches that differ a little do not each ask anew.
                let most = gpu.limit() / size_of::<f32>();
                let wanted = words.saturating_mul(2).min(most).max(words);
                let buffer = gpu.room(if self.0.is_some() { wanted } else { words })?;
                self.0 = Some(buffer.clone());
                Ok(buffer)
            }
        }
    }
}
