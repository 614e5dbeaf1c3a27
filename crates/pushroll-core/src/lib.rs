//! The pure part of pushroll: bytes and text in, values and text out.
//!
//! | module | holds |
//! |---|---|
//! | [`image`] | [`image::ImageRef`], [`image::Digest`]: image references and the form by which they are compared |
//! | [`workload`] | [`workload::WorkloadRef`]: a Deployment, StatefulSet or DaemonSet by name |
//! | [`index`] | which workloads run an image; [`index::document`] is `cache.json`, its stored form |
//! | [`event`] | a Pub/Sub delivery, and the event of Artifact Registry in it |
//!
//! There is no network here, no file, no clock and no Kubernetes client, and no async runtime among the dependencies.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod event;
pub mod excerpt;
pub mod image;
pub mod index;
#[cfg(any(test, feature = "properties"))]
#[doc(hidden)]
pub mod properties;
pub mod workload;

/// The example in README.md runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
