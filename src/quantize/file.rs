//! `int8.safetensors`: the quantized layers of a model, what they were made of and how good they are.
//!
//! A layer `key` has the tensors `key.weight` (I8, `(outputs, inputs)`), `key.weight_scale` (F32, `(groups, outputs)`) and
//! `key.bias` (F32, `(outputs)`); the first layer of a site has the site's `key.order` (I32, `(inputs)`) and `key.groups`
//! (I32, `(groups)`). The metadata are `format`, `recipe`, `source_sha256`, `quality` and `sites`; the last two are JSON,
//! `sites` a list of the keys of each site.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::Serialize;

use super::quality::Quality;
use super::stored::Stored;
use crate::error::{EmbeddingError, Result};
use crate::int8::{QuantizedLinear, QuantizedSite, SiteProblem};
use crate::unfinished::Unfinished;

/// The version of what is done to a model; another one's file is made again.
pub const RECIPE: &str = "1";

/// The `format` of the metadata.
pub(super) const FORMAT: &str = "oxembed-int8";
/// Bytes that the header is a multiple of, so that the numbers behind it are aligned.
const ALIGNMENT: usize = 8;
/// Bytes of a SHA-256 as text.
const SHA256_DIGITS: usize = 64;
/// Integers turned into bytes at a time.
const BLOCK: usize = 1 << 16;

/// A quantized model as its file holds it.
///
/// ```
/// use oxembed::int8::{QuantizedLinear, QuantizedSite};
/// use oxembed::quantize::{Quality, QuantizedModel, RECIPE};
///
/// let dense = QuantizedLinear {
///     key: "dense".to_owned(),
///     outputs: 1,
///     weight: vec![-127, 64],
///     weight_scales: vec![0.5],
///     bias: vec![1.0],
/// };
/// let model = QuantizedModel {
///     sites: vec![QuantizedSite { inputs: 2, order: vec![1, 0], groups: vec![2], linears: vec![dense] }],
///     recipe: RECIPE.to_owned(),
///     source_sha256: "0".repeat(64),
///     quality: Quality::default(),
/// };
/// let folder = tempfile::tempdir().unwrap();
/// let path = model.write(&folder.path().join("int8.safetensors"))?;
/// assert_eq!(QuantizedModel::read(&path)?, model);
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedModel {
    /// Its sites, in the order in which the model runs them.
    pub sites: Vec<QuantizedSite>,
    /// How it was made: [`RECIPE`].
    pub recipe: String,
    /// The SHA-256 of the weights that it was made of, in 64 lower-case hexadecimal digits.
    pub source_sha256: String,
    /// How near its vectors come to the model's own.
    pub quality: Quality,
}

impl QuantizedModel {
    /// Reads the file at `path`. What it returns has passed every check: no kernel can fail on it.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidModel`], which names the tensor or the key of the metadata and says what would work, where
    /// the file is missing, truncated, of another format or recipe, or does not fit itself.
    pub fn read(path: &Path) -> Result<Self> {
        let mut stored = Stored::open(path)?;
        stored.require_metadata("format", FORMAT)?;
        stored.require_metadata("recipe", RECIPE)?;
        let source_sha256 = stored.metadata("source_sha256")?.to_owned();
        if !is_sha256(&source_sha256) {
            let problem = "this is not a SHA-256 in 64 lower-case hexadecimal digits";
            return Err(stored.refused_metadata("source_sha256", Some(source_sha256), problem));
        }
        let quality = stored.json::<Quality>("quality")?;
        let lists = stored.json::<Vec<Vec<String>>>("sites")?;
        let mut keys = BTreeSet::new();
        let mut sites = Vec::new();
        for list in &lists {
            if let Some(key) = list.iter().find(|key| !keys.insert(key.as_str())) {
                return Err(stored.refused_metadata("sites", Some(key.clone()), "two layers have this key"));
            }
            let site = read_site(&mut stored, list)?;
            site.find_problem()
                .map_err(|SiteProblem { part, value, problem }| stored.refused(&part, value, &problem))?;
            sites.push(site);
        }
        stored.require_nothing_left()?;
        Ok(Self { sites, recipe: RECIPE.to_owned(), source_sha256, quality })
    }

    /// Writes the file, which has its name only when it is whole, and returns its path. Equal models are equal bytes.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidInput`] where the model would be refused by [`QuantizedModel::read`], and where the file
    /// cannot be written.
    pub fn write(&self, path: &Path) -> Result<PathBuf> {
        self.check()?;
        let tensors = self.tensors()?;
        let header = self.header(&tensors)?;
        let never = &mut || ControlFlow::Continue(());
        let unfinished = Unfinished::write(path, never, |file| {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(header.as_bytes())?;
            tensors.iter().try_for_each(|tensor| tensor.write(file))
        })?;
        unfinished.finish()
    }

    fn check(&self) -> Result<()> {
        let refused = |problem: &str| EmbeddingError::invalid_input(format!("int8 cannot be written: {problem}"));
        if self.recipe != RECIPE {
            return Err(refused(&format!("the recipe is {:?}; {RECIPE:?} is understood", self.recipe)));
        }
        if !is_sha256(&self.source_sha256) {
            return Err(refused("source_sha256 is not 64 lower-case hexadecimal digits"));
        }
        if !self.quality.is_finite() {
            return Err(refused("a figure of the quality is not finite"));
        }
        let mut keys = BTreeSet::new();
        for linear in self.sites.iter().flat_map(|site| &site.linears) {
            if !keys.insert(linear.key.as_str()) {
                return Err(refused(&format!("two layers have the key {:?}", linear.key)));
            }
        }
        self.sites.iter().try_for_each(QuantizedSite::check)
    }

    /// All tensors in the order of the file: larger numbers first, as readers that map it expect, then by name.
    fn tensors(&self) -> Result<Vec<Tensor<'_>>> {
        let mut tensors = Vec::new();
        for site in &self.sites {
            if let Some(first) = site.linears.first() {
                let order = site.order.iter().map(|&channel| channel as usize).collect();
                for (name, numbers) in [("order", order), ("groups", site.groups.clone())] {
                    let name = format!("{}.{name}", first.key);
                    let numbers: Option<Vec<i32>> =
                        numbers.into_iter().map(|number: usize| i32::try_from(number).ok()).collect();
                    let numbers = numbers.ok_or_else(|| {
                        EmbeddingError::invalid_input(format!("int8 cannot be written: {name} is beyond 31 bits"))
                    })?;
                    tensors.push(Tensor { name, shape: vec![numbers.len()], numbers: Numbers::I32(numbers) });
                }
            }
            for QuantizedLinear { key, outputs, weight, weight_scales, bias } in &site.linears {
                let tensor = |name: &str, shape: &[usize], numbers| Tensor {
                    name: format!("{key}.{name}"),
                    shape: shape.to_vec(),
                    numbers,
                };
                tensors.push(tensor("weight", &[*outputs, site.inputs], Numbers::I8(weight)));
                tensors.push(tensor("weight_scale", &[site.groups.len(), *outputs], Numbers::F32(weight_scales)));
                tensors.push(tensor("bias", &[*outputs], Numbers::F32(bias)));
            }
        }
        tensors.sort_by(|one, other| (other.numbers.size(), &one.name).cmp(&(one.numbers.size(), &other.name)));
        Ok(tensors)
    }

    /// The header, with keys in an order of our own: the `safetensors` crate writes the metadata in a random one.
    fn header(&self, tensors: &[Tensor<'_>]) -> Result<String> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Member<'a> {
            Metadata(BTreeMap<&'a str, String>),
            Tensor(TensorInfo),
        }
        let lost = |error: serde_json::Error| EmbeddingError::internal(format!("the header is no JSON: {error}"));
        let keys = |site: &QuantizedSite| site.linears.iter().map(|linear| linear.key.clone()).collect();
        let sites: Vec<Vec<String>> = self.sites.iter().map(keys).collect();
        let metadata = BTreeMap::from([
            ("format", FORMAT.to_owned()),
            ("recipe", self.recipe.clone()),
            ("source_sha256", self.source_sha256.clone()),
            ("quality", serde_json::to_string(&self.quality).map_err(lost)?),
            ("sites", serde_json::to_string(&sites).map_err(lost)?),
        ]);
        let mut members = IndexMap::from([("__metadata__", Member::Metadata(metadata))]);
        let mut offset = 0;
        for tensor in tensors {
            let end = offset + tensor.numbers.bytes();
            let info =
                TensorInfo { dtype: tensor.numbers.dtype(), shape: tensor.shape.clone(), data_offsets: (offset, end) };
            if members.insert(&tensor.name, Member::Tensor(info)).is_some() {
                let problem = format!("int8 cannot be written: two tensors have the name {:?}", tensor.name);
                return Err(EmbeddingError::invalid_input(problem));
            }
            offset = end;
        }
        let mut header = serde_json::to_string(&members).map_err(lost)?;
        header.push_str(&" ".repeat(header.len().next_multiple_of(ALIGNMENT) - header.len()));
        Ok(header)
    }
}

/// The layers `keys` and what they share.
fn read_site(stored: &mut Stored, keys: &[String]) -> Result<QuantizedSite> {
    let Some(first) = keys.first() else {
        return Err(stored.refused_metadata("sites", Some("[]".to_owned()), "a site has no layers"));
    };
    let (order, groups) = (format!("{first}.order"), format!("{first}.groups"));
    let order = stored.counts(&order)?;
    let groups = stored.counts(&groups)?;
    let inputs = order.len();
    let groups: Vec<usize> = groups.into_iter().map(|length| length as usize).collect();
    let mut linears = Vec::new();
    for key in keys {
        let bias = stored.singles(&format!("{key}.bias"), &[None])?;
        let outputs = bias.len();
        let weight = stored.bytes_of(&format!("{key}.weight"), Dtype::I8, &[Some(outputs), Some(inputs)])?;
        let weight = weight.iter().map(|byte| byte.cast_signed()).collect();
        let shape = [Some(groups.len()), Some(outputs)];
        let weight_scales = stored.singles(&format!("{key}.weight_scale"), &shape)?;
        linears.push(QuantizedLinear { key: key.clone(), outputs, weight, weight_scales, bias });
    }
    Ok(QuantizedSite { inputs, order, groups, linears })
}

fn is_sha256(text: &str) -> bool {
    text.len() == SHA256_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A tensor to write.
struct Tensor<'a> {
    name: String,
    shape: Vec<usize>,
    numbers: Numbers<'a>,
}

enum Numbers<'a> {
    I8(&'a [i8]),
    I32(Vec<i32>),
    F32(&'a [f32]),
}

impl Numbers<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::I8(_) => Dtype::I8,
            Self::I32(_) => Dtype::I32,
            Self::F32(_) => Dtype::F32,
        }
    }

    fn size(&self) -> usize {
        self.dtype().bitsize() / 8
    }

    fn bytes(&self) -> usize {
        match self {
            Self::I8(numbers) => numbers.len(),
            Self::I32(numbers) => 4 * numbers.len(),
            Self::F32(numbers) => 4 * numbers.len(),
        }
    }
}

impl Tensor<'_> {
    fn write(&self, file: &mut dyn Write) -> io::Result<()> {
        match &self.numbers {
            Numbers::I8(numbers) => numbers.chunks(BLOCK).try_for_each(|numbers| {
                let bytes: Vec<u8> = numbers.iter().map(|number| number.cast_unsigned()).collect();
                file.write_all(&bytes)
            }),
            Numbers::I32(numbers) => numbers.iter().try_for_each(|number| file.write_all(&number.to_le_bytes())),
            Numbers::F32(numbers) => numbers.iter().try_for_each(|number| file.write_all(&number.to_le_bytes())),
        }
    }
}
