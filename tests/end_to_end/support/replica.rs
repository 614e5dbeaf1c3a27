//! A replica of the service without its listeners, put together as `serve` does it: deliveries go in as bytes and
//! come out as answers. Dropping it is its death: nothing of it goes on, whatever it was doing.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::registry::Registry;
use pushroll::cache::configmap::CacheConfigMap;
use pushroll::cache::mount::MountReader;
use pushroll::cache::{CacheArgs, CacheMetrics, Resolver, ResolverConfig, WatchConfig};
use pushroll::clock::Clock;
use pushroll::cluster::{Cluster, ClusterMetrics};
use pushroll::delivery::answer::{Answer, Poison};
use pushroll::delivery::{Deliveries, DeliveryArgs, DeliveryMetrics, Sender};
use pushroll::index::Scope;
use pushroll::pull::{PullArgs, PullMetrics, Puller, Subscription};
use pushroll::rollout::waiting::Waiting;
use pushroll::rollout::{DueRestarts, Policy, PolicyArgs, RestartConfig, Restarter, RolloutMetrics};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::fixtures::PushMessage;

pub struct Replica {
    deliveries: Arc<Deliveries>,
    resolver: Arc<Resolver>,
    due: Arc<Mutex<DueRestarts>>,
    metrics: Registry,
    /// All that it does; ends with it.
    tasks: JoinSet<()>,
}

impl Replica {
    /// One that works in `namespace` alone, through `client`. Pushes wait in the ConfigMap `waiting`. A part that cannot be
    /// seen holds up pushes for `unseen_grace`.
    pub fn start(
        namespace: &str,
        waiting: &str,
        client: kube::Client,
        clock: Clock,
        watch: Option<WatchConfig>,
        unseen_grace: Duration,
    ) -> Self {
        let cluster = Cluster::new(client, clock, ClusterMetrics::default());
        let scope = Scope::of(&[namespace.to_owned()]);
        let config_map = CacheConfigMap {
            namespace: namespace.to_owned(),
            name: "deployment-image-cache".to_owned(),
            key: "cache.json".to_owned(),
        };
        let mount = MountReader::new(Path::new("/nonexistent"), ["cache.json"]);
        let args = CacheArgs {
            mount_poll: Duration::from_secs(3600),
            rebuild_interval: Duration::ZERO,
            unseen_grace,
            ..CacheArgs::default()
        };
        let margin = PolicyArgs::CLOCK_MARGIN;
        let config = ResolverConfig { watch, ..ResolverConfig::new(&args, scope.clone(), config_map, mount, margin) };
        let resolver = Arc::new(Resolver::new(config, cluster.clone(), CacheMetrics::default()));
        let policy = Policy { scope, ..Policy::everything() };
        // Without a pause for more pushes: which pushes come together is made up by the case.
        let restarts = RestartConfig { policy, clock_margin: margin, concurrency: 16, gather: Duration::ZERO };
        let waiting = Arc::new(Waiting::new(cluster.clone(), namespace, waiting));
        let restarter = Restarter::new(cluster, restarts, Some(Arc::clone(&waiting)), RolloutMetrics::default());
        let args = DeliveryArgs { hold: Duration::from_secs(60), ..DeliveryArgs::default() };
        let (metrics, mut shown) = (DeliveryMetrics::default(), Registry::default());
        metrics.register(&mut shown);
        let deliveries =
            Deliveries::new(args, None, clock, Arc::clone(&resolver), restarter.clone(), Some(waiting), metrics);
        let due = Arc::new(Mutex::new(DueRestarts::new(&restarter, Duration::ZERO, None)));
        let mut tasks = JoinSet::new();
        let index = Arc::clone(&resolver);
        tasks.spawn(async move { index.run(CancellationToken::new()).await });
        Self { deliveries: Arc::new(deliveries), resolver, due, metrics: shown, tasks }
    }

    /// Handles a delivery to its end, like the server whether or not somebody waits; then calls `answered` with the
    /// status and the answer.
    pub fn deliver<F>(&mut self, message: &PushMessage, answered: impl FnOnce(u16, Answer) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let (deliveries, body) = (Arc::clone(&self.deliveries), message.body());
        self.tasks.spawn(async move {
            let received = deliveries.received();
            let answer = deliveries.deliver(received, |_| None, body.as_bytes(), Sender::PubSub).await.unwrap().answer;
            answered(answer.status(Poison::Ack), answer).await;
        });
    }

    /// Pulls from this subscription, too. What it has begun to deliver goes on when it is dropped.
    pub fn pull(&mut self, args: PullArgs, clock: Clock) -> Arc<Subscription> {
        let subscription = Arc::new(Subscription::new(args.pull[0].clone()));
        let rest = (Poison::Ack, clock, Duration::from_secs(60));
        let (deliveries, metrics) = (Arc::clone(&self.deliveries), PullMetrics::default());
        let puller = Puller::new(args, Arc::clone(&subscription), deliveries, rest, metrics);
        self.tasks.spawn(puller.run(CancellationToken::new()));
        subscription
    }

    /// How many deliveries it has answered.
    pub fn answers(&self) -> usize {
        let mut metrics = String::new();
        prometheus_client::encoding::text::encode(&mut metrics, &self.metrics).unwrap();
        let counts = metrics.lines().filter(|line| line.starts_with("pushes_total"));
        counts.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
    }

    /// The last answers, at most so many, the oldest first.
    pub fn last_answers(&self, number: usize) -> Vec<Value> {
        let recent = self.deliveries.recent();
        recent[..number].iter().rev().map(|answer| serde_json::from_str(answer.as_str()).unwrap()).collect()
    }

    /// Looks once for pushes that wait and are due, when the look before has ended. `under_way` counts the looks that have
    /// not ended.
    pub fn look(&mut self, under_way: &Arc<AtomicUsize>) {
        let due = Arc::clone(&self.due);
        // Its call may be refused; a later look finds the same.
        self.begin(under_way, async move { drop(due.lock().await.look().await) });
    }

    /// As [`Self::look`], for parts of the scope that could not be seen and the pushes that are kept for them.
    pub fn look_for_unseen(&mut self, under_way: &Arc<AtomicUsize>) {
        let deliveries = Arc::clone(&self.deliveries);
        self.begin(under_way, async move { drop(deliveries.look_for_unseen().await) });
    }

    fn begin(&mut self, under_way: &Arc<AtomicUsize>, look: impl Future<Output = ()> + Send + 'static) {
        under_way.fetch_add(1, Ordering::SeqCst);
        let under_way = Arc::clone(under_way);
        self.tasks.spawn(async move {
            look.await;
            under_way.fetch_sub(1, Ordering::SeqCst);
        });
    }

    /// Whether its index says that the workload runs the image.
    pub fn knows(&self, image: &str, workload: &str) -> bool {
        let (image, index) = (image.parse().unwrap(), self.resolver.current());
        index.is_some_and(|index| index.index.followers(&image).iter().any(|follower| *follower.name == *workload))
    }

    /// Whether it knows that it cannot see the workloads of this kind.
    pub fn lacks(&self, kind: &str) -> bool {
        self.resolver.unseen_parts().iter().any(|unseen| unseen.part.kind.as_str() == kind)
    }

    pub fn watch_is_live(&self) -> bool {
        self.resolver.watch_is_live()
    }
}
