//! The API server: the calls that pushroll makes, each with a time limit, counted, and its error told apart.
//!
//! ```text
//! connect    kubeconfig or service account -> kube::Client
//! request    one call: time limit, metrics, the server's `Date`, ApiError
//! gate       at most so many calls at once, and none while the API server asks for a pause
//! allowance  until when a task may call, and what it waits for meanwhile
//! workloads  GET and PATCH of one, decoded to what a decision needs; workload_lists: LIST of a kind
//! watch      list and watch of a kind, and its pulse: when it last showed that it lives; watched: its objects
//! rollouts   GET of one, for how far its rollout is
//! pages      a LIST, page by page
//! config_maps  GET, create, PATCH of a ConfigMap, LIST and delete of labelled ones; leases: whose turn it is
//! config_map_volumes  which ConfigMaps a workload mounts, and pointing it at another
//! pods       LIST of labelled ones, PATCH of an annotation
//! access     what we are permitted to do
//! ```
//!
//! It must not know what an index, a push or a restart is.

pub mod access;
mod allowance;
mod args;
mod config_map_volumes;
pub mod config_maps;
pub mod connect;
mod error;
mod gate;
mod leases;
mod pages;
mod pods;
mod pulse;
mod request;
pub mod rollouts;
mod watch;
mod watched;
mod workload_lists;
pub mod workloads;

pub use allowance::{OutOfTime, in_line, within};
pub use args::ClusterArgs;
pub use config_map_volumes::{ConfigMapReference, WorkloadVolumes};
pub use config_maps::ConfigMapObject;
pub use error::ApiError;
pub use gate::DEFAULT_CONCURRENCY;
pub use leases::{LeaseTurn, Turn};
pub use pods::PodObject;
pub use pulse::Pulse;
pub use request::Cluster;
pub use watch::{WatchEvent, WatchEvents};
pub use watched::WatchedWorkloads;
pub use workloads::WorkloadObject;
