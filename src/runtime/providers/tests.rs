//! The table is complete and consistent; settings become the providers' own options.

use std::collections::BTreeSet;

use super::setting::COMMON;
use super::{CPU, Circumstances, Kind, PLUG_IN, PROVIDERS, Provider, ProviderRequest, Shapes};
use crate::graph::{Arithmetic, Dialect, Lookup};

fn options(request: &ProviderRequest, dtype: &'static str, cache: Option<&str>) -> Vec<(String, String)> {
    let provider = Provider::named(request.name()).unwrap();
    let chosen = request.chosen(provider).unwrap();
    let circumstances =
        Circumstances { dtype, threads: 3, cache: cache.map(Into::into), is_plug_in: true, chosen: &chosen };
    let mut options = chosen.completed((provider.options)(&circumstances));
    options.sort();
    options
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_row_can_be_found_by_both_names_and_is_consistent() {
    let mut names = BTreeSet::new();
    for provider in PROVIDERS.iter().copied().chain([PLUG_IN]) {
        assert!(names.insert(provider.name), "{} is there twice", provider.name);
        assert_eq!(provider.dtypes[0].name, "float32", "{}", provider.name);
        assert!(!provider.remedy.is_empty() && !provider.description.is_empty());
        let mut settings = BTreeSet::new();
        for setting in provider.settings.iter().chain(COMMON) {
            assert!(settings.insert(setting.name), "{}: {} is there twice", provider.name, setting.name);
            if let Some(default) = setting.default {
                setting.runtime_value(provider.name, default).unwrap();
            }
        }
        // Fixed shapes are for graphs of small operators only: the fused ones take any shape.
        if provider.target.dialect == Dialect::Fused {
            assert_eq!(provider.shapes, Shapes::Any, "{}", provider.name);
        }
    }
    for provider in PROVIDERS {
        assert_eq!(Provider::named(provider.name).unwrap().name, provider.name);
        assert_eq!(Provider::named(provider.runtime_name).unwrap().name, provider.name);
    }
    assert!(Provider::named("").is_none() && Provider::named("CPU").is_none());
}

#[test]
fn coreml_is_an_ml_program_of_fixed_shapes_on_all_units() {
    let expected = pairs(&[
        ("AllowLowPrecisionAccumulationOnGPU", "0"),
        ("EnableOnSubgraphs", "0"),
        ("MLComputeUnits", "ALL"),
        ("ModelCacheDirectory", "/cache"),
        ("ModelFormat", "MLProgram"),
        ("ProfileComputePlan", "0"),
        ("RequireStaticInputShapes", "1"),
        ("SpecializationStrategy", "Default"),
    ]);
    assert_eq!(options(&"coreml".into(), "float32", Some("/cache")), expected);
}

#[test]
fn every_setting_of_coreml_reaches_it() {
    let request = ProviderRequest::named("coreml")
        .setting("compute_units", "cpu_and_neural_engine")
        .setting("model_format", "neural_network")
        .setting("specialization_strategy", "fast_prediction")
        .setting("low_precision_accumulation", "true")
        .setting("static_shapes_only", "false")
        .setting("subgraphs", "true")
        .setting("profile_compute_plan", "true")
        .setting("cache_folder", "/mine");
    let expected = pairs(&[
        ("AllowLowPrecisionAccumulationOnGPU", "1"),
        ("EnableOnSubgraphs", "1"),
        ("MLComputeUnits", "CPUAndNeuralEngine"),
        ("ModelCacheDirectory", "/mine"),
        ("ModelFormat", "NeuralNetwork"),
        ("ProfileComputePlan", "1"),
        ("RequireStaticInputShapes", "0"),
        ("SpecializationStrategy", "FastPrediction"),
    ]);
    assert_eq!(options(&request, "float32", Some("/cache")), expected);
}

#[test]
fn the_operator_of_lookups_can_be_chosen() {
    let coreml = Provider::named("coreml").unwrap();
    let target =
        |request: ProviderRequest| coreml.target(coreml.dtype("float16").unwrap(), &request.chosen(coreml).unwrap());
    assert_eq!(
        (target("coreml".into()).lookup, target("coreml".into()).arithmetic),
        (Lookup::Gather, Arithmetic::Float16)
    );
    let asked = |lookup: &str| ProviderRequest::named("coreml").setting("embedding_lookup", lookup);
    assert_eq!(target(asked("gather")).lookup, Lookup::Gather);
    assert_eq!(target(asked("gather_nd")).lookup, Lookup::GatherNd);
}

#[test]
fn cuda_grows_its_memory_as_needed_and_computes_in_full_single_precision() {
    let expected = pairs(&[("arena_extend_strategy", "kSameAsRequested"), ("device_id", "0"), ("use_tf32", "0")]);
    assert_eq!(options(&"cuda".into(), "float32", None), expected);
}

#[test]
fn openvino_is_told_its_precision() {
    for (dtype, hint) in [("float32", "f32"), ("bfloat16", "bf16"), ("float16", "f16")] {
        let [(key, config)] = options(&"openvino".into(), dtype, Some("/cache")).try_into().unwrap();
        assert_eq!(key, "load_config");
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let expected = serde_json::json!({"CPU": {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": "3"}});
        assert_eq!(config, expected);
    }
}

#[test]
fn tensorrt_keeps_its_engines() {
    let found = options(&"tensorrt".into(), "float16", Some("/cache"));
    for pair in [("trt_engine_cache_enable", "1"), ("trt_engine_cache_path", "/cache"), ("trt_fp16_enable", "1")] {
        assert!(found.contains(&(pair.0.to_owned(), pair.1.to_owned())), "{pair:?}");
    }
    assert!(options(&"tensorrt".into(), "float32", None).iter().all(|(key, _)| !key.contains("cache")));
}

#[test]
fn options_of_the_runtime_itself_win() {
    let request = ProviderRequest::named("coreml").option("MLComputeUnits", "Brandnew").option("New", "1");
    let found = options(&request, "float32", None);
    assert!(found.contains(&("MLComputeUnits".to_owned(), "Brandnew".to_owned())));
    assert!(found.contains(&("New".to_owned(), "1".to_owned())));
    assert_eq!(found.iter().filter(|(key, _)| key == "MLComputeUnits").count(), 1);
}

#[test]
fn unknown_settings_and_values_are_refused_by_name() {
    let refused =
        |request: ProviderRequest| request.chosen(Provider::named(request.name()).unwrap()).unwrap_err().to_string();
    let error = refused(ProviderRequest::named("coreml").setting("compute_unit", "all"));
    assert!(error.contains("compute_unit") && error.contains("compute_units"), "{error}");
    let error = refused(ProviderRequest::named("coreml").setting("compute_units", "tpu"));
    assert!(error.contains("tpu") && error.contains("cpu_and_gpu"), "{error}");
    let error = refused(ProviderRequest::named("cuda").setting("device_id", "-1"));
    assert!(error.contains("-1") && error.contains("1023"), "{error}");
    for share in ["1.5", "-0.1", "NaN", "much"] {
        assert!(refused(ProviderRequest::named("cuda").setting("minimum_share", share)).contains(share));
    }
    let error = refused(ProviderRequest::named("cpu").setting("minimum_share", "0"));
    assert!(error.contains("has no settings") && error.contains("minimum_share"), "{error}");
    assert!(refused(ProviderRequest::named("cpu").option("key", "1")).contains("key"));
    assert!(refused(ProviderRequest::named("webgpu").option("key\0", "")).contains("NUL"));
}

#[test]
fn a_type_that_a_provider_does_not_compute_in_is_refused() {
    assert!(CPU.dtype("float32").is_ok());
    for (dtype, reason) in [("float16", "does not compute"), ("bfloat16", "does not compute"), ("int3", "not known")] {
        let error = CPU.dtype(dtype).unwrap_err().to_string();
        assert!(error.contains(dtype) && error.contains(reason) && error.contains("float32"), "{error}");
    }
    assert!(Provider::named("coreml").unwrap().dtype("bfloat16").is_err());
}

#[test]
fn every_kind_of_setting_is_in_use() {
    let kinds: BTreeSet<&str> = PROVIDERS
        .iter()
        .flat_map(|provider| provider.settings.iter().chain(COMMON))
        .map(|setting| match setting.kind {
            Kind::Choice(_) => "choice",
            Kind::Flag { .. } => "flag",
            Kind::Count { .. } => "count",
            Kind::Share => "share",
            Kind::Text => "text",
        })
        .collect();
    assert_eq!(kinds.len(), 5);
}
