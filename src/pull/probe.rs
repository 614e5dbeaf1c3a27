//! Asks Pub/Sub, on the way that the stream takes, whether a subscription may be read.
//!
//! Google's client shows no error where a stream cannot be opened for now, and has no call that asks. To acknowledge a
//! message that does not exist needs the permission that pulling needs, goes to the same server, and changes nothing. OK,
//! INVALID_ARGUMENT and FAILED_PRECONDITION count as yes.

use std::error::Error as _;
use std::time::Duration;

use google_cloud_auth::credentials::{CacheableResource, Credentials};
use http::uri::PathAndQuery;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::SubscriptionName;
use super::unreadable::Unreadable;
use crate::error_chain::with_causes;

const ACKNOWLEDGE: PathAndQuery = PathAndQuery::from_static("/google.pubsub.v1.Subscriber/Acknowledge");
/// No message of Pub/Sub has it.
const NO_MESSAGE: &str = "pushroll-asks-whether-it-may-read";
const LIMIT: Duration = Duration::from_secs(10);

/// A connection of its own to the server.
#[derive(Debug)]
pub(super) struct Probe {
    subscription: SubscriptionName,
    endpoint: String,
    credentials: Credentials,
    channel: Channel,
}

/// Source: `google/pubsub/v1/pubsub.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct AcknowledgeRequest {
    #[prost(string, tag = "1")]
    subscription: String,
    #[prost(string, repeated, tag = "2")]
    ack_ids: Vec<String>,
}

impl Probe {
    pub(super) fn new(
        endpoint: &str,
        subscription: &SubscriptionName,
        credentials: Credentials,
    ) -> Result<Self, Unreadable> {
        let no_endpoint = |error: tonic::transport::Error| Unreadable::no_answer(endpoint, &with_causes(&error));
        let mut server = Endpoint::from_shared(endpoint.to_owned()).map_err(no_endpoint)?.connect_timeout(LIMIT);
        if endpoint.starts_with("https:") {
            server = server.tls_config(ClientTlsConfig::new().with_enabled_roots()).map_err(no_endpoint)?;
        }
        let (channel, endpoint) = (server.connect_lazy(), endpoint.to_owned());
        Ok(Self { subscription: subscription.clone(), endpoint, credentials, channel })
    }

    pub(super) async fn ask(&self) -> Result<(), Unreadable> {
        match timeout(LIMIT, self.acknowledge()).await {
            Err(_) => Err(Unreadable::no_answer(&self.endpoint, &format!("no answer within {LIMIT:?}"))),
            Ok(asked) => asked,
        }
    }

    async fn acknowledge(&self) -> Result<(), Unreadable> {
        let headers = self.credentials.headers(http::Extensions::new()).await;
        let headers = match headers.map_err(|error| Unreadable::NoCredentials(with_causes(&error)))? {
            CacheableResource::New { data, .. } => data,
            CacheableResource::NotModified => http::HeaderMap::new(),
        };
        let subscription = self.subscription.to_string();
        let mut request = Request::new(AcknowledgeRequest { subscription, ack_ids: vec![NO_MESSAGE.to_owned()] });
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        let mut server = Grpc::new(self.channel.clone());
        server.ready().await.map_err(|error| Unreadable::no_answer(&self.endpoint, &with_causes(&error)))?;
        let answer = server.unary::<_, (), _>(request, ACKNOWLEDGE, ProstCodec::default()).await;
        answer.map(drop).or_else(|status| self.of_status(&status))
    }

    fn of_status(&self, status: &Status) -> Result<(), Unreadable> {
        match status.code() {
            Code::Ok | Code::InvalidArgument | Code::FailedPrecondition => Ok(()),
            // What the server says itself has no cause.
            _ if status.source().is_some() => Err(Unreadable::no_answer(&self.endpoint, &with_causes(status))),
            code => Err(Unreadable::of_status(code as i32, status.message(), &self.endpoint)),
        }
    }
}
