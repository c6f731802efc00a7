//! Writes what the service needs of `oxembed.proto`: the Rust code of its messages and its service, and its descriptor,
//! which reflection hands to clients.
//!
//!     cargo run --manifest-path proto/generator/Cargo.toml                write them
//!     cargo run --manifest-path proto/generator/Cargo.toml -- --check     are they what it says?

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use prost::Message;

const HEAD: &str = "// Written by `make proto` from proto/oxembed.proto: change that, not this.\n";

fn main() -> ExitCode {
    let only_check = match env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => {
            eprintln!("{other:?} is not understood; there is --check");
            return ExitCode::from(2);
        }
    };
    match run(only_check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(only_check: bool) -> Result<(), Box<dyn Error>> {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = repository.join("src/serve/grpc/generated");
    for (name, bytes) in generate(&repository.join("proto"))? {
        let file = folder.join(name);
        if !only_check {
            fs::create_dir_all(&folder)?;
            fs::write(&file, bytes)?;
        } else if fs::read(&file).ok().as_ref() != Some(&bytes) {
            return Err(format!(
                "src/serve/grpc/generated/{name} is not what proto/oxembed.proto says; run: make proto"
            )
            .into());
        }
    }
    Ok(())
}

/// The files by name.
fn generate(protos: &Path) -> Result<[(&'static str, Vec<u8>); 2], Box<dyn Error>> {
    let mut descriptors = protox::compile(["oxembed.proto"], [protos])?;
    let folder = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .out_dir(folder.path())
        .compile_fds(descriptors.clone())?;
    let code = fs::read_to_string(folder.path().join("oxembed.v1.rs"))?;
    // Where a line of the file stands is of no use to clients; comments are in the file itself.
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    Ok([("oxembed.v1.rs", format!("{HEAD}{code}").into_bytes()), ("oxembed.v1.bin", descriptors.encode_to_vec())])
}
