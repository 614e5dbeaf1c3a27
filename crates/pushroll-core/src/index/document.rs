//! `cache.json`: the published form of the index, readable and writable by anyone.
//!
//! ```json
//! {"version": 1, "as_of": "2026-11-20T09:16:40Z", "scope": {"namespaces": ["shop"]},
//!  "counts": {"images": 1, "workloads": 1},
//!  "images": {"nginx:1.27": [{"name": "web", "namespace": "shop", "kind": "StatefulSet"}]}}
//! ```
//!
//! Only `images` is required; an entry without `kind` is a Deployment, a scope without `namespaces` the
//! whole cluster. Keys are references as the workloads write them. Unknown fields are ignored.
//!
//! Where a part of the scope could not be seen, each part has a time of its own, in place of `as_of` and `scope`:
//!
//! ```json
//! {"version": 1, "parts": [{"kind": "Deployment", "namespace": "shop", "as_of": "2026-11-20T09:16:40Z"},
//!                          {"kind": "Deployment", "namespace": "gone"}],
//!  "images": {}}
//! ```
//!
//! A part without `as_of` was never seen; the entries of a part that could not be seen come from an earlier document.
//!
//! Reading forgives what other programs write, so that one mistake does not cost the rest:
//!
//! - `null` is nothing: no workloads, no kind, no head. So is an empty `kind`. `images` that are `null` are no images, with
//!   a warning: a template may not have found its value.
//! - A byte order mark at the beginning is skipped.
//! - Of a key that is there twice all counts: in `images`, and `images` itself. Of a field of the head or of an entry
//!   the last counts, and of `version` the highest.
//! - An entry that names no workload, a value that is no list, a key that is no image reference, and a field of the head
//!   that has another type are left out, each with a warning.
//! - Where an entry, a list, `images` or the version could not be read, the document is incomplete and proves nothing
//!   ([`Document::is_incomplete`]). An entry of an unknown kind takes nothing from it.
//!
//! An error is what is no JSON object, what has no `images` or others than an object, and a newer version.
//!
//! Pure: bytes in, bytes out.

mod decode;
mod encode;
mod error;
mod head;
mod images;
pub mod stored;
#[cfg(test)]
mod tests;

pub use decode::{Compared, Document, LEFT_OUT, LookedUp, WARNINGS_MAX};
pub use error::DocumentError;
pub use head::{Head, PartAsOf, VERSION};
pub use images::{Images, builder_of};
