//! `pushroll completions SHELL`: what a shell needs to complete the command line.

use clap::{Args, Command};
use clap_complete::Shell;

use super::Answered;
use super::output::print_bytes;

#[derive(Debug, Args)]
#[command(after_help = "Install it where the shell looks, for example:\n  \
    pushroll completions bash > /etc/bash_completion.d/pushroll\n  \
    pushroll completions zsh > /usr/local/share/zsh/site-functions/_pushroll\n  \
    pushroll completions fish > ~/.config/fish/completions/pushroll.fish")]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// `program` is the whole command line.
pub(super) fn run(args: &CompletionsArgs, mut program: Command) -> anyhow::Result<Answered> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "pushroll", &mut script);
    print_bytes(&script)?;
    Ok(Answered::Yes)
}
