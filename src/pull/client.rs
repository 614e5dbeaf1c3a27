//! Google's client for Pub/Sub, as it is used here.
//!
//! The client waits for ever, without an error, where the server does not answer, where there are no credentials, and
//! where the metadata server is away. So [`Client::look`] makes calls of its own, with limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use google_cloud_auth::credentials::{
    Builder as DefaultCredentials, CacheableResource, Credentials, CredentialsProvider, anonymous,
};
use google_cloud_auth::errors::CredentialsError;
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_pubsub::client::{Subscriber, SubscriptionAdmin};
use google_cloud_pubsub::model::{Message as PubSubMessage, Subscription as Settings};
use google_cloud_pubsub::subscriber::MessageStream;
use google_cloud_pubsub::subscriber::handler::Handler;
use jiff::Timestamp;
use tokio::time::timeout;

use super::probe::Probe;
use super::unreadable::Unreadable;
use super::{PullArgs, SubscriptionName};
use crate::error_chain::with_causes;
use crate::event::Message;

/// A lease is extended by so much at a time, whatever the deadline of the subscription is: what a crashed process held is
/// free for others after this time at the latest.
const LEASE: Duration = Duration::from_secs(30);
/// The client gives up a lease after its own limit. Ours comes first, so that the message is given back at once.
const LEASE_MARGIN: Duration = Duration::from_secs(60 * 60);
/// Longest wait for credentials.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(10);
/// Longest wait for the settings of a subscription. It can be read without them.
const SETTINGS_LIMIT: Duration = Duration::from_secs(5);
/// Payloads of the messages that are not acknowledged yet. The largest message has 10 MB.
const MAX_BYTES: i64 = 32 * 1024 * 1024;
/// What Pub/Sub shows in place of the topic of a subscription whose topic is deleted.
const DELETED_TOPIC: &str = "_deleted-topic_";

/// A connection to one subscription.
#[derive(Debug)]
pub(crate) struct Client {
    subscription: SubscriptionName,
    endpoint: String,
    admin: SubscriptionAdmin,
    subscriber: Subscriber,
    probe: Probe,
    /// How often the subscriber has asked for credentials.
    calls: Arc<AtomicUsize>,
    has_messages: AtomicBool,
    warning: Option<&'static str>,
}

/// Credentials that count how often they are asked for: once for each call.
#[derive(Debug)]
struct Counted {
    credentials: Credentials,
    calls: Arc<AtomicUsize>,
}

impl CredentialsProvider for Counted {
    async fn headers(
        &self,
        extensions: http::Extensions,
    ) -> Result<CacheableResource<http::HeaderMap>, CredentialsError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.credentials.headers(extensions).await
    }

    async fn universe_domain(&self) -> Option<String> {
        self.credentials.universe_domain().await
    }
}

const NO_RETRY_POLICY: &str = "the subscription has no retry policy: what is given back comes again at once, and uses up its \
    delivery attempts; deploy/gcp/setup --pull sets one";

impl Client {
    /// Finds the credentials, and looks at the subscription.
    pub(crate) async fn connect(args: &PullArgs, subscription: &SubscriptionName) -> Result<Self, Unreadable> {
        let (endpoint, credentials) = match &args.emulator_host {
            Some(host) => (format!("http://{host}"), anonymous::Builder::new().build()),
            None => (args.pull_endpoint.to_string(), credentials().await?),
        };
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let not_built =
            |error: &(dyn std::error::Error + 'static)| Unreadable::no_answer(&endpoint, &with_causes(error));
        let (probe, calls) = (Probe::new(&endpoint, subscription, credentials.clone())?, Arc::<AtomicUsize>::default());
        let counted = Counted { credentials: credentials.clone(), calls: Arc::clone(&calls) };
        let admin = SubscriptionAdmin::builder()
            .with_endpoint(&endpoint)
            .with_credentials(credentials)
            .with_retry_policy(NeverRetry)
            .build()
            .await
            .map_err(|error| not_built(&error))?;
        let subscriber = Subscriber::builder()
            .with_endpoint(&endpoint)
            .with_credentials(Credentials::from(counted))
            .build()
            .await
            .map_err(|error| not_built(&error))?;
        let subscription = subscription.clone();
        let has_messages = AtomicBool::new(false);
        let mut client = Self { subscription, endpoint, admin, subscriber, probe, calls, has_messages, warning: None };
        client.warning = client.look().await?;
        Ok(client)
    }

    /// What a person should change, although the subscription can be read.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        self.warning
    }

    /// Whether the server answers, and lets us read the subscription. Gives what a person should change although it does.
    pub(crate) async fn look(&self) -> Result<Option<&'static str>, Unreadable> {
        let (asked, settings) = tokio::join!(self.probe.ask(), self.settings());
        asked?;
        settings
    }

    /// What is wrong with the settings of the subscription. They count as right where they may not be seen or the answer
    /// does not come.
    async fn settings(&self) -> Result<Option<&'static str>, Unreadable> {
        let asked = self.admin.get_subscription().set_subscription(self.subscription.as_str()).send();
        match timeout(SETTINGS_LIMIT, asked).await {
            Ok(Ok(settings)) => match problem_of(&settings) {
                Some(problem) => Err(problem),
                None => Ok(settings.retry_policy.is_none().then_some(NO_RETRY_POLICY)),
            },
            Ok(Err(error)) if error.status().is_some_and(|status| status.code == Code::NotFound) => {
                Err(Unreadable::Missing)
            }
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }

    /// Whether a message has come.
    pub(crate) fn has_messages(&self) -> bool {
        self.has_messages.load(Ordering::Relaxed)
    }

    /// Whether the stream has been opened so often without a message. Until the first one each call of the subscriber has
    /// opened it.
    pub(crate) fn has_opened_in_vain(&self, times: usize) -> bool {
        !self.has_messages() && self.calls.load(Ordering::Relaxed) >= times
    }

    /// Its messages: at most so many at once.
    pub(crate) fn stream(&self, max_messages: u32, max_lease: Duration) -> MessageStream {
        self.subscriber
            .subscribe(self.subscription.as_str())
            .set_max_outstanding_messages(i64::from(max_messages))
            .set_max_outstanding_bytes(MAX_BYTES)
            .set_max_lease_extension(LEASE)
            .set_max_lease(max_lease.saturating_add(LEASE_MARGIN))
            .build()
    }

    /// What an error of the stream means.
    pub(crate) fn unreadable(&self, error: &google_cloud_pubsub::Error) -> Unreadable {
        Unreadable::of(error, &self.endpoint)
    }

    /// A message of the stream.
    pub(crate) fn message(&self, pulled: PubSubMessage, handler: &Handler) -> Message {
        self.has_messages.store(true, Ordering::Relaxed);
        let published = pulled.publish_time.and_then(|time| Timestamp::new(time.seconds(), time.nanos()).ok());
        let attempt = handler.delivery_attempt().and_then(|attempt| u32::try_from(attempt).ok());
        let message = Message::pulled(self.subscription.as_str(), &pulled.message_id, published, pulled.data.to_vec());
        Message { delivery_attempt: attempt, ..message }
    }
}

/// Application default credentials that have given a token: a dead metadata server is noticed.
async fn credentials() -> Result<Credentials, Unreadable> {
    let no_credentials = |error: &(dyn std::error::Error + 'static)| Unreadable::NoCredentials(with_causes(error));
    let credentials = DefaultCredentials::default().build().map_err(|error| no_credentials(&error))?;
    match timeout(CREDENTIALS_LIMIT, credentials.headers(http::Extensions::new())).await {
        Err(_) => Err(Unreadable::NoCredentials(format!("no token within {CREDENTIALS_LIMIT:?}"))),
        Ok(Err(error)) => Err(no_credentials(&error)),
        Ok(Ok(_)) => Ok(credentials),
    }
}

fn problem_of(settings: &Settings) -> Option<Unreadable> {
    let is_export = settings.bigquery_config.is_some()
        || settings.cloud_storage_config.is_some()
        || settings.bigtable_config.is_some();
    if settings.push_config.as_ref().is_some_and(|push| !push.push_endpoint.is_empty()) {
        Some(Unreadable::IsPush)
    } else if is_export {
        Some(Unreadable::IsExport)
    } else if settings.detached {
        Some(Unreadable::Detached)
    } else if settings.topic == DELETED_TOPIC {
        Some(Unreadable::NoTopic)
    } else {
        None
    }
}
