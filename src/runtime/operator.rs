//! The operator of quantized linear layers: ONNX Runtime calls it, the kernels of [`crate::int8`] compute it.
//!
//! The layers' numbers never enter ONNX Runtime. A node names its site, and the operator finds the packed layers of that
//! name, one copy for all sessions of a model.

use std::collections::HashMap;
use std::sync::Arc;

use ort::operator::{
    BoxedKernel, ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType::Float32;

use crate::graph::{LINEAR_OPERATOR, OPERATOR_DOMAIN, SITE_ATTRIBUTE};
use crate::int8::{PackedSite, on_this_thread};

/// The packed sites of a model, by name.
pub type PackedSites = HashMap<String, Arc<PackedSite>>;

/// The domain of the operator for a session whose nodes name some of `sites`.
///
/// # Errors
/// Where ONNX Runtime refuses it.
pub fn domain(sites: &Arc<PackedSites>) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(OPERATOR_DOMAIN)?.add(QuantizedLinear { sites: Arc::clone(sites) })
}

struct QuantizedLinear {
    sites: Arc<PackedSites>,
}

impl Operator for QuantizedLinear {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        LINEAR_OPERATOR
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        // One for each layer of the site.
        [OperatorOutput::variadic(1).homogenous(Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let name: String = context
            .get(SITE_ATTRIBUTE)
            .ok_or_else(|| ort::Error::new(format!("{LINEAR_OPERATOR} has no attribute {SITE_ATTRIBUTE}")))?;
        let site =
            self.sites.get(&name).ok_or_else(|| ort::Error::new(format!("there is no quantized site {name:?}")))?;
        Ok(Box::new(SiteKernel { site: Arc::clone(site) }))
    }
}

struct SiteKernel {
    site: Arc<PackedSite>,
}

impl Kernel for SiteKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let input = context.input(0)?.ok_or_else(|| ort::Error::new("the input is missing"))?;
        let (_, rows) = input.try_extract_tensor::<f32>()?;
        let count = rows.len() / self.site.inputs();
        let mut values = Vec::with_capacity(self.site.outputs().len());
        for (index, outputs) in self.site.outputs().enumerate() {
            let output = context.output(index, [count as u64, outputs as u64].map(u64::cast_signed))?;
            values.push(output.ok_or_else(|| ort::Error::new("an output is missing"))?);
        }
        let mut outputs = Vec::with_capacity(values.len());
        for value in &mut values {
            outputs.push(value.try_extract_tensor_mut::<f32>()?.1);
        }
        let parallel_for = |tasks: usize, task: &(dyn Fn(usize) + Sync)| {
            if context.par_for(tasks, 0, task).is_err() {
                // Without threads of the session, this one does it all.
                on_this_thread(tasks, task);
            }
        };
        self.site.run(rows, &mut outputs, &parallel_for).map_err(|error| ort::Error::new(error.to_string()))
    }
}
