//! The program: parse, run, exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pushroll::cli::Cli::of_process().run()
}
