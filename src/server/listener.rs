//! The three listeners: their sockets, their names, and how many connections those have that no flag is about.

use tokio::net::TcpListener;

/// Connections to the internal listener: the kubelet's, those of who scrapes metrics, and of people.
pub(super) const INTERNAL_CONNECTIONS: usize = 512;
/// To the admin listener: those of people.
pub(super) const ADMIN_CONNECTIONS: usize = 64;
/// The connections of all listeners but the public one.
pub(crate) const OTHER_CONNECTIONS: usize = INTERNAL_CONNECTIONS + ADMIN_CONNECTIONS;

/// The sockets, bound by the caller.
#[derive(Debug)]
pub struct Listeners {
    /// For Pub/Sub.
    pub public: TcpListener,
    /// For the cluster.
    pub internal: TcpListener,
    /// For people, on loopback.
    pub admin: TcpListener,
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    Public,
    Internal,
    Admin,
}

impl Listener {
    /// As in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }

    /// As in the log.
    pub(super) fn task(self) -> &'static str {
        match self {
            Self::Public => "public listener",
            Self::Internal => "internal listener",
            Self::Admin => "admin listener",
        }
    }

    /// Whether every request is worked on that comes; on the public listener there is more to it.
    pub(super) fn admits_all(self) -> bool {
        self != Self::Public
    }
}
