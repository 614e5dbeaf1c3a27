//! The API server: the calls that pushroll makes. Each has a time limit, is counted, and has its error classified.
//!
//! ```text
//! connect          kubeconfig or service account -> kube::Client
//! request          one call: time limit, metrics, the server's `Date`, ApiError
//! slow_write       a write that an admission webhook holds up; it goes on when nobody waits for it
//! retry            a write again, after another writer was faster
//! gate             a limited number of calls at once, and none while the API server asks for a pause
//! call_deadline    the deadline of a task's calls, and what the task waits for
//! workloads        GET and PATCH of one workload; workload_object, workload_status, managed_fields, annotations:
//!                  its decoded form
//! workload_lists   LIST of a kind; pages: a LIST, page by page; other_lists: of kinds that are never restarted
//! watch            list and watch of a kind; pulse: its signs of life; watched, watched_object: its objects, encoded
//! config_maps      GET, create, PATCH, LIST and delete of ConfigMaps
//! config_map_users     which ConfigMaps the objects of a namespace name
//! config_map_volumes   which ConfigMaps a workload mounts, and a PATCH of that
//! events           an Event with a name of our own
//! leases           a Lease that one replica holds
//! pods             LIST of the pods that a selector finds, PATCH of an annotation
//! access           which calls we are permitted to make
//! metrics          how many calls are made, and how they end
//! ```
//!
//! It must not know what an index, a push or a restart is.

pub mod access;
mod annotations;
mod args;
mod call_deadline;
mod config_map_users;
mod config_map_volumes;
pub mod config_maps;
pub mod connect;
mod credential_plugin;
mod error;
mod events;
mod gate;
mod leases;
mod managed_fields;
mod metrics;
mod other_lists;
mod pages;
mod pods;
mod pulse;
mod request;
mod retry;
mod slow_write;
mod watch;
mod watched;
mod watched_object;
mod workload_lists;
pub mod workload_object;
mod workload_status;
mod workloads;

pub use args::ClusterArgs;
pub use call_deadline::{OutOfTime, wait_for_permit, within, within_half_of_the_time};
pub use config_map_volumes::{ConfigMapReference, WorkloadVolumes};
pub use config_maps::{CONFIG_MAP_BYTES_MAX, ConfigMapObject};
pub use error::ApiError;
pub use gate::DEFAULT_CONCURRENCY;
pub use leases::LeaseHolder;
pub use metrics::{ClusterMetrics, Verb};
pub use other_lists::{OtherKind, OtherObject};
pub use pages::PAGE_ITEMS;
pub use pods::{ContainerState, ContainerStatus, PodContainer, PodObject};
pub use pulse::Pulse;
pub use request::Cluster;
pub use retry::{Attempts, retry_on_conflict};
pub use watch::{WatchEvent, WatchEvents};
pub use watched::WatchedWorkloads;
pub use watched_object::{FollowedVersion, WatchedObject};
pub use workload_object::WorkloadObject;
pub use workload_status::WorkloadStatus;
