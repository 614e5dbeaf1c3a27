//! A listener's accept loop: a limit of connections, a cheap refusal beyond it, and an end with a deadline.
//!
//! Each listener has a limit of its own: a public listener that is full takes nothing from the probes.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::io::AsyncWrite as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection;
use super::connections::Connections;
use super::listeners::Listener;
use crate::server::metrics::ServerMetrics;

/// After an error, such as too many open files: other connections close soon.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The answer to a connection that there is no room for: nothing of it is read, so nothing is known of it.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-length: 135\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Too many connections\",\"status\":503,\"detail\":\"there is no place for another \
    connection now; come again\"}\n";
/// When a socket is closed with unread bytes, the kernel drops the answer too. So this many refused connections are read
/// from for a moment longer; any more are closed without an answer.
const LINGERING: usize = 64;
const LINGER_LIMIT: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;
/// A connection that was closed to make room is gone once its task has run. When this many wait for that, new ones stay
/// with the kernel; otherwise a flood would be accepted faster than the displaced connections can go.
const LEAVING: usize = LINGERING + 192;

/// Accepts the connections of one listener and serves them.
pub(in crate::server) struct Acceptor {
    pub(in crate::server) listener: Listener,
    pub(in crate::server) router: Router,
    pub(in crate::server) max_connections: usize,
    /// Longest wait for requests in flight at the end.
    pub(in crate::server) drain_timeout: Duration,
    pub(in crate::server) metrics: ServerMetrics,
}

impl Acceptor {
    /// Serves on `socket` until `end`, then lets requests in flight finish.
    pub(in crate::server) async fn serve(self, socket: TcpListener, end: CancellationToken) {
        let Self { listener, router, max_connections, drain_timeout, metrics } = self;
        let name = listener.task();
        let connections = Arc::new(Connections::new(listener, max_connections, metrics));
        let lingering = Arc::new(Semaphore::new(LINGERING));
        let mut tasks = JoinSet::new();
        while let Some(accepted) = end.run_until_cancelled(socket.accept()).await {
            while tasks.try_join_next().is_some() {}
            // Of the tasks beyond the limit of connections each is about to end.
            while tasks.len() >= max_connections + LEAVING && tasks.join_next().await.is_some() {}
            match accepted {
                Ok((stream, _)) => match connections.open() {
                    Some(connection) => {
                        // An answer is written whole, or in large pieces: there is nothing to collect before sending.
                        let _ = stream.set_nodelay(true);
                        let _ = set_socket_send_buffer_size(&stream, listener.send_buffer());
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
                    // One connection less is one file descriptor for the next.
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
    }
}

/// Answers that there is no room, and waits until that has been read.
async fn refuse(mut stream: TcpStream) {
    let refusal = async {
        stream.writable().await?;
        // One write is enough: the send buffer is empty and larger than this.
        stream.try_write(NO_ROOM)?;
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
    // Errors of a connection that is refused do not matter.
    let _ = tokio::time::timeout(LINGER_LIMIT, refusal).await;
}

#[cfg(test)]
mod tests {
    use super::NO_ROOM;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(NO_ROOM).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{} bytes", body.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["status"], 503);
    }
}
