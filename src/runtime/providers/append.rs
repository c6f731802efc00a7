//! Puts a provider that is part of the library into a session's options.

use ort::AsPointer;
use ort::ep::{ArbitrarilyConfigurableExecutionProvider, CUDA, ExecutionProvider, TensorRT};
use ort::session::builder::SessionBuilder;

use super::Options;

/// How that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Append {
    /// By its device, though it is in every session.
    Always,
    /// By ONNX Runtime's name for it.
    ByName,
    /// By the structures that CUDA has for its options.
    Cuda,
    /// By those of TensorRT.
    TensorRt,
    /// It exists as a plug-in only.
    PlugInOnly,
}

impl Append {
    /// Puts the provider `runtime_name` in.
    ///
    /// # Errors
    /// Whatever ONNX Runtime says against it.
    pub fn to(
        self,
        builder: &mut SessionBuilder,
        environment: &ort::environment::Environment,
        runtime_name: &str,
        options: &Options,
    ) -> ort::Result<()> {
        match self {
            Self::Always => cpu(builder, environment),
            Self::ByName => by_name(builder, runtime_name, options),
            Self::Cuda => configured(CUDA::default(), options).register(builder),
            Self::TensorRt => configured(TensorRT::default(), options).register(builder),
            Self::PlugInOnly => {
                Err(ort::Error::new(format!("{runtime_name} exists as a plug-in only, and no plug-in has a device")))
            }
        }
    }
}

fn configured<P: ArbitrarilyConfigurableExecutionProvider>(provider: P, options: &Options) -> P {
    options.iter().fold(provider, |provider, (key, value)| provider.with_arbitrary_config(key, value))
}

fn by_name(builder: &mut SessionBuilder, runtime_name: &str, options: &Options) -> ort::Result<()> {
    let name = c_string(runtime_name)?;
    let (keys, values) = c_strings(options)?;
    let (keys, values) = (pointers(&keys), pointers(&values));
    // SAFETY: the builder is alive; the name and both arrays of as many NUL-terminated strings outlive the call, which
    // copies them.
    let status = unsafe {
        (ort::api().SessionOptionsAppendExecutionProvider)(
            builder.ptr_mut(),
            name.as_ptr(),
            keys.as_ptr(),
            values.as_ptr(),
            keys.len(),
        )
    };
    // SAFETY: the status comes from the call above and is consumed once.
    unsafe { ort::Error::result_from_status(status) }
}

/// Puts the plug-in's `device` in.
///
/// # Errors
/// Whatever the plug-in says against it.
pub fn device(
    builder: &mut SessionBuilder,
    environment: &ort::environment::Environment,
    device: &ort::device::Device<'_>,
    options: &Options,
) -> ort::Result<()> {
    let (keys, values) = c_strings(options)?;
    let (keys, values) = (pointers(&keys), pointers(&values));
    let devices = [device.ptr()];
    // SAFETY: builder, environment and device are alive, and the device is one of the environment's; the arrays hold as
    // many NUL-terminated strings as is said, and outlive the call, which copies them.
    let status = unsafe {
        (ort::api().SessionOptionsAppendExecutionProvider_V2)(
            builder.ptr_mut(),
            environment.ptr().cast_mut(),
            devices.as_ptr(),
            devices.len(),
            keys.as_ptr(),
            values.as_ptr(),
            keys.len(),
        )
    };
    // SAFETY: the status comes from the call above and is consumed once.
    unsafe { ort::Error::result_from_status(status) }
}

/// Puts the CPU in, by name.
///
/// A session to which no provider was given is given one by ONNX Runtime, as `ort` asks it to: a plug-in, if one was
/// registered in this process.
///
/// # Errors
/// Whatever ONNX Runtime says against it.
pub fn cpu(builder: &mut SessionBuilder, environment: &ort::environment::Environment) -> ort::Result<()> {
    let mut devices = environment.devices();
    match devices.find(|device| device.ep().is_ok_and(|name| name == super::CPU.runtime_name)) {
        Some(cpu) => device(builder, environment, &cpu, &Options::new()),
        None => Err(ort::Error::new("ONNX Runtime does not tell of its own CPU provider")),
    }
}

type CStrings = Vec<std::ffi::CString>;

fn c_strings(options: &Options) -> ort::Result<(CStrings, CStrings)> {
    let keys = options.iter().map(|(key, _)| c_string(key)).collect::<ort::Result<_>>()?;
    let values = options.iter().map(|(_, value)| c_string(value)).collect::<ort::Result<_>>()?;
    Ok((keys, values))
}

fn c_string(text: &str) -> ort::Result<std::ffi::CString> {
    std::ffi::CString::new(text).map_err(|_| ort::Error::new(format!("{text:?} contains a NUL character")))
}

fn pointers(strings: &[std::ffi::CString]) -> Vec<*const std::ffi::c_char> {
    strings.iter().map(|string| string.as_ptr()).collect()
}
