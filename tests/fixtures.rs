//! The crate from outside: golden vectors of sentence-transformers, the service contract, cancelling, many threads, and
//! every kind of error.
//!
//! `ORT_DYLIB_PATH` names ONNX Runtime's shared library; no Python is needed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use ndarray::{Array2, ArrayView1, s};
use ndarray_npy::NpzReader;
use oxembed::export::{ExportOptions, export};
use oxembed::graph::Target;
use oxembed::{
    BatchEmbeddingRequest, Embedder, EmbeddingError, EmbeddingProvider, EncodeOptions, OnnxEmbeddingProvider, Role,
    Truncation,
};
use serde_json::{Value, json};

/// The five families.
const FIXTURES: [&str; 8] = [
    "bert-cls",
    "bert-mean-f16",
    "bert-mean-prompts",
    "bert-mean-st6",
    "distilbert-mean",
    "mpnet-mean-b",
    "roberta-mean",
    "xlmr-mean-prompts",
];
const TOLERANCE: f32 = 1e-5;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn embedded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/all-MiniLM-L6-v2")
}

fn read_json(path: &Path) -> Value {
    serde_json::from_reader(File::open(path).unwrap()).unwrap()
}

fn write_json(path: &Path, value: &Value) {
    std::fs::write(path, value.to_string()).unwrap();
}

fn texts(path: &Path) -> Vec<String> {
    serde_json::from_value(read_json(path)).unwrap()
}

fn arrays(path: &Path) -> Vec<(String, Array2<f32>)> {
    let mut stored = NpzReader::new(File::open(path).unwrap()).unwrap();
    let names = stored.names().unwrap();
    names.into_iter().map(|name| (name.trim_end_matches(".npy").to_owned(), stored.by_name(&name).unwrap())).collect()
}

fn golden(name: &str) -> (Vec<String>, Vec<(String, Array2<f32>)>) {
    let folder = fixture(name);
    (texts(&folder.join("golden_texts.json")), arrays(&folder.join("golden.npz")))
}

fn assert_close(vectors: &Array2<f32>, truth: &Array2<f32>, what: &str) {
    assert_eq!(vectors.dim(), truth.dim(), "{what}");
    for ((row, column), value) in vectors.indexed_iter() {
        let apart = (value - truth[[row, column]]).abs();
        assert!(apart <= TOLERANCE, "{what}: text {row}, column {column}: {apart} apart");
    }
}

fn bits(vectors: &Array2<f32>) -> Vec<u32> {
    vectors.iter().map(|value| value.to_bits()).collect()
}

fn row_bits(vectors: &Array2<f32>, row: usize) -> Vec<u32> {
    vectors.row(row).iter().map(|value| value.to_bits()).collect()
}

fn plain() -> EncodeOptions {
    EncodeOptions::default()
}

/// A copy of a fixture that may be broken.
fn copy(name: &str) -> tempfile::TempDir {
    fn copy_all(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy_all(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy_all(&fixture(name), folder.path());
    folder
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    for name in FIXTURES {
        let (texts, arrays) = golden(name);
        let embedder = Embedder::load(fixture(name)).unwrap();
        let mut compared = 0;
        for (array, truth) in &arrays {
            let texts = &texts[..truth.nrows()];
            let prompt_name = array.strip_prefix("prompt_").map(str::to_owned);
            let options = EncodeOptions { prompt_name: prompt_name.clone(), ..plain() };
            let vectors = embedder.encode(texts, &options).unwrap().vectors;
            assert_close(&vectors, truth, &format!("{name}, {array}"));
            compared += 1;
            let role = match prompt_name.as_deref() {
                Some("query") => Role::Query,
                Some("document") => Role::Document,
                _ => continue,
            };
            let options = EncodeOptions { role: Some(role), ..plain() };
            assert_eq!(bits(&embedder.encode(texts, &options).unwrap().vectors), bits(&vectors), "{name}, {array}");
        }
        let prompts = embedder.model().info().prompts.values().filter(|prompt| !prompt.is_empty()).count();
        assert_eq!(compared, 1 + prompts, "{name}");
    }
}

#[test]
fn onnx_files_give_the_same_vectors() {
    let mut found = 0;
    for name in FIXTURES.into_iter().filter(|name| fixture(name).join("onnx/model.onnx").is_file()) {
        let (texts, arrays) = golden(name);
        let embedder = Embedder::builder(fixture(name)).onnx_file("onnx/model.onnx").load().unwrap();
        assert_eq!(embedder.model().info().source, "onnx/model.onnx");
        let truth = &arrays.iter().find(|(array, _)| array == "embeddings").unwrap().1;
        let vectors = embedder.encode(&texts, &plain()).unwrap().vectors;
        assert_close(&vectors, truth, name);
        found += 1;
    }
    assert_eq!(found, 3);
}

/// What OpenVINO is given, on the CPU: a graph without one shape has to be right for every family and length.
#[test]
fn graphs_of_small_operators_and_any_shape_give_the_same_vectors() {
    let options = ExportOptions { target: Target::PLAIN, ..ExportOptions::default() };
    let folders =
        std::fs::read_dir(fixture("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = folders.filter(|name| fixture(name).join("golden.npz").is_file()).collect();
    assert_eq!(names.len(), 14);
    for name in names {
        let folder = copy(&name);
        export(&fixture(&name), &folder.path().join("plain.onnx"), &options).unwrap();
        let (texts, arrays) = golden(&name);
        let embedder = Embedder::builder(folder.path()).onnx_file("plain.onnx").load().unwrap();
        let truth = &arrays.iter().find(|(array, _)| array == "embeddings").unwrap().1;
        assert_close(&embedder.encode(&texts, &plain()).unwrap().vectors, truth, &name);
    }
}

#[test]
fn the_embedded_model_is_the_real_one() {
    let folder = fixture("all-MiniLM-L6-v2-golden");
    let texts = texts(&folder.join("texts.json"));
    let truth = arrays(&folder.join("vectors.npz")).remove(0).1;
    let vectors = Embedder::load(embedded()).unwrap().encode(&texts, &plain()).unwrap().vectors;
    assert_eq!(vectors.dim(), truth.dim());
    for (index, (row, truth)) in vectors.rows().into_iter().zip(truth.rows()).enumerate() {
        let dot = |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let cosine = dot(row, truth) / (dot(row, row) * dot(truth, truth)).sqrt();
        assert!(cosine >= 0.99999, "text {index}: {cosine}");
    }
}

#[test]
fn a_text_has_the_same_bits_alone_reversed_and_repeated() {
    for name in FIXTURES {
        let (texts, _) = golden(name);
        let embedder = Embedder::builder(fixture(name)).threads(2).load().unwrap();
        let together = embedder.encode(&texts, &plain()).unwrap().vectors;
        for (index, text) in texts.iter().enumerate() {
            let alone = embedder.encode(&[text], &plain()).unwrap().vectors;
            assert_eq!(row_bits(&alone, 0), row_bits(&together, index), "{name}, text {index}");
        }
        let reversed: Vec<&String> = texts.iter().rev().collect();
        let vectors = embedder.encode(&reversed, &plain()).unwrap().vectors;
        assert_eq!(bits(&vectors.slice(s![..;-1, ..]).to_owned()), bits(&together), "{name}");
        let twice: Vec<&String> = texts.iter().chain(&texts).collect();
        let vectors = embedder.encode(&twice, &plain()).unwrap().vectors;
        assert_eq!(bits(&vectors.slice(s![..texts.len(), ..]).to_owned()), bits(&together), "{name}");
        assert_eq!(bits(&vectors.slice(s![texts.len().., ..]).to_owned()), bits(&together), "{name}");
    }
}

#[test]
fn usage_counts_every_text() {
    let embedder = Embedder::builder(fixture("bert-cls")).max_seq_length(8).load().unwrap();
    let long = "word ".repeat(50);
    let usage = embedder.encode(&["a", &long, "", &long], &plain()).unwrap().usage;
    let tokens = |text: &str| embedder.model().tokenization().encode(text).unwrap().ids.len();
    assert_eq!(usage.inputs, 4);
    assert_eq!(usage.truncated_inputs, 2);
    assert_eq!(usage.total_tokens, tokens("a") + 8 + tokens("") + 8);
    assert!(usage.duration > Duration::ZERO);
}

#[test]
fn no_texts_give_no_rows() {
    let embedder = Embedder::load(fixture("bert-cls")).unwrap();
    let nothing: [&str; 0] = [];
    assert_eq!(embedder.encode(&nothing, &plain()).unwrap().vectors.dim(), (0, 48));
    let options = EncodeOptions { truncate_dim: Some(5), ..plain() };
    assert_eq!(embedder.encode(&nothing, &options).unwrap().vectors.dim(), (0, 5));
}

fn provider(max_inputs: usize) -> (OnnxEmbeddingProvider, String) {
    let embedder = Embedder::load(fixture("bert-mean-prompts")).unwrap();
    let name = embedder.model().info().name.clone();
    (OnnxEmbeddingProvider::new(embedder).with_max_inputs(max_inputs), name)
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_in_order() {
    let (provider, name) = provider(60);
    let provider: Arc<dyn EmbeddingProvider> = Arc::new(provider);
    let (texts, arrays) = golden("bert-mean-prompts");
    let truth = &arrays.iter().find(|(array, _)| array == "embeddings").unwrap().1;
    let kept: Vec<usize> = (0..texts.len()).filter(|index| !texts[*index].trim().is_empty()).collect();
    assert!(kept.len() < texts.len(), "the fixture has blank texts");
    let inputs: Vec<String> = kept.iter().map(|index| texts[*index].clone()).collect();
    let response = provider.embed_batch(BatchEmbeddingRequest::new(&name, inputs)).await.unwrap();
    assert_eq!(response.model, name);
    assert_eq!(response.usage.inputs, kept.len());
    assert_close(&response.embeddings, &truth.select(ndarray::Axis(0), &kept), "embed_batch");
    assert_eq!(provider.model_info().dimension, 48);
    let health = provider.health_check().await;
    assert!(health.healthy, "{}", health.message);
}

/// Model, inputs, the index that is named, and what else the message says.
type Refused<'a> = (&'a str, &'a [&'a str], Option<usize>, &'a [&'a str]);

#[tokio::test(flavor = "multi_thread")]
async fn the_strict_rules_name_the_input() {
    let (provider, name) = provider(3);
    let cases: [Refused<'_>; 8] = [
        (&name, &[], None, &["empty"]),
        (&name, &["a", ""], Some(1), &["1"]),
        (&name, &["a", "b", " \t\n"], Some(2), &["2"]),
        (&name, &["\u{2003}\u{a0}"], Some(0), &["0"]),
        (&name, &["a", "b", "c", "d"], None, &["4", "3"]),
        ("another", &["a"], None, &["another", &name]),
        ("", &["a"], None, &[&name]),
        ("another", &[], None, &["another"]),
    ];
    for (model, inputs, at, parts) in cases {
        let error = provider.embed_batch(BatchEmbeddingRequest::new(model, owned(inputs))).await.unwrap_err();
        let EmbeddingError::InvalidInput { message, index } = &error else { panic!("{error:?}") };
        assert_eq!(*index, at, "{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    let enough = BatchEmbeddingRequest::new(&name, owned(&["a", "b", "c"]));
    assert_eq!(provider.embed_batch(enough).await.unwrap().embeddings.nrows(), 3);
    assert_eq!(OnnxEmbeddingProvider::MAX_INPUTS, 2048);
}

#[tokio::test(flavor = "multi_thread")]
async fn normalize_is_what_the_request_says() {
    let folder = copy("bert-mean-prompts");
    let modules = folder.path().join("modules.json");
    let mut entries = read_json(&modules);
    entries.as_array_mut().unwrap().retain(|entry| !entry["type"].as_str().unwrap().ends_with("Normalize"));
    write_json(&modules, &entries);
    let provider = OnnxEmbeddingProvider::new(Embedder::load(folder.path()).unwrap());
    let name = provider.model_info().name;
    for normalize in [true, false] {
        let request = BatchEmbeddingRequest { normalize, ..BatchEmbeddingRequest::new(&name, owned(&["Hello"])) };
        let vectors = provider.embed_batch(request).await.unwrap().embeddings;
        let length = vectors.row(0).dot(&vectors.row(0)).sqrt();
        assert_eq!((length - 1.0).abs() < 1e-5, normalize, "length {length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_request_harms_nobody() {
    let (provider, name) = provider(2048);
    let many = || BatchEmbeddingRequest::new(&name, (0..500).map(|number| format!("text {number}")).collect());
    // Begun and dropped here, as where a task is aborted: a task may be done before somebody aborts it.
    let mut dropped = provider.embed_batch(many());
    let begun = poll_fn(|context| Poll::Ready(dropped.as_mut().poll(context))).await;
    drop((begun, dropped));
    let one = provider.embed_batch(BatchEmbeddingRequest::new(&name, owned(&["text 3"]))).await.unwrap();
    let all = provider.embed_batch(many()).await.unwrap();
    assert_eq!(row_bits(&one.embeddings, 0), row_bits(&all.embeddings, 3));
}

#[test]
fn a_call_is_cancelled_by_its_watch() {
    let embedder = Embedder::load(embedded()).unwrap();
    let texts: Vec<String> = (0..4000).map(|number| format!("{number} {}", "a longer text ".repeat(20))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut asked = 0;
    let outcome = embedder.encode_watched(&texts, &plain(), &mut |done| {
        if done < 1 {
            return ControlFlow::Continue(());
        }
        asked += 1;
        ControlFlow::Break(())
    });
    assert!(matches!(outcome, Err(EmbeddingError::Cancelled)), "{outcome:?}");
    assert_eq!(asked, 1, "who gave up is not asked again");
    // Not how long it took, as this thread may be stopped: the other texts, tens of seconds of work, were given up.
    let tokens = embedder.stages().tokens;
    assert!(tokens > 0 && tokens < 4000 * 60, "{tokens} tokens");
    assert_eq!(embedder.encode(&["afterwards"], &plain()).unwrap().vectors.dim(), (1, 384));
}

#[test]
fn a_watch_sees_progress_and_its_end() {
    let embedder = Embedder::load(fixture("bert-cls")).unwrap();
    let texts: Vec<String> = (0..3000).map(|number| format!("text number {}", number % 1500)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut seen = Vec::new();
    let embeddings = embedder.encode_watched(&texts, &plain(), &mut |done| {
        seen.push(done);
        ControlFlow::Continue(())
    });
    assert_eq!(embeddings.unwrap().vectors.nrows(), 3000);
    assert!(!seen.is_empty());
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen.iter().all(|done| *done <= 3000), "{seen:?}");
}

#[test]
fn a_hundred_threads_share_one_embedder() {
    let (texts, _) = golden("mpnet-mean-b");
    let embedder = Embedder::load(fixture("mpnet-mean-b")).unwrap();
    let truth = embedder.encode(&texts, &plain()).unwrap().vectors;
    let calls = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..100 {
            let (embedder, texts, truth, calls) = (embedder.clone(), &texts, &truth, &calls);
            scope.spawn(move || {
                for call in 0..5 {
                    let start = (thread * 7 + call * 11) % texts.len();
                    let length = 1 + (thread + call) % 9;
                    let rows: Vec<usize> = (start..start + length).map(|row| row % texts.len()).collect();
                    let chosen: Vec<&String> = rows.iter().map(|row| &texts[*row]).collect();
                    let vectors = embedder.encode(&chosen, &plain()).unwrap().vectors;
                    for (place, row) in rows.into_iter().enumerate() {
                        assert_eq!(row_bits(&vectors, place), row_bits(truth, row), "text {row}");
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(calls.load(Ordering::Relaxed), 500);
}

// ---- Errors: every kind, with what its message has to say --------------------------------------------------------------

fn assert_says(error: &EmbeddingError, parts: &[&str]) {
    let message = error.to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message:?} should say {parts:?}");
}

#[test]
fn invalid_input_names_the_option_or_the_text() {
    let embedder = Embedder::builder(fixture("bert-cls")).max_seq_length(8).load().unwrap();
    let long = "word ".repeat(50);
    let cases: [(EncodeOptions, Option<usize>, &[&str]); 3] = [
        (EncodeOptions { prompt_name: Some("poem".into()), ..plain() }, None, &["poem", "query"]),
        (EncodeOptions { truncate_dim: Some(0), ..plain() }, None, &["truncate_dim"]),
        (EncodeOptions { truncation: Truncation::Error, ..plain() }, Some(1), &["text 1", "8"]),
    ];
    for (options, at, parts) in cases {
        let error = embedder.encode(&["short", &long, &long], &options).unwrap_err();
        assert!(matches!(&error, EmbeddingError::InvalidInput { index, .. } if *index == at), "{error:?}");
        assert_says(&error, parts);
    }
    let builder = || Embedder::builder(fixture("bert-cls"));
    let settings = [
        (builder().threads(0), "threads"),
        (builder().threads(1_000_000), "threads"),
        (builder().max_seq_length(0), "max_seq_length"),
        (builder().max_seq_length(1_000_000), "max_seq_length"),
        (builder().truncate_dim(0), "truncate_dim"),
        (builder().dtype("float8"), "float32"),
    ];
    for (builder, part) in settings {
        let error = builder.load().unwrap_err();
        assert!(matches!(error, EmbeddingError::InvalidInput { index: None, .. }), "{error:?}");
        assert_says(&error, &[part]);
    }
}

#[test]
fn model_not_found_says_where_it_looked() {
    let file = fixture("bert-cls").join("config.json");
    for path in ["no/such/folder", "", file.to_str().unwrap()] {
        let error = Embedder::load(path).unwrap_err();
        assert!(matches!(&error, EmbeddingError::ModelNotFound { model, .. } if model == path), "{error:?}");
        assert_says(&error, &[path, "folder"]);
    }
}

#[test]
fn invalid_model_names_file_key_and_value() {
    let folder = copy("bert-cls");
    let path = folder.path().join("config.json");
    let mut config = read_json(&path);
    config["hidden_act"] = json!("sine");
    write_json(&path, &config);
    let error = Embedder::load(folder.path()).unwrap_err();
    let EmbeddingError::InvalidModel { file, key, value, .. } = &error else { panic!("{error:?}") };
    assert_eq!(file, &path);
    assert_eq!((key.as_deref(), value.as_deref()), (Some("hidden_act"), Some("\"sine\"")));
    assert_says(&error, &["config.json", "hidden_act", "sine", "gelu"]);
}

#[test]
fn invalid_model_keeps_the_cause() {
    let folder = copy("bert-cls");
    std::fs::write(folder.path().join("config.json"), "{\"model_type\": ").unwrap();
    let error = Embedder::load(folder.path()).unwrap_err();
    assert!(std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("EOF")), "{error:?}");
    assert_says(&error, &["config.json"]);
}

#[test]
fn provider_unavailable_says_what_works() {
    for provider in ["coreml", "cuda", "nonsense", "CPU"] {
        let error = Embedder::builder(fixture("bert-cls")).provider(provider).load().unwrap_err();
        assert!(matches!(&error, EmbeddingError::ProviderUnavailable { provider: named, .. } if named == provider));
        assert_says(&error, &[provider, "\"cpu\""]);
    }
    let list = ["cuda", "cpu"].map(str::to_owned);
    let embedder = Embedder::builder(fixture("bert-cls")).providers(list).load().unwrap();
    assert_eq!(embedder.model().info().provider, "cpu");
    assert!(embedder.model().info().assumptions.iter().any(|assumption| assumption.contains("cuda")));
}

/// Turns the last bias of a fixture's weights into NaN.
fn spoil_weights(folder: &Path) {
    let path = folder.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let entry = header.as_object().unwrap().iter().find(|(name, _)| name.ends_with("embeddings.LayerNorm.bias"));
    let offset = |index: usize| usize::try_from(entry.unwrap().1["data_offsets"][index].as_u64().unwrap()).unwrap();
    for number in bytes[8 + length..][offset(0)..offset(1)].chunks_exact_mut(4) {
        number.copy_from_slice(&f32::NAN.to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn inference_failed_speaks_of_the_numbers() {
    let folder = copy("roberta-mean");
    spoil_weights(folder.path());
    let embedder = Embedder::load(folder.path()).unwrap();
    let error = embedder.encode(&["a", "b"], &plain()).unwrap_err();
    assert!(matches!(error, EmbeddingError::InferenceFailed { .. }), "{error:?}");
    assert_says(&error, &["inference failed", "NaN"]);
    let health = embedder.health();
    assert!(!health.healthy && health.message.contains("NaN"), "{health:?}");
}

#[test]
fn cancelled_says_that_there_are_no_rows() {
    assert_says(&EmbeddingError::Cancelled, &["cancelled"]);
}

#[test]
fn the_kinds_made_by_services_print_their_message() {
    let service = EmbeddingError::ServiceUnavailable { message: "no library".into(), source: None };
    assert_says(&service, &["no library"]);
    assert_says(&EmbeddingError::Internal { message: "impossible".into() }, &["impossible", "report"]);
}

/// A process decides for its library once, so this asks another process: this test's own program, run again.
#[test]
fn service_unavailable_says_how_to_mend_it() {
    const ROLE: &str = "OXEMBED_TEST_WITHOUT_LIBRARY";
    if std::env::var_os(ROLE).is_some() {
        let error = Embedder::load(fixture("bert-cls")).unwrap_err();
        assert!(matches!(error, EmbeddingError::ServiceUnavailable { .. }), "{error:?}");
        assert_says(&error, &["onnxruntime"]);
        let again = Embedder::load(fixture("bert-cls")).unwrap_err();
        assert!(matches!(again, EmbeddingError::ServiceUnavailable { .. }), "{again:?}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("libonnxruntime.so");
    std::fs::write(&garbage, "not a library").unwrap();
    for library in [folder.path().join("missing.so"), garbage, folder.path().to_owned()] {
        let done = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "service_unavailable_says_how_to_mend_it", "--nocapture"])
            .env(ROLE, "1")
            .env("ORT_DYLIB_PATH", &library)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&done.stderr).into_owned() + &String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{}: {output}", library.display());
    }
}

#[test]
fn errors_cross_threads_and_can_be_cloned() {
    fn is_shared<T: Send + Sync + Clone + std::error::Error + 'static>() {}
    is_shared::<EmbeddingError>();
}
