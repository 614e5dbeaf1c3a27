//! One HTTP request to a running service, for commands.

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Answers of a service are small; a wrong address may send anything.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Sends a request and returns the status and the answer.
pub(super) async fn request(
    method: Method,
    uri: &Uri,
    headers: &[(String, String)],
    body: Bytes,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(body))?;
    let builder = Client::builder(TokioExecutor::new());
    // Certificate authorities are looked for only where they are needed: an image from scratch has none.
    let response = if uri.scheme() == Some(&http::uri::Scheme::HTTPS) {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("no certificate authorities are installed on this machine")?;
        builder.build::<_, Full<Bytes>>(connector.https_only().enable_http1().build()).request(request).await
    } else {
        builder.build_http::<Full<Bytes>>().request(request).await
    };
    let response = response.with_context(|| format!("no answer from {uri}"))?;
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the answer of {uri} broke off: {error}"))?;
    Ok((status, body.to_bytes()))
}
