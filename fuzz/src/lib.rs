//! pushroll's pure modules and the properties of `src/properties.rs`, as a crate of their own: what a fuzzer runs some
//! hundred million times is built without the network, Kubernetes and TLS.
#![allow(dead_code, unreachable_pub)]

#[path = "../../src"]
mod pushroll {
    pub mod event;
    pub mod excerpt;
    pub mod image;
    pub mod index;
    pub mod properties;
    pub mod workload;
}

// Where these modules look for each other.
pub use pushroll::{event, image, index, workload};
use pushroll::{excerpt, properties};

/// A cache document, plain or compressed.
pub fn document(bytes: &[u8]) {
    properties::document::hold(bytes);
}

/// A delivery.
pub fn envelope(bytes: &[u8]) {
    properties::envelope::hold(bytes);
}

/// A payload.
pub fn event(bytes: &[u8]) {
    properties::event::hold(bytes);
}

/// An image reference, or a digest.
pub fn reference(bytes: &[u8]) {
    properties::reference::hold(bytes);
}
