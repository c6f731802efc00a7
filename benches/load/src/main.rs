//! Load for a server of embeddings.
//!
//! ```text
//! oxembed-load --url http://127.0.0.1:8080/v1/embeddings --bodies bodies.jsonl --connections 64 --seconds 20
//! oxembed-load --url http://127.0.0.1:8080/v1/embeddings --bodies bodies.jsonl --connections 64 --seconds 20 --rate 200
//! ```
//!
//! Without a rate every connection asks again as soon as it has its answer: that gives the throughput. With one, requests are
//! due at fixed moments whether or not the server keeps up, and a time counts from the moment when its request was due: that
//! gives the latency which clients see who do not wait for each other ("coordinated omission" is what would hide it). One
//! thread, so that the server keeps the rest of the machine. The result is one JSON object on standard output.

mod arguments;
mod client;
mod report;
mod run;

use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measured(&arguments) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("oxembed-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measured(arguments: &Arguments) -> Result<String, run::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run::run(arguments))?;
    Ok(serde_json::to_string(&report)?)
}
