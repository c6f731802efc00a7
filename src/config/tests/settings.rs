//! Prompts, the tokenizer's settings and those of the Transformer module.

use super::*;
use crate::config::parts::Parts;
use crate::config::{MAX_TOKENIZER_BYTES, Prompts, Side, Similarity};

const MODEL: &str = "config_sentence_transformers.json";
const TRANSFORMER: &str = "sentence_bert_config.json";
const TOKENIZER: &str = "tokenizer_config.json";

fn prompts(value: &Value) -> Prompts {
    let folder = Folder::new();
    folder.write(MODEL, &json!({"prompts": value}));
    folder.read().prompts
}

#[test]
fn prompts_resolve_as_in_sentence_transformers() {
    let folder = Folder::new();
    folder.write(MODEL, &json!({"prompts": {"query": "q: ", "poem": null}, "default_prompt_name": "query"}));
    let prompts = folder.read().prompts;
    assert_eq!(prompts.resolve(None, None).unwrap(), Some("q: "));
    assert_eq!(prompts.resolve(Some("x"), Some("nonsense")).unwrap(), Some("x"));
    assert_eq!(prompts.resolve(None, Some("poem")).unwrap(), Some(""));
    let error = prompts.resolve(None, Some("passage")).unwrap_err();
    assert!(matches!(&error, EmbeddingError::InvalidInput { index: None, .. }));
    assert_eq!(error.to_string(), "prompt name \"passage\" is not known; this model has: query, document, poem");
    // Not the default prompt: `document` is always there.
    assert_eq!(prompts.document_prompt(), Some(""));
}

#[test]
fn query_and_document_are_always_there() {
    for value in [json!(null), json!({})] {
        let prompts = prompts(&value);
        assert_eq!(prompts, Prompts::default());
        assert_eq!((prompts.query_prompt(), prompts.document_prompt()), (Some(""), Some("")));
        assert_eq!(prompts.resolve(None, Some("query")).unwrap(), Some(""));
        assert_eq!(prompts.resolve(None, None).unwrap(), None);
    }
}

#[test]
fn passage_is_not_used_for_documents_and_the_folder_says_so() {
    let folder = Folder::new();
    folder.write(MODEL, &json!({"prompts": {"query": "q: ", "passage": "p: "}}));
    let read = folder.read();
    assert_eq!(read.prompts.document_prompt(), Some(""));
    assert!(read.assumptions.concat().contains("passage"), "{:?}", read.assumptions);
    folder.write(MODEL, &json!({"prompts": {"document": "d: ", "passage": "p: "}}));
    let read = folder.read();
    assert_eq!(read.prompts.document_prompt(), Some("d: "));
    assert!(read.assumptions.is_empty(), "{:?}", read.assumptions);
}

#[test]
fn broken_model_settings_are_refused() {
    let folder = Folder::new();
    for (value, part) in [
        (json!({"prompts": {"a": "x"}, "default_prompt_name": "b"}), "query, document, a"),
        (json!({"prompts": {"a": 1}}), "prompts"),
        (json!({"prompts": "a"}), "prompts"),
        (json!({"similarity_fn_name": "maxsim"}), "\"cosine\""),
        (json!({"truncate_dim": 0}), "truncate_dim"),
        (json!({"truncate_dim": -1}), "truncate_dim"),
        (json!({"model_type": "SparseEncoder"}), "\"SentenceTransformer\""),
    ] {
        folder.write(MODEL, &value);
        folder.refused(MODEL, &[part]);
    }
}

#[test]
fn similarity_and_truncation_are_read() {
    let folder = Folder::new();
    folder.write(MODEL, &json!({"similarity_fn_name": "dot_product", "truncate_dim": 16, "prompts": {}}));
    let read = folder.read();
    assert_eq!((read.similarity, read.truncate_dim), (Similarity::Dot, Some(16)));
    folder.write(MODEL, &json!({"similarity_fn_name": null}));
    assert_eq!(folder.read().similarity, Similarity::Cosine);
}

/// `SimilarityFunction` of sentence-transformers 6.2.
#[test]
fn similarities_have_the_names_of_sentence_transformers() {
    for name in ["cosine", "dot", "euclidean", "manhattan"] {
        let folder = Folder::new();
        folder.write(MODEL, &json!({"similarity_fn_name": name}));
        assert_eq!(folder.read().similarity.name(), name);
    }
}

#[test]
fn a_bare_folder_has_neither_prompts_nor_transformer_settings() {
    let folder = Folder::bare();
    folder.write(MODEL, &json!({"prompts": {"query": "q: "}}));
    folder.write(TRANSFORMER, &json!({"max_seq_length": 7}));
    let read = folder.read();
    assert_eq!(read.prompts, Prompts::default());
    assert_eq!(read.tokenizer.limit(), None);
}

#[test]
fn the_limit_of_sentence_transformers_wins_and_says_where_it_stands() {
    let folder = Folder::new();
    folder.write(TOKENIZER, &json!({"model_max_length": 512}));
    let tokenizer = folder.read().tokenizer;
    assert_eq!(tokenizer.limit().map(|limit| (limit.tokens, limit.key.as_str())), Some((512, "model_max_length")));
    folder.write(TRANSFORMER, &json!({"max_seq_length": 256, "do_lower_case": true}));
    let tokenizer = folder.read().tokenizer;
    let limit = tokenizer.limit().unwrap();
    assert_eq!((limit.tokens, limit.file.clone()), (256, folder.path().join(TRANSFORMER)));
    assert_eq!(tokenizer.model_max_length.as_ref().map(|limit| limit.tokens), Some(512));
    assert!(tokenizer.do_lower_case);
    folder.write(TRANSFORMER, &json!({"max_seq_length": 256, "tokenizer_args": {"model_max_length": 100}}));
    assert_eq!(folder.read().tokenizer.limit().map(|limit| limit.tokens), Some(100));
}

#[test]
fn ten_to_the_thirty_is_no_limit() {
    let folder = Folder::new();
    for number in ["1000000000000000019884624838656", "1e30", "null", "9223372036854775807"] {
        folder.write_bytes(TOKENIZER, format!("{{\"model_max_length\": {number}}}").as_bytes());
        assert_eq!(folder.read().tokenizer.limit(), None, "{number}");
    }
    // 2^30 is the longest that is believed.
    for (number, limit) in [("1073741824", Some(1 << 30)), ("1073741825", None)] {
        folder.write_bytes(TOKENIZER, format!("{{\"model_max_length\": {number}}}").as_bytes());
        assert_eq!(folder.read().tokenizer.limit().map(|limit| limit.tokens), limit, "{number}");
    }
    for number in ["0", "-1", "512.5", "\"512\"", "true"] {
        folder.write_bytes(TOKENIZER, format!("{{\"model_max_length\": {number}}}").as_bytes());
        folder.refused(TOKENIZER, &["model_max_length"]);
    }
}

#[test]
fn older_names_of_the_transformer_settings_are_found() {
    for name in ["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"] {
        let folder = Folder::new();
        // An empty one is passed over, as in sentence-transformers.
        folder.write(TRANSFORMER, &json!({}));
        folder.write(&format!("sentence_{name}_config.json"), &json!({"max_seq_length": 99}));
        assert_eq!(folder.read().tokenizer.limit().map(|limit| limit.tokens), Some(99), "{name}");
    }
}

#[test]
fn a_transformer_in_its_own_folder_has_its_files_there() {
    let folder = Folder::new();
    let mut list = modules(&["Transformer", "Pooling"]);
    list[0]["path"] = "0_Transformer".into();
    folder.write("modules.json", &list);
    folder.refused("0_Transformer/tokenizer.json", &["missing"]);
    folder.write("0_Transformer/tokenizer.json", &json!({}));
    folder.write("0_Transformer/config.json", &json!({"hidden_size": 32}));
    folder.write("0_Transformer/sentence_bert_config.json", &json!({"max_seq_length": 64}));
    folder.write("0_Transformer/tokenizer_config.json", &json!({"padding_side": "left"}));
    let read = folder.read();
    assert_eq!(read.transformer_path, folder.path().join("0_Transformer"));
    assert_eq!(read.tokenizer.limit().map(|limit| limit.tokens), Some(64));
    assert_eq!(read.tokenizer.padding_side, Side::Left);
}

#[test]
fn harmless_transformer_settings_are_accepted() {
    let folder = Folder::new();
    folder.write(
        TRANSFORMER,
        &json!({
            "max_seq_length": null,
            "do_lower_case": false,
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": ["last_hidden_state"]}},
            "module_output_name": "token_embeddings",
            "unpad_inputs": false,
            "processing_kwargs": {},
            "query_length": null,
            "model_args": {"trust_remote_code": true, "torch_dtype": "float16"},
            "config_args": {"use_memory_efficient_attention": false},
        }),
    );
    assert_eq!(folder.read().tokenizer.limit(), None);
}

#[test]
fn transformer_settings_that_change_the_vectors_are_refused() {
    let folder = Folder::new();
    let text = json!({"method": "forward", "method_output_name": "last_hidden_state"});
    for (key, value) in [
        ("transformer_task", json!("fill-mask")),
        ("module_output_name", json!("sentence_embedding")),
        ("modality_config", json!({"text": text, "message": text})),
        ("modality_config", json!({"text": {"method": "forward", "method_output_name": "pooler_output"}})),
        ("modality_config", json!({"text": {"method": "forward", "method_output_name": ["last_hidden_state", 0]}})),
        ("modality_config", json!({"text": {"method": "encode", "method_output_name": "last_hidden_state"}})),
        ("modality_config", json!({"image": text})),
        ("modality_config", json!({})),
        ("processing_kwargs", json!({"text": {"max_length": 3}})),
        ("query_length", json!(32)),
        ("query_expansion", json!({"length": 32})),
        ("tokenizer_name_or_path", json!("bert-base-uncased")),
        ("model_args", json!({"rotary_scaling_factor": 2})),
        ("tokenizer_args", json!({"truncation_side": "left"})),
        ("config_kwargs", json!({"is_causal": false})),
        ("max_seq_length", json!(0)),
        ("max_seq_length", json!("256")),
        ("do_lower_case", json!("yes")),
        ("pooling", json!("mean")),
    ] {
        folder.write(TRANSFORMER, &json!({ key: value }));
        folder.refused(TRANSFORMER, &[key]);
    }
}

#[test]
fn tokens_are_strings_or_objects_from_either_file() {
    let folder = Folder::new();
    folder.write(
        TOKENIZER,
        &json!({"tokenizer_class": "TokenizersBackend", "pad_token": {"content": "[PAD]", "lstrip": false}, "cls_token": "[CLS]", "unk_token": null,
                "extra_special_tokens": ["<a>", {"content": "<b>"}], "truncation_side": "left"}),
    );
    let tokenizer = folder.read().tokenizer;
    assert_eq!(tokenizer.special_tokens.of("pad_token"), Some("[PAD]"));
    let special: Vec<&str> = tokenizer.special_tokens.all().map(|token| token.content.as_str()).collect();
    assert_eq!(special, ["[PAD]", "[CLS]", "<a>", "<b>"]);
    assert_eq!(tokenizer.truncation_side, Some(Side::Left));
    folder.write("special_tokens_map.json", &json!({"pad_token": "<pad>"}));
    assert_eq!(folder.read().tokenizer.special_tokens.of("pad_token"), Some("<pad>"));
    folder.write(TOKENIZER, &json!({"pad_token": "[PAD]", "added_tokens_decoder": {}}));
    assert_eq!(folder.read().tokenizer.special_tokens.of("pad_token"), Some("[PAD]"));
}

#[test]
fn broken_tokenizer_settings_are_refused() {
    let folder = Folder::new();
    for (key, value) in [
        ("padding_side", json!("top")),
        ("truncation_side", json!(1)),
        ("pad_token", json!(0)),
        ("pad_token", json!({"text": "x"})),
        ("additional_special_tokens", json!("x")),
        ("additional_special_tokens", json!([1])),
    ] {
        folder.write(TOKENIZER, &json!({ key: value }));
        folder.refused(TOKENIZER, &[key]);
    }
}

/// transformers 5.23: with `fix_mistral_regex`, a Mistral's tokenizer splits texts by another expression.
#[test]
fn another_split_of_a_mistral_is_refused() {
    let folder = Folder::new();
    let write = |family: &str, fix: Value| {
        folder.write("config.json", &json!({"model_type": family, "hidden_size": 32}));
        folder.write(TOKENIZER, &json!({"fix_mistral_regex": fix}));
    };
    for (family, fix) in [("mistral", json!(false)), ("mistral", json!(null)), ("bert", json!(true))] {
        write(family, fix.clone());
        assert_eq!(folder.read().tokenizer.limit(), None, "{family} {fix}");
    }
    write("mistral", json!(true));
    folder.refused(TOKENIZER, &["fix_mistral_regex", "leave this key out"]);
}

#[test]
fn a_missing_tokenizer_is_refused_with_the_way_out() {
    let folder = Folder::new();
    folder.remove("tokenizer.json");
    folder.refused("tokenizer.json", &["missing"]);
    folder.write_bytes("vocab.txt", b"[PAD]");
    folder.refused("tokenizer.json", &["vocab.txt", "AutoTokenizer"]);
}

#[test]
fn a_tokenizer_beyond_the_limit_is_refused_before_it_is_read() {
    let folder = Folder::new();
    fs::File::create(folder.path().join("tokenizer.json")).unwrap().set_len(MAX_TOKENIZER_BYTES + 1).unwrap();
    folder.refused("tokenizer.json", &["at most 268435456"]);
}

#[test]
fn what_is_broken_in_several_files_is_all_told() {
    let folder = Folder::new();
    assert!(Parts::read(folder.path()).unwrap().errors().is_empty());
    folder.write("config.json", &json!([]));
    folder.write(TRANSFORMER, &json!({"max_seq_length": 0}));
    folder.write(MODEL, &json!({"truncate_dim": 0}));
    let errors = Parts::read(folder.path()).unwrap().errors();
    let files: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for (message, file) in files.iter().zip(["config.json", TRANSFORMER, MODEL]) {
        assert!(message.contains(file), "{file} is not in {message:?}");
    }
}

#[test]
fn a_folder_with_only_an_onnx_file_and_a_tokenizer_is_read() {
    let folder = Folder::new();
    folder.remove("config.json");
    let read = folder.read();
    assert_eq!((read.transformer, read.token_dimension), (None, Some(32)));
}
