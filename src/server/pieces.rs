//! A JSON answer that is made piece by piece, while it is read: one that nobody reads takes no memory of its own.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

/// The longest time for an answer to be read. What it is made from may be outdated by then and stays in memory for it.
const READING_LIMIT: Duration = Duration::from_secs(60);

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
