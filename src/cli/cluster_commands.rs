//! What the commands share that look at a cluster: each has a resolver of its own for as long as it runs.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::GlobalArgs;
use crate::cache::proof::Need;
use crate::cache::status::{FailedTier, TierStatus};
use crate::cache::{CacheArgs, CacheMetrics, LoadedIndex, Resolver, ResolverConfig, Tier};
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterMetrics};
use crate::delivery::answer::{Answer, Source};
use crate::delivery::{Deliveries, DeliveryArgs, DeliveryMetrics};
use crate::index::Scope;
use crate::index::document::LEFT_OUT;
use crate::index::document::stored::PASSED_OVER;
use crate::rollout::{PolicyArgs, Restarter, RolloutMetrics};

/// Longest wait for a scan: a cluster of thousands of workloads takes seconds to scan.
pub(super) const SCAN_LIMIT: Duration = Duration::from_secs(120);

/// As `serve` has it by default.
pub(super) const CLOCK_MARGIN: Duration = PolicyArgs::CLOCK_MARGIN;

/// Workloads worked on at once, as `serve` has it by default.
pub(super) const CONCURRENCY: usize = crate::cluster::DEFAULT_CONCURRENCY;

/// A chain over the cluster of the arguments, which writes nothing.
pub(super) async fn resolver(
    global: &GlobalArgs,
    scope: Scope,
    clock_margin: Duration,
) -> anyhow::Result<(Arc<Resolver>, Cluster)> {
    let client = global.connect().await?;
    let (config_map, mount) = (global.config_map(&client)?, global.mount());
    // A person does not wait for a role to be applied again.
    let args = CacheArgs { rebuild_interval: Duration::ZERO, unseen_grace: Duration::ZERO, ..CacheArgs::default() };
    let config =
        ResolverConfig { write_back: false, ..ResolverConfig::new(&args, scope, config_map, mount, clock_margin) };
    let cluster = Cluster::new(client, Clock::system(), ClusterMetrics::default());
    Ok((Arc::new(Resolver::new(config, cluster.clone(), CacheMetrics::default())), cluster))
}

/// What answers for an image by hand, and the chain that it rests on, which writes nothing.
pub(super) async fn deliveries(
    global: &GlobalArgs,
    args: &PolicyArgs,
) -> anyhow::Result<(Arc<Resolver>, Deliveries, Cluster)> {
    let policy = args.policy();
    let (resolver, cluster) = resolver(global, policy.scope.clone(), args.clock_margin).await?;
    let config = DeliveryArgs { hold: SCAN_LIMIT, ..DeliveryArgs::default() };
    let restarter = Restarter::new(cluster.clone(), args.by_hand(CONCURRENCY), None, RolloutMetrics::default());
    let metrics = DeliveryMetrics::default();
    let chain = Arc::clone(&resolver);
    let deliveries = Deliveries::new(config, None, Clock::system(), chain, restarter, None, metrics);
    Ok((resolver, deliveries, cluster))
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

/// The first index of the chain: the ConfigMap, a scan of `scope` (and the mount, should it come to life meanwhile);
/// and what the answer rests on. The mount gave no index when this is called, for this reason.
pub(super) async fn first_index(
    global: &GlobalArgs,
    scope: Scope,
    unmounted: String,
) -> anyhow::Result<(Arc<LoadedIndex>, Source)> {
    let (resolver, _) = resolver(global, scope, CLOCK_MARGIN).await?;
    let found = with_running(&resolver, resolver.wait_for(Need::Any, Instant::now() + SCAN_LIMIT)).await?;
    if found.tier == Tier::ConfigMap {
        warn_of_passed_over(&resolver.tiers().configmap);
    }
    let others = resolver.failed_tiers().into_iter().filter(|failed| failed.tier != Tier::Mount);
    let unmounted = FailedTier { tier: Tier::Mount, reason: unmounted };
    // Nobody expects a mount on the machine of a person.
    let failed = global.expected_mount().map(|_| unmounted).into_iter().chain(others).collect();
    let source = Source::of(&found, false, failed, resolver.unproven_parts(&found, &Need::Any));
    Ok((found, source))
}

/// Makes `answer`, and says what was passed over of the documents that were read for it.
pub(super) async fn with_documents(
    global: &GlobalArgs,
    resolver: &Resolver,
    answer: impl Future<Output = Answer>,
) -> Answer {
    resolver.load_mount().await;
    let mut answer = with_running(resolver, answer).await;
    finish(global, resolver, &mut answer);
    answer
}

/// Says what was passed over of the documents that were read so far.
pub(super) fn finish(global: &GlobalArgs, resolver: &Resolver, answer: &mut Answer) {
    let tiers = resolver.tiers();
    [&tiers.mount, &tiers.configmap].into_iter().for_each(warn_of_passed_over);
    if let Some(source) = answer.source.as_mut().filter(|_| global.expected_mount().is_none()) {
        source.failed_tiers.retain(|failed| failed.tier != Tier::Mount);
    }
}

/// Commands do not show the cache's own log.
fn warn_of_passed_over(tier: &TierStatus) {
    let passed_over = [LEFT_OUT, PASSED_OVER];
    let warnings = tier.warnings.iter().filter(|text| passed_over.iter().any(|begin| text.starts_with(begin)));
    warnings.for_each(|warning| tracing::warn!("{warning}"));
}
