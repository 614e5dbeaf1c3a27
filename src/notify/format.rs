//! Messages in the formats of the sinks. Pure.
//!
//! For people: a title, how many rollouts ended in which way, ten workloads with their reasons, first the ones that somebody
//! should look at, and how many more there are. All text from the cluster is data: it is escaped, in one line, and cut.

mod cloudevents;
mod googlechat;
mod shown;
mod slack;
mod teams;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde_json::Value;

use super::message::Message;
use super::sink::SinkKind;

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes: 64 KB at most.
    pub bytes: Bytes,
}

/// A message in the format of a kind of sinks, from this source.
pub fn body(kind: SinkKind, message: &Message, source: &str) -> Body {
    let json = |value: Value| Bytes::from(value.to_string());
    // Slack, Google Chat and Teams take JSON in UTF-8.
    let (content_type, bytes) = match kind {
        SinkKind::CloudEvents => ("application/cloudevents+json", json(cloudevents::event(message, source))),
        SinkKind::Slack => ("application/json; charset=utf-8", json(slack::message(message, source))),
        SinkKind::GoogleChat => ("application/json; charset=utf-8", json(googlechat::message(message, source))),
        SinkKind::Teams => ("application/json; charset=utf-8", json(teams::message(message, source))),
    };
    Body { content_type, bytes }
}
