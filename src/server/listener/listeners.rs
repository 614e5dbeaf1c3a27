//! The three listeners: their sockets, their names, and how many connections the internal and the admin one take.

use tokio::net::TcpListener;

/// Connections to the internal listener: from the kubelet, from Prometheus, and from people.
pub(in crate::server) const INTERNAL_CONNECTIONS: usize = 512;
/// Connections to the admin listener: from people.
pub(in crate::server) const ADMIN_CONNECTIONS: usize = 64;
/// The connections of all listeners but the public one.
pub(crate) const OTHER_CONNECTIONS: usize = INTERNAL_CONNECTIONS + ADMIN_CONNECTIONS;

/// The sockets, bound by the caller.
#[derive(Debug)]
pub struct Listeners {
    /// For Pub/Sub; `None`: all pushes are pulled.
    pub public: Option<TcpListener>,
    /// For the cluster.
    pub internal: TcpListener,
    /// For people, on loopback.
    pub admin: TcpListener,
}

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Listener {
    Public,
    Internal,
    Admin,
}

impl Listener {
    /// As in metrics.
    pub(in crate::server) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }

    /// As in the log, and in the error when it dies.
    pub(in crate::server) fn task(self) -> &'static str {
        match self {
            Self::Public => "public listener",
            Self::Internal => "internal listener",
            Self::Admin => "admin listener",
        }
    }

    /// The size of a connection's send buffer, which Linux doubles. Without it the kernel would keep megabytes of answers that
    /// nobody reads, for each connection. The public listener has the most connections and short answers.
    pub(super) fn send_buffer(self) -> usize {
        match self {
            Self::Public => 16 * 1024,
            Self::Internal | Self::Admin => 64 * 1024,
        }
    }

    /// Whether every request is worked on. The public listener admits a push only after its checks.
    pub(super) fn admits_all(self) -> bool {
        self != Self::Public
    }
}
