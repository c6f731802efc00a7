//! The settings of sentence-transformers' `Transformer` module: `sentence_bert_config.json` and its older names.

use std::path::Path;

use serde_json::Value;

use super::document::{Document, is_absent};
use super::tokenizer::{LengthLimit, MAX_LENGTH};
use crate::error::{EmbeddingError, Result};

/// Names of the file, in the order in which sentence-transformers looks for it.
const FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

const KEYS: [&str; 18] = [
    "max_seq_length",
    "do_lower_case",
    "transformer_task",
    "modality_config",
    "module_output_name",
    "processing_kwargs",
    "unpad_inputs",
    "query_length",
    "document_length",
    "query_expansion",
    "tokenizer_name_or_path",
    "model_args",
    "model_kwargs",
    "tokenizer_args",
    "processor_kwargs",
    "config_args",
    "config_kwargs",
    "backend",
];

/// Arguments of transformers' loaders that say where and how to load, not what to compute.
const HARMLESS_ARGUMENTS: [&str; 17] = [
    "trust_remote_code",
    "torch_dtype",
    "dtype",
    "attn_implementation",
    "low_cpu_mem_usage",
    "device_map",
    "use_safetensors",
    "add_pooling_layer",
    "use_memory_efficient_attention",
    "unpad_inputs",
    "use_cache",
    "use_fast",
    "padding_side",
    "cache_dir",
    "local_files_only",
    "provider",
    "export",
];

/// What changes the vectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TransformerSettings {
    pub(super) max_seq_length: Option<LengthLimit>,
    pub(super) do_lower_case: bool,
}

/// Reads the settings in the transformer's own folder; the first file that is there and not empty counts.
pub(super) fn read_settings(folder: &Path) -> Result<TransformerSettings> {
    for file in FILES {
        if let Some(document) = Document::read_optional(&folder.join(file))?
            && document.keys().next().is_some()
        {
            return settings(&document);
        }
    }
    Ok(TransformerSettings::default())
}

fn settings(document: &Document) -> Result<TransformerSettings> {
    document.refuse_unknown_keys(&KEYS)?;
    document.optional_choice("transformer_task", &[("feature-extraction", ())])?;
    document.optional_choice("module_output_name", &[("token_embeddings", ())])?;
    document.optional_bool("unpad_inputs")?;
    check_modalities(document)?;
    for key in ["query_length", "document_length", "query_expansion", "tokenizer_name_or_path"] {
        if document.has(key) {
            return Err(document.invalid(key, "null is understood"));
        }
    }
    if document.section("processing_kwargs")?.is_some_and(|arguments| arguments.keys().next().is_some()) {
        return Err(document.invalid("processing_kwargs", "{} is understood"));
    }
    for key in ["model_args", "model_kwargs", "config_args", "config_kwargs"] {
        if let Some(arguments) = document.section(key)? {
            arguments.refuse_unknown_keys(&HARMLESS_ARGUMENTS)?;
        }
    }
    Ok(TransformerSettings {
        max_seq_length: max_seq_length(document)?,
        do_lower_case: document.optional_bool("do_lower_case")?.unwrap_or(false),
    })
}

/// `model_max_length` among the tokenizer's arguments wins over `max_seq_length`.
fn max_seq_length(document: &Document) -> Result<Option<LengthLimit>> {
    const ARGUMENT: &str = "model_max_length";
    let mut known = vec![ARGUMENT];
    known.extend(HARMLESS_ARGUMENTS);
    for key in ["tokenizer_args", "processor_kwargs"] {
        let Some(arguments) = document.section(key)? else { continue };
        arguments.refuse_unknown_keys(&known)?;
        if let Some(tokens) = arguments.optional_usize_in(ARGUMENT, 1..=MAX_LENGTH)? {
            return Ok(Some(LengthLimit::new(tokens, document, &format!("{key}.{ARGUMENT}"))));
        }
    }
    let tokens = document.optional_usize_in("max_seq_length", 1..=MAX_LENGTH)?;
    Ok(tokens.map(|tokens| LengthLimit::new(tokens, document, "max_seq_length")))
}

/// Text that goes through `forward` to `last_hidden_state`. With a `message` modality, sentence-transformers puts every
/// text into the chat template.
fn check_modalities(document: &Document) -> Result<()> {
    const KEY: &str = "modality_config";
    const PROBLEM: &str =
        "only {\"text\": {\"method\": \"forward\", \"method_output_name\": \"last_hidden_state\"}} is understood";
    let Some(modalities) = document.section(KEY)? else { return Ok(()) };
    let text = modalities.section("text")?;
    let is_plain_text = modalities.keys().eq(["text"])
        && text.is_some_and(|text| {
            let output = text.get("method_output_name");
            let name = match output {
                // A path of one step.
                Some(Value::Array(steps)) if steps.len() == 1 => steps.first(),
                other => other,
            };
            text.get("method").and_then(Value::as_str) == Some("forward")
                && name.and_then(Value::as_str) == Some("last_hidden_state")
        });
    if is_plain_text { Ok(()) } else { Err(document.invalid(KEY, PROBLEM)) }
}

/// A folder without `modules.json` is loaded by sentence-transformers as it infers it: with a chat template, every text
/// would become a chat message.
pub(super) fn refuse_chat_template(folder: &Path, tokenizer: Option<&Document>) -> Result<()> {
    let help = "a chat template in a folder without modules.json: sentence-transformers would put every text into it, \
                which is not supported. Say what the model does in modules.json, or remove the template";
    if let Some(document) = tokenizer.filter(|document| document.has("chat_template")) {
        return Err(document.invalid("chat_template", help));
    }
    let file = folder.join("chat_template.jinja");
    if is_absent(&file) { Ok(()) } else { Err(EmbeddingError::invalid_model(&file, help)) }
}

/// An adapter changes every weight that is read.
pub(super) fn refuse_adapter(folder: &Path) -> Result<()> {
    let file = folder.join("adapter_config.json");
    if !is_absent(&file) {
        let problem =
            "adapters (PEFT) are not supported; merge it into the model with merge_and_unload() and save that";
        return Err(EmbeddingError::invalid_model(&file, problem));
    }
    Ok(())
}
