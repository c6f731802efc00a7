//! ONNX Runtime's functions, called with Rust's types.
//!
//! Its objects are references here. A reference is only made of a pointer that ONNX Runtime handed over, and lives no
//! longer than the call for which it did; so every call below gets valid objects.

use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{self, AssertUnwindSafe};
use std::ptr;

use ort_sys::{
    OrtApi, OrtApiBase, OrtErrorCode, OrtGraph, OrtKernelContext, OrtNode, OrtOpAttr, OrtOpAttrType, OrtSessionOptions,
    OrtStatusPtr, OrtTensorTypeAndShapeInfo, OrtValue, OrtValueInfo,
};

use crate::abi::{API_VERSION, FLOAT32, OrtEpApi, OrtEpGraphSupportInfo, OrtNodeFusionOptions};
use crate::failure::{Failure, Result};

/// The tables of functions. They are constants of ONNX Runtime, which stays loaded while a plug-in is.
#[derive(Clone, Copy)]
pub struct Runtime {
    pub api: &'static OrtApi,
    pub providers: &'static OrtEpApi,
}

/// A tensor of numbers that some node reads.
pub struct Tensor<'run> {
    pub shape: Vec<usize>,
    pub values: &'run [f32],
}

impl Runtime {
    /// The tables of the version that `abi` describes.
    ///
    /// # Errors
    /// A status where ONNX Runtime is too old to have them.
    ///
    /// # Safety
    /// `base` is what ONNX Runtime passes to a plug-in.
    pub unsafe fn new(base: *const OrtApiBase) -> std::result::Result<Self, OrtStatusPtr> {
        // SAFETY: `base` is valid, as the caller promises; its functions can be called at any time.
        unsafe {
            let api = ((*base).GetApi)(API_VERSION);
            if let Some(api) = api.as_ref() {
                return Ok(Self { api, providers: &*(api.GetEpApi)().cast() });
            }
            // A table of the first version is all that any runtime has. It is shorter, so no reference to it is made.
            let first = ((*base).GetApi)(1);
            let message = c"the test provider needs ONNX Runtime 1.23 or newer";
            Err(((*first).CreateStatus)(OrtErrorCode::ORT_NOT_IMPLEMENTED, message.as_ptr()))
        }
    }

    /// Does some work for ONNX Runtime: an error or a panic becomes a status.
    pub fn answer(&self, work: impl FnOnce() -> Result<()>) -> OrtStatusPtr {
        let done = panic::catch_unwind(AssertUnwindSafe(work));
        match done.unwrap_or_else(|_| Err("the test provider panicked; stderr says where".into())) {
            Ok(()) => OrtStatusPtr(ptr::null_mut()),
            Err(Failure(message)) => {
                let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
                // SAFETY: the message ends with NUL, and ONNX Runtime copies it.
                unsafe { (self.api.CreateStatus)(OrtErrorCode::ORT_EP_FAIL, message.as_ptr()) }
            }
        }
    }

    /// Turns a status into an error with its message.
    pub fn check(&self, status: OrtStatusPtr) -> Result<()> {
        let OrtStatusPtr(status) = status;
        if status.is_null() {
            return Ok(());
        }
        // SAFETY: a status that a call just returned; it is read, then released, once.
        let message = unsafe {
            let message = CStr::from_ptr((self.api.GetErrorMessage)(status)).to_string_lossy().into_owned();
            (self.api.ReleaseStatus)(status);
            message
        };
        Err(message.into())
    }

    /// The entries of a session's configuration.
    pub fn configuration(&self, options: &OrtSessionOptions) -> Result<Vec<(String, String)>> {
        let mut pairs = ptr::null_mut();
        // SAFETY: valid options and a valid out-pointer.
        self.check(unsafe { (self.api.GetSessionOptionsConfigEntries)(options, &raw mut pairs) })?;
        let (mut keys, mut values, mut count) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the pairs were just made; they own both arrays, of `count` strings that end with NUL, until they are
        // released, once, below.
        unsafe {
            (self.api.GetKeyValuePairs)(pairs, &raw mut keys, &raw mut values, &raw mut count);
            let entries = (0..count).map(|index| (text(*keys.add(index)), text(*values.add(index)))).collect();
            (self.api.ReleaseKeyValuePairs)(pairs);
            Ok(entries)
        }
    }

    /// The nodes of a graph, each before those that need its outputs.
    pub fn nodes<'graph>(&self, graph: &'graph OrtGraph) -> Result<Vec<&'graph OrtNode>> {
        let nodes = self.list(
            // SAFETY: a valid graph and a valid out-pointer.
            |count| unsafe { (self.api.Graph_GetNumNodes)(graph, count) },
            // SAFETY: the array has as many places as the graph has nodes; the nodes live as long as the graph.
            |nodes, count| unsafe { (self.api.Graph_GetNodes)(graph, nodes, count) },
        )?;
        Ok(nodes.into_iter().flatten().collect())
    }

    /// The domain and the name of a node's operator.
    pub fn operator<'graph>(&self, node: &'graph OrtNode) -> Result<(&'graph str, &'graph str)> {
        // SAFETY: a valid node and valid out-pointers.
        let domain = self.name(|name| unsafe { (self.api.Node_GetDomain)(node, name) })?;
        // SAFETY: as above.
        Ok((domain, self.name(|name| unsafe { (self.api.Node_GetOperatorType)(node, name) })?))
    }

    /// The inputs of a node, with nothing where an optional one is left out.
    pub fn inputs<'graph>(&self, node: &'graph OrtNode) -> Result<Vec<Option<&'graph OrtValueInfo>>> {
        self.list(
            // SAFETY: a valid node and a valid out-pointer.
            |count| unsafe { (self.api.Node_GetNumInputs)(node, count) },
            // SAFETY: the array has as many places as the node has inputs; they live as long as the graph.
            |inputs, count| unsafe { (self.api.Node_GetInputs)(node, inputs, count) },
        )
    }

    /// The name of a value.
    pub fn value_name<'graph>(&self, value: &'graph OrtValueInfo) -> Result<&'graph str> {
        // SAFETY: a valid value and a valid out-pointer.
        self.name(|name| unsafe { (self.api.GetValueInfoName)(value, name) })
    }

    /// Whether a value is the same in every run.
    pub fn is_constant(&self, value: &OrtValueInfo) -> Result<bool> {
        let mut is_constant = false;
        // SAFETY: a valid value and a valid out-pointer.
        self.check(unsafe { (self.api.ValueInfo_IsConstantInitializer)(value, &raw mut is_constant) })?;
        Ok(is_constant)
    }

    /// How many axes a value has, where it is a tensor of float32; 0 where that is unknown.
    pub fn float_axes(&self, value: &OrtValueInfo) -> Result<Option<usize>> {
        let (mut kind, mut tensor) = (ptr::null(), ptr::null());
        // SAFETY: a valid value and a valid out-pointer; the value keeps what it returns.
        self.check(unsafe { (self.api.GetValueInfoTypeInfo)(value, &raw mut kind) })?;
        if kind.is_null() {
            return Ok(None);
        }
        // SAFETY: not null, so valid; a valid out-pointer.
        self.check(unsafe { (self.api.CastTypeInfoToTensorInfo)(kind, &raw mut tensor) })?;
        // SAFETY: the value keeps this, too, so a reference for this call is valid where it is not null.
        let Some(tensor) = (unsafe { tensor.as_ref() }) else { return Ok(None) };
        if !self.is_float(tensor)? {
            return Ok(None);
        }
        let mut axes = 0;
        // SAFETY: valid information and a valid out-pointer.
        self.check(unsafe { (self.api.GetDimensionsCount)(tensor, &raw mut axes) })?;
        Ok(Some(axes))
    }

    /// A node's attribute that is an integer.
    pub fn integer(&self, node: &OrtNode, name: &str) -> Result<Option<i64>> {
        self.attribute(node, name, OrtOpAttrType::ORT_OP_ATTR_INT, 0)
    }

    /// A node's attribute that is a number.
    pub fn float(&self, node: &OrtNode, name: &str) -> Result<Option<f32>> {
        self.attribute(node, name, OrtOpAttrType::ORT_OP_ATTR_FLOAT, 0.0)
    }

    /// Claims one node, to be compiled by itself.
    pub fn claim(&self, support: *mut OrtEpGraphSupportInfo, node: &OrtNode) -> Result<()> {
        let options = OrtNodeFusionOptions { ort_version_supported: API_VERSION, drop_constant_initializers: false };
        let nodes = [ptr::from_ref(node)];
        // SAFETY: `support` comes with the graph that the node is of; node and options are copied.
        self.check(unsafe {
            (self.providers.EpGraphSupportInfo_AddNodesToFuse)(support, nodes.as_ptr(), nodes.len(), &raw const options)
        })
    }

    /// An input of a fused node, in the run that computes it.
    pub fn input<'run>(&self, context: &'run OrtKernelContext, index: usize) -> Result<Tensor<'run>> {
        let (mut value, mut information) = (ptr::null(), ptr::null_mut());
        // SAFETY: a valid context and a valid out-pointer; the value lives as long as the run.
        self.check(unsafe { (self.api.KernelContext_GetInput)(context, index, &raw mut value) })?;
        if value.is_null() {
            return Err(format!("input {index} is missing").into());
        }
        // SAFETY: not null, so valid; a valid out-pointer.
        self.check(unsafe { (self.api.GetTensorTypeAndShape)(value, &raw mut information) })?;
        // SAFETY: the call went well, so this was made for us.
        let shape = self.float_shape(unsafe { &*information });
        // SAFETY: released once, after its last use.
        unsafe { (self.api.ReleaseTensorTypeAndShapeInfo)(information) };
        let shape = shape?;
        let mut data = ptr::null();
        // SAFETY: a valid tensor and a valid out-pointer.
        self.check(unsafe { (self.api.GetTensorData)(value, &raw mut data) })?;
        let count = shape.iter().product();
        // A tensor without numbers need not have an address.
        let values =
            // SAFETY: a tensor of float32 on the CPU has as many numbers, aligned, as its shape says; no one writes to
            // the input of a node that runs.
            if count == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(data.cast(), count) } };
        Ok(Tensor { shape, values })
    }

    /// The output of a fused node with one, to be written.
    ///
    /// # Safety
    /// The context is that of a run that outlives the result, which is the only reference to this output.
    pub unsafe fn output<'run>(&self, context: *mut OrtKernelContext, shape: &[usize]) -> Result<&'run mut [f32]> {
        let axes = shape.iter().map(|axis| i64::try_from(*axis)).collect::<std::result::Result<Vec<_>, _>>();
        let axes = axes.map_err(|_| "an output is too large")?;
        let (mut value, mut data): (*mut OrtValue, _) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: a valid context and a valid out-pointer; the shape is copied.
        let status =
            unsafe { (self.api.KernelContext_GetOutput)(context, 0, axes.as_ptr(), axes.len(), &raw mut value) };
        self.check(status)?;
        // SAFETY: the tensor was just made; a valid out-pointer.
        self.check(unsafe { (self.api.GetTensorMutableData)(value, &raw mut data) })?;
        let count = shape.iter().product();
        if count == 0 {
            return Ok(&mut []);
        }
        // SAFETY: the output of a float32 node, made with this shape; any bits are a float32. The caller
        // promises that it is ours alone.
        Ok(unsafe { std::slice::from_raw_parts_mut(data.cast(), count) })
    }

    fn float_shape(&self, information: &OrtTensorTypeAndShapeInfo) -> Result<Vec<usize>> {
        if !self.is_float(information)? {
            return Err("an input is not float32".into());
        }
        let mut axes = 0;
        // SAFETY: valid information and a valid out-pointer.
        self.check(unsafe { (self.api.GetDimensionsCount)(information, &raw mut axes) })?;
        let mut shape = vec![0_i64; axes];
        // SAFETY: the array has as many places as there are axes.
        self.check(unsafe { (self.api.GetDimensions)(information, shape.as_mut_ptr(), axes) })?;
        shape.into_iter().map(|axis| usize::try_from(axis).map_err(|_| "an input has no shape".into())).collect()
    }

    fn is_float(&self, information: &OrtTensorTypeAndShapeInfo) -> Result<bool> {
        let mut element: c_int = 0;
        // SAFETY: valid information; C's enumeration is an integer of this size, and any value is one of `c_int`.
        self.check(unsafe { (self.api.GetTensorElementType)(information, (&raw mut element).cast()) })?;
        Ok(element == FLOAT32)
    }

    fn attribute<T>(&self, node: &OrtNode, name: &str, kind: OrtOpAttrType, empty: T) -> Result<Option<T>> {
        let attributes: Vec<Option<&OrtOpAttr>> = self.list(
            // SAFETY: a valid node and a valid out-pointer.
            |count| unsafe { (self.api.Node_GetNumAttributes)(node, count) },
            // SAFETY: the array has as many places as the node has attributes; they live as long as the graph.
            |attributes, count| unsafe { (self.api.Node_GetAttributes)(node, attributes, count) },
        )?;
        for attribute in attributes.into_iter().flatten() {
            // SAFETY: a valid attribute and a valid out-pointer.
            if self.name(|name| unsafe { (self.api.OpAttr_GetName)(attribute, name) })? != name {
                continue;
            }
            let (mut value, mut written) = (empty, 0);
            let size = size_of::<T>();
            // SAFETY: ONNX Runtime writes only where the attribute is of this kind, and at most `size` bytes.
            let status =
                unsafe { (self.api.ReadOpAttr)(attribute, kind, (&raw mut value).cast(), size, &raw mut written) };
            self.check(status)?;
            return Ok(Some(value));
        }
        Ok(None)
    }

    /// A string that lives as long as the thing that it names.
    fn name<'thing>(&self, read: impl FnOnce(*mut *const c_char) -> OrtStatusPtr) -> Result<&'thing str> {
        let mut name = ptr::null();
        self.check(read(&raw mut name))?;
        if name.is_null() {
            return Err("ONNX Runtime has no name for something".into());
        }
        // SAFETY: not null, ends with NUL, and is owned by what it names.
        unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| "a name is not UTF-8".into())
    }

    /// Things of which ONNX Runtime first says how many there are.
    fn list<'owner, T>(
        &self,
        count: impl FnOnce(*mut usize) -> OrtStatusPtr,
        fill: impl FnOnce(*mut *const T, usize) -> OrtStatusPtr,
    ) -> Result<Vec<Option<&'owner T>>> {
        let mut length = 0;
        self.check(count(&raw mut length))?;
        let mut things = vec![ptr::null(); length];
        if length > 0 {
            self.check(fill(things.as_mut_ptr(), length))?;
        }
        // SAFETY: each is null or valid for as long as its owner, as the caller's types say.
        Ok(things.into_iter().map(|thing| unsafe { thing.as_ref() }).collect())
    }
}

/// A copy of a string that ends with NUL.
///
/// # Safety
/// It is one.
unsafe fn text(string: *const c_char) -> String {
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}
