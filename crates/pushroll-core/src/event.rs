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
