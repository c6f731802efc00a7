//! A sentence-transformers folder of a BERT with mean pooling, on candle.

use std::path::Path;

use anyhow::{Error, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

/// The model's own limit.
const MAX_TOKENS: usize = 256;
/// What candle's examples leave to their reader, and sentence-transformers has as its default.
const USUAL_BATCH: usize = 32;

pub struct Model {
    bert: BertModel,
    tokenizer: Tokenizer,
    /// Texts in a batch.
    pub batch: usize,
    /// Whether texts of like length share a batch.
    pub sorted: bool,
}

impl Model {
    /// Loads a folder whose weights are float32.
    pub fn load(folder: &Path, sorted: bool) -> Result<Self> {
        let config: Config = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
        let mut tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).map_err(Error::msg)?;
        tokenizer
            .with_padding(Some(PaddingParams::default()))
            .with_truncation(Some(TruncationParams { max_length: MAX_TOKENS, ..TruncationParams::default() }))
            .map_err(Error::msg)?;
        let bytes = std::fs::read(folder.join("model.safetensors"))?;
        let weights = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu)?;
        let bert = BertModel::load(weights, &config)?;
        Ok(Self { bert, tokenizer, batch: USUAL_BATCH, sorted })
    }

    /// Rows of `texts`, in order, each of length 1.
    pub fn encode(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        if self.sorted {
            // By characters, as sentence-transformers does: near enough, and before tokenizing.
            order.sort_by_key(|&index| std::cmp::Reverse(texts[index].len()));
        }
        let mut rows = vec![Vec::new(); texts.len()];
        for indices in order.chunks(self.batch) {
            let batch: Vec<&str> = indices.iter().map(|&index| texts[index].as_str()).collect();
            for (&index, row) in indices.iter().zip(self.run(batch)?) {
                rows[index] = row;
            }
        }
        Ok(rows)
    }

    fn run(&self, texts: Vec<&str>) -> Result<Vec<Vec<f32>>> {
        let encodings = self.tokenizer.encode_batch(texts, true).map_err(Error::msg)?;
        let ids: Vec<Vec<u32>> = encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect();
        let mask: Vec<Vec<u32>> = encodings.iter().map(|encoding| encoding.get_attention_mask().to_vec()).collect();
        let (ids, mask) = (Tensor::new(ids, &Device::Cpu)?, Tensor::new(mask, &Device::Cpu)?);
        let hidden = self.bert.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let weights = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        // The length is 1 in the end, so the sum will do for the mean.
        let sums = hidden.broadcast_mul(&weights)?.sum(1)?;
        let lengths = sums.sqr()?.sum_keepdim(1)?.sqrt()?;
        Ok(sums.broadcast_div(&lengths)?.to_vec2()?)
    }
}
