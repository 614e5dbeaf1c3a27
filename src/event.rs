//! From the bytes of a delivery to "this image was pushed", or to why there is nothing to do.
//!
//! ```text
//! headers, body --envelope--> Message {id, published, data} --artifact--> ImagePush {image, digest}
//! ```
//!
//! Pure: it must not know HTTP servers, Kubernetes or the clock.

pub mod artifact;
pub mod envelope;

pub use artifact::{ImagePush, NotForUs, NotForUsCode};
pub use envelope::{EnvelopeError, Message};

/// An error's own words, at most a line of them: serde repeats what it did not expect, however long.
fn excerpt(error: &impl std::fmt::Display) -> String {
    const CHARACTERS: usize = 200;
    let text = error.to_string();
    match text.char_indices().nth(CHARACTERS) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
