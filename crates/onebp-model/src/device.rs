//! Where tensors live: a name from the command line becomes a Burn device.

use crate::Error;
use burn::tensor::{Device, DeviceKind, DeviceType};
use serde::{Deserialize, Serialize};

/// A device as a person names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceName {
    /// A real GPU where there is one, otherwise the CPU (`ndarray`).
    #[default]
    Auto,
    /// CPU through `burn-ndarray`.
    NdArray,
    /// CPU through `burn-flex`.
    Flex,
    /// GPU through `burn-wgpu` (Vulkan, Metal, DX12); a software adapter where there is no GPU.
    Wgpu,
}

impl DeviceName {
    /// All names, in the order in which help texts list them.
    pub const ALL: [DeviceName; 4] = [Self::Auto, Self::NdArray, Self::Flex, Self::Wgpu];

    /// The name on the command line and in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::NdArray => "ndarray",
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
        }
    }
}

/// A device that has been found, and how to speak of it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The Burn device.
    pub device: Device,
    /// What `auto` resolved to; never `Auto`.
    pub name: DeviceName,
    /// One line for people, such as `wgpu, NVIDIA H200`.
    pub description: String,
}

/// Finds the device behind a name.
///
/// # Errors
/// [`Error::DeviceUnavailable`] where `wgpu` is asked for and the machine has no adapter at all.
pub fn find(name: DeviceName) -> Result<Found, Error> {
    let cpu = |device, name: DeviceName| Found { device, name, description: format!("{}, CPU", name.as_str()) };
    match name {
        DeviceName::NdArray => Ok(cpu(ndarray(), name)),
        DeviceName::Flex => Ok(cpu(Device::flex(), name)),
        DeviceName::Auto => Ok(match graphics_adapter() {
            Some(adapter) if adapter.is_gpu => adapter.found(),
            _ => cpu(ndarray(), DeviceName::NdArray),
        }),
        DeviceName::Wgpu => match graphics_adapter() {
            Some(adapter) => Ok(adapter.found()),
            None => Err(Error::DeviceUnavailable {
                device: name.as_str().into(),
                reason: "no Vulkan, Metal or DX12 adapter was found; install a driver (or Mesa's software Vulkan), or \
                         use --device ndarray"
                    .into(),
            }),
        },
    }
}

/// The CPU through `burn-ndarray`, which upstream has deprecated in favour of `burn-flex`; 0.22 still carries it.
#[allow(deprecated)]
pub(crate) fn ndarray() -> Device {
    Device::ndarray()
}

struct Adapter {
    device: Device,
    is_gpu: bool,
}

impl Adapter {
    fn found(self) -> Found {
        let part = self.device.identity().map_or_else(|| "unnamed adapter".into(), |identity| identity.name);
        let kind = if self.is_gpu { "" } else { " (software, no GPU)" };
        Found { device: self.device, name: DeviceName::Wgpu, description: format!("wgpu, {part}{kind}") }
    }
}

/// The best adapter: discrete before integrated before virtual before software.
fn graphics_adapter() -> Option<Adapter> {
    let present = Device::enumerate(DeviceType::Wgpu).into_vec();
    let preference = [
        (DeviceKind::DiscreteGpu(0), true),
        (DeviceKind::IntegratedGpu(0), true),
        (DeviceKind::VirtualGpu(0), true),
        (DeviceKind::Cpu, false),
    ];
    preference.into_iter().find_map(|(kind, is_gpu)| {
        let device = Device::wgpu(kind);
        present.contains(&device).then_some(Adapter { device, is_gpu })
    })
}
