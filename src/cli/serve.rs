//! `pushroll serve`: the webhook service.

mod auth_args;
mod open_files;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap::builder::{FalseyValueParser, RangedU64ValueParser};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::{byte_size, duration, namespace_name, positive_duration};
use super::{Answered, GlobalArgs};
use crate::cache::WatchConfig;
use crate::clock::Clock;
use crate::delivery::OwnPod;
use crate::delivery::answer::Poison;
use crate::index::Scope;
use crate::rollout::Policy;
use crate::rollout::selector::LabelSelector;
use crate::server::{Limits, Listeners, ServeConfig, is_loopback, serve};
use auth_args::AuthArgs;

/// Every flag has an environment variable: `PUSHROLL_` and its name in capitals.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Public: the push endpoint alone
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", env = "PUSHROLL_LISTEN")]
    listen: SocketAddr,
    /// Internal: probes, metrics, lookup, status; read only
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9090", env = "PUSHROLL_INTERNAL_LISTEN")]
    internal_listen: SocketAddr,
    /// Admin: replays and rebuilds without a token; loopback only, reached through kubectl port-forward
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9091", env = "PUSHROLL_ADMIN_LISTEN")]
    admin_listen: SocketAddr,
    /// Let others than this machine reach the admin listener: it has no token
    #[arg(long, env = "PUSHROLL_ADMIN_INSECURE_REMOTE", value_parser = FalseyValueParser::new())]
    admin_insecure_remote: bool,
    #[command(flatten)]
    auth: AuthArgs,
    /// How often the mount is looked at
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = positive_duration, env = "PUSHROLL_MOUNT_POLL")]
    mount_poll: Duration,
    /// Least time between two scans, and between two GETs of the ConfigMap
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, env = "PUSHROLL_REBUILD_INTERVAL")]
    rebuild_interval: Duration,
    /// Longest wait for the proof that no workload was missed, then 503
    #[arg(long, value_name = "DURATION", default_value = "8s", value_parser = positive_duration, env = "PUSHROLL_HOLD")]
    hold: Duration,
    /// Scan on a timer [default: off]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration, env = "PUSHROLL_REFRESH_INTERVAL")]
    refresh_interval: Option<Duration>,
    /// Annotate the pods labelled pushroll.dev/mounts after each change of the cache: the kubelet then shows it at once
    #[arg(long, env = "PUSHROLL_REFRESH_MOUNTS", value_parser = FalseyValueParser::new())]
    refresh_mounts: bool,
    /// Follow the workloads by list and watch: no scan for a push, and no GET before a restart
    #[arg(long, env = "PUSHROLL_WATCH", value_parser = FalseyValueParser::new())]
    watch: bool,
    /// Answer from whatever index is at hand; a workload younger than it may be missed
    #[arg(long, env = "PUSHROLL_ALLOW_STALE", value_parser = FalseyValueParser::new())]
    allow_stale: bool,
    /// What becomes of junk on the topic: ack, or nack for a subscription with a dead-letter topic
    #[arg(long, value_enum, default_value = "ack", env = "PUSHROLL_POISON")]
    poison: PoisonArg,
    /// Largest body of a push
    #[arg(long, value_name = "SIZE", default_value = "14MiB", value_parser = byte_size, env = "PUSHROLL_MAX_BODY")]
    max_body: usize,
    /// Open connections to the public listener; beyond it the longest idle one makes room
    #[arg(long, value_name = "N", default_value_t = Limits::CONNECTIONS, value_parser = up_to_a_million(), env = "PUSHROLL_MAX_CONNECTIONS")]
    max_connections: usize,
    /// Pushes worked on at once; beyond it they get 503
    #[arg(long, value_name = "N", default_value_t = Limits::REQUESTS, value_parser = up_to_a_million(), env = "PUSHROLL_MAX_REQUESTS")]
    max_requests: usize,
    /// Longest time for the body of a push to come, then 408; never longer than --hold
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive_duration, env = "PUSHROLL_BODY_TIMEOUT")]
    body_timeout: Duration,
    /// Calls to the API server at once, watches apart; and workloads worked on at once
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..), env = "PUSHROLL_CONCURRENCY")]
    concurrency: u16,
    /// How long requests are still taken after SIGTERM, while readiness says no: until nobody sends here any more
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, env = "PUSHROLL_DRAIN_DELAY")]
    drain_delay: Duration,
    /// Longest wait for requests in flight at the end
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = duration, env = "PUSHROLL_DRAIN_TIMEOUT")]
    drain_timeout: Duration,
    /// How often pushes are looked for that wait for the end of a cooldown
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration, env = "PUSHROLL_DEFERRED_POLL")]
    deferred_poll: Duration,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// Which workloads may be touched, and how clocks are compared.
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    /// Only workloads in these namespaces [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = namespace_name, env = "PUSHROLL_NAMESPACES")]
    namespaces: Vec<String>,
    /// No workloads in these namespaces
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = namespace_name, env = "PUSHROLL_EXCLUDE_NAMESPACES")]
    exclude_namespaces: Vec<String>,
    /// Only workloads with these labels, as kubectl -l
    #[arg(long, value_name = "SELECTOR", env = "PUSHROLL_SELECTOR")]
    selector: Option<LabelSelector>,
    /// Only workloads with the annotation pushroll.dev/restart: "true"
    #[arg(long, env = "PUSHROLL_OPT_IN", value_parser = FalseyValueParser::new())]
    opt_in: bool,
    /// How far apart clocks may be and still be compared
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, env = "PUSHROLL_CLOCK_MARGIN")]
    pub(super) clock_margin: Duration,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PoisonArg {
    Ack,
    Nack,
}

impl PolicyArgs {
    pub(super) fn policy(&self) -> Policy {
        Policy {
            scope: Scope::of(&self.namespaces),
            excluded_namespaces: self.exclude_namespaces.clone(),
            selector: self.selector.clone(),
            opt_in: self.opt_in,
        }
    }
}

pub(super) async fn run(global: &GlobalArgs, args: ServeArgs) -> anyhow::Result<Answered> {
    let auth = args.auth.config()?;
    if !is_loopback(args.admin_listen) && !args.admin_insecure_remote {
        anyhow::bail!(
            "--admin-listen {} is not on loopback, and whoever reaches it can restart workloads without a token: \
             use kubectl port-forward and a loopback address, or allow it with --admin-insecure-remote",
            args.admin_listen
        );
    }
    // Before anything takes time: until then the first process of a container ignores SIGTERM.
    let end = shutdown(args.drain_delay)?;
    let client = global.connect().await?;
    let listeners = Listeners {
        public: bind(args.listen, "--listen")?,
        internal: bind(args.internal_listen, "--internal-listen")?,
        admin: bind(args.admin_listen, "--admin-listen")?,
    };
    if auth.is_none() {
        tracing::warn!("--insecure-no-auth: pushes are taken from anyone who can reach the public listener");
    }
    if args.admin_insecure_remote {
        tracing::warn!("--admin-insecure-remote: whoever can reach the admin listener can restart workloads");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        public = %listeners.public.local_addr()?,
        internal = %listeners.internal.local_addr()?,
        admin = %listeners.admin.local_addr()?,
        "listening"
    );
    let limits = Limits {
        connections: open_files::connections_within_limit(args.max_connections, args.concurrency.into()),
        requests: args.max_requests,
        // A body that comes later would be held up for nothing: no time is left for what it asks.
        body_time: args.body_timeout.min(args.hold),
    };
    let config = ServeConfig {
        auth,
        config_map: global.config_map(&client),
        mount: global.mount(),
        mount_poll: args.mount_poll,
        rebuild_interval: args.rebuild_interval,
        refresh_interval: args.refresh_interval,
        refresh_mounts: args.refresh_mounts,
        hold: args.hold,
        clock_margin: args.policy.clock_margin,
        watch: args
            .watch
            .then(|| WatchConfig { keep_labels: args.policy.selector.is_some(), ..WatchConfig::new(identity()) }),
        allow_stale: args.allow_stale,
        poison: match args.poison {
            PoisonArg::Ack => Poison::Ack,
            PoisonArg::Nack => Poison::Nack,
        },
        max_body: args.max_body,
        limits,
        policy: args.policy.policy(),
        concurrency: args.concurrency.into(),
        drain_timeout: args.drain_timeout,
        own_pod: host_name().map(|name| OwnPod { namespace: client.default_namespace().to_owned(), name }),
        deferred_poll: args.deferred_poll,
    };
    serve(config, client, Clock::system(), listeners, end).await?;
    Ok(Answered::Yes)
}

/// In a pod, its name.
fn host_name() -> Option<String> {
    let of_system = || Some(std::fs::read_to_string("/etc/hostname").ok()?.trim().to_owned());
    std::env::var("HOSTNAME").ok().or_else(of_system).filter(|name| !name.is_empty())
}

/// Beyond it nobody means what they say.
fn up_to_a_million() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1_000_000)
}

/// What tells this replica from the others: the pod's name, and this process of it.
fn identity() -> String {
    let host = host_name().unwrap_or_else(|| "pushroll".to_owned());
    format!("{host}_{}_{}", std::process::id(), Clock::system().now().as_millisecond())
}

/// Connections that the kernel keeps until they are accepted (it may keep fewer: `net.core.somaxconn`). In a flood those
/// beyond are not heard, and come again after seconds.
const BACKLOG: u32 = 4096;

fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As `TcpListener::bind` does: a port that was used a moment ago may be taken again.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listening().with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
}

/// SIGTERM from Kubernetes: others may still send here, and `drain_delay` is theirs to hear of it. SIGINT from a
/// terminal: at once.
pub(super) fn shutdown(drain_delay: Duration) -> std::io::Result<impl Future<Output = Duration>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => drain_delay,
            _ = interrupt.recv() => Duration::ZERO,
        }
    })
}
