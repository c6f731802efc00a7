//! The devices that execution providers offer, and the plug-in libraries that bring providers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ort::AsPointer;
use ort::memory::DeviceType;

use super::forking::UnderWay;
use super::library::Library;
use super::messages::first_line;
use crate::error::{EmbeddingError, Result};

/// A device of a provider.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Device {
    /// ONNX Runtime's name of the provider.
    pub provider: String,
    /// `cpu`, `gpu` or `npu`.
    pub kind: &'static str,
    /// Its manufacturer.
    pub vendor: String,
    /// The provider's own number for it.
    pub id: u32,
    /// Whether it is only pretended, for compiling.
    pub is_virtual: bool,
    /// What the provider says of it.
    pub metadata: BTreeMap<String, String>,
}

impl Device {
    /// For people: what it is and whose.
    pub fn words(&self) -> String {
        let name = self.metadata.get("ov_device").or_else(|| self.metadata.get("Description"));
        let name = name.filter(|name| !name.eq_ignore_ascii_case(self.kind));
        let name = name.map_or_else(String::new, |name| format!(" {name}"));
        let pretended = if self.is_virtual { "virtual " } else { "" };
        format!("{} {pretended}{}{name}", self.vendor, self.kind).trim().to_owned()
    }
}

/// A library that brings execution providers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlugIn {
    /// The library.
    pub path: PathBuf,
    /// ONNX Runtime's names of what it brings; empty where that is not known.
    pub providers: Vec<String>,
}

impl PlugIn {
    /// The library at `path`, of which is not known what it brings. With `.virtual` after the path it offers devices
    /// that are not there, where it can: those only compile.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), providers: Vec::new() }
    }

    /// Whether it may bring the provider `runtime_name`.
    pub fn may_bring(&self, runtime_name: &str) -> bool {
        self.providers.is_empty() || self.providers.iter().any(|provider| provider == runtime_name)
    }
}

/// The suffix of a registration under which a plug-in offers devices that are not there, which can only compile.
const VIRTUAL: &str = ".virtual";

/// Libraries that were registered, or why they could not be. Once for the process, as ONNX Runtime's environment is.
static REGISTERED: Mutex<BTreeMap<PathBuf, Result<(), String>>> = Mutex::new(BTreeMap::new());

fn registered() -> MutexGuard<'static, BTreeMap<PathBuf, Result<(), String>>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Library {
    /// Loads the library of a plug-in into this process, once.
    ///
    /// # Errors
    /// `ProviderUnavailable` with what ONNX Runtime or the plug-in says against it; asked again, the same.
    pub fn register_plug_in(&self, plug_in: &PlugIn) -> Result<()> {
        let _under_way = UnderWay::begin();
        let mut known = registered();
        let outcome = known.entry(plug_in.path.clone()).or_insert_with_key(|path| self.load_plug_in(path));
        outcome
            .clone()
            .map_err(|message| EmbeddingError::ProviderUnavailable { provider: plug_in.providers.join(", "), message })
    }

    fn load_plug_in(&self, path: &Path) -> Result<(), String> {
        // The name of a registration is ours to choose, but for this suffix.
        let (file, suffix) = match path.to_str().and_then(|text| text.strip_suffix(VIRTUAL)) {
            Some(file) => (Path::new(file), VIRTUAL),
            None => (path, ""),
        };
        if !file.is_file() {
            return Err(format!("there is no plug-in library {}", file.display()));
        }
        self.environment
            .register_ep_library(format!("{}{suffix}", file.display()), file)
            .map_err(|error| format!("the plug-in library {} does not load: {}", file.display(), first_line(&error)))
    }

    /// The devices of all providers that tell theirs; those that are part of the library mostly do not.
    ///
    /// # Errors
    /// `InferenceFailed` where ONNX Runtime's answer cannot be read.
    pub fn devices(&self) -> Result<Vec<Device>> {
        self.environment.devices().map(|device| describe(&device)).collect::<ort::Result<_>>().map_err(|error| {
            EmbeddingError::inference_failed("the devices of ONNX Runtime cannot be read").caused_by(error)
        })
    }
}

fn describe(device: &ort::device::Device<'_>) -> ort::Result<Device> {
    let hardware = device.hardware_device();
    let kind = match hardware.ty() {
        DeviceType::GPU => "gpu",
        DeviceType::NPU => "npu",
        _ => "cpu",
    };
    Ok(Device {
        provider: device.ep()?.to_owned(),
        kind,
        vendor: hardware.vendor()?.to_owned(),
        id: hardware.id(),
        is_virtual: hardware_metadata(device).get("is_virtual").is_some_and(|value| value == "1"),
        metadata: metadata(device),
    })
}

/// What the provider says of its device.
fn metadata(device: &ort::device::Device<'_>) -> BTreeMap<String, String> {
    // SAFETY: the device is alive; what comes back belongs to it, and is read before it goes.
    unsafe { pairs((ort::api().EpDevice_EpMetadata)(device.ptr())) }
}

/// What ONNX Runtime says of the hardware under a device.
fn hardware_metadata(device: &ort::device::Device<'_>) -> BTreeMap<String, String> {
    let api = ort::api();
    // SAFETY: the device is alive, and has hardware by contract; both pointers belong to it.
    unsafe {
        let hardware = (api.EpDevice_Device)(device.ptr());
        if hardware.is_null() { BTreeMap::new() } else { pairs((api.HardwareDevice_Metadata)(hardware)) }
    }
}

/// Keys and values as ONNX Runtime has them.
///
/// # Safety
/// `pairs` is null or valid until this returns.
unsafe fn pairs(pairs: *const ort::sys::OrtKeyValuePairs) -> BTreeMap<String, String> {
    let (mut keys, mut values, mut count) = (std::ptr::null(), std::ptr::null(), 0);
    if pairs.is_null() {
        return BTreeMap::new();
    }
    // SAFETY: the pairs are valid, and so are the three places that are written to.
    unsafe { (ort::api().GetKeyValuePairs)(pairs, &raw mut keys, &raw mut values, &raw mut count) };
    let text = |array: *const *const std::ffi::c_char, index: usize| {
        // SAFETY: both arrays have `count` valid, NUL-terminated strings.
        unsafe { std::ffi::CStr::from_ptr(*array.add(index)) }.to_string_lossy().into_owned()
    };
    (0..count).map(|index| (text(keys, index), text(values, index))).collect()
}
