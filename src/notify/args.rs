//! The settings of notifications.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::sink::{Sink, SinkError};

/// Who is notified of how rollouts end.
#[derive(Debug, Clone)]
pub struct NotifyArgs {
    /// The sinks. No two have one name.
    pub sinks: Vec<Sink>,
    /// What messages name as their source: which pushroll it is, in which cluster.
    pub source: String,
}

/// As the command line has them.
#[derive(Debug, Args)]
struct Flags {
    /// Send notifications of how rollouts end, several with commas: KIND is cloudevents, slack, googlechat or teams;
    /// TARGET is a URL, or a file that holds one (a mounted Secret; better, as others can see arguments)
    // The value of the variable may be a secret.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME=KIND:TARGET",
        value_parser = SinkParser,
        env = "PUSHROLL_NOTIFY",
        hide_env_values = true
    )]
    notify: Vec<Sink>,
    /// What notifications name as their source: the cluster, where several send to one place
    #[arg(
        long,
        value_name = "NAME",
        default_value = NotifyArgs::default().source,
        value_parser = source,
        env = "PUSHROLL_NOTIFY_SOURCE"
    )]
    notify_source: String,
}

impl Default for NotifyArgs {
    fn default() -> Self {
        Self { sinks: Vec::new(), source: "pushroll".to_owned() }
    }
}

/// A URI reference (CloudEvents 1.0.2, `source`), and short enough for a line of a chat.
fn source(text: &str) -> Result<String, String> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    if text.is_empty() || text.len() > 200 || !text.bytes().all(is_allowed) {
        return Err("expected a name or a URI such as //pushroll/prod-eu: at most 200 characters, no spaces".to_owned());
    }
    Ok(text.to_owned())
}

/// Says what is wrong without the value, which clap would quote: it may be a secret.
#[derive(Debug, Clone)]
struct SinkParser;

impl TypedValueParser for SinkParser {
    type Value = Sink;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<Sink, clap::Error> {
        let parsed = value.to_str().ok_or(SinkError::Form).and_then(str::parse);
        parsed.map_err(|error: SinkError| wrong_usage(&format!("{error}\n")).with_cmd(command))
    }
}

fn wrong_usage(problem: &str) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("invalid value for --notify: {problem}"))
}

/// By hand, because clap checks each value alone.
impl FromArgMatches for NotifyArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let Flags { notify: sinks, notify_source: source } = Flags::from_arg_matches(matches)?;
        let mut names = BTreeSet::new();
        match sinks.iter().find(|sink| !names.insert(&sink.name)) {
            Some(twice) => Err(wrong_usage(&format!("two sinks are called {}: name each differently", twice.name))),
            None => Ok(Self { sinks, source }),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for NotifyArgs {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args_for_update(command)
    }
}
