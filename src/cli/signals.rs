//! The signals that end a process.

use tokio::signal::unix::{SignalKind, signal};

use crate::server::Shutdown;

/// Listens from the call on. SIGTERM comes from Kubernetes, and other pods still send requests here for a while; SIGINT
/// comes from a terminal.
pub(super) fn shutdown() -> std::io::Result<impl Future<Output = Shutdown>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Shutdown::AfterDelay,
            _ = interrupt.recv() => Shutdown::AtOnce,
        }
    })
}
