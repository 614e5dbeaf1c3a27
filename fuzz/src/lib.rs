//! What the fuzz targets call: the properties that must hold of any input.

use pushroll_core::properties;

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
