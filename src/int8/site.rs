//! A place in a model where one input feeds quantized linear layers, as the quantizer makes it and its file holds it.

use crate::error::{EmbeddingError, Result};

/// The longest group: a sum of so many products of an unsigned and a signed byte is an exact 32-bit integer.
pub(crate) const LONGEST_GROUP: usize = 65_536;

/// An input that one or several linear layers share (query, key and value; up and gate), and these layers.
///
/// The input is quantized once: its channels are put into `order`, cut into groups, and each row of each group has a
/// scale and a zero point of its own.
///
/// ```
/// use oxembed::int8::{QuantizedLinear, QuantizedSite};
///
/// let dense = QuantizedLinear {
///     key: "pooler.dense".to_owned(),
///     outputs: 1,
///     weight: vec![-127, 0, 64],
///     weight_scales: vec![0.5, 0.25],
///     bias: vec![1.0],
/// };
/// let site = QuantizedSite { inputs: 3, order: vec![2, 0, 1], groups: vec![1, 2], linears: vec![dense] };
/// site.check()?;
///
/// let twice = QuantizedSite { order: vec![2, 0, 2], ..site };
/// assert!(twice.check().unwrap_err().to_string().contains("pooler.dense.order"));
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedSite {
    /// Channels of the input.
    pub inputs: usize,
    /// A permutation of the channels: position `k` of a quantized row holds channel `order[k]`. The outliers are first.
    pub order: Vec<u32>,
    /// Lengths of the groups of positions; their sum is `inputs`.
    pub groups: Vec<usize>,
    /// The layers, at least one.
    pub linears: Vec<QuantizedLinear>,
}

/// One linear layer of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedLinear {
    /// The stem of its tensors in the model's own weights, or `stem[start:end]` where it is some rows of them.
    pub key: String,
    /// Length of a row of the result.
    pub outputs: usize,
    /// `(outputs, inputs)`, row-major, columns in the site's order, values in -127..=127.
    pub weight: Vec<i8>,
    /// `(groups, outputs)`: what one step of a weight is worth.
    pub weight_scales: Vec<f32>,
    /// `(outputs)`.
    pub bias: Vec<f32>,
}

/// The first thing about a site that does not fit.
#[derive(Debug)]
pub(crate) struct SiteProblem {
    /// Where it is: `key.order`, `key.weight`, …, as the file names it.
    pub(crate) part: String,
    /// What stands there.
    pub(crate) value: Option<String>,
    /// What is wrong with that.
    pub(crate) problem: String,
}

impl QuantizedSite {
    /// Whether the parts fit each other, so that nothing that is computed with them can fail.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidInput`] that names the part and what is wrong: no layers, two of one key, an `order` that
    /// is no permutation, groups that are empty, too long or do not sum up to the inputs, parts of other lengths than the
    /// shape asks for, a weight of -128, and numbers that are not finite.
    pub fn check(&self) -> Result<()> {
        self.find_problem().map_err(SiteProblem::into_error)
    }

    /// As [`QuantizedSite::check`], for who knows the file that the site is from.
    pub(crate) fn find_problem(&self) -> Result<(), SiteProblem> {
        let Some(first) = self.linears.first() else {
            return Err(SiteProblem::new(String::new(), None, "the site has no layers".to_owned()));
        };
        check_order(&format!("{}.order", first.key), &self.order, self.inputs)?;
        check_groups(&format!("{}.groups", first.key), &self.groups, self.inputs)?;
        for (index, linear) in self.linears.iter().enumerate() {
            if linear.key.is_empty() {
                return Err(SiteProblem::new(String::new(), None, "a layer has no key".to_owned()));
            }
            if self.linears.iter().take(index).any(|earlier| earlier.key == linear.key) {
                return Err(SiteProblem::new(linear.key.clone(), None, "two layers have this key".to_owned()));
            }
            self.check_linear(linear)?;
        }
        Ok(())
    }

    fn check_linear(&self, linear: &QuantizedLinear) -> Result<(), SiteProblem> {
        let QuantizedLinear { key, outputs, weight, weight_scales, bias } = linear;
        let part = |name: &str| format!("{key}.{name}");
        if *outputs == 0 {
            return Err(SiteProblem::new(part("weight"), None, "the layer has no outputs".to_owned()));
        }
        require_length(part("weight"), weight.len(), outputs.checked_mul(self.inputs))?;
        require_length(part("weight_scale"), weight_scales.len(), outputs.checked_mul(self.groups.len()))?;
        require_length(part("bias"), bias.len(), Some(*outputs))?;
        if weight.contains(&i8::MIN) {
            let problem = "weights are -127 to 127".to_owned();
            return Err(SiteProblem::new(part("weight"), Some(i8::MIN.to_string()), problem));
        }
        let is_impossible = |number: &&f32| !number.is_finite();
        for (name, numbers) in [("weight_scale", weight_scales), ("bias", bias)] {
            if let Some(number) = numbers.iter().find(is_impossible) {
                let problem = "every number must be finite".to_owned();
                return Err(SiteProblem::new(part(name), Some(number.to_string()), problem));
            }
        }
        Ok(())
    }
}

impl SiteProblem {
    /// For who made the site.
    pub(crate) fn into_error(self) -> EmbeddingError {
        let Self { part, value, problem } = self;
        let value = value.map(|value| format!(" = {value}")).unwrap_or_default();
        EmbeddingError::invalid_input(format!("the quantized site cannot be used: {part}{value}: {problem}"))
    }

    fn new(part: String, value: Option<String>, problem: String) -> Self {
        Self { part, value, problem }
    }
}

/// Whether the order, called `part`, is a permutation of `inputs` channels.
pub(crate) fn check_order(part: &str, order: &[u32], inputs: usize) -> Result<(), SiteProblem> {
    require_length(part.to_owned(), order.len(), Some(inputs))?;
    let mut seen = vec![false; inputs];
    for &channel in order {
        let place = usize::try_from(channel).ok().and_then(|channel| seen.get_mut(channel));
        let problem = match place {
            None => format!("it names a channel beyond the {inputs} of the input"),
            Some(true) => "it names a channel twice; each must stand there once".to_owned(),
            Some(place) => {
                *place = true;
                continue;
            }
        };
        return Err(SiteProblem::new(part.to_owned(), Some(channel.to_string()), problem));
    }
    Ok(())
}

/// Whether the groups, called `part`, cut `inputs` channels.
pub(crate) fn check_groups(part: &str, groups: &[usize], inputs: usize) -> Result<(), SiteProblem> {
    let refused = |problem| Err(SiteProblem::new(part.to_owned(), Some(listed(groups)), problem));
    if inputs == 0 {
        return refused("the input has no channels".to_owned());
    }
    if groups.iter().any(|&length| length == 0 || length > LONGEST_GROUP) {
        return refused(format!("a group can have 1 to {LONGEST_GROUP} channels"));
    }
    if groups.iter().try_fold(0_usize, |sum, &length| sum.checked_add(length)) != Some(inputs) {
        return refused(format!("the groups do not sum up to the {inputs} channels of the input"));
    }
    Ok(())
}

fn require_length(part: String, found: usize, expected: Option<usize>) -> Result<(), SiteProblem> {
    match expected {
        Some(expected) if expected == found => Ok(()),
        Some(expected) => {
            let problem = format!("its shape asks for {expected} numbers");
            Err(SiteProblem::new(part, Some(format!("{found} numbers")), problem))
        }
        None => Err(SiteProblem::new(part, None, "it is larger than this machine can address".to_owned())),
    }
}

/// The first few: a hostile file may list millions.
fn listed(groups: &[usize]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = groups.iter().take(SHOWN).map(ToString::to_string).collect();
    let rest = if groups.len() > SHOWN { ", …" } else { "" };
    format!("[{}{rest}]", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> QuantizedSite {
        let linear = |key: &str, outputs: usize| QuantizedLinear {
            key: key.to_owned(),
            outputs,
            weight: vec![127; 5 * outputs],
            weight_scales: vec![0.5; 2 * outputs],
            bias: vec![-1.0; outputs],
        };
        let linears = vec![linear("a", 3), linear("b", 1)];
        QuantizedSite { inputs: 5, order: vec![4, 0, 1, 2, 3], groups: vec![1, 4], linears }
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut QuantizedSite), words: &[&str]) {
        let mut site = site();
        site.check().unwrap();
        change(&mut site);
        let message = site.check().unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }

    #[test]
    fn an_order_that_is_no_permutation_is_refused() {
        refused(|site| site.order[1] = 4, &["a.order = 4", "twice"]);
        refused(|site| site.order[1] = 5, &["a.order = 5", "beyond the 5"]);
        refused(|site| site.order[1] = u32::MAX, &["a.order = 4294967295"]);
        refused(|site| site.order.truncate(4), &["a.order = 4 numbers", "5"]);
    }

    #[test]
    fn groups_that_do_not_cut_the_input_are_refused() {
        refused(|site| site.groups = vec![1, 3], &["a.groups = [1, 3]", "sum up to the 5"]);
        refused(|site| site.groups = vec![0, 5], &["a.groups = [0, 5]", "1 to 65536"]);
        refused(|site| site.groups = vec![usize::MAX, 6], &["a.groups"]);
        refused(|site| site.groups = vec![], &["a.groups = []"]);
    }

    #[test]
    fn layers_that_do_not_fit_are_refused() {
        refused(|site| site.linears.clear(), &["no layers"]);
        refused(|site| site.linears[1].key = "a".to_owned(), &["a: two layers"]);
        refused(|site| site.linears[1].key.clear(), &["no key"]);
        refused(|site| site.linears[1].outputs = 0, &["b.weight", "no outputs"]);
        refused(|site| site.linears[1].outputs = usize::MAX, &["b.weight", "larger than"]);
        refused(|site| site.linears[1].outputs = 2, &["b.weight = 5 numbers", "10"]);
        refused(|site| site.linears[0].weight_scales.truncate(5), &["a.weight_scale = 5 numbers", "6"]);
        refused(|site| site.linears[0].bias.push(0.0), &["a.bias = 4 numbers", "3"]);
    }

    #[test]
    fn numbers_that_no_kernel_can_use_are_refused() {
        refused(|site| site.linears[1].weight[4] = -128, &["b.weight = -128", "-127 to 127"]);
        refused(|site| site.linears[1].weight_scales[1] = f32::NAN, &["b.weight_scale = NaN", "finite"]);
        refused(|site| site.linears[0].bias[2] = f32::NEG_INFINITY, &["a.bias = -inf", "finite"]);
    }
}
