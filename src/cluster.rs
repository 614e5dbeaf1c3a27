//! The API server: the calls that pushroll makes, each with a time limit, counted, and its error told apart.
//!
//! ```text
//! connect    kubeconfig or service account -> kube::Client
//! request    one call: time limit, metrics, the server's `Date`, ApiError
//! workloads  GET and PATCH of one, decoded to what a decision needs; workload_lists: LIST of a kind
//! rollouts   GET of one, for how far its rollout is
//! config_maps  GET, create, PATCH of a ConfigMap
//! access     what we are permitted to do
//! ```
//!
//! It must not know what an index, a push or a restart is.

pub mod access;
pub mod config_maps;
pub mod connect;
mod error;
mod request;
pub mod rollouts;
mod workload_lists;
pub mod workloads;

pub use config_maps::ConfigMapObject;
pub use error::ApiError;
pub use request::Cluster;
pub use workloads::WorkloadObject;
