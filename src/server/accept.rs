//! A listener's accept loop: a limit of connections, a cheap refusal beyond it, and an end with a deadline.
//!
//! Each listener has its own: a public one that is full takes nothing from the probes.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::io::AsyncWrite as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection;
use super::connections::Connections;
use super::listener::Listener;
use crate::telemetry::Metrics;

/// Out of file descriptors, for example: others close soon.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The answer to a connection that there is no place for: nothing of it is read, so nothing is known of it.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-length: 135\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Too many connections\",\"status\":503,\"detail\":\"there is no place for another \
    connection now; come again\"}\n";
/// A socket that is closed with something unread takes the answer along: so many refused ones are listened to for a
/// moment more, and the others have to make do with a closed connection.
const LINGERING: usize = 64;
const LINGER_LIMIT: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;
/// A connection that was closed for another is gone when its task comes to run. So many may be on their way out; then
/// newcomers stay with the kernel, or a flood would be accepted faster than what it pushes out can go.
const LEAVING: usize = LINGERING + 192;

/// What a listener is to have.
pub(super) struct Accept {
    pub(super) listener: Listener,
    pub(super) router: Router,
    pub(super) max_connections: usize,
    /// Longest wait for requests in flight at the end.
    pub(super) drain_timeout: Duration,
    pub(super) metrics: Arc<Metrics>,
}

impl Accept {
    /// Serves on `socket` until `end`, then lets requests in flight finish.
    pub(super) async fn serve(self, socket: TcpListener, end: CancellationToken) -> &'static str {
        let Self { listener, router, max_connections, drain_timeout, metrics } = self;
        let name = listener.task();
        let connections = Arc::new(Connections::new(listener, max_connections, metrics));
        let lingering = Arc::new(Semaphore::new(LINGERING));
        let mut tasks = JoinSet::new();
        while let Some(accepted) = end.run_until_cancelled(socket.accept()).await {
            while tasks.try_join_next().is_some() {}
            // Of more tasks than there are places, each is about to end.
            while tasks.len() >= max_connections + LEAVING && tasks.join_next().await.is_some() {}
            match accepted {
                Ok((stream, _)) => match connections.open() {
                    Some(connection) => {
                        // Answers are small and whole: there is nothing to wait for.
                        let _ = stream.set_nodelay(true);
                        let (router, end) = (router.clone(), end.clone());
                        let admits_all = listener.admits_all();
                        tasks.spawn(connection::serve(stream, router, Arc::new(connection), admits_all, end));
                    }
                    None => {
                        if let Ok(permit) = Arc::clone(&lingering).try_acquire_owned() {
                            tasks.spawn(async move {
                                refuse(stream).await;
                                drop(permit);
                            });
                        }
                    }
                },
                Err(error) => {
                    // The fewer there are, the sooner there is a descriptor for the next.
                    connections.displace();
                    tracing::warn!(listener = name, "accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(socket);
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(drain_timeout, all).await.is_err() {
            tracing::warn!(listener = name, "requests were still in flight after {drain_timeout:?} and are cut off");
        }
        name
    }
}

/// Says that there is no place, and waits until that has been read.
async fn refuse(mut stream: TcpStream) {
    let refusal = async {
        stream.writable().await?;
        // Whole: nothing has been sent yet, and the kernel takes more than this.
        stream.try_write(NO_PLACE)?;
        poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context)).await?;
        let (mut left, mut buffer) = (LINGER_BYTES, [0; 512]);
        while left > 0 {
            stream.readable().await?;
            match stream.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => left = left.saturating_sub(read),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        std::io::Result::Ok(())
    };
    // What goes wrong with a connection that is not wanted concerns nobody.
    let _ = tokio::time::timeout(LINGER_LIMIT, refusal).await;
}

#[cfg(test)]
mod tests {
    use super::NO_PLACE;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(NO_PLACE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{} bytes", body.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["status"], 503);
    }
}
