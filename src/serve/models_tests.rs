use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::super::changes::ModelChange;
use super::super::settings::ModelSetting;
use super::*;
use crate::options::EncodeOptions;
use crate::serve::served::Inputs;

const FIRST: &str = "tests/fixtures/bert-mean-prompts";
const SECOND: &str = "tests/fixtures/bert-cls";

fn model(name: &str, path: &str) -> ModelSetting {
    ModelSetting { name: name.to_owned(), aliases: vec![format!("other-{name}")], path: path.into() }
}

async fn set(change: impl FnOnce(&mut Settings)) -> Arc<ModelSet> {
    let mut settings = Settings {
        models: vec![model("one", FIRST), model("two", SECOND)],
        provider: "cpu".to_owned(),
        threads: Some(1),
        ..Settings::default()
    };
    change(&mut settings);
    let settings = Arc::new(settings);
    let cache = EmbeddingCache::open(&settings).unwrap();
    Arc::new(ModelSet::load(&settings, cache).await.unwrap())
}

fn change(name: &str, path: Option<&str>, aliases: Option<&[&str]>) -> ModelChange {
    let aliases = aliases.map(|aliases| aliases.iter().map(|alias| (*alias).to_owned()).collect());
    ModelChange { name: name.to_owned(), path: path.map(PathBuf::from), aliases }
}

async fn path_of(set: &Arc<ModelSet>, name: Option<&str>) -> PathBuf {
    let path = set.get(name).await.unwrap().embedder.model().info().path.clone();
    Path::new(&path).to_owned()
}

#[tokio::test]
async fn models_are_found_by_all_their_names_and_the_first_by_none() {
    let set = set(|_| {}).await;
    for (name, path) in [(None, FIRST), (Some("one"), FIRST), (Some("other-two"), SECOND)] {
        assert_eq!(path_of(&set, name).await, Path::new(path));
    }
    let failure = set.get(Some("three")).await.unwrap_err();
    assert_eq!(failure.status, 404);
    assert!(failure.message.contains("one, other-one, other-two, two"), "{}", failure.message);
}

#[tokio::test]
async fn a_swap_takes_the_place_and_the_old_one_goes_on() {
    let set = set(|_| {}).await;
    let old = set.get(None).await.unwrap();
    let described = set.change(change("one", Some(SECOND), None)).await.unwrap();
    assert_eq!((described.path.as_path(), described.aliases), (Path::new(SECOND), vec!["other-one".to_owned()]));
    assert_eq!(path_of(&set, None).await, Path::new(SECOND));
    assert_eq!(path_of(&set, Some("other-one")).await, Path::new(SECOND));
    let rows = old.embed(Inputs::Texts(vec!["a".to_owned()]), EncodeOptions::default()).await.unwrap();
    assert_eq!(old.embedder.encode(&["a"], &EncodeOptions::default()).unwrap().vectors, rows.vectors);
    assert_eq!(set.describe().len(), 2);
}

#[tokio::test]
async fn a_change_that_fails_changes_nothing() {
    let set = set(|_| {}).await;
    for (change, status, says) in [
        (change("one", Some("no/such/folder"), Some(&["new"])), 422, "no/such/folder"),
        (change("other-one", Some(SECOND), None), 409, "another name of model \"one\""),
        (change("one", Some(SECOND), Some(&["two"])), 409, "\"two\" is a name of model \"two\""),
        (change("three", None, None), 404, "send its path"),
    ] {
        let failure = set.change(change).await.unwrap_err();
        assert_eq!(failure.status, status, "{}", failure.message);
        assert!(failure.message.contains(says), "{}", failure.message);
        assert_eq!(path_of(&set, Some("other-one")).await, Path::new(FIRST));
        assert!(set.get(Some("new")).await.is_err());
    }
}

#[tokio::test]
async fn models_come_and_go_but_for_the_last() {
    let set = set(|_| {}).await;
    set.change(change("three", Some(FIRST), Some(&["drei"]))).await.unwrap();
    assert_eq!(path_of(&set, Some("drei")).await, Path::new(FIRST));
    // New aliases in place of the old ones.
    set.change(change("three", None, Some(&["trois"]))).await.unwrap();
    assert!(set.get(Some("drei")).await.is_err());
    assert_eq!(set.unload("trois").await.unwrap_err().status, 409);
    set.unload("one").await.unwrap();
    // The next is the default now.
    assert_eq!(path_of(&set, None).await, Path::new(SECOND));
    set.unload("two").await.unwrap();
    assert_eq!(set.unload("three").await.unwrap_err().status, 409);
    assert_eq!(set.unload("one").await.unwrap_err().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_wait_for_a_model_have_it_loaded_once() {
    let set = set(|settings| settings.memory_limit_bytes = Some(1 << 40)).await;
    let loads = set.loads.load(Ordering::Relaxed);
    drop(set.slot(Some("two")).unwrap().take());
    assert_eq!(set.all().len(), 1);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let set = Arc::clone(&set);
            tokio::spawn(async move { set.get(Some("two")).await.unwrap() })
        })
        .collect();
    let mut found = Vec::new();
    for task in waiting {
        found.push(task.await.unwrap());
    }
    assert!(found.iter().all(|served| Arc::ptr_eq(served, &found[0])));
    assert_eq!(set.loads.load(Ordering::Relaxed), loads + 1);
}

#[tokio::test]
async fn a_model_that_does_not_load_again_is_said_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, away) = (folder.path().join("model"), folder.path().join("away"));
    #[cfg(unix)]
    std::os::unix::fs::symlink(std::fs::canonicalize(SECOND).unwrap(), &path).unwrap();
    let set = set(|settings| settings.models[1].path = path.clone()).await;
    drop(set.slot(Some("two")).unwrap().take());
    std::fs::rename(&path, &away).unwrap();
    let failure = set.get(Some("two")).await.unwrap_err();
    assert_eq!(failure.status, 503);
    assert!(failure.message.contains("does not load again"), "{}", failure.message);
    std::fs::rename(&away, &path).unwrap();
    set.get(Some("two")).await.unwrap();
}

#[tokio::test]
async fn a_load_goes_on_when_nobody_waits_any_more() {
    let set = set(|settings| settings.timeout = std::time::Duration::from_nanos(1)).await;
    drop(set.slot(Some("two")).unwrap().take());
    // Else a load may be done before this thread sees that the time is over.
    let changing = set.changing.lock().await;
    assert_eq!(set.get(Some("two")).await.unwrap_err().status, 504);
    drop(changing);
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while set.all().len() < 2 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    set.get(Some("two")).await.unwrap();
}

#[tokio::test]
async fn a_model_larger_than_the_limit_is_refused_at_the_start() {
    let settings =
        Settings { models: vec![model("one", FIRST)], memory_limit_bytes: Some(1000), ..Settings::default() };
    let error = ModelSet::load(&Arc::new(settings), None).await.unwrap_err();
    assert!(error.to_string().contains("--memory-limit-bytes"), "{error}");
}

/// The rows of a request and what it took, with a cache or without.
async fn asked(
    set: &Arc<ModelSet>,
    inputs: &Inputs,
    options: &EncodeOptions,
) -> Result<(Vec<u32>, usize, usize, usize), String> {
    let served = set.get(None).await.unwrap();
    let found = served.embed(inputs.clone(), options.clone()).await.map_err(|failure| failure.message)?;
    let bits = found.vectors.iter().map(|value| value.to_bits()).collect();
    Ok((bits, found.usage.inputs, found.usage.total_tokens, found.usage.truncated_inputs))
}

#[tokio::test]
async fn with_a_cache_everything_is_as_without() {
    let plain = set(|_| {}).await;
    let cached = set(|settings| settings.cache_bytes = 1 << 20).await;
    let texts = |texts: &[&str]| Inputs::Texts(texts.iter().map(|text| (*text).to_owned()).collect());
    let long = "word ".repeat(200);
    let requests = [
        texts(&["a", "b", "a"]),
        texts(&["b", "c", &long]),
        texts(&["c", "a", "d", &long]),
        texts(&[&long]),
        Inputs::Tokens(vec![vec![2, 5, 3], vec![2, 7, 3]]),
        Inputs::Tokens(vec![vec![2, 7, 3], vec![2, 9, 3], vec![100_000]]),
    ];
    let truncation = crate::tokenization::Truncation::Error;
    let options = [
        EncodeOptions::default(),
        EncodeOptions { truncate_dim: Some(7), normalize: Some(true), ..EncodeOptions::default() },
        EncodeOptions { prompt_name: Some("query".to_owned()), ..EncodeOptions::default() },
        EncodeOptions { truncation, ..EncodeOptions::default() },
        EncodeOptions { prompt_name: Some("none".to_owned()), ..EncodeOptions::default() },
        EncodeOptions { truncate_dim: Some(0), ..EncodeOptions::default() },
    ];
    let mut refused = 0;
    for _ in 0..2 {
        for (options, request) in
            options.iter().flat_map(|options| requests.iter().map(move |request| (options, request)))
        {
            let expected = asked(&plain, request, options).await;
            refused += usize::from(expected.is_err());
            assert_eq!(asked(&cached, request, options).await, expected);
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn texts_to_be_tokenized_have_room_of_their_own() {
    let set = set(|settings| settings.max_queued_inputs = 10).await;
    let served = set.get(None).await.unwrap();
    let tokenize = |count| served.tokenize(vec!["a text".to_owned(); count], None, true);
    // Whoever embeds does not keep them out.
    let _embedding = served.admission.enter(10).unwrap();
    assert_eq!(tokenize(2).await.unwrap().len(), 2);
    let others = served.tokenizing.enter(9).unwrap();
    let failure = tokenize(2).await.unwrap_err();
    assert_eq!(failure.status, 429);
    assert!(failure.retry_after.is_some());
    drop(others);
    assert_eq!(tokenize(10).await.unwrap().len(), 10);
    assert_eq!(served.tokenizing.inside(), 0);
}

#[tokio::test]
async fn tokenizing_ends_with_its_time_or_when_the_client_leaves() {
    const PATIENCE: Duration = Duration::from_mins(1);
    let set = set(|settings| (settings.timeout, settings.max_inputs) = (Duration::from_millis(100), 3000)).await;
    let served = set.get(None).await.unwrap();
    // Minutes of work, of which a text takes the twentieth part of a second.
    let texts = || vec!["some words ".repeat(3000); 3000];
    let started = Instant::now();
    assert_eq!(served.tokenize(texts(), None, true).await.unwrap_err().status, 504);
    // Begun and dropped.
    let mut left = Box::pin(served.tokenize(texts(), None, true));
    assert!(poll_fn(|context| Poll::Ready(left.as_mut().poll(context))).await.is_pending());
    drop(left);
    while served.tokenizing.inside() > 0 {
        assert!(started.elapsed() < PATIENCE, "nobody waits for it, and it goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
