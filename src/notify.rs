//! Notifications: how people and programs outside of the cluster learn how the rollouts of a push have ended.
//!
//! ```text
//! args, sink     --notify NAME=KIND:TARGET; the target is a secret       target  a URL, or a file that holds one
//! chosen         which sinks a workload's annotation names                        pure
//! push_messages  which messages a push makes of the endings so far                pure
//! format         a message in the format of a kind                                pure
//! notifier       takes messages without waiting; a queue for each sink
//! queue          one sink: its messages in their order, each until it is delivered or given up
//! retries        pauses, and when to give up                attempt  one request, and what its answer means
//! ```
//!
//! It must not know how endings are found.

mod args;
mod attempt;
mod chosen;
mod format;
mod message;
mod metrics;
mod notifier;
mod push_messages;
mod queue;
mod redacted;
mod retries;
mod sink;
mod target;
mod text;

pub use args::NotifyArgs;
pub use attempt::{Failure, FailureKind, attempt};
pub use chosen::{ChosenSinks, NOTIFY_ANNOTATION, chosen_sinks};
pub use format::{Body, body};
pub use message::{Message, What};
pub use metrics::NotifyMetrics;
pub use notifier::{Delivery, Notifier, Queues};
pub use push_messages::{FollowedRollout, Progress, push_messages};
pub use queue::Outcome;
pub use sink::{Sink, SinkError, SinkKind};
pub use target::{SecretUrl, Target, TargetError};
