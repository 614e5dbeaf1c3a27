//! What commands share that look at a cluster: a resolver of their own, for as long as they run.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::GlobalArgs;
use crate::cache::proof::Need;
use crate::cache::status::FailedTier;
use crate::cache::{LoadedIndex, Resolver, ResolverConfig, Tier};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::index::Scope;
use crate::telemetry::Metrics;

/// People are patient; a cluster of thousands of workloads takes seconds to scan.
pub(super) const SCAN_LIMIT: Duration = Duration::from_secs(120);

/// As `serve` has it by default.
pub(super) const CLOCK_MARGIN: Duration = Duration::from_secs(10);

/// A chain over the cluster of the arguments, which writes nothing.
pub(super) async fn resolver(
    global: &GlobalArgs,
    scope: Scope,
    clock_margin: Duration,
) -> anyhow::Result<(Arc<Resolver>, Cluster)> {
    let client = global.connect().await?;
    let metrics = Arc::new(Metrics::new());
    let config = ResolverConfig {
        scope,
        config_map: global.config_map(&client),
        mount: global.mount(),
        mount_poll: Duration::from_secs(1),
        rebuild_interval: Duration::ZERO,
        refresh_interval: None,
        clock_margin,
        write_back: false,
    };
    let cluster = Cluster::new(client, Clock::system(), Arc::clone(&metrics));
    Ok((Arc::new(Resolver::new(config, cluster.clone(), metrics)), cluster))
}

/// Runs `command` while the resolver serves it.
pub(super) async fn with_running<T>(resolver: &Resolver, command: impl Future<Output = T>) -> T {
    let end = CancellationToken::new();
    let (_, result) = tokio::join!(resolver.run(end.clone()), async {
        let result = command.await;
        end.cancel();
        result
    });
    result
}

/// The first index of the chain: the mount, the ConfigMap, a scan; and the tiers that gave none.
pub(super) async fn first_index(global: &GlobalArgs) -> anyhow::Result<(Arc<LoadedIndex>, Vec<FailedTier>)> {
    let unmounted = match super::lookup::from_mount(global) {
        Ok(loaded) => return Ok((Arc::new(loaded), Vec::new())),
        Err(error) => FailedTier { tier: Tier::Mount, reason: format!("{error:#}") },
    };
    let (resolver, _) = resolver(global, Scope::AllNamespaces, CLOCK_MARGIN).await?;
    let found = with_running(&resolver, resolver.wait_for(Need::Any, Instant::now() + SCAN_LIMIT)).await?;
    let others = resolver.failed_tiers().into_iter().filter(|failed| failed.tier != Tier::Mount);
    // Nobody expects a mount on the machine of a person.
    let failed = global.expected_mount().map(|_| unmounted).into_iter().chain(others).collect();
    Ok((found, failed))
}
