//! The settings of pulling.

use std::time::Duration;

use clap::Args;
use http::Uri;
use http::uri::{InvalidUri, Scheme};

use super::SubscriptionName;
use crate::arguments::{duration, positive_duration, written_duration};

/// Pub/Sub's global endpoint.
const PUBSUB_URL: &str = "https://pubsub.googleapis.com";

/// Which subscriptions are read, and how much is held at once.
#[derive(Debug, Clone, Args)]
pub struct PullArgs {
    /// Pull messages from this subscription, projects/PROJECT/subscriptions/NAME; several with commas. There is then no
    /// public listener unless a setting says who may push
    #[arg(long, value_name = "SUBSCRIPTIONS", value_delimiter = ',', env = "PUSHROLL_PULL")]
    pub pull: Vec<SubscriptionName>,
    /// The address of Pub/Sub, a regional endpoint for example; https, or http on loopback
    #[arg(long, value_name = "URL", default_value_t = Self::default().pull_endpoint, value_parser = endpoint, env = "PUSHROLL_PULL_ENDPOINT")]
    pub pull_endpoint: Uri,
    /// How many messages are held at once, for each subscription; the rest waits in Pub/Sub
    #[arg(long, value_name = "NUMBER", default_value_t = Self::default().pull_max_messages, value_parser = clap::value_parser!(u32).range(1..=100_000), env = "PUSHROLL_PULL_MAX_MESSAGES")]
    pub pull_max_messages: u32,
    /// Longest time that a message is held and tried again, before it is given back
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::default().pull_max_lease),
        value_parser = positive_duration,
        env = "PUSHROLL_PULL_MAX_LEASE"
    )]
    pub pull_max_lease: Duration,
    /// How long no message may come until pushroll connects anew: the connection may be dead without a sign of it
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::default().pull_renew),
        value_parser = renew,
        env = "PUSHROLL_PULL_RENEW"
    )]
    pub pull_renew: Duration,
    /// An emulator in the place of Pub/Sub, `HOST:PORT`: it takes no credentials.
    #[arg(skip)]
    pub emulator_host: Option<String>,
}

impl PullArgs {
    /// The subscriptions, each once.
    pub fn subscriptions(&self) -> Vec<SubscriptionName> {
        let mut subscriptions = self.pull.clone();
        subscriptions.sort_unstable();
        subscriptions.dedup();
        subscriptions
    }
}

impl Default for PullArgs {
    fn default() -> Self {
        Self {
            pull: Vec::new(),
            pull_endpoint: Uri::from_static(PUBSUB_URL),
            pull_max_messages: 1000,
            pull_max_lease: Duration::from_secs(60 * 60),
            pull_renew: Duration::from_secs(5 * 60),
            emulator_host: None,
        }
    }
}

/// Each time costs a token, a look and a TLS handshake.
fn renew(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        renew if renew < Duration::from_secs(1) => Err("it must be at least 1s".to_owned()),
        renew => Ok(renew),
    }
}

/// Credentials are sent there.
pub(crate) fn endpoint(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error: InvalidUri| error.to_string())?;
    let host = url.host().ok_or("expected a URL such as https://europe-west1-pubsub.googleapis.com")?;
    let is_loopback = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        Err("expected a URL without a path".to_owned())
    } else if url.scheme() == Some(&Scheme::HTTPS) || url.scheme() == Some(&Scheme::HTTP) && is_loopback {
        Ok(url)
    } else {
        Err("expected https; http is for loopback alone".to_owned())
    }
}
