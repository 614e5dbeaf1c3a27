//! `pushroll notify test NAME`: sends a test notification, once.

use std::time::Instant;

use clap::error::ErrorKind;
use clap::{Args, Command, Subcommand};
use serde_json::json;

use super::output::{OutputFormat, print, print_json, table};
use super::{Answered, GlobalArgs};
use crate::clock::Clock;
use crate::notify::{Message, NotifyArgs, attempt, body};

#[derive(Debug, Args)]
pub(super) struct NotifyCommandArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Sends a test notification, once; prints the status of the answer and how long it took (exit 1: not delivered)
    Test(TestArgs),
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Which of the notifications of --notify
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    notify: NotifyArgs,
}

/// `program` is the whole command line.
pub(super) async fn run(
    global: &GlobalArgs,
    args: NotifyCommandArgs,
    mut program: Command,
) -> anyhow::Result<Answered> {
    let Verb::Test(TestArgs { name, notify }) = args.verb;
    let Some(sink) = notify.sinks.iter().find(|sink| sink.name == name) else {
        let known: Vec<&str> = notify.sinks.iter().map(|sink| sink.name.as_str()).collect();
        let known = if known.is_empty() {
            "there is none: name it with --notify or PUSHROLL_NOTIFY".to_owned()
        } else {
            format!("expected one of {}", known.join(", "))
        };
        program.error(ErrorKind::InvalidValue, format!("no notification is called {name:?}; {known}")).exit()
    };
    let clock = Clock::system();
    let message = Message::test(&name, clock.now());
    let started = Instant::now();
    let attempted = attempt(&sink.target, &body(sink.kind, &message, &notify.source), clock).await;
    let took = started.elapsed();
    let kind = sink.kind.as_str();
    let status = match attempted {
        Ok(status) => status,
        Err(failure) => {
            let wait = failure.retry_after.map(|after| format!(" (it asks to wait for {after:?})"));
            anyhow::bail!("{name} ({kind}) was not delivered: {failure}{}", wait.unwrap_or_default());
        }
    };
    let milliseconds = took.as_millis();
    match global.output {
        OutputFormat::Table => {
            let row = [name, kind.to_owned(), status.to_string(), format!("{milliseconds} ms")];
            print(&table(["NAME", "KIND", "STATUS", "TIME"], [row]))?;
        }
        OutputFormat::Json => {
            let id = message.id;
            let status = status.as_u16();
            print_json(&json!({"name": name, "kind": kind, "status": status, "milliseconds": milliseconds, "id": id}))?;
        }
        OutputFormat::Name => print(&format!("{name}\n"))?,
    }
    Ok(Answered::Yes)
}
