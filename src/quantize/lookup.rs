//! Finding a site in a quantized model.

use super::file::QuantizedModel;
use crate::error::{EmbeddingError, Result};
use crate::int8::QuantizedSite;

impl QuantizedModel {
    /// The site whose first layer is `key`.
    pub fn site(&self, key: &str) -> Option<&QuantizedSite> {
        self.sites.iter().find(|site| site.linears.first().is_some_and(|linear| linear.key == key))
    }

    /// Numbers in the quantized matrices.
    pub fn parameters(&self) -> usize {
        self.sites.iter().flat_map(|site| &site.linears).map(|linear| linear.weight.len()).sum()
    }

    /// Whether the layers of these keys and widths are a site.
    ///
    /// # Errors
    /// `InvalidInput` where a site of the first key has other layers or another shape.
    pub(crate) fn has_site(&self, keys: &[String], inputs: usize, outputs: &[usize]) -> Result<bool> {
        let Some(site) = keys.first().and_then(|key| self.site(key)) else { return Ok(false) };
        let layers = || site.linears.iter().map(|linear| (linear.key.as_str(), linear.outputs));
        let expected = || keys.iter().map(String::as_str).zip(outputs.iter().copied());
        if site.inputs == inputs && layers().eq(expected()) {
            return Ok(true);
        }
        Err(EmbeddingError::invalid_input(format!(
            "the int8 layers {:?} take {} inputs to {:?}, and the model's {keys:?} take {inputs} to {outputs:?}: they were \
             made for another config.json; run `oxembed quantize` again",
            layers().map(|(key, _)| key).collect::<Vec<_>>(),
            site.inputs,
            layers().map(|(_, outputs)| outputs).collect::<Vec<_>>(),
        )))
    }
}
