//! One attempt to send a message: a request, and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Full;
use jiff::Timestamp;

use super::format::Body;
use super::redacted::excerpt_without;
use super::target::{SecretUrl, Target};
use crate::clock::{Clock, parse_date};
use crate::http_client::{ExchangeError, Limits, exchange_cut};

/// Webhooks answer at once; a body is looked at only to say why a message was refused.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), bytes: 4096 };
const BODY_TIME: Duration = Duration::from_secs(2);

/// Why a message was not delivered by an attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// Whether another attempt may succeed.
    pub kind: FailureKind,
    /// The sentence for people. Nothing of the URL is in it.
    pub reason: String,
    /// How long the sink asks to wait.
    pub retry_after: Option<Duration>,
}

/// Whether another attempt may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The file of the target holds no URL. That may change.
    NoUrl,
    /// There was no answer, or the sink says that it cannot take the message now.
    NotNow,
    /// The sink does not take the message.
    Refused,
}

/// Sends a message once and returns the status of the answer.
///
/// # Errors
/// [`Failure`]
pub async fn attempt(target: &Target, body: &Body, clock: Clock) -> Result<StatusCode, Failure> {
    let failure = |kind, reason| Failure { kind, reason, retry_after: None };
    let url = target.url().await.map_err(|error| failure(FailureKind::NoUrl, error.to_string()))?;
    let request = Request::post(url.reveal())
        .header(header::CONTENT_TYPE, body.content_type)
        .header(header::USER_AGENT, concat!("pushroll/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body.bytes.clone()))
        .map_err(|_| failure(FailureKind::NoUrl, "its URL cannot be used".to_owned()))?;
    let answer = exchange_cut(request, LIMITS, BODY_TIME).await;
    judge(&answer.map_err(|error| failure(FailureKind::NotNow, why_no_answer(&error)))?, &url, clock.now())
}

/// What an answer means to a message.
fn judge(answer: &Response<Bytes>, url: &SecretUrl, now: Timestamp) -> Result<StatusCode, Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(status);
    }
    let may_work_later =
        status.is_server_error() || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    let kind = if may_work_later { FailureKind::NotNow } else { FailureKind::Refused };
    let mut reason = format!("the answer is {status}");
    if status.is_redirection() {
        reason += ", a redirect, which is not followed: set the URL to which it leads";
    } else {
        let excerpt = excerpt_without(url, answer.body());
        if !excerpt.is_empty() {
            reason += &format!(": {excerpt}");
        }
    }
    let retry_after = if may_work_later { retry_after(answer.headers(), now) } else { None };
    Err(Failure { kind, reason, retry_after })
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let until = || parse_date(text).and_then(|date| Duration::try_from(date.duration_since(now)).ok());
    text.parse().ok().map(Duration::from_secs).or_else(until)
}

/// In words of our own, because the libraries' words may name the host.
fn why_no_answer(error: &ExchangeError) -> String {
    match error {
        ExchangeError::NoAuthorities(_) => "no certificate authorities are installed on this machine".to_owned(),
        ExchangeError::TooLate { limit, .. } => format!("there was no answer within {limit:?}"),
        ExchangeError::BrokenOff { .. } => "the answer broke off".to_owned(),
        ExchangeError::NoAnswer { error, .. } => format!("there was no answer: {}", why_no_connection(error)),
    }
}

fn why_no_connection(error: &hyper_util::client::legacy::Error) -> String {
    for cause in crate::error_chain::causes(error) {
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            if error.is_parse() {
                return "what came is not HTTP/1".to_owned();
            } else if error.is_incomplete_message() {
                return "the connection was closed".to_owned();
            }
        }
        if cause.to_string() == "dns error" {
            return "the name of the host cannot be resolved".to_owned();
        }
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            return match tls_error(error) {
                Some(rustls::Error::InvalidCertificate(_)) => {
                    "its certificate is not trusted, or is of another host, or has expired".to_owned()
                }
                Some(_) => "no TLS connection could be made".to_owned(),
                None => error.kind().to_string(),
            };
        }
    }
    "the connection failed".to_owned()
}

/// An I/O error hides what it wraps from `source`, and a TLS error may be wrapped more than once.
fn tls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| tls_error(inner.downcast_ref()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &str)], body: &str) -> Result<StatusCode, Failure> {
        let url = SecretUrl::parse("https://h.example/s3cret").unwrap();
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let now = "2026-11-20T09:00:00Z".parse().unwrap();
        judge(&answer.body(Bytes::copy_from_slice(body.as_bytes())).unwrap(), &url, now)
    }

    #[test]
    fn the_status_decides() {
        for status in [200, 201, 202, 204] {
            assert_eq!(judged(status, &[], "<html>").unwrap().as_u16(), status);
        }
        for status in [408, 429, 500, 502, 503, 504, 599] {
            assert_eq!(judged(status, &[], "").unwrap_err().kind, FailureKind::NotNow, "{status}");
        }
        for status in [301, 302, 304, 307, 308, 400, 401, 403, 404, 410, 413, 418, 499] {
            assert_eq!(judged(status, &[], "").unwrap_err().kind, FailureKind::Refused, "{status}");
        }
        let moved = judged(302, &[("location", "https://h.example/other-s3cret")], "").unwrap_err().reason;
        assert!(moved.contains("redirect") && !moved.contains("s3cret"), "{moved}");
        assert_eq!(judged(404, &[], "no_service\n").unwrap_err().reason, "the answer is 404 Not Found: no_service");
    }

    #[test]
    fn a_sink_says_how_long_to_wait() {
        let after =
            |value| judged(429, &[("retry-after", value)], "").unwrap_err().retry_after.map(|after| after.as_secs());
        assert_eq!(after("30"), Some(30));
        assert_eq!(after("Fri, 20 Nov 2026 09:01:00 GMT"), Some(60));
        for none in ["soon", "-1", "", "Fri, 20 Nov 2026 08:00:00 GMT", "99999999999999999999999"] {
            assert_eq!(after(none), None, "{none}");
        }
        assert_eq!(judged(404, &[("retry-after", "30")], "").unwrap_err().retry_after, None);
    }
}
