//! The embedding service as a program of its own: `oxembed-serve --model FOLDER`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(oxembed::serve::run(std::env::args_os()))
}
