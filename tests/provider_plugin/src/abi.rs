//! What a plug-in and ONNX Runtime hand each other: the tables of `onnxruntime_ep_c_api.h` as of API version 23.
//!
//! Later versions only append, and ONNX Runtime reads of a table no more than its `ort_version_supported` has. What a
//! table may leave out is an `Option`; what this provider never fills in is an untyped one.

// The names are those of the C header, so that one can be read beside the other.
#![allow(non_snake_case)]

use std::ffi::{c_char, c_int, c_void};

use ort_sys::{
    OrtAllocator, OrtCompiledModelCompatibility, OrtEpDevice, OrtGraph, OrtHardwareDevice, OrtKernelContext,
    OrtKeyValuePairs, OrtLogger, OrtMemoryInfo, OrtNode, OrtRunOptions, OrtSessionOptions, OrtStatusPtr,
};

/// The version of ONNX Runtime's API whose tables these are; the first one with plug-ins that compile nodes.
pub const API_VERSION: u32 = 23;

/// A function that this provider never has.
pub type Absent = Option<unsafe extern "system" fn()>;

/// Declares types that only ONNX Runtime looks into.
macro_rules! opaque {
    ($($name:ident),+) => { $(
        #[doc = concat!("`", stringify!($name), "` of the C API: only its address is ours.")]
        #[repr(C)]
        pub struct $name {
            _unused: [u8; 0],
        }
    )+ };
}

opaque!(OrtEpGraphSupportInfo, OrtNodeComputeContext, OrtMemoryDevice, OrtDataTransferImpl, OrtSyncStreamImpl);

/// The beginning of the functions that ONNX Runtime has for plug-ins.
#[repr(C)]
pub struct OrtEpApi {
    pub CreateEpDevice: unsafe extern "system" fn(
        factory: *mut OrtEpFactory,
        hardware: *const OrtHardwareDevice,
        metadata: *const OrtKeyValuePairs,
        options: *const OrtKeyValuePairs,
        device: *mut *mut OrtEpDevice,
    ) -> OrtStatusPtr,
    pub ReleaseEpDevice: unsafe extern "system" fn(device: *mut OrtEpDevice),
    pub EpGraphSupportInfo_AddNodesToFuse: unsafe extern "system" fn(
        support: *mut OrtEpGraphSupportInfo,
        nodes: *const *const OrtNode,
        count: usize,
        options: *const OrtNodeFusionOptions,
    ) -> OrtStatusPtr,
}

/// How claimed nodes are fused.
#[repr(C)]
pub struct OrtNodeFusionOptions {
    pub ort_version_supported: u32,
    pub drop_constant_initializers: bool,
}

/// What makes providers: one for each registration of the library.
#[repr(C)]
pub struct OrtEpFactory {
    pub ort_version_supported: u32,
    pub GetName: unsafe extern "system" fn(this: *const OrtEpFactory) -> *const c_char,
    pub GetVendor: unsafe extern "system" fn(this: *const OrtEpFactory) -> *const c_char,
    pub GetSupportedDevices: unsafe extern "system" fn(
        this: *mut OrtEpFactory,
        hardware: *const *const OrtHardwareDevice,
        count: usize,
        devices: *mut *mut OrtEpDevice,
        most_devices: usize,
        device_count: *mut usize,
    ) -> OrtStatusPtr,
    pub CreateEp: unsafe extern "system" fn(
        this: *mut OrtEpFactory,
        hardware: *const *const OrtHardwareDevice,
        metadata: *const *const OrtKeyValuePairs,
        count: usize,
        options: *const OrtSessionOptions,
        logger: *const OrtLogger,
        provider: *mut *mut OrtEp,
    ) -> OrtStatusPtr,
    pub ReleaseEp: unsafe extern "system" fn(this: *mut OrtEpFactory, provider: *mut OrtEp),
    pub GetVendorId: unsafe extern "system" fn(this: *const OrtEpFactory) -> u32,
    pub GetVersion: unsafe extern "system" fn(this: *const OrtEpFactory) -> *const c_char,
    pub ValidateCompiledModelCompatibilityInfo: unsafe extern "system" fn(
        this: *mut OrtEpFactory,
        hardware: *const *const OrtHardwareDevice,
        count: usize,
        information: *const c_char,
        compatibility: *mut OrtCompiledModelCompatibility,
    ) -> OrtStatusPtr,
    pub CreateAllocator: unsafe extern "system" fn(
        this: *mut OrtEpFactory,
        memory: *const OrtMemoryInfo,
        options: *const OrtKeyValuePairs,
        allocator: *mut *mut OrtAllocator,
    ) -> OrtStatusPtr,
    pub ReleaseAllocator: unsafe extern "system" fn(this: *mut OrtEpFactory, allocator: *mut OrtAllocator),
    pub CreateDataTransfer:
        unsafe extern "system" fn(this: *mut OrtEpFactory, transfer: *mut *mut OrtDataTransferImpl) -> OrtStatusPtr,
    pub IsStreamAware: unsafe extern "system" fn(this: *const OrtEpFactory) -> bool,
    pub CreateSyncStreamForDevice: unsafe extern "system" fn(
        this: *mut OrtEpFactory,
        memory: *const OrtMemoryDevice,
        options: *const OrtKeyValuePairs,
        stream: *mut *mut OrtSyncStreamImpl,
    ) -> OrtStatusPtr,
}

/// The provider of one session.
#[repr(C)]
pub struct OrtEp {
    pub ort_version_supported: u32,
    pub GetName: unsafe extern "system" fn(this: *const OrtEp) -> *const c_char,
    pub GetCapability: unsafe extern "system" fn(
        this: *mut OrtEp,
        graph: *const OrtGraph,
        support: *mut OrtEpGraphSupportInfo,
    ) -> OrtStatusPtr,
    pub Compile: unsafe extern "system" fn(
        this: *mut OrtEp,
        graphs: *const *const OrtGraph,
        fused_nodes: *const *const OrtNode,
        count: usize,
        kernels: *mut *mut OrtNodeComputeInfo,
        context_nodes: *mut *mut OrtNode,
    ) -> OrtStatusPtr,
    pub ReleaseNodeComputeInfos:
        unsafe extern "system" fn(this: *mut OrtEp, kernels: *mut *mut OrtNodeComputeInfo, count: usize),
    pub GetPreferredDataLayout: Absent,
    pub ShouldConvertDataLayoutForOp: Absent,
    pub SetDynamicOptions: Absent,
    pub OnRunStart: Option<unsafe extern "system" fn(this: *mut OrtEp, options: *const OrtRunOptions) -> OrtStatusPtr>,
    pub OnRunEnd: Absent,
    pub CreateAllocator: Absent,
    pub CreateSyncStreamForDevice: Absent,
    pub GetCompiledModelCompatibilityInfo: Absent,
}

/// The computation of one fused node.
#[repr(C)]
pub struct OrtNodeComputeInfo {
    pub ort_version_supported: u32,
    pub CreateState: unsafe extern "system" fn(
        this: *mut OrtNodeComputeInfo,
        context: *mut OrtNodeComputeContext,
        state: *mut *mut c_void,
    ) -> OrtStatusPtr,
    pub Compute: unsafe extern "system" fn(
        this: *mut OrtNodeComputeInfo,
        state: *mut c_void,
        context: *mut OrtKernelContext,
    ) -> OrtStatusPtr,
    pub ReleaseState: unsafe extern "system" fn(this: *mut OrtNodeComputeInfo, state: *mut c_void),
}

/// ONNX's number of the type float32, read as a plain integer: a newer runtime may know types that no enum here has.
pub const FLOAT32: c_int = 1;
