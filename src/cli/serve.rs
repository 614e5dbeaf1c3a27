//! `pushroll serve`: the webhook service.

mod open_files;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use clap::Args;
use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket};

use super::arguments::emulator_host;
use super::signals::shutdown;
use super::{Answered, GlobalArgs};
use crate::arguments::switch;
use crate::cache::CacheArgs;
use crate::clock::Clock;
use crate::cluster::ClusterArgs;
use crate::delivery::{DeliveryArgs, OwnPod};
use crate::following::FollowingArgs;
use crate::notify::NotifyArgs;
use crate::pull::PullArgs;
use crate::rollout::{PolicyArgs, WaitingArgs};
use crate::server::auth::AuthArgs;
use crate::server::{DrainArgs, Listeners, PublicListenerArgs, ServeConfig, is_loopback, serve};

/// Every flag has an environment variable: `PUSHROLL_` and its name in capitals.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    addresses: AddressArgs,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    delivery: DeliveryArgs,
    #[command(flatten)]
    public: PublicListenerArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    drain: DrainArgs,
    #[command(flatten)]
    following: FollowingArgs,
    #[command(flatten)]
    waiting: WaitingArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    notify: NotifyArgs,
    #[command(flatten)]
    pull: PullArgs,
}

/// Where the service listens.
#[derive(Debug, Args)]
pub(super) struct AddressArgs {
    /// Public: the push endpoint alone; by default on IPv4 and IPv6
    #[arg(long, value_name = "ADDRESS", default_value_t = Self::default().listen, env = "PUSHROLL_LISTEN")]
    pub(super) listen: SocketAddr,
    /// Internal: probes, metrics, lookup, status; read only
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value_t = Self::default().internal_listen,
        env = "PUSHROLL_INTERNAL_LISTEN"
    )]
    pub(super) internal_listen: SocketAddr,
    /// Admin: replays and rebuilds without a token; loopback only, reached through kubectl port-forward
    #[arg(long, value_name = "ADDRESS", default_value_t = Self::default().admin_listen, env = "PUSHROLL_ADMIN_LISTEN")]
    pub(super) admin_listen: SocketAddr,
    /// Let others than this machine reach the admin listener: it has no token
    #[arg(long, env = "PUSHROLL_ADMIN_INSECURE_REMOTE", value_parser = switch)]
    admin_insecure_remote: bool,
}

impl Default for AddressArgs {
    fn default() -> Self {
        let (any, loopback) = (IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::LOCALHOST));
        Self {
            listen: SocketAddr::new(any, 8080),
            internal_listen: SocketAddr::new(any, 9090),
            admin_listen: SocketAddr::new(loopback, 9091),
            admin_insecure_remote: false,
        }
    }
}

pub(super) async fn run(global: &GlobalArgs, args: ServeArgs) -> anyhow::Result<Answered> {
    let is_pulling = !args.pull.pull.is_empty();
    if is_pulling && !cfg!(feature = "pull") {
        anyhow::bail!("--pull: this pushroll was built without pulling (the cargo feature `pull`)");
    }
    let takes_pushes = !(is_pulling && args.auth.is_unset());
    let auth = if takes_pushes { args.auth.config()? } else { None };
    let addresses = args.addresses;
    if !is_loopback(addresses.admin_listen) && !addresses.admin_insecure_remote {
        anyhow::bail!(
            "--admin-listen {} is not on loopback, and whoever reaches it can restart workloads without a token: \
             use kubectl port-forward and a loopback address, or allow it with --admin-insecure-remote",
            addresses.admin_listen
        );
    }
    // Before anything takes time: until then the first process of a container ignores SIGTERM.
    let shutdown = shutdown()?;
    let client = global.connect().await?;
    let config_map = global.config_map(&client)?;
    if config_map.name == args.waiting.waiting_configmap {
        anyhow::bail!(
            "--waiting-configmap and --cache-configmap are both {}: what waits needs a ConfigMap of its own",
            config_map.name
        );
    }
    let listeners = Listeners {
        public: takes_pushes.then(|| bind(addresses.listen, "--listen")).transpose()?,
        internal: bind(addresses.internal_listen, "--internal-listen")?,
        admin: bind(addresses.admin_listen, "--admin-listen")?,
    };
    if !takes_pushes {
        tracing::info!("no public listener: pushes are pulled (--pull), and no setting says who may push");
    } else if auth.is_none() {
        tracing::warn!("--insecure-no-auth: pushes are taken from anyone who can reach the public listener");
    }
    if addresses.admin_insecure_remote {
        tracing::warn!("--admin-insecure-remote: whoever can reach the admin listener can restart workloads");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        public = listeners.public.as_ref().map(TcpListener::local_addr).transpose()?.map(tracing::field::display),
        internal = %listeners.internal.local_addr()?,
        admin = %listeners.admin.local_addr()?,
        "listening"
    );
    let max_connections = open_files::connections_within_limit(args.public.max_connections, args.cluster.concurrency);
    let config = ServeConfig {
        own_pod: host_name().map(|name| OwnPod { namespace: client.default_namespace().to_owned(), name }),
        cache: args.cache,
        delivery: args.delivery,
        public: PublicListenerArgs { max_connections, ..args.public },
        cluster: args.cluster,
        drain: args.drain,
        following: args.following,
        waiting: args.waiting,
        policy: args.policy,
        notify: args.notify,
        pull: PullArgs { emulator_host: emulator_host()?, ..args.pull },
        ..ServeConfig::new(auth, config_map, global.mount())
    };
    serve(config, client, Clock::system(), listeners, shutdown).await?;
    Ok(Answered::Yes)
}

/// In a pod, its name.
fn host_name() -> Option<String> {
    let of_system = || Some(std::fs::read_to_string("/etc/hostname").ok()?.trim().to_owned());
    std::env::var("HOSTNAME").ok().or_else(of_system).filter(|name| !name.is_empty())
}

/// Connections that the kernel keeps until they are accepted (it may keep fewer: `net.core.somaxconn`). Connections
/// beyond are dropped, and their clients try again after seconds.
const BACKLOG: u32 = 4096;

/// `[::]` takes IPv4 as well; on a machine without IPv6 it is `0.0.0.0`.
fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let listening = match listen(address) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_without_ipv6(&error) => {
            tracing::info!("{flag} {address}: this machine has no IPv6, so it is IPv4 alone");
            listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        listening => listening,
    };
    listening.with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        // The system's default (`net.ipv6.bindv6only`) may be another.
        set_ipv6_v6only(&socket, false)?;
    }
    // As `TcpListener::bind` does: a port that was used a moment ago may be taken again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The kernel has no IPv6, or it is switched off.
fn is_without_ipv6(error: &io::Error) -> bool {
    let codes = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| codes.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::parsed_from_nothing;

    #[test]
    fn without_arguments_it_listens_on_the_default_addresses() {
        let parsed: AddressArgs = parsed_from_nothing();
        assert_eq!(format!("{parsed:?}"), format!("{:?}", AddressArgs::default()));
    }
}
