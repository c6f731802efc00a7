//! What each family makes of `config.json`: what the engine is told, and what is refused by name.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::{Architecture, FAMILIES, PositionScheme, author, known_model_types};
use crate::config::Document;
use crate::error::Result;

/// The smallest settings of a family, as transformers writes them.
fn settings(model_type: &str) -> Value {
    let mut settings = json!({
        "model_type": model_type, "vocab_size": 100, "hidden_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 40, "hidden_act": "gelu", "max_position_embeddings": 64,
    });
    let more = match model_type {
        "distilbert" => json!({"dim": 24, "n_layers": 2, "n_heads": 2, "hidden_dim": 40, "activation": "gelu"}),
        "modernbert" => json!({"hidden_activation": "gelu", "local_attention": 8}),
        "gemma3_text" => json!({
            "hidden_activation": "gelu_pytorch_tanh", "head_dim": 12, "sliding_window": 8, "query_pre_attn_scalar": 12,
        }),
        _ => json!({}),
    };
    overlay(&mut settings, &more);
    settings
}

/// nomic-ai's own spelling.
fn nomic_settings() -> Value {
    json!({
        "model_type": "nomic_bert", "vocab_size": 100, "n_embd": 24, "n_layer": 2, "n_head": 2, "n_inner": 40,
        "n_positions": 64, "activation_function": "swiglu", "rotary_emb_fraction": 1.0,
    })
}

/// `null` takes a key out.
fn overlay(settings: &mut Value, changes: &Value) {
    let settings = settings.as_object_mut().unwrap();
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => settings.remove(key),
            value => settings.insert(key.clone(), value.clone()),
        };
    }
}

fn architecture(settings: &Value) -> Result<Architecture> {
    let config = Document::from_text("config.json", &settings.to_string())?;
    author(&config).map(|author| author.unwrap().architecture())
}

fn architecture_with(model_type: &str, changes: &Value) -> Result<Architecture> {
    let mut settings = settings(model_type);
    overlay(&mut settings, changes);
    architecture(&settings)
}

fn refusal(mut settings: Value, changes: &Value) -> String {
    overlay(&mut settings, changes);
    let error = architecture(&settings).err();
    assert!(error.is_some(), "{changes} is not refused: {settings}");
    error.unwrap().to_string()
}

#[test]
fn every_model_type_belongs_to_one_family_that_reads_it() {
    let known = known_model_types();
    for model_type in &known {
        let count = FAMILIES.iter().filter(|family| family.model_types.contains(model_type)).count();
        assert_eq!(count, 1, "{model_type}");
        let architecture = architecture(&settings(model_type)).unwrap();
        assert_eq!(architecture.family, *model_type);
        assert_eq!((architecture.hidden_size, architecture.vocabulary_size), (24, 100), "{model_type}");
    }
}

#[test]
fn a_model_type_that_nobody_knows_has_no_author() {
    let config = Document::from_text("config.json", r#"{"model_type": "something-new"}"#).unwrap();
    assert!(author(&config).unwrap().is_none());
    for text in ["{}", r#"{"model_type": 3}"#] {
        let config = Document::from_text("config.json", text).unwrap();
        assert!(author(&config).err().unwrap().to_string().contains("model_type"));
    }
}

#[test]
fn tables_of_positions_end_and_computed_ones_do_not() {
    for model_type in ["bert", "distilbert"] {
        let architecture = architecture(&settings(model_type)).unwrap();
        assert_eq!((architecture.max_tokens, architecture.positions), (64, PositionScheme::FromZero));
    }
    // The positions up to the padding id's are never a token's.
    for (model_type, padding_id, tokens) in [("roberta", 1, 62), ("xlm-roberta", 3, 60), ("camembert", 0, 63)] {
        let architecture = architecture_with(model_type, &json!({"pad_token_id": padding_id})).unwrap();
        let positions = PositionScheme::AfterPadding { padding_id };
        assert_eq!((architecture.max_tokens, architecture.positions), (tokens, positions), "{model_type}");
    }
    let mpnet = architecture_with("mpnet", &json!({"pad_token_id": 5})).unwrap();
    assert_eq!((mpnet.max_tokens, mpnet.positions), (62, PositionScheme::AfterPadding { padding_id: 1 }));
    for model_type in ["modernbert", "nomic_bert", "gte", "new", "llama", "mistral", "qwen2", "qwen3", "gemma3_text"] {
        let architecture = architecture(&settings(model_type)).unwrap();
        assert_eq!((architecture.trained_tokens, architecture.token_types.is_some()), (64, has_types(model_type)));
        assert!(architecture.max_tokens > 100_000, "{model_type}");
    }
}

fn has_types(model_type: &str) -> bool {
    ["nomic_bert", "gte", "new"].contains(&model_type)
}

#[test]
fn a_dynamic_scaling_ends_where_frequencies_would_change() {
    let changes = json!({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}});
    for model_type in ["llama", "modernbert", "gte", "nomic_bert", "gemma3_text"] {
        assert_eq!(architecture_with(model_type, &changes).unwrap().max_tokens, 64, "{model_type}");
    }
}

#[test]
fn token_types_may_be_none() {
    for (model_type, rows, expected) in
        [("bert", 3, Some(3)), ("gte", 0, None), ("gte", 2, Some(2)), ("new", 1, Some(1)), ("nomic_bert", 0, None)]
    {
        let architecture = architecture_with(model_type, &json!({"type_vocab_size": rows})).unwrap();
        assert_eq!(architecture.token_types, expected, "{model_type}");
    }
}

#[test]
fn nomic_ai_spells_the_settings_like_gpt_2() {
    let read = architecture(&nomic_settings()).unwrap();
    assert_eq!((read.hidden_size, read.trained_tokens, read.token_types), (24, 64, Some(2)));
    // Frequencies change with the length of a text that is longer than those of training.
    let mut scaled = nomic_settings();
    overlay(&mut scaled, &json!({"rotary_scaling_factor": 2.0, "max_trained_positions": 48}));
    assert_eq!(architecture(&scaled).unwrap().max_tokens, 48);
}

#[test]
fn encoders_refuse_what_would_make_them_something_else() {
    let cases = [
        ("bert", json!({"is_decoder": true}), "is_decoder = true"),
        ("roberta", json!({"add_cross_attention": true}), "add_cross_attention = true"),
        ("bert", json!({"position_embedding_type": "relative_key"}), "position_embedding_type = \"relative_key\""),
        ("bert", json!({"head_dim": 8}), "head_dim = 8"),
        ("bert", json!({"hidden_act": "xielu"}), "hidden_act = \"xielu\""),
        ("bert", json!({"num_hidden_layers": 0}), "num_hidden_layers = 0"),
        ("bert", json!({"hidden_size": null}), "hidden_size"),
        ("bert", json!({"layer_norm_eps": 0.0}), "layer_norm_eps = 0.0"),
        ("roberta", json!({"pad_token_id": 63}), "max_position_embeddings = 64"),
        ("distilbert", json!({"n_heads": 5}), "n_heads = 5"),
        ("distilbert", json!({"dim": 1 << 30}), "dim = 1073741824"),
        ("mpnet", json!({"relative_attention_num_buckets": 16}), "relative_attention_num_buckets = 16"),
    ];
    for (model_type, changes, words) in cases {
        let error = refusal(settings(model_type), &changes);
        assert!(error.starts_with("config.json: ") && error.contains(words), "{error}");
    }
}

#[test]
fn nomic_bert_refuses_the_variants_that_its_code_could_be() {
    let cases = [
        (json!({"prenorm": true}), "prenorm = true"),
        (json!({"causal": true}), "causal = true"),
        (json!({"parallel_block": true}), "parallel_block = true"),
        (json!({"use_rms_norm": true}), "use_rms_norm = true"),
        (json!({"rotary_emb_interleaved": true}), "rotary_emb_interleaved = true"),
        (json!({"rotary_emb_fraction": 0.5}), "rotary_emb_fraction = 0.5"),
        (json!({"rotary_emb_fraction": 0.0}), "rotary_emb_fraction = 0.0"),
        (json!({"rotary_emb_fraction": null}), "rotary_emb_fraction"),
        (json!({"rotary_scaling_factor": 0.5}), "rotary_scaling_factor = 0.5"),
        (json!({"rotary_emb_scale_base": 512}), "rotary_emb_scale_base = 512"),
        (json!({"num_experts": 8}), "num_experts = 8"),
        (json!({"moe_every_n_layers": 2}), "moe_every_n_layers = 2"),
        (json!({"activation_function": "gelu"}), "activation_function = \"gelu\""),
        (json!({"n_head": 5}), "n_head = 5"),
    ];
    for (changes, words) in cases {
        let error = refusal(nomic_settings(), &changes);
        assert!(error.contains(words), "{error}");
    }
    let mut usual = nomic_settings();
    overlay(&mut usual, &json!({"prenorm": false, "num_experts": 0, "moe_every_n_layers": 0, "causal": false}));
    architecture(&usual).unwrap();
}

#[test]
fn families_with_computed_positions_refuse_what_they_do_not_compute() {
    let full = json!(["full_attention", "full_attention"]);
    let cases = [
        ("new", json!({"position_embedding_type": "absolute"}), "position_embedding_type = \"absolute\""),
        ("new", json!({"layer_norm_type": "rms_norm"}), "layer_norm_type = \"rms_norm\""),
        ("new", json!({"logn_attention_scale": true}), "logn_attention_scale = true"),
        ("gte", json!({"logn_attention_clip1": true}), "logn_attention_clip1 = true"),
        ("new", json!({"rope_scaling": {"type": "ntk", "mixed_b": 0.7}}), "rope_scaling.factor"),
        ("gte", json!({"pack_qkv": 1}), "pack_qkv = 1"),
        ("gte", json!({"rope_scaling": {"type": "longrope", "factor": 2.0}}), "rope_scaling.type = \"longrope\""),
        ("modernbert", json!({"local_attention": null}), "local_attention"),
        ("modernbert", json!({"global_attn_every_n_layers": 0}), "global_attn_every_n_layers = 0"),
        ("modernbert", json!({"layer_types": ["full_attention"]}), "layer_types"),
        ("modernbert", json!({"rope_parameters": {"rope_theta": 5.0}}), "rope_parameters"),
        ("llama", json!({"num_key_value_heads": 3}), "num_key_value_heads = 3"),
        ("llama", json!({"attention_bias": null, "mlp_bias": "yes"}), "mlp_bias = \"yes\""),
        ("mistral", json!({"sliding_window": 0}), "sliding_window = 0"),
        ("qwen3", json!({"layer_types": ["sliding_attention", "full_attention"]}), "layer_types"),
        ("qwen3", json!({"head_dim": 7}), "head_dim = 7"),
        ("qwen2", json!({"is_causal": "no"}), "is_causal = \"no\""),
        ("qwen2", json!({"rope_scaling": {"factor": 2.0, "type": "mrope"}}), "rope_scaling.type = \"mrope\""),
        ("gemma3_text", json!({"head_dim": null}), "head_dim"),
        ("gemma3_text", json!({"sliding_window": null, "layer_types": full}), "sliding_window"),
        ("gemma3_text", json!({"query_pre_attn_scalar": 0}), "query_pre_attn_scalar = 0"),
        ("gemma3_text", json!({"use_bidirectional_attention": "all"}), "use_bidirectional_attention = \"all\""),
    ];
    for (model_type, changes, words) in cases {
        let error = refusal(settings(model_type), &changes);
        assert!(error.starts_with("config.json: ") && error.contains(words), "{error}");
    }
}
