//! The command line: one file for each command, over the same components as the server.
//!
//! Data goes to stdout, everything else to stderr. Exit codes: 0 yes or done, 1 failed, 2 wrong usage, 3 the answer is
//! no. Only this module reads arguments and the environment.

mod answered;
mod arguments;
mod check;
mod cluster_commands;
mod completions;
mod demo;
mod explain;
mod http_client;
mod lookup;
mod man;
mod notify;
mod openapi;
mod output;
mod rebuild;
mod replay;
mod restart;
mod rollouts;
mod runtime;
mod serve;
mod shown_answer;
mod signals;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::error_chain::with_causes;
use answered::Answered;
use arguments::GlobalArgs;
use runtime::{QUIET, single, workers};

/// Push an image, and the Kubernetes workloads that run it roll.
#[derive(Debug, Parser)]
#[command(name = "pushroll", version, about, max_term_width = 110, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The webhook service: takes Pub/Sub pushes and restarts the workloads of the image
    Serve(Box<serve::ServeArgs>),
    /// Plays a push end to end in this process: no cluster, no network, no leftovers
    Demo(demo::DemoArgs),
    /// Who runs an image (exit 3: nobody)
    Lookup(lookup::LookupArgs),
    /// Scans the cluster and writes the cache ConfigMap
    Rebuild(rebuild::RebuildArgs),
    /// Whether the cache is there, valid, fresh, within limits, mounted properly and writable (exit 3: it is not)
    Check(check::CheckArgs),
    /// What a push of an image would do, workload by workload, and why; what else runs it
    Explain(explain::ExplainArgs),
    /// Restarts workloads now, as a person would: no push, no record
    Restart(restart::RestartArgs),
    /// What became of the last push of each image of each workload, and what waits (exit 3: nothing)
    Rollouts(rollouts::RolloutsArgs),
    /// Sends a recorded or hand-written event to a running service
    Replay(replay::ReplayArgs),
    /// Tries out the notifications of `serve`
    Notify(notify::NotifyCommandArgs),
    /// A key-value store over any ConfigMap
    Store(store::StoreArgs),
    /// Prints the OpenAPI document of the HTTP endpoints
    Openapi,
    /// Prints a shell's completion script
    Completions(completions::CompletionsArgs),
    /// Prints the manual page of a command, or writes all of them to a directory
    Man(man::ManArgs),
}

/// The command line with `lookup` alone. [`Cli`] parses the same arguments to the same values.
#[derive(Debug, Parser)]
#[command(name = "pushroll", version, propagate_version = true)]
struct LookupCli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: LookupCommand,
}

#[derive(Debug, Subcommand)]
enum LookupCommand {
    Lookup(lookup::LookupArgs),
}

impl Cli {
    /// Parses the command line of this process; where that fails, prints why and exits.
    pub fn of_process() -> Self {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        // To describe the other commands to clap would be a third of the time of a lookup.
        match LookupCli::try_parse_from(&arguments) {
            Ok(LookupCli { global, command: LookupCommand::Lookup(args) }) => {
                Self { global, command: Command::Lookup(args) }
            }
            Err(_) => Self::parse_from(arguments),
        }
    }

    /// Runs the command. An error is one sentence on stderr.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Serve(_) => self.global.init_logging("pushroll=info"),
            // It prints what happens itself.
            Command::Demo(_) => self.global.init_logging("pushroll=error"),
            // It begins to log when it has something to log.
            Command::Lookup(_) => {}
            _ => self.global.init_logging(QUIET),
        }
        match self.dispatch() {
            Ok(Answered::Yes) => ExitCode::SUCCESS,
            Ok(Answered::Failed) => ExitCode::from(1),
            Ok(Answered::No) => ExitCode::from(3),
            Err(error) => {
                anstream::eprintln!("pushroll: {}", with_causes(error.as_ref()));
                ExitCode::from(1)
            }
        }
    }

    fn dispatch(self) -> anyhow::Result<Answered> {
        let global = self.global;
        match self.command {
            Command::Serve(args) => workers()?.block_on(serve::run(&global, *args)),
            Command::Demo(args) => workers()?.block_on(demo::run(args)),
            Command::Lookup(args) => lookup::run(&global, &args),
            Command::Rebuild(args) => single()?.block_on(rebuild::run(&global, args)),
            Command::Check(args) => single()?.block_on(check::run(&global, args)),
            Command::Explain(args) => single()?.block_on(explain::run(&global, args)),
            Command::Restart(args) => single()?.block_on(restart::run(&global, args)),
            Command::Rollouts(args) => single()?.block_on(rollouts::run(&global, args)),
            Command::Replay(args) => single()?.block_on(replay::run(&global, args)),
            Command::Notify(args) => single()?.block_on(notify::run(&global, args, Self::command())),
            Command::Store(args) => single()?.block_on(store::run(&global, args)),
            Command::Openapi => openapi::run(),
            Command::Completions(args) => completions::run(&args, Self::command()),
            Command::Man(args) => man::run(&args, Self::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_to_a_lookup_is_the_long_one() {
        let lines = [
            "lookup nginx",
            "lookup nginx --no-api --cache-dir /m -o name -vv",
            "--cache-dir /m -n shop lookup --no-api -o json nginx:1 --kubeconfig /k --context c",
            "lookup -- nginx",
            "lookup --cache-key lookup lookup",
        ];
        for line in lines {
            let arguments: Vec<&str> = ["pushroll"].into_iter().chain(line.split(' ')).collect();
            let short = LookupCli::try_parse_from(&arguments).unwrap();
            let long = Cli::try_parse_from(&arguments).unwrap();
            let LookupCommand::Lookup(args) = short.command;
            assert_eq!(
                format!("{:?}", (short.global, Command::Lookup(args))),
                format!("{:?}", (long.global, long.command))
            );
        }
        for line in
            ["lookup", "lookup a b", "lookup nginx --frobnicate", "rebuild", "man lookup", "lookup --help", "-V"]
        {
            let arguments = ["pushroll"].into_iter().chain(line.split(' '));
            assert!(LookupCli::try_parse_from(arguments).is_err(), "{line}");
        }
    }
}
