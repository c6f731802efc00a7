//! `modules.json` and the modules' own files.

use super::*;
use crate::config::{Activation, Module, Pooling, PoolingMode};

fn pooling(folder: &Folder) -> Pooling {
    folder.read().pooling().unwrap().clone()
}

#[test]
fn a_missing_folder_is_model_not_found() {
    let error = ModelFolder::read(Path::new("/no/such/folder")).unwrap_err();
    assert!(matches!(&error, EmbeddingError::ModelNotFound { .. }), "{error}");
    assert!(error.to_string().contains("/no/such/folder"));
}

#[test]
fn a_file_in_place_of_the_folder_is_model_not_found() {
    let folder = Folder::new();
    let error = ModelFolder::read(&folder.path().join("config.json")).unwrap_err();
    assert!(matches!(&error, EmbeddingError::ModelNotFound { .. }), "{error}");
}

#[test]
fn every_spelling_of_a_class_is_understood() {
    for package in [
        "sentence_transformers.models",
        "sentence_transformers.base.modules",
        "sentence_transformers.sentence_transformer.modules",
    ] {
        for [transformer, pooling] in [
            ["Transformer", "Pooling"],
            ["Transformer.Transformer", "Pooling.Pooling"],
            ["transformer.Transformer", "pooling.Pooling"],
        ] {
            let folder = Folder::new();
            let mut list = modules(&["Transformer", "Pooling"]);
            list[0]["type"] = format!("{package}.{transformer}").into();
            list[1]["type"] = format!("{package}.{pooling}").into();
            folder.write("modules.json", &list);
            assert_eq!(folder.read().modules.len(), 1, "{package} {transformer}");
        }
    }
}

#[test]
fn an_unknown_module_is_refused_and_the_known_ones_listed() {
    for class in ["LayerNorm", "CNN", "LSTM", "WeightedLayerPooling", "StaticEmbedding", "BoW", "Router", "Asym"] {
        let folder = Folder::new();
        folder.write("modules.json", &modules(&["Transformer", "Pooling", class]));
        folder.refused("modules.json", &["[2].type", class, "Transformer, Pooling, Dense, Normalize, Dropout"]);
    }
}

#[test]
fn python_code_of_the_model_is_refused() {
    for class in ["custom_st.Transformer", "evil.Pooling", "sentence_transformers.models.Pooling.os", "Pooling", ""] {
        let folder = Folder::new();
        let mut list = modules(&["Transformer", "Pooling"]);
        list[1]["type"] = class.into();
        folder.write("modules.json", &list);
        folder.refused("modules.json", &["[1].type"]);
    }
}

#[test]
fn impossible_orders_are_refused() {
    let orders: [&[&str]; 8] = [
        &["Pooling"],
        &["Pooling", "Transformer"],
        &["Transformer", "Normalize", "Pooling"],
        &["Transformer", "Dense", "Pooling"],
        &["Transformer", "Normalize"],
        &["Transformer", "Pooling", "Pooling"],
        &["Transformer", "Pooling", "Transformer"],
        &["Transformer"],
    ];
    for order in orders {
        let folder = Folder::new();
        folder.write("modules.json", &modules(order));
        folder.refused("modules.json", &["type"]);
    }
}

#[test]
fn an_empty_list_and_what_is_not_a_list_are_refused() {
    let folder = Folder::new();
    folder.write("modules.json", &json!([]));
    folder.refused("modules.json", &["empty"]);
    folder.write("modules.json", &json!({"idx": 0}));
    folder.refused("modules.json", &["a list of modules"]);
    folder.write("modules.json", &json!([1]));
    folder.refused("modules.json", &["[0]", "a number"]);
}

#[test]
fn duplicate_shuffled_and_missing_indices_are_refused() {
    for indices in [[0, 1, 1], [0, 2, 1], [0, 1, 3], [1, 2, 3]] {
        let folder = Folder::new();
        let mut list = modules(&["Transformer", "Pooling", "Normalize"]);
        for (entry, index) in indices.iter().enumerate() {
            list[entry]["idx"] = (*index).into();
        }
        folder.write("modules.json", &list);
        folder.refused("modules.json", &["idx"]);
    }
}

#[test]
fn an_entry_needs_no_index() {
    let folder = Folder::new();
    let mut list = modules(&["Transformer", "Pooling"]);
    list[1].as_object_mut().unwrap().remove("idx");
    folder.write("modules.json", &list);
    assert_eq!(folder.read().modules.len(), 1);
}

#[test]
fn duplicate_names_are_refused() {
    let folder = Folder::new();
    let mut list = modules(&["Transformer", "Pooling", "Normalize"]);
    list[2]["name"] = "1".into();
    folder.write("modules.json", &list);
    folder.refused("modules.json", &["[2].name"]);
}

#[test]
fn two_modules_in_one_folder_are_refused() {
    let folder = Folder::with_dense(&json!({"in_features": 32, "out_features": 32}));
    let mut list = modules(&["Transformer", "Pooling", "Dense", "Dense"]);
    list[3]["path"] = "2_Dense/".into();
    folder.write("modules.json", &list);
    folder.refused("modules.json", &["[3].path"]);
}

#[test]
fn paths_out_of_the_folder_are_refused() {
    for path in
        ["/etc", "..", "../1_Pooling", "1_Pooling/../../x", "a\\..\\b", "\\\\host\\share", "C:\\x", "C:x", "a\0b"]
    {
        let folder = Folder::new();
        let mut list = modules(&["Transformer", "Pooling"]);
        list[1]["path"] = path.into();
        folder.write("modules.json", &list);
        folder.refused("modules.json", &["[1].path", "inside the model folder"]);
    }
}

#[cfg(unix)]
#[test]
fn a_module_folder_that_is_a_link_out_of_the_model_is_refused() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("config.json"), "{}").unwrap();
    let folder = Folder::new();
    fs::remove_dir_all(folder.path().join("1_Pooling")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("1_Pooling")).unwrap();
    folder.refused("modules.json", &["[1].path", "leads out"]);
}

#[cfg(unix)]
#[test]
fn files_that_are_links_into_the_cache_are_read() {
    let cache = tempfile::tempdir().unwrap();
    let (snapshot, blobs) = (cache.path().join("snapshots/abc"), cache.path().join("blobs"));
    fs::create_dir_all(snapshot.join("1_Pooling")).unwrap();
    fs::create_dir(&blobs).unwrap();
    let source = Folder::new();
    for (number, file) in ["config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json"].iter().enumerate()
    {
        fs::copy(source.path().join(file), blobs.join(number.to_string())).unwrap();
        let up = if file.contains('/') { "../../../blobs" } else { "../../blobs" };
        std::os::unix::fs::symlink(format!("{up}/{number}"), snapshot.join(file)).unwrap();
    }
    assert_eq!(ModelFolder::read(&snapshot).unwrap().modules.len(), 2);
}

#[test]
fn old_boolean_keys_are_put_in_the_order_of_concatenation() {
    let folder = Folder::new();
    let keys = ["cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"];
    let config: Value = keys.iter().rev().map(|key| (format!("pooling_mode_{key}"), Value::Bool(true))).collect();
    folder.write("1_Pooling/config.json", &config);
    let modes = [
        PoolingMode::Cls,
        PoolingMode::Max,
        PoolingMode::Mean,
        PoolingMode::MeanSqrtLenTokens,
        PoolingMode::WeightedMean,
        PoolingMode::LastToken,
    ];
    assert_eq!(pooling(&folder).modes, modes);
}

#[test]
fn the_new_pooling_mode_is_a_string_or_a_list_in_its_own_order() {
    let folder = Folder::new();
    folder.write(
        "1_Pooling/config.json",
        &json!({"embedding_dimension": 32, "pooling_mode": "lasttoken", "include_prompt": false}),
    );
    let expected =
        Pooling { modes: vec![PoolingMode::LastToken], include_prompt: false, word_embedding_dimension: Some(32) };
    assert_eq!(pooling(&folder), expected);
    folder.write("1_Pooling/config.json", &json!({"pooling_mode": ["mean", "cls"], "pooling_mode_max_tokens": true}));
    assert_eq!(pooling(&folder).modes, [PoolingMode::Mean, PoolingMode::Cls]);
}

#[test]
fn a_list_may_have_every_mode_once_and_no_more() {
    let folder = Folder::new();
    let mut names = vec!["lasttoken", "weightedmean", "mean_sqrt_len_tokens", "mean", "max", "cls"];
    folder.write("1_Pooling/config.json", &json!({"pooling_mode": names}));
    let modes = pooling(&folder).modes;
    assert_eq!(modes.iter().map(|mode| mode.name()).collect::<Vec<_>>(), names);
    names.push("mean");
    folder.write("1_Pooling/config.json", &json!({"pooling_mode": names}));
    folder.refused("1_Pooling/config.json", &["one to six"]);
}

#[test]
fn unknown_pooling_modes_and_keys_are_refused() {
    let folder = Folder::new();
    for (config, part) in [
        (json!({"pooling_mode": "median"}), "weightedmean"),
        (json!({"pooling_mode": ["mean", "median"]}), "median"),
        (json!({"pooling_mode": []}), "one to six"),
        (json!({"pooling_mode": null}), "mean"),
        (json!({"pooling_mode_mean_tokens": 1}), "true and false"),
        (json!({"pooling_mode_median_tokens": true}), "unknown key"),
        (json!({"include_prompt": "no"}), "true and false"),
        (json!({"word_embedding_dimension": 0}), "whole number"),
    ] {
        folder.write("1_Pooling/config.json", &config);
        folder.refused("1_Pooling/config.json", &[part]);
    }
}

#[test]
fn a_pooling_that_chooses_no_mode_is_the_mean_and_says_so() {
    let folder = Folder::new();
    folder.write("1_Pooling/config.json", &json!({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": false}));
    let read = folder.read();
    assert_eq!(read.pooling().unwrap().modes, [PoolingMode::Mean]);
    assert!(read.assumptions.concat().contains("chooses no pooling mode"), "{:?}", read.assumptions);
}

#[test]
fn a_pooling_without_its_file_is_refused() {
    let folder = Folder::new();
    folder.remove("1_Pooling/config.json");
    folder.refused("1_Pooling/config.json", &["missing"]);
}

#[test]
fn dense_is_read_with_its_activation() {
    for (class, activation) in [
        (Some("torch.nn.modules.activation.Tanh"), Activation::Tanh),
        (Some("torch.nn.modules.linear.Identity"), Activation::Identity),
        (Some("torch.nn.modules.activation.Sigmoid"), Activation::Sigmoid),
        (Some("torch.nn.modules.activation.ReLU"), Activation::Relu),
        (Some("torch.nn.modules.activation.GELU"), Activation::Gelu),
        (Some("torch.nn.SiLU"), Activation::Silu),
        (None, Activation::Tanh),
    ] {
        let mut config = json!({"in_features": 32, "out_features": 8, "bias": false});
        if let Some(class) = class {
            config["activation_function"] = class.into();
        }
        let read = Folder::with_dense(&config).read();
        let Some(Module::Dense(dense)) = read.modules.last() else { panic!("{:?}", read.modules) };
        assert_eq!((dense.activation, dense.bias, dense.out_features), (activation, false, 8));
    }
}

#[test]
fn unknown_dense_settings_are_refused() {
    for (key, value) in [
        ("activation_function", json!("torch.nn.modules.activation.Mish")),
        ("activation_function", json!("os.system")),
        ("activation_function", json!(null)),
        ("module_input_name", json!("token_embeddings")),
        ("module_output_name", json!("other")),
        ("use_residual", json!(true)),
        ("in_features", json!("32")),
        ("out_features", json!(0)),
        ("bias", json!(null)),
        ("dropout", json!(0.1)),
    ] {
        let mut config = json!({"in_features": 32, "out_features": 8});
        config[key] = value;
        Folder::with_dense(&config).refused("2_Dense/config.json", &[key]);
    }
}

#[test]
fn dense_weights_that_need_unpickling_are_refused_with_the_way_out() {
    let folder = Folder::with_dense(&json!({"in_features": 32, "out_features": 8}));
    folder.remove("2_Dense/model.safetensors");
    folder.refused("2_Dense/model.safetensors", &["missing"]);
    folder.write_bytes("2_Dense/pytorch_model.bin", b"");
    folder.refused("2_Dense/model.safetensors", &["pytorch_model.bin", "save_pretrained"]);
}

#[test]
fn widths_that_do_not_fit_are_refused() {
    Folder::with_dense(&json!({"in_features": 64, "out_features": 8})).refused("modules.json", &["64", "32"]);
    let folder = Folder::new();
    folder.write("1_Pooling/config.json", &json!({"word_embedding_dimension": 48, "pooling_mode": "mean"}));
    folder.refused("modules.json", &["48", "32"]);
    let two = Folder::with_dense(&json!({"in_features": 64, "out_features": 8}));
    two.write("1_Pooling/config.json", &json!({"pooling_mode": ["mean", "max"]}));
    assert_eq!(two.read().token_dimension, Some(32));
}

#[test]
fn normalize_needs_no_folder_and_dropout_does_nothing() {
    let folder = Folder::new();
    folder.write("modules.json", &modules(&["Transformer", "Pooling", "Dropout", "Normalize", "Normalize"]));
    let read = folder.read();
    assert_eq!(read.modules.get(1..), Some([Module::Normalize, Module::Normalize].as_slice()));
    folder.write("4_Normalize/config.json", &json!({"module_input_name": "token_embeddings"}));
    folder.refused("4_Normalize/config.json", &["module_input_name", "sentence_embedding"]);
}

#[test]
fn a_bare_folder_is_the_mean_and_says_so() {
    let read = Folder::bare().read();
    assert_eq!(read.modules.len(), 1);
    assert_eq!(read.pooling().unwrap().modes, [PoolingMode::Mean]);
    assert!(read.assumptions.concat().contains("mean pooling without normalization"), "{:?}", read.assumptions);
}

#[test]
fn a_bare_language_model_is_its_last_token() {
    let folder = Folder::bare();
    let mut config = json!({"model_type": "qwen3", "hidden_size": 32, "architectures": ["Qwen3ForCausalLM"]});
    folder.write("config.json", &config);
    assert_eq!(pooling(&folder).modes, [PoolingMode::LastToken]);
    config["is_causal"] = false.into();
    folder.write("config.json", &config);
    assert_eq!(pooling(&folder).modes, [PoolingMode::Mean]);
}

#[test]
fn a_bare_folder_with_a_chat_template_is_refused() {
    let folder = Folder::bare();
    folder.write("tokenizer_config.json", &json!({"chat_template": "{{ messages }}"}));
    folder.refused("tokenizer_config.json", &["chat_template", "modules.json"]);
    folder.write("tokenizer_config.json", &json!({}));
    folder.write_bytes("chat_template.jinja", b"{{ messages }}");
    folder.refused("chat_template.jinja", &["modules.json"]);
}

#[test]
fn an_adapter_is_refused() {
    let folder = Folder::new();
    folder.write("adapter_config.json", &json!({"peft_type": "LORA"}));
    folder.refused("adapter_config.json", &["merge_and_unload"]);
}
