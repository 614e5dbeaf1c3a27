//! The program: parse, run, exit code. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    pushroll::cli::Cli::parse().run()
}
