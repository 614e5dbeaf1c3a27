//! **Push an image, and the workloads that run it roll.**
//!
//! pushroll is a webhook service for Kubernetes, and a command line. As a library, [`image::ImageRef`],
//! [`index::document`] (`cache.json`), [`cache::mount::MountReader`] and [`event`] are of use on their own.
//!
//! ```text
//! server, pull, cli    three entrances
//!   delivery     one delivery, from its bytes to its answer
//!     event      envelope: bytes -> Message; artifact: Message -> ImagePush     pure
//!     cache      mount, ConfigMap, scan: who runs the image, and is that proven?
//!     rollout    GET, decide, PATCH: exactly once
//!   following    follows rollouts to their end, and what their pods run
//!   rollouts     what became of the last push of each image of each workload
//!   check        is the cache there, valid, fresh, within limits, mounted, writable, true?  pure
//!   ending       how a rollout has ended, and what its pods run                 pure
//!   notify       messages about endings, to Slack and its like
//!   cluster      the calls to the API server
//!   index        image -> workloads, immutable; cache.json                      pure
//!   image        ImageRef, Digest                                               pure
//!   workload     WorkloadRef                                                    pure
//!   telemetry    metrics and logs
//!   arguments    how the values of settings are written: durations, sizes                  pure
//!   backoff      pauses that grow after failures                                        pure
//!   config_map_names  how a ConfigMap and its keys may be called                          pure
//!   clock        the wall clock, as an argument; what is known of the others
//! configmap_store  a key-value store over a ConfigMap, usable on its own
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod arguments;
mod backoff;
pub mod cache;
pub mod check;
pub mod cli;
pub mod clock;
pub mod cluster;
mod config_map_names;
pub mod configmap_store;
pub mod delivery;
pub mod ending;
mod error_chain;
pub mod following;
mod http_client;
pub mod notify;
pub mod pull;
pub mod rollout;
pub mod rollouts;
pub mod server;
pub mod telemetry;

use pushroll_core::excerpt;
pub use pushroll_core::{event, image, index, workload};
