//! Messages pulled from subscriptions of Pub/Sub: the second entrance, for a cluster without a public endpoint.
//!
//! ```text
//! args               the settings            subscription_name  `projects/P/subscriptions/S`
//! puller             one subscription: reads it, finds out why it cannot be read, opens the stream anew
//!   client           Google's client: a look at the subscription, the stream of its messages
//!   probe            asks whether the subscription may be read
//!   held_message     one message, from its arrival until it is acknowledged or given back
//! backlog            what a subscription holds now, for `restart --from`
//! subscription       what is known of one subscription: for the status, readiness and metrics
//! unreadable         why a subscription cannot be read, and what to do
//! ```
//!
//! A message is acknowledged exactly where a push would be answered 2xx. Where a push would be answered 503, the message
//! is held under its lease and tried again: each time that a message is given back counts towards its delivery attempts,
//! after which it goes to the dead-letter topic.
//!
//! It must not know HTTP servers, nor what is done with a message.

// A build without pulling shows the settings, and leaves unused what the puller would call.
#![cfg_attr(not(feature = "pull"), allow(dead_code))]

mod args;
#[cfg(feature = "pull")]
pub(crate) mod backlog;
#[cfg(feature = "pull")]
mod client;
#[cfg(feature = "pull")]
mod held_message;
mod metrics;
#[cfg(feature = "pull")]
mod probe;
#[cfg(feature = "pull")]
mod puller;
mod subscription;
mod subscription_name;
#[cfg(feature = "pull")]
mod unreadable;

pub use args::PullArgs;
#[cfg(feature = "pull")]
pub(crate) use args::endpoint;
pub use metrics::PullMetrics;
#[cfg(feature = "pull")]
pub use puller::Puller;
pub use subscription::{Subscription, SubscriptionStatus};
pub use subscription_name::SubscriptionName;
