//! Where the index comes from, and whether it is fresh enough for a push.
//!
//! ```text
//! resolver      starts the parts below, and is what delivery, server and commands see
//!
//! mount_poller  the file that the kubelet swaps: 0 API calls
//! rounds        the ConfigMap through the API: 1 call; where that is not enough, a LIST of every kind: 3 calls
//! watch         LIST once, then events: proven while it is live
//! keeper        writes what the watch sees to the ConfigMap
//!
//! configmap_tier  reads and writes the ConfigMap; compares the mount with it; notifies the pods that mount it
//!
//! current       the index in memory, the status of each tier, and what the index proves
//! unseen        the parts of the scope whose LIST is forbidden, and since when
//! ```
//!
//! Each part uses only what stands below it. All tiers report to `current`; lookups read it without a lock.
//!
//! It must not know HTTP, nor what is done to the workloads that it finds.

mod args;
pub mod capacity;
pub mod configmap;
mod configmap_tier;
mod current;
pub mod immutable;
mod keeper;
mod loaded_index;
mod metrics;
pub mod mount;
pub mod mount_lag;
mod mount_poller;
pub mod mount_refresh;
mod off_worker;
pub mod proof;
pub mod resolver;
mod rounds;
pub mod scan;
pub mod status;
pub mod unseen;
pub mod watch;
mod watch_life;

pub use args::CacheArgs;
pub use loaded_index::{LoadedIndex, Tier};
pub use metrics::CacheMetrics;
pub use resolver::{Resolver, ResolverConfig};
pub use unseen::UnseenPart;
pub use watch::WatchConfig;
pub use watch_life::WatchLife;
