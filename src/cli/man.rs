//! `pushroll man [COMMAND]`: the manual pages, in roff.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{Args, Command};
use clap_mangen::Man;

use super::Answered;
use super::output::print_bytes;

#[derive(Debug, Args)]
#[command(after_help = "Read one at once with: pushroll man lookup | man -l -")]
pub(super) struct ManArgs {
    /// A command whose page to print, such as lookup or store set [default: the page of pushroll itself]
    #[arg(value_name = "COMMAND", num_args = 0..)]
    path: Vec<String>,
    /// Write the pages of all commands to this directory instead: pushroll.1, pushroll-lookup.1, ...
    #[arg(long, value_name = "DIR", conflicts_with = "path")]
    dir: Option<PathBuf>,
}

/// `program` is the whole command line.
pub(super) fn run(args: &ManArgs, program: Command) -> anyhow::Result<Answered> {
    let root = program.disable_help_subcommand(true);
    match &args.dir {
        Some(directory) => write_all(root, directory)?,
        None => print_bytes(&page(root, &args.path)?)?,
    }
    Ok(Answered::Yes)
}

fn write_all(root: Command, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(root, directory))
        .with_context(|| format!("the manual pages cannot be written to {}", directory.display()))
}

fn page(mut root: Command, path: &[String]) -> anyhow::Result<Vec<u8>> {
    // Hands the global options and the full names (`pushroll-store-set`) down to every command.
    root.build();
    let mut command = &root;
    for name in path {
        command = match command.find_subcommand(name) {
            Some(found) => found,
            None => {
                let message = no_such_command(command, name);
                root.error(ErrorKind::InvalidSubcommand, message).exit()
            }
        };
    }
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}

fn no_such_command(command: &Command, name: &str) -> String {
    let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    let expected = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("{} has no command {name:?}: expected {expected}", command.get_name())
}
