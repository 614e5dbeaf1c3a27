//! Why a subscription cannot be read, as a sentence that says what to do.

use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::Code;

use crate::error_chain::with_causes;
use crate::excerpt::excerpt;

/// The most that is quoted of another server's message.
const WORDS_MAX: usize = 300;

/// Why a subscription cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(
        "there are no credentials for Pub/Sub: on GKE see that the node pool has Workload Identity and that the network \
         lets pushroll out to the metadata server, elsewhere set GOOGLE_APPLICATION_CREDENTIALS to a credentials file \
         ({0})"
    )]
    NoCredentials(String),
    #[error("Pub/Sub does not accept the credentials: see that their account and its key exist ({0})")]
    Refused(String),
    #[error(
        "{endpoint} does not answer as Pub/Sub does: see that the network lets pushroll out to it, over HTTP/2 and without a \
         proxy ({reason})"
    )]
    NoAnswer { endpoint: String, reason: String },
    #[error("it does not exist: see that its project and its name are right, or create it (deploy/gcp/setup --pull)")]
    Missing,
    #[error(
        "pushroll may not read it, or it does not exist: grant roles/pubsub.subscriber on it to the account that pushroll \
         runs as ({0})"
    )]
    Forbidden(String),
    #[error(
        "it is a push subscription, and pulling needs one without an endpoint: name another, or remove its endpoint"
    )]
    IsPush,
    #[error("it exports its messages, and pulling needs one without a destination: name another")]
    IsExport,
    #[error("it is detached from its topic, so no message arrives: create a new one, and name that")]
    Detached,
    #[error("its topic is deleted, so no message arrives: create a subscription of the topic gcr, and name that")]
    NoTopic,
    #[error("Pub/Sub refuses for now: {0}")]
    Refusing(String),
    #[error("Pub/Sub refuses for now: its stream of messages cannot be opened, though other calls succeed")]
    DoesNotOpen,
}

impl Unreadable {
    /// There is no answer of Pub/Sub, for this reason.
    pub(super) fn no_answer(endpoint: &str, reason: &str) -> Self {
        Self::NoAnswer { endpoint: endpoint.to_owned(), reason: words(reason) }
    }

    /// What an error of the client means.
    pub(super) fn of(error: &Error, endpoint: &str) -> Self {
        match error.status() {
            Some(status) => Self::of_status(status.code as i32, &status.message, endpoint),
            None if error.is_authentication() => Self::NoCredentials(words(&with_causes(error))),
            None => Self::no_answer(endpoint, &with_causes(error)),
        }
    }

    /// What a status of Pub/Sub means, by the number of its code.
    pub(super) fn of_status(code: i32, message: &str, endpoint: &str) -> Self {
        let code = Code::from(code);
        let said = words(&format!("{}: {message}", code.name()));
        match code {
            Code::NotFound => Self::Missing,
            Code::PermissionDenied => Self::Forbidden(said),
            Code::Unauthenticated => Self::Refused(said),
            // Source: the reference of StreamingPull, "not supported for this subscription type".
            Code::FailedPrecondition => Self::IsPush,
            Code::DeadlineExceeded => Self::no_answer(endpoint, &said),
            _ => Self::Refusing(said),
        }
    }
}

fn words(text: &str) -> String {
    excerpt(text.trim(), WORDS_MAX)
}
