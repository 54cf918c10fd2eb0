//! What every implementation of a table must do, on every device: the same as plain tensor operations, to float rounding.
//! One process, so that kernels for `wgpu` are compiled once.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod fused;
mod projections;
mod rows;
mod script;
mod sparse;

use burn::tensor::{Device, DeviceKind, DeviceType};
use onebp_table::Table;

/// The device of the oracle.
#[allow(deprecated)]
fn ndarray() -> Device {
    Device::ndarray()
}

/// A graphics device, which may be missing unless ONEBP_REQUIRE_WGPU is set.
fn wgpu() -> Option<Device> {
    let present = Device::enumerate(DeviceType::Wgpu).into_vec();
    let kinds = [DeviceKind::DiscreteGpu(0), DeviceKind::IntegratedGpu(0), DeviceKind::VirtualGpu(0), DeviceKind::Cpu];
    let found = kinds.into_iter().map(Device::wgpu).find(|device| present.contains(device));
    match &found {
        None if std::env::var_os("ONEBP_REQUIRE_WGPU").is_some() => panic!("no graphics adapter"),
        None => println!("skipping wgpu: no graphics adapter"),
        Some(_) => {}
    }
    found
}

fn assert_close(found: &Table, expected: &Table, tolerance: f32, what: &str) {
    assert_eq!((found.rows, found.dim), (expected.rows, expected.dim), "{what}");
    for (at, (found, expected)) in found.values.iter().zip(&expected.values).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance * (1.0 + expected.abs()),
            "{what}: element {at}: {found} is not {expected}"
        );
    }
}
