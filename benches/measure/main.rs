//! What the README promises about speed, measured: ratios within one run, each against what it is compared with on
//! the same machine. docs/benchmarks.md has the commands and what was measured.
//!
//! `cargo bench --bench measure -- lookup|start|reload|rebuild|flood|push|fanout|unread|ending|sink|memory`; without a name, all of them.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod cluster;
mod documents;
mod ending;
mod fanout;
mod flood;
mod lookup;
mod memory;
mod push;
mod rebuild;
mod reload;
mod sink;
mod start;
mod statistics;
mod unread;
/// What the tests stand on, as far as measurements do.
#[path = "../../tests/end_to_end/support"]
#[allow(dead_code)]
mod support {
    pub mod certificates;
    pub mod control_plane;
    pub mod fixtures;
    pub mod ground;
    pub mod http;
    pub mod issuer;
    pub mod proxy;
    pub mod pubsub_server;
    pub mod pulled;
    pub mod service;
    pub mod sink;
    pub mod testbed;
    pub mod wait;
}

use std::process::ExitCode;

const MEASUREMENTS: [(&str, fn()); 11] = [
    ("lookup", lookup::measure),
    ("start", start::measure),
    ("reload", reload::measure),
    ("rebuild", rebuild::measure),
    ("flood", flood::measure),
    ("push", push::measure),
    ("fanout", fanout::measure),
    ("unread", unread::measure),
    ("ending", ending::measure),
    ("sink", sink::measure),
    ("memory", memory::measure),
];

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(push::BARE_SERVER) {
        push::serve_bare();
        return ExitCode::SUCCESS;
    }
    // `cargo bench` passes `--bench`.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = asked.iter().find(|name| !MEASUREMENTS.iter().any(|(known, _)| known == *name)) {
        eprintln!("no measurement is called {unknown}: expected {}", MEASUREMENTS.map(|(name, _)| name).join(", "));
        return ExitCode::from(2);
    }
    for (name, measure) in MEASUREMENTS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            println!("{name}");
            measure();
        }
    }
    ExitCode::SUCCESS
}
