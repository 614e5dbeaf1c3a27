//! One HTTP request to somebody else's server: a connection of its own, limits on time and size, no redirects.
//!
//! It must not know what is asked for. The API server is asked through `cluster`.

use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// How much is put up with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// From the connection to the last byte of the answer.
    pub(crate) time: Duration,
    /// Of the answer's body.
    pub(crate) bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("no certificate authorities are installed on this machine")]
    NoAuthorities(#[source] std::io::Error),
    #[error("no answer from {uri}")]
    NoAnswer {
        uri: String,
        #[source]
        error: hyper_util::client::legacy::Error,
    },
    #[error("the answer of {uri} broke off: {reason}")]
    BrokenOff { uri: String, reason: String },
    #[error("no answer from {uri} within {limit:?}")]
    TooLate { uri: String, limit: Duration },
}

/// Sends a request and returns the answer, whole.
pub(crate) async fn exchange(request: Request<Full<Bytes>>, limits: Limits) -> Result<Response<Bytes>, ExchangeError> {
    let uri = request.uri().clone();
    let exchange = async {
        let (head, body) = send(request).await?.into_parts();
        let broken_off = |error: Box<dyn std::error::Error + Send + Sync>| ExchangeError::BrokenOff {
            uri: uri.to_string(),
            reason: error.to_string(),
        };
        let body = Limited::new(body, limits.bytes).collect().await.map_err(broken_off)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    tokio::time::timeout(limits.time, exchange)
        .await
        .unwrap_or_else(|_| Err(ExchangeError::TooLate { uri: uri.to_string(), limit: limits.time }))
}

/// As [`exchange`], for when the status says all: `limits.time` is for the head, and a body that is larger than
/// `limits.bytes`, takes longer than `body_time` or breaks off is cut there.
pub(crate) async fn exchange_cut(
    request: Request<Full<Bytes>>,
    limits: Limits,
    body_time: Duration,
) -> Result<Response<Bytes>, ExchangeError> {
    let uri = request.uri().clone();
    let response = tokio::time::timeout(limits.time, send(request))
        .await
        .unwrap_or_else(|_| Err(ExchangeError::TooLate { uri: uri.to_string(), limit: limits.time }))?;
    let (head, mut body) = response.into_parts();
    let mut read = Vec::new();
    let reading = async {
        while read.len() < limits.bytes
            && let Some(Ok(frame)) = body.frame().await
        {
            let data = frame.into_data().unwrap_or_default();
            read.extend(data.into_iter().take(limits.bytes - read.len()));
        }
    };
    let _ = tokio::time::timeout(body_time, reading).await;
    Ok(Response::from_parts(head, read.into()))
}

/// Returns when the head of the answer is there.
async fn send(request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ExchangeError> {
    let uri = request.uri().clone();
    let builder = Client::builder(TokioExecutor::new());
    let response = if uri.scheme() == Some(&Scheme::HTTPS) {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(ExchangeError::NoAuthorities)?
            .https_only()
            .enable_http1()
            .build();
        builder.build::<_, Full<Bytes>>(connector).request(request).await
    } else {
        builder.build_http::<Full<Bytes>>().request(request).await
    };
    response.map_err(|error| ExchangeError::NoAnswer { uri: uri.to_string(), error })
}
