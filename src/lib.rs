//! **Push an image, and the workloads that run it roll.**

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod cache;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod delivery;
pub mod embedded;
pub mod event;
pub mod image;
pub mod index;
pub mod rollout;
pub mod server;
pub mod telemetry;
pub mod workload;
