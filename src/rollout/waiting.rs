//! What still has to be done: pushes that wait for the end of a cooldown or of a refusal, or for a part of the scope that
//! cannot be seen. They stand in a ConfigMap of pushroll's own, so that they outlive the process and every replica finds
//! them.
//!
//! ```text
//! store     the ConfigMap, and what it held when it was last read or written
//! entry     one push that waits for a workload, one record that is kept
//! unseen    one push that waits for a part of the scope
//! kept_push what both hold of the push
//! key       their keys
//! ```
//!
//! Not on the workload: a policy may refuse that write, `kubectl rollout undo` would take it back, and the workload's
//! owner may remove it.
//!
//! Each push has a key of its own, made from its workload and its message. So a write never needs to know what is there,
//! two replicas that write at once both succeed, and to remove a push that is done can never remove a newer one.

mod entry;
mod kept_push;
mod key;
mod store;
mod unseen;

pub use entry::{KeptRecord, WaitingPush, Why};
pub(crate) use key::hash_of;
pub use store::{Changes, OfWorkload, View, Waiting};
pub use unseen::UnseenPush;
