//! Who may call the admin listener: programs on the same machine, but no page in a browser on it.
//!
//! The listener asks for no token, so a web page must not be able to call it: neither by a form or a script from the
//! page's origin (`Origin`, `Sec-Fetch-Site`), nor under a name of the page's own that resolves to loopback (`Host`).
//! `kubectl port-forward` is reached as localhost.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use super::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a caller must fulfil.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalCallers {
    /// A listener on loopback is called by a name of loopback. Elsewhere the names are not known.
    knows_its_names: bool,
}

impl LocalCallers {
    pub(super) fn of(listener: &TcpListener) -> Self {
        Self { knows_its_names: listener.local_addr().is_ok_and(is_loopback) }
    }

    fn objection(self, headers: &HeaderMap) -> Option<&'static str> {
        let host = single(headers, header::HOST);
        if self.knows_its_names && !host.is_some_and(is_local_name) {
            return Some(
                "this listener is called as localhost, 127.0.0.1 or [::1], and the Host header has another name",
            );
        }
        let own_origin = |origin: &str| origin.strip_prefix("http://").is_some_and(|origin| Some(origin) == host);
        if headers.contains_key(header::ORIGIN) && !single(headers, header::ORIGIN).is_some_and(own_origin) {
            return Some("this listener is not for pages of a browser, and the Origin header names one");
        }
        let own_site = |site: &str| ["same-origin", "none"].contains(&site);
        if headers.contains_key(SEC_FETCH_SITE) && !single(headers, SEC_FETCH_SITE).is_some_and(own_site) {
            return Some("this listener is not for pages of a browser, and the Sec-Fetch-Site header tells of one");
        }
        None
    }
}

/// Whether only this machine can reach an address.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

pub(super) async fn check(State(callers): State<LocalCallers>, request: Request, next: Next) -> Response {
    match callers.objection(request.headers()) {
        None => next.run(request).await,
        Some(objection) => Problem::new(StatusCode::FORBIDDEN, "Not from here", objection).into_response(),
    }
}

/// The value of a header that is there once.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_local_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    is_local(authority.host())
}

/// Whether a URL's host is this machine.
pub(crate) fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}
