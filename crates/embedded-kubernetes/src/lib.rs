//! A Kubernetes API server in memory, for demos and for tests that take milliseconds.
//!
//! It answers the calls that controllers of workloads make (Deployments, StatefulSets, DaemonSets, ConfigMaps, Pods,
//! Events, Leases, Namespaces) as kube-apiserver 1.36 answers them, down to the texts of refusals. A real
//! [`kube::Client`] talks to it, in the same process or over a socket. Its faults are set on demand: outages, refusals
//! by policy, a clock that is off, compaction.
//!
//! There is no authorization (the bearer token *is* the user). Nothing makes pods of a Deployment unless
//! [`Controllers`] are run.
//!
//! ```text
//! kubernetes   the handle: clients, a listener, the clock, the faults
//! routes       HTTP: what is asked for, headers, one Status for each refusal
//!   request    method and path -> verb, resource, namespace, name, as the audit log names them
//! write        create, replace, patch, delete: the order of checks of the generic registry
//!   patch          merge, strategic merge and JSON patch
//!   defaults       what the server fills in
//!   validation     what it refuses
//!   managed_fields the manager that wrote each field last
//! list         selectors and pages; watch: changes as they come
//! access       SelfSubjectAccessReview: everything is allowed
//! state        the store, the calls so far, the faults and the clock
//!   store      objects by key, and one revision counter for all of them
//! controllers  pods of workloads: Deployments, StatefulSets, DaemonSets
//! kubelet      the `..data` swap of a mounted ConfigMap
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod access;
mod controllers;
mod defaults;
mod faults;
#[cfg(unix)]
mod kubelet;
mod kubernetes;
mod list;
mod managed_fields;
mod patch;
mod random;
mod request;
mod resource;
mod routes;
mod state;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod time;
mod validation;
mod watch;
mod write;

pub use controllers::Controllers;
pub use faults::{Outage, POLICY_NAME};
#[cfg(unix)]
pub use kubelet::{ProjectedVolume, mount_config_map};
pub use kubernetes::EmbeddedKubernetes;
pub use request::ApiCall;

/// The example in README.md runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
