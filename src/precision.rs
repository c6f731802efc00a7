//! Which precision a model runs in: what was asked for, and the file of quantized layers that it may need.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::{EmbeddingError, Result};
use crate::int8::Instructions;
use crate::quantize::{Quality, QuantizedModel};
use crate::runtime::providers::{FLOAT32, INT8};
use crate::source::{Origin, Source};
use crate::weights::Weights;

/// The name of the choice that is not a type: int8 where it is known to be good and fast, else single precision.
pub const AUTO_DTYPE: &str = "auto";
/// Name of the file of quantized layers, beside the weights.
pub const QUANTIZED_FILE: &str = "int8.safetensors";
/// Read at once when a file is hashed.
const PIECE: usize = 1 << 20;

/// What was asked for.
#[derive(Clone)]
pub struct Asked<'a> {
    /// A type by name, or `auto`.
    pub dtype: &'a str,
    /// Quantized layers that are in no file yet.
    pub quantized: Option<Arc<QuantizedModel>>,
    /// Whether only the CPU will do the work; asked for `auto` alone.
    pub is_on_the_cpu: &'a dyn Fn() -> bool,
}

/// The precision that a model runs in.
#[derive(Debug, Clone, PartialEq)]
pub struct Precision {
    /// The type by name.
    pub dtype: String,
    /// How good the quantized layers are, where there are some.
    pub quality: Option<Quality>,
}

impl Precision {
    fn of(dtype: &str) -> Self {
        Self { dtype: dtype.to_owned(), quality: None }
    }
}

/// Settles the precision, and gives the weights of `source` their quantized layers where it is int8.
///
/// # Errors
/// `InvalidModel` where int8 was asked for and the file is missing, broken or made from other weights; `InvalidInput`
/// where the model is an ONNX file.
pub fn settle(source: &mut Source, asked: &Asked<'_>, assumptions: &mut Vec<String>) -> Result<Precision> {
    if asked.dtype == AUTO_DTYPE {
        return Ok(automatic(source, asked, assumptions));
    }
    if asked.dtype != INT8.name {
        return Ok(Precision::of(asked.dtype));
    }
    let instructions = Instructions::detect();
    if !instructions.is_fast() {
        tracing::warn!(
            instructions = instructions.name(),
            "this processor has no fast product of 8-bit integers: int8 gives the same vectors as elsewhere, but may be no \
             faster than float32"
        );
    }
    let weights = weights_of(source)?;
    let model = match &asked.quantized {
        Some(model) => Arc::clone(model),
        None => Arc::new(read(&weights)?),
    };
    Ok(attach(source, &weights, model))
}

/// Int8 where a file says that it passed and the processor is fast at it.
fn automatic(source: &mut Source, asked: &Asked<'_>, assumptions: &mut Vec<String>) -> Precision {
    let single = Precision::of(FLOAT32.name);
    let Ok(weights) = weights_of(source) else { return single };
    if !Instructions::detect().is_fast() || !file_of(&weights).is_file() || !(asked.is_on_the_cpu)() {
        return single;
    }
    match read(&weights) {
        Ok(model) if model.quality.passed => attach(source, &weights, Arc::new(model)),
        Ok(_) => single,
        Err(error) => {
            assumptions.push(format!("dtype=\"auto\" is float32 here: {error}"));
            single
        }
    }
}

fn attach(source: &mut Source, weights: &Weights, model: Arc<QuantizedModel>) -> Precision {
    let quality = Some(model.quality.clone());
    if let Origin::Weights(_, place) = &mut source.origin {
        *place = Arc::new(weights.clone().with_quantized(model));
    }
    Precision { dtype: INT8.name.to_owned(), quality }
}

fn weights_of(source: &Source) -> Result<Arc<Weights>> {
    match &source.origin {
        Origin::Weights(_, weights) => Ok(Arc::clone(weights)),
        Origin::File(path) => Err(EmbeddingError::invalid_input(format!(
            "dtype=\"int8\" needs a model whose graph is written from its weights; this one runs {}, as it is. Use \
             dtype=\"float32\"",
            path.display()
        ))),
    }
}

/// Where the quantized layers of these weights are looked for: beside the file as it is called, not where a link of a
/// download cache leads to.
fn file_of(weights: &Weights) -> PathBuf {
    weights.path().with_file_name(QUANTIZED_FILE)
}

fn read(weights: &Weights) -> Result<QuantizedModel> {
    let path = file_of(weights);
    if !path.is_file() {
        let folder = weights.path().parent().unwrap_or(Path::new("MODEL"));
        let problem = format!(
            "the model has no int8 layers yet; make them with `oxembed quantize {}`, or use dtype=\"float32\"",
            folder.display()
        );
        return Err(EmbeddingError::invalid_model(&path, problem));
    }
    let model = QuantizedModel::read(&path)?;
    let source = sha256(&weights.files())?;
    if model.source_sha256 != source {
        let problem = format!(
            "the int8 layers were made from other weights than {}, whose sha256 is {source}; run `oxembed quantize` again",
            weights.path().display()
        );
        return Err(EmbeddingError::invalid_key(&path, "source_sha256", Some(model.source_sha256), problem));
    }
    Ok(model)
}

/// The sha256 of the files' bytes, one file behind the other, as `cat FILES | sha256sum` prints it.
///
/// # Errors
/// `InvalidModel` where a file cannot be read.
pub fn sha256(files: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    for path in files {
        hash_file(path, &mut hasher).map_err(|error| {
            EmbeddingError::invalid_model(path, format!("the file cannot be read: {error}")).caused_by(error)
        })?;
    }
    Ok(format!("{:x}", hasher.finalize()))
}

fn hash_file(path: &Path, hasher: &mut Sha256) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            read => hasher.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::sha256;

    #[test]
    fn the_hash_is_the_one_that_everybody_computes() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&first, "a").unwrap();
        std::fs::write(&second, "bc").unwrap();
        // FIPS 180-4's own example: "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&[first.clone(), second]).unwrap(), expected);
        assert!(sha256(&[folder.path().join("none")]).unwrap_err().to_string().contains("none"));
        assert!(sha256(&[first]).unwrap() != expected);
    }
}
