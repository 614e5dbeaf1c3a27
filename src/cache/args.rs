//! The settings of the cache.

use std::time::Duration;

use clap::Args;

use super::watch::WatchConfig;
use crate::arguments::{duration, positive_duration, switch, written_duration};

/// How the cache is kept up to date.
#[derive(Debug, Clone, Args)]
pub struct CacheArgs {
    /// How often the mount is looked at
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::default().mount_poll),
        value_parser = positive_duration,
        env = "PUSHROLL_MOUNT_POLL"
    )]
    pub mount_poll: Duration,
    /// Least time between two scans, and between two GETs of the ConfigMap
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::default().rebuild_interval),
        value_parser = duration,
        env = "PUSHROLL_REBUILD_INTERVAL"
    )]
    pub rebuild_interval: Duration,
    /// Scan on a timer [default: off]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration, env = "PUSHROLL_REFRESH_INTERVAL")]
    pub refresh_interval: Option<Duration>,
    /// Annotate the pods labelled pushroll.dev/mounts after each change of the cache: the kubelet then shows it at once
    #[arg(long, env = "PUSHROLL_REFRESH_MOUNTS", value_parser = switch)]
    pub refresh_mounts: bool,
    /// Follow the workloads by list and watch: no scan for a push, and no GET before a restart
    #[arg(long, env = "PUSHROLL_WATCH", value_parser = switch)]
    pub watch: bool,
    /// How long a part of the scope may be forbidden and hold up the pushes; later they are answered for the others
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::default().unseen_grace),
        value_parser = duration,
        env = "PUSHROLL_UNSEEN_GRACE"
    )]
    pub unseen_grace: Duration,
    /// [`WatchConfig::request`]. No flag sets it; tests do.
    #[arg(skip = WatchConfig::REQUEST)]
    pub watch_request: Duration,
    /// [`WatchConfig::patience`]. No flag sets it; tests do.
    #[arg(skip = WatchConfig::PATIENCE)]
    pub watch_patience: Duration,
}

impl Default for CacheArgs {
    fn default() -> Self {
        Self {
            mount_poll: Duration::from_secs(1),
            rebuild_interval: Duration::from_secs(5),
            refresh_interval: None,
            refresh_mounts: false,
            watch: false,
            unseen_grace: Duration::from_secs(600),
            watch_request: WatchConfig::REQUEST,
            watch_patience: WatchConfig::PATIENCE,
        }
    }
}

impl CacheArgs {
    /// The settings of the watch, where it is on. `keep_labels`: whether a decision looks at a workload's labels.
    pub fn watch_config(&self, keep_labels: bool, identity: impl FnOnce() -> String) -> Option<WatchConfig> {
        let (request, patience) = (self.watch_request, self.watch_patience);
        self.watch.then(|| WatchConfig { request, patience, keep_labels, identity: identity() })
    }
}
