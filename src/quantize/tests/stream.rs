//! A model in parts gives what the model gives whole.

use std::path::Path;
use std::sync::Arc;

use ort::session::RunOptions;

use crate::batch::{Batch, Layout, TokenRow};
use crate::config::{Document, Side};
use crate::graph::{Author, Part, Target, author};
use crate::quantize::stream::Parts;
use crate::runtime::execution::Execution;
use crate::runtime::initializers::Initializers;
use crate::runtime::library::library;
use crate::runtime::ports::discover;
use crate::runtime::session::{Graph, SessionFactory};
use crate::stages::{StageCounters, Stopwatch};
use crate::weights::Weights;

const FIXTURES: [(&str, &str); 9] = [
    ("bert-mean-prompts", "model.safetensors"),
    ("distilbert-mean", "model.safetensors"),
    ("roberta-mean", "model.safetensors"),
    ("mpnet-mean-b", "model.safetensors"),
    ("modernbert-cls", "model.safetensors"),
    ("nomicbert-mean", "model.safetensors"),
    ("gte-cls", "model.safetensors"),
    ("gemma3-mean-dense", "model.safetensors"),
    ("qwen3-lasttoken", "model.safetensors"),
];

struct Model {
    author: Arc<dyn Author>,
    weights: Weights,
}

fn model(fixture: &str, file: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    let author: Arc<dyn Author> =
        Arc::from(author(&Document::read(&folder.join("config.json")).unwrap()).unwrap().unwrap());
    let weights = Weights::open(&folder.join(file)).unwrap().with_prefix_of(author.anchor()).unwrap();
    Model { author, weights }
}

fn batch(model: &Model) -> Batch {
    let positions = model.author.architecture().positions;
    let layout = Layout { padding_side: Side::Right, padding_id: 1, positions, shortest: 2 };
    let rows: [&[u32]; 3] = [&[5, 9, 20, 7, 30, 31, 12], &[6], &[40, 3, 3, 8, 2]];
    let rows = rows.map(|ids| TokenRow { ids, type_ids: &[] });
    Batch::pad(&rows, &layout)
}

/// The graph of the whole model, as it is used for embedding.
fn whole(model: &Model, target: &Target, batch: &Batch) -> Vec<f32> {
    let written = model.author.write(&model.weights, target, None).unwrap();
    let graph = Graph::Written {
        model: written.model,
        initializers: Arc::new(Initializers::new(written.initializers, 1).unwrap()),
        sites: Arc::default(),
        long: None,
    };
    let execution = Execution::cpu("float32").unwrap();
    let mut session = Arc::new(SessionFactory::new(library(None).unwrap(), graph, execution)).create(1).unwrap();
    let found = discover(Path::new("written"), &session.inputs(), &session.outputs()).unwrap();
    let (options, counters) = (RunOptions::new().unwrap(), StageCounters::default());
    let clock = &mut Stopwatch::start(&counters);
    session.run(&found.ports, batch, &options, clock, |values, _| Ok(values.to_vec())).unwrap()
}

#[test]
fn the_parts_of_every_family_one_after_the_other_are_the_whole() {
    for (fixture, file) in FIXTURES {
        let model = model(fixture, file);
        let batch = batch(&model);
        let target = Target::CPU.with_max_tokens(32);
        let parts = Parts { author: Arc::clone(&model.author), target, library: library(None).unwrap(), threads: 1 };
        let run =
            |part: Part, hidden: &[f32]| parts.session(&model.weights, part).unwrap().run(&batch, hidden).unwrap();
        let mut hidden = run(Part::Embeddings, &[]);
        for layer in 0..model.author.sites().len() {
            hidden = run(Part::Layer(layer), &hidden);
        }
        let expected = whole(&model, &target, &batch);
        let hidden = run(Part::End, &hidden);
        assert_eq!(hidden.len(), expected.len(), "{fixture}");
        let difference = hidden.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-5, "{fixture}: {difference}");
    }
}

#[test]
fn the_inputs_of_sites_are_as_wide_as_their_layers() {
    for (fixture, file) in FIXTURES {
        let model = model(fixture, file);
        let batch = batch(&model);
        let target = Target::CPU.with_max_tokens(32);
        let parts = Parts { author: Arc::clone(&model.author), target, library: library(None).unwrap(), threads: 1 };
        let hidden = parts.session(&model.weights, Part::Embeddings).unwrap().run(&batch, &[]).unwrap();
        let sites = model.author.sites();
        for (index, site) in sites[0].iter().enumerate() {
            let mut session = parts.session(&model.weights, Part::UpTo { layer: 0, site: index }).unwrap();
            let input = session.run(&batch, &hidden).unwrap();
            assert_eq!(input.len(), batch.rows * batch.sequence * site.linears[0].inputs, "{fixture} {}", site.role);
        }
    }
}
