//! What the tests of this folder share: a device, tables, batches, and how close floats must be.

use super::{Limits, gpu::Gpu};
use crate::{Batch, Table, Touched};
use burn::tensor::{Device, DeviceType};

/// A device for kernels, or nothing, with the reason printed; with `ONEBP_REQUIRE_WGPU` set, nothing is a failure.
pub fn device() -> Option<Device> {
    let device = Device::enumerate(DeviceType::Wgpu).into_vec().into_iter().next();
    if device.is_none() {
        assert!(std::env::var_os("ONEBP_REQUIRE_WGPU").is_none(), "no adapter for wgpu");
        println!("skipped: no adapter for wgpu");
    }
    device
}

/// A device as it is; without planes, and tables `[rows, dim]` and larger ones in parts; and where software stands in for
/// a GPU, whose planes it has but does not offer, with planes.
pub fn limits(device: &Device, rows: usize, dim: usize) -> Vec<Limits> {
    let bytes = rows * dim * size_of::<f32>();
    let split = Limits { part: Some(bytes.div_ceil(2)), planes: Some(false) };
    let gpu = Gpu::new(device, Limits::default()).unwrap();
    let properties = gpu.client.properties();
    let fixed = properties.hardware.plane_size_min == properties.hardware.plane_size_max;
    let software = fixed && properties.identity.name.contains("llvmpipe");
    let planes = Limits { part: Some(bytes.div_ceil(3)), planes: Some(true) };
    [Limits::default(), split].into_iter().chain(software.then_some(planes)).collect()
}

/// A stream of numbers.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> u32 {
        (self.next() % limit as u64) as u32
    }

    /// Within (-1, 1).
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn table(&mut self, rows: usize, dim: usize) -> Table {
        Table { values: (0..rows * dim).map(|_| self.float()).collect(), rows, dim }
    }

    /// A batch over M users and N items, with repetitions.
    pub fn batch(&mut self, rows: usize, width: usize, (users, items): (usize, usize)) -> Batch {
        let ids = (0..rows).map(|_| self.below(users)).collect();
        let chosen = (0..rows * width).map(|_| self.below(items)).collect();
        let weights = (0..rows).map(|_| if self.below(9) == 0 { 0.0 } else { 1.0 }).collect();
        Batch::new(ids, chosen, weights, (users, items))
    }
}

/// How many steps each row rests after each batch, as far as the list of batches tells.
pub fn rests(batches: &mut [Batch], (users, items): (usize, usize)) {
    let mut next = [vec![None; users], vec![None; items]];
    for (step, batch) in batches.iter_mut().enumerate().rev() {
        for (next, touched) in next.iter_mut().zip([&mut batch.touched_users, &mut batch.touched_items]) {
            for (&row, rest) in touched.rows.iter().zip(&mut touched.rest) {
                let known = next[row as usize].map_or(0, |next| (next - step - 1) as u32);
                *rest = if known <= Touched::MOST_REST { known } else { 0 };
                next[row as usize] = Some(step);
            }
        }
    }
}

/// Asserts that all elements agree to `tolerance` of the largest one.
pub fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0f32, |scale, x| scale.max(x.abs())).max(f32::MIN_POSITIVE);
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{what}, element {at}: {a} is not {b}");
    }
}
