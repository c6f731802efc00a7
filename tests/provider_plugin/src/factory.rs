//! What ONNX Runtime registers: says which devices there are and makes a provider for each session.

use std::ffi::{CStr, c_char};
use std::{env, ptr};

use ort_sys::{
    OrtAllocator, OrtCompiledModelCompatibility, OrtEpDevice, OrtHardwareDevice, OrtHardwareDeviceType,
    OrtKeyValuePairs, OrtLogger, OrtMemoryInfo, OrtSessionOptions, OrtStatusPtr,
};

use crate::abi::{API_VERSION, OrtDataTransferImpl, OrtEp, OrtEpFactory, OrtMemoryDevice, OrtSyncStreamImpl};
use crate::failure::Result;
use crate::options::{ENVIRONMENT, Options};
use crate::provider::Provider;
use crate::runtime::Runtime;

/// The provider's name; that of its options is the same in small letters.
pub const NAME: &CStr = c"TestExecutionProvider";

const VENDOR: &CStr = c"oxembed tests";
const VERSION: &CStr = c"0.1.0";
/// 0 has the provider find no device.
const DEVICES: &str = "OXEMBED_TEST_PROVIDER_DEVICES";
/// No vendor of PCI devices has this number.
const VENDOR_ID: u32 = 0;

/// The table that ONNX Runtime calls, and what its functions need.
#[repr(C)]
pub struct Factory {
    table: OrtEpFactory,
    runtime: Runtime,
}

impl Factory {
    /// Makes a factory; `release` takes what this returns.
    pub fn create(runtime: Runtime) -> *mut OrtEpFactory {
        let table = OrtEpFactory {
            ort_version_supported: API_VERSION,
            GetName: name,
            GetVendor: vendor,
            GetSupportedDevices: supported_devices,
            CreateEp: create_provider,
            ReleaseEp: release_provider,
            GetVendorId: vendor_id,
            GetVersion: version,
            ValidateCompiledModelCompatibilityInfo: compatibility,
            CreateAllocator: create_allocator,
            ReleaseAllocator: release_allocator,
            CreateDataTransfer: create_data_transfer,
            IsStreamAware: is_stream_aware,
            CreateSyncStreamForDevice: create_stream,
        };
        Box::into_raw(Box::new(Self { table, runtime })).cast()
    }

    /// Frees a factory.
    ///
    /// # Safety
    /// `table` comes from `create`, and is not used again.
    pub unsafe fn release(table: *mut OrtEpFactory) {
        // SAFETY: the table is the first field of the factory in the box that `create` made.
        drop(unsafe { Box::from_raw(table.cast::<Self>()) });
    }

    fn device(&self, this: *mut OrtEpFactory, hardware: &OrtHardwareDevice) -> Result<*mut OrtEpDevice> {
        let mut metadata = ptr::null_mut();
        let mut device = ptr::null_mut();
        // SAFETY: the pairs are made, filled with strings that end with NUL, copied into the device and released, once.
        // `this` is the factory that ONNX Runtime is calling.
        let status = unsafe {
            (self.runtime.api.CreateKeyValuePairs)(&raw mut metadata);
            (self.runtime.api.AddKeyValuePair)(metadata, c"computes".as_ptr(), c"MatMul, Gemm".as_ptr());
            let status =
                (self.runtime.providers.CreateEpDevice)(this, hardware, metadata, ptr::null(), &raw mut device);
            (self.runtime.api.ReleaseKeyValuePairs)(metadata);
            status
        };
        self.runtime.check(status)?;
        Ok(device)
    }
}

/// The factory behind a table.
///
/// # Safety
/// `this` comes from `Factory::create`, and is not released while the reference is used.
unsafe fn behind<'call>(this: *const OrtEpFactory) -> &'call Factory {
    // SAFETY: the table is the first field of the factory, which no one changes.
    unsafe { &*this.cast() }
}

/// How many devices the environment lets be found.
fn devices_to_find() -> Result<usize> {
    match env::var(DEVICES) {
        Err(env::VarError::NotPresent) => Ok(1),
        Ok(count) if count == "1" => Ok(1),
        Ok(count) if count == "0" => Ok(0),
        other => Err(format!("{DEVICES} is {other:?}; it can be 0 or 1").into()),
    }
}

unsafe extern "system" fn name(_this: *const OrtEpFactory) -> *const c_char {
    NAME.as_ptr()
}

unsafe extern "system" fn vendor(_this: *const OrtEpFactory) -> *const c_char {
    VENDOR.as_ptr()
}

unsafe extern "system" fn vendor_id(_this: *const OrtEpFactory) -> u32 {
    VENDOR_ID
}

unsafe extern "system" fn version(_this: *const OrtEpFactory) -> *const c_char {
    VERSION.as_ptr()
}

unsafe extern "system" fn supported_devices(
    this: *mut OrtEpFactory,
    hardware: *const *const OrtHardwareDevice,
    count: usize,
    devices: *mut *mut OrtEpDevice,
    most_devices: usize,
    device_count: *mut usize,
) -> OrtStatusPtr {
    // SAFETY: ONNX Runtime passes what `create` made.
    let factory = unsafe { behind(this) };
    factory.runtime.answer(|| {
        let most = devices_to_find()?.min(most_devices);
        let mut found = 0;
        for index in 0..count {
            // SAFETY: `count` valid devices, which outlive the factory.
            let hardware = unsafe { &**hardware.add(index) };
            // SAFETY: a valid device.
            let kind = unsafe { (factory.runtime.api.HardwareDevice_Type)(hardware) };
            if found < most && kind == OrtHardwareDeviceType::OrtHardwareDeviceType_CPU {
                // SAFETY: an array of `most_devices` places, and `found` is below that.
                unsafe { devices.add(found).write(factory.device(this, hardware)?) };
                found += 1;
            }
        }
        // SAFETY: a valid out-pointer.
        unsafe { device_count.write(found) };
        Ok(())
    })
}

unsafe extern "system" fn create_provider(
    this: *mut OrtEpFactory,
    _hardware: *const *const OrtHardwareDevice,
    _metadata: *const *const OrtKeyValuePairs,
    _count: usize,
    options: *const OrtSessionOptions,
    _logger: *const OrtLogger,
    provider: *mut *mut OrtEp,
) -> OrtStatusPtr {
    // SAFETY: ONNX Runtime passes what `create` made and options that live during this call.
    let (factory, options) = unsafe { (behind(this), &*options) };
    factory.runtime.answer(|| {
        let entries = factory.runtime.configuration(options)?;
        let usual = env::var(ENVIRONMENT).unwrap_or_default();
        let options = Options::read(&usual, entries.iter().map(|(key, value)| (key.as_str(), value.as_str())))?;
        let made = Provider::create(factory.runtime, options)?;
        // SAFETY: a valid out-pointer.
        unsafe { provider.write(made) };
        Ok(())
    })
}

unsafe extern "system" fn release_provider(_this: *mut OrtEpFactory, provider: *mut OrtEp) {
    // SAFETY: what `create_provider` made, released once.
    unsafe { Provider::release(provider) };
}

unsafe extern "system" fn compatibility(
    _this: *mut OrtEpFactory,
    _hardware: *const *const OrtHardwareDevice,
    _count: usize,
    _information: *const c_char,
    compatibility: *mut OrtCompiledModelCompatibility,
) -> OrtStatusPtr {
    // SAFETY: a valid out-pointer. No compiled models are written, so none is of this provider.
    unsafe { compatibility.write(OrtCompiledModelCompatibility::EP_NOT_APPLICABLE) };
    OrtStatusPtr(ptr::null_mut())
}

/// All memory is ONNX Runtime's own.
unsafe extern "system" fn create_allocator(
    _this: *mut OrtEpFactory,
    _memory: *const OrtMemoryInfo,
    _options: *const OrtKeyValuePairs,
    allocator: *mut *mut OrtAllocator,
) -> OrtStatusPtr {
    // SAFETY: a valid out-pointer; nothing stands for the CPU's allocator.
    unsafe { allocator.write(ptr::null_mut()) };
    OrtStatusPtr(ptr::null_mut())
}

unsafe extern "system" fn release_allocator(_this: *mut OrtEpFactory, _allocator: *mut OrtAllocator) {}

/// Everything is on the CPU already.
unsafe extern "system" fn create_data_transfer(
    _this: *mut OrtEpFactory,
    transfer: *mut *mut OrtDataTransferImpl,
) -> OrtStatusPtr {
    // SAFETY: a valid out-pointer; nothing stands for no transfer.
    unsafe { transfer.write(ptr::null_mut()) };
    OrtStatusPtr(ptr::null_mut())
}

unsafe extern "system" fn is_stream_aware(_this: *const OrtEpFactory) -> bool {
    false
}

unsafe extern "system" fn create_stream(
    _this: *mut OrtEpFactory,
    _memory: *const OrtMemoryDevice,
    _options: *const OrtKeyValuePairs,
    stream: *mut *mut OrtSyncStreamImpl,
) -> OrtStatusPtr {
    // SAFETY: a valid out-pointer; nothing stands for no streams.
    unsafe { stream.write(ptr::null_mut()) };
    OrtStatusPtr(ptr::null_mut())
}
