//! Large models are not packed, which no other test makes: here small ones are not.

use std::path::Path;
use std::sync::Arc;

use ort::session::RunOptions;

use super::Initializers;
use crate::batch::{Batch, Layout, TokenRow};
use crate::config::{Document, Side};
use crate::error::EmbeddingError;
use crate::graph::{PositionScheme, Target, author};
use crate::runtime::execution::Execution;
use crate::runtime::library::library;
use crate::runtime::ports::discover;
use crate::runtime::session::{Graph, LoadedSession, LongGraph, SessionFactory};
use crate::stages::{StageCounters, Stopwatch};
use crate::weights::Weights;

/// A fixture's model, packed or not, with its tokens' vectors for ids.
struct Fixture {
    session: LoadedSession,
    positions: PositionScheme,
    width: usize,
}

impl Fixture {
    fn load(name: &str, limit: usize, threads: usize) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let author = author(&Document::read(&folder.join("config.json")).unwrap()).unwrap().unwrap();
        let weights =
            Weights::open(&folder.join("model.safetensors")).unwrap().with_prefix_of(author.anchor()).unwrap();
        let written = author.write(&weights, &Target::CPU.with_max_tokens(64), None).unwrap();
        let initializers = Initializers::with_packing_limit(written.initializers, 2, limit).unwrap();
        assert_eq!(initializers.packs(), limit > 0);
        let long = LongGraph(Box::new(|| Err(EmbeddingError::internal("no text here is long"))));
        let initializers = Arc::new(initializers);
        let graph = Graph::Written { model: written.model, initializers, sites: Arc::default(), long: Some(long) };
        let execution = Execution::cpu("float32").unwrap();
        let factory = Arc::new(SessionFactory::new(library(None).unwrap(), graph, execution));
        let architecture = author.architecture();
        Self {
            session: factory.create(threads).unwrap(),
            positions: architecture.positions,
            width: architecture.hidden_size,
        }
    }

    /// The vectors of every row's tokens, from one batch.
    fn run(&mut self, rows: &[&[u32]]) -> Vec<Vec<f32>> {
        let layout = Layout { padding_side: Side::Right, padding_id: 1, positions: self.positions, shortest: 2 };
        let tokens: Vec<TokenRow<'_>> = rows.iter().map(|ids| TokenRow { ids, type_ids: &[] }).collect();
        let batch = Batch::pad(&tokens, &layout);
        let found = discover(Path::new("written"), &self.session.inputs(), &self.session.outputs()).unwrap();
        let width = self.width;
        let read = |values: &[f32], _: &[i64]| {
            let row = |(index, ids): (usize, &&[u32])| {
                let start = index * batch.sequence * width;
                values[start..start + ids.len() * width].to_vec()
            };
            Ok(rows.iter().enumerate().map(row).collect())
        };
        let counters = StageCounters::default();
        let clock = &mut Stopwatch::start(&counters);
        self.session.run(&found.ports, &batch, &RunOptions::new().unwrap(), clock, read).unwrap()
    }
}

const ROWS: [&[u32]; 5] = [&[7], &[8, 9], &[10, 11, 12, 13, 14, 15, 16], &[7, 7, 7], &[20; 40]];

/// A product with one row takes another way through ONNX Runtime, which a batch of one token must not come to.
#[test]
fn a_text_alone_has_the_same_bits_where_the_matrices_are_not_packed() {
    for name in ["roberta-mean", "bert-mean-f16", "qwen3-lasttoken", "modernbert-cls"] {
        let together = Fixture::load(name, 0, 1).run(&ROWS);
        for threads in [1, 2] {
            let mut fixture = Fixture::load(name, 0, threads);
            for (row, truth) in ROWS.iter().zip(&together) {
                let alone = fixture.run(&[row]).remove(0);
                assert!(
                    alone.iter().map(|value| value.to_bits()).eq(truth.iter().map(|value| value.to_bits())),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn packing_changes_the_order_of_sums_and_nothing_else() {
    for name in ["roberta-mean", "bert-mean-f16", "qwen3-lasttoken", "modernbert-cls"] {
        let packed = Fixture::load(name, usize::MAX, 1).run(&ROWS);
        let unpacked = Fixture::load(name, 0, 1).run(&ROWS);
        for (packed, unpacked) in packed.concat().iter().zip(unpacked.concat()) {
            assert!((packed - unpacked).abs() <= 1e-5 * packed.abs().max(1.0), "{name}: {packed} {unpacked}");
        }
    }
}
