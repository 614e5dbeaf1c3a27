//! The listeners: their sockets, and everything about the connections on them.
//!
//! ```text
//! accept       the loop that accepts connections, and refuses them where there is no room
//! connections  the table of a listener's connections: how many, what each is doing, which one makes room for another
//! connection   HTTP/1.1 on one of them; tells the table by the bytes that come and go what it is doing
//! phase        what a connection may be doing, and for how long
//! in_flight    how many pushes are worked on at once, and how much memory their bodies take
//! args         the settings of the public listener
//! ```

mod accept;
mod args;
mod connection;
mod connections;
pub(super) mod in_flight;
mod listeners;
mod phase;

pub(super) use accept::Acceptor;
pub use args::PublicListenerArgs;
pub(super) use connections::Connection;
pub use listeners::Listeners;
pub(crate) use listeners::OTHER_CONNECTIONS;
pub(super) use listeners::{ADMIN_CONNECTIONS, INTERNAL_CONNECTIONS, Listener};
pub(super) use phase::ConnectionPhase;
