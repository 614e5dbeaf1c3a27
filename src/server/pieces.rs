//! A JSON answer that is made piece by piece, while it is read: one that nobody reads takes no memory of its own.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

use crate::telemetry::Serialized;

/// The longest time for an answer to be read. What it is made from may be outdated by then and stays in memory for it.
const READING_LIMIT: Duration = Duration::from_secs(60);

/// `empty`, whose last member is an empty list, with these items in it. A piece holds one item or more,
/// separated by commas.
pub(super) fn with_items<I: Iterator<Item = Bytes>>(
    empty: &Serialized,
    items: I,
) -> impl Iterator<Item = Bytes> + use<I> {
    let head = empty.as_str().strip_suffix("]}").unwrap_or_default().to_owned();
    let separated = items.enumerate().flat_map(|(number, piece)| {
        let separator = (number > 0).then_some(Bytes::from_static(b","));
        separator.into_iter().chain([piece])
    });
    std::iter::once(Bytes::from(head)).chain(separated).chain([Bytes::from_static(b"]}")])
}

/// The answer of these pieces. It breaks off where it is read too slowly.
pub(super) fn answer(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Response {
    let began = Instant::now();
    let in_time = pieces.map(move |piece| match began.elapsed() {
        elapsed if elapsed > READING_LIMIT => Err("it was read too slowly"),
        _ => Ok(piece),
    });
    let mut response = Response::new(Body::from_stream(stream::iter(in_time)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
