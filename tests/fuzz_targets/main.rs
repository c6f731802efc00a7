//! The fuzz targets on stable Rust: each input that once broke something, then some changes of the inputs in the corpus, the
//! same ones in each run. `make fuzz` looks for new ones with libFuzzer.
//!
//! `ORT_DYLIB_PATH` names ONNX Runtime's shared library.

// Where a failing input is kept has to be told: panics tell of the check alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod mutation;
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use mutation::Mutator;
use targets::TARGETS;

/// Times the usual number of changed inputs.
const LONGER: &str = "FUZZ_TIMES";
/// A file: this input, and no other.
const INPUT: &str = "FUZZ_INPUT";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The inputs in the corpus of a target, by name.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join("fuzz/corpus").join(target);
    let paths: BTreeSet<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Checks an input; where that panics, which says why, the input is kept and the command that repeats it is told.
fn check(target: &str, input: &[u8], origin: &str) {
    if catch_unwind(|| targets::run(target, input)).is_err() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}-broken"));
        fs::write(&kept, input).unwrap();
        let kept = kept.display();
        panic!("{target} fails on {origin}; see it again: {INPUT}={kept} cargo test --test fuzz_targets {target}");
    }
}

fn run(name: &str) {
    if let Some(path) = std::env::var_os(INPUT) {
        return targets::run(name, &fs::read(path).unwrap());
    }
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let corpus = corpus(name);
    for (path, input) in &corpus {
        check(name, input, &path.display().to_string());
    }
    let times: u32 = std::env::var(LONGER).map_or(1, |times| times.parse().unwrap());
    let inputs: Vec<&[u8]> = corpus.iter().map(|(_, input)| input.as_slice()).collect();
    let mut mutator = Mutator::new(name);
    for number in 0..target.short_run * times {
        let input = mutator.mutate(&inputs);
        check(name, &input, &format!("changed input {number}"));
    }
}

/// A test for each target, so that they run side by side.
macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_test_a_program_and_inputs() {
            let tests = [$(stringify!($name)),*];
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), tests);
            let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
            for name in tests {
                let program = format!("fuzz_targets/{name}.rs");
                assert!(manifest.contains(&format!("path = {program:?}")), "fuzz/Cargo.toml does not have {program}");
                let program = fs::read_to_string(root().join("fuzz").join(program)).unwrap();
                assert!(program.contains(&format!("run({name:?}, data)")), "{program}");
                assert!(!corpus(name).is_empty(), "fuzz/corpus/{name} is empty");
            }
        }
    };
}

tests! {
    config_bytes config_json encode int8_file load onnx plan pool tokenize tokenizer_bytes tokenizer_json weights
    weights_index
}
