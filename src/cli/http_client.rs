//! One HTTP request to a running service, for commands.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;

use crate::http_client::{Limits, exchange};

/// A push is answered within `--hold`, a rebuild within two minutes. Answers of a service are small; a wrong address
/// may send anything.
const LIMITS: Limits = Limits { time: Duration::from_secs(150), bytes: 64 * 1024 * 1024 };

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
    let response = exchange(request.body(Full::new(body))?, LIMITS).await?;
    Ok((response.status(), response.into_body()))
}
