//! Follows rollouts to their end: how each ends, what its new pods run, and reports of that.
//!
//! ```text
//! follower     the task of the service: finds what to follow, by the label `pushroll.dev/following`
//!   turn         one turn at a workload, in line behind the restarts
//!   followed     one rollout: what each look makes of it
//!   reports      what is reported of it: Events, a line of the log, metrics
//!     context      what all of them share: the Events that are written, the pods that are looked at
//!     events       pure: an Event with a name made from what it is about
//!   notifications  which messages of a push are due, and what became of them
//! wait         one rollout to its end, for a person
//! standing     how a restart stands as of now
//! look         a LIST of the pods of a restart
//!   pods         pure: what the pods of one restart show
//! ```
//!
//! `rollout::progress` judges the workload itself.

mod args;
mod context;
mod events;
mod followed;
mod follower;
mod look;
mod metrics;
mod notifications;
mod pods;
mod reports;
mod standing;
mod turn;
mod wait;

pub use args::{FollowingArgs, VerifyPods};
pub use context::{FIELD_MANAGER, FollowerConfig};
pub use follower::Follower;
pub use metrics::FollowingMetrics;
pub use standing::Standing;
pub use wait::{Rollout, wait};

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::cluster::{Cluster, LeaseHolder};
use crate::notify::Notifier;
use crate::rollout::Restarter;
use crate::rollout::waiting::Waiting;
use context::FollowingContext;
use notifications::Notifications;

/// Restarts that may be reported before the follower looks. The label shows the others.
const REPORTED_MAX: usize = 1024;

/// A follower of what `restarter` restarts, and of what other replicas have restarted.
pub fn follower(
    cluster: Cluster,
    restarter: &Restarter,
    waiting: Arc<Waiting>,
    lease: LeaseHolder,
    notifier: Notifier,
    config: FollowerConfig,
    metrics: FollowingMetrics,
) -> Follower {
    let (sender, restarted) = mpsc::channel(REPORTED_MAX);
    restarter.report_restarts_to(sender);
    let context =
        FollowingContext::new(cluster, restarter.clone(), waiting.following_label().clone(), &config, metrics);
    let notifications = Notifications::new(notifier, &config.args);
    Follower::new(context, config, waiting, lease, restarted, notifications)
}
