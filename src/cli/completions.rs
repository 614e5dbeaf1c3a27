//! `pushroll completions SHELL`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::output::print_bytes;
use super::{Answered, Cli};

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

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<Answered> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pushroll", &mut script);
    print_bytes(&script)?;
    Ok(Answered::Yes)
}
