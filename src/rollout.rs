//! The restart: which of the workloads that an index names are restarted for a push, each exactly once.
//!
//! ```text
//! restart         many workloads, within a deadline: what is not known to be done
//!   seen_done       what was done at earlier deliveries of the message
//!   looks           which of very many workloads need a look, and one LIST in place of many GETs
//!     listings        pure: where that is cheaper
//! one_restart     one workload from top to bottom: GET ─► decide ─► PATCH with the resourceVersion as precondition
//!   turns           pushes at the same time: two restarts at most
//!   cause           a push, or a person
//!   decision        pure: the fresh object, the push (or what a person asks for), the policy, the clocks
//!     policy          which workloads may be touched at all
//!     record          our note of the push on the pod template
//!     restarted_at    when it was last restarted, and whether by us
//!     field_owners    who wrote an annotation last, by the API server's own bookkeeping
//!     pods            what the pods show: all are younger than the push, or run its digest
//!     cooldown        when we may restart the workload again
//!   pod_look        the LIST of the pods that the decision asks for
//!   patches         the write
//!   following_label the value of the label that the write sets
//!   our_restart     the restart that a pod template shows
//!   events          the Kubernetes Event of a refusal
//! waiting         what still has to be done, in a ConfigMap of our own
//! due             the restarts for pushes that have waited
//! progress        pure: how far a rollout is, from the workload
//! ```
//!
//! The index is a hint, the workload is the truth. Every decision rests on a fresh object, or on a watched object that
//! the precondition of the PATCH proves to be fresh. It must not know where the hint came from, nor HTTP.

mod args;
mod cause;
mod code;
mod context;
pub mod cooldown;
pub mod decision;
mod due;
mod events;
mod field_owners;
mod following_label;
mod listings;
mod looks;
mod metrics;
mod mode;
mod one_restart;
mod one_result;
mod our_restart;
mod patches;
mod pod_look;
pub mod policy;
pub mod progress;
mod push;
pub mod record;
pub mod restart;
mod restarted_at;
mod seen_done;
pub mod selector;
mod turns;
pub mod waiting;
mod workload_result;

pub use args::{PolicyArgs, WaitingArgs};
pub use code::{Action, Code};
pub use context::RestartConfig;
pub use decision::by_hand::ByHand;
pub use due::DueRestarts;
pub use following_label::FollowingLabel;
pub use metrics::RolloutMetrics;
pub use our_restart::{OurRestart, last_pushes};
pub use policy::Policy;
pub use push::{Push, PushOrder};
pub use restart::{KnownBefore, Restarter};
pub use seen_done::SeenDone;
pub use workload_result::{Leave, Warning, WorkloadResult};

/// The field manager of restarts for pushes. Never a name that begins with `kubectl`: Flux strips those fields.
pub const FIELD_MANAGER: &str = "pushroll";
/// The field manager of restarts by hand.
pub const BY_HAND_FIELD_MANAGER: &str = "pushroll-cli";
/// On the pod template, as `kubectl rollout restart` sets it.
pub const RESTARTED_AT_ANNOTATION: &str = "kubectl.kubernetes.io/restartedAt";
