//! One sink of notifications, as `--notify NAME=KIND:TARGET` has it.

use std::str::FromStr;

use super::target::{SecretUrl, Target};
use crate::workload::is_namespace_name;

/// The format that a sink takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SinkKind {
    /// CloudEvents 1.0 over HTTP, for programs.
    CloudEvents,
    /// An incoming webhook of Slack.
    Slack,
    /// An incoming webhook of a Google Chat space.
    GoogleChat,
    /// A webhook of Microsoft Teams' Workflows.
    Teams,
}

/// Where notifications are sent, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Its name in annotations, metrics and the log.
    pub name: String,
    /// Its format.
    pub kind: SinkKind,
    /// Its address.
    pub target: Target,
}

/// Why a text is no sink. It repeats nothing that could be a part of the URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// It has another form.
    #[error(
        "expected NAME=KIND:TARGET, such as chat=slack:/etc/pushroll/chat/url; separate several with commas, without \
         spaces, and write a comma of a URL as %2C"
    )]
    Form,
    /// The name is none.
    #[error(
        "a NAME has at most 63 lower-case letters, digits and -, and begins and ends with a letter or digit, as in NAME=KIND:TARGET"
    )]
    Name,
    /// The kind is none.
    #[error("{name} has a KIND that does not exist: expected one of cloudevents, slack, googlechat, teams")]
    Kind {
        /// The sink.
        name: String,
    },
    /// The target is none.
    #[error("{name} has no TARGET to send to: {problem}")]
    Target {
        /// The sink.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl SinkKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::CloudEvents, Self::Slack, Self::GoogleChat, Self::Teams];

    /// As the flag names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CloudEvents => "cloudevents",
            Self::Slack => "slack",
            Self::GoogleChat => "googlechat",
            Self::Teams => "teams",
        }
    }
}

impl FromStr for Sink {
    type Err = SinkError;

    fn from_str(text: &str) -> Result<Self, SinkError> {
        let (name, rest) = text.split_once('=').ok_or(SinkError::Form)?;
        if !is_namespace_name(name) {
            return Err(SinkError::Name);
        }
        let name = name.to_owned();
        let (kind, target) = rest.split_once(':').ok_or(SinkError::Form)?;
        let Some(kind) = SinkKind::ALL.into_iter().find(|known| known.as_str() == kind) else {
            return Err(SinkError::Kind { name });
        };
        let target = if target.is_empty() {
            Err("name a URL, or a file that holds one")
        } else if target.contains("://") {
            SecretUrl::parse(target).map(Target::Url)
        } else if target.starts_with(['/', '.']) {
            Ok(Target::File(target.into()))
        } else {
            // It may be a URL without its scheme, which must not be shown as the path of a file.
            Err("expected a URL that begins with https:// or http://, or the path of a file that begins with / or .")
        };
        match target {
            Ok(target) => Ok(Self { name, kind, target }),
            Err(problem) => Err(SinkError::Target { name, problem }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_sink_is_said_without_its_url() {
        for text in [
            "",
            "chat",
            "=slack:/f",
            "Chat=slack:/f",
            "a b=slack:/f",
            "a.b=slack:/f",
            "chat=slack",
            "chat=:/s3cret",
            "chat=slack:",
            "chat=irc:https://h/s3cret",
            "chat=https://h/s3cret",
            "https://h/s3cret?a=b",
            "https://h/s3cret",
            "chat=Slack:/f",
            "chat=slack:ftp://h/s3cret",
            "chat=slack:https://",
            "chat=slack:https://u:s3cret@h/",
            "-a=slack:/f",
            "chat=slack:h.example.com/s3cret",
            "chat=slack:https:/h.example.com/s3cret",
        ] {
            let error = text.parse::<Sink>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{text}: {error}");
        }
        let sink: Sink = "team-1=teams:https://h/s3cret?sig=a=b:c".parse().unwrap();
        assert_eq!((sink.name.as_str(), sink.kind), ("team-1", SinkKind::Teams));
        assert!(!format!("{sink:?}").contains("s3cret"));
        let sink: Sink = "a=cloudevents:./etc/url".parse().unwrap();
        assert_eq!(sink.target, Target::File("./etc/url".into()));
    }
}
