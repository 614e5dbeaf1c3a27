//! One connection: HTTP/1.1 on it, and its phase, as the bytes that come and go show it.
//!
//! hyper has one time limit for the wait for a request and for its headers together, and none for an answer that the
//! client does not read. A load balancer needs ten minutes between two requests; headers and answers take seconds.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connections::Connection;
use super::phase::ConnectionPhase;
use crate::server::metrics::RefusedReason;

/// Headers of at most this size are always read; those of a push are about 2 KB with its token. hyper's buffer has this
/// size from the start.
const SMALL_HEADERS: usize = 8 * 1024;
/// The most that is read of headers, else 431; and the most that is read ahead of a body. A message that is delivered
/// without a wrapper has each attribute in a header: 100 of them, names of 256 and values of 1024 bytes (Pub/Sub, "Quotas
/// and limits").
const MAX_HEADERS_BYTES: usize = 192 * 1024;
/// Those attributes, and the headers that HTTP and the load balancer add.
const MAX_HEADERS: usize = 200;
/// Long enough to be no deadline.
const NEVER: Duration = Duration::from_secs(86_400);

/// Serves requests on a connection until it ends or is cut off. After `end` it ends with the answer to the request that
/// it is handling.
pub(super) async fn serve(
    stream: TcpStream,
    router: Router,
    connection: Arc<Connection>,
    admits_all: bool,
    end: CancellationToken,
) {
    let service = {
        let connection = Arc::clone(&connection);
        service_fn(move |mut request: http::Request<Incoming>| {
            let phase = if admits_all { ConnectionPhase::Admitted } else { ConnectionPhase::Requested };
            // Where it was closed to make room, `deadline` says so below.
            let _ = connection.enter(phase);
            request.extensions_mut().insert(Arc::clone(&connection));
            let answered = TowerToHyperService::new(router.clone()).call(request);
            let connection = Arc::clone(&connection);
            async move {
                let response = answered.await;
                let _ = connection.enter(ConnectionPhase::Idle);
                response
            }
        })
    };
    let stream = WatchedStream {
        stream,
        connection: Arc::clone(&connection),
        header_bytes: 0,
        large_headers: None,
        held_up: ConnectionPhase::Idle,
    };
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(None);
    builder.max_buf_size(MAX_HEADERS_BYTES).max_headers(MAX_HEADERS);

    let mut http = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut ending = pin!(end.cancelled());
    let mut alarm = pin!(tokio::time::sleep(NEVER));
    let mut is_ending = false;
    let served = poll_fn(|context| {
        // A request that has come by now is answered: reading comes before the shutdown.
        if let Poll::Ready(ended) = http.as_mut().poll(context) {
            return Poll::Ready(Ok(ended));
        }
        if !is_ending && ending.as_mut().poll(context).is_ready() {
            is_ending = true;
            http.as_mut().graceful_shutdown();
            if let Poll::Ready(ended) = http.as_mut().poll(context) {
                return Poll::Ready(Ok(ended));
            }
        }
        // The phase, and so the deadline, may have changed just now.
        while let Some(deadline) = match connection.deadline(context.waker()) {
            Ok(deadline) => deadline.map(Instant::from_std),
            Err(reason) => return Poll::Ready(Err(reason)),
        } {
            if alarm.deadline() != deadline {
                alarm.as_mut().reset(deadline);
            }
            ready!(alarm.as_mut().poll(context));
        }
        Poll::Pending
    });
    match served.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a connection ended: {error}"),
        Err(None) => tracing::debug!("a connection was closed: it was idle for too long"),
        Err(Some(reason)) => {
            tracing::debug!("a connection was cut off: {reason:?}");
            connection.connections().count_refused(reason);
        }
    }
}

/// A stream that sets the phase of its connection.
struct WatchedStream {
    stream: TcpStream,
    connection: Arc<Connection>,
    header_bytes: usize,
    large_headers: Option<OwnedSemaphorePermit>,
    /// The phase before [`ConnectionPhase::Unread`], to which it returns when an answer can be sent again.
    held_up: ConnectionPhase,
}

impl WatchedStream {
    /// Notes that bytes have come.
    fn received(&mut self, bytes: usize) -> io::Result<()> {
        if self.connection.is_at(ConnectionPhase::Idle) || self.connection.is_at(ConnectionPhase::Unread) {
            self.connection.enter(ConnectionPhase::Headers);
        }
        if self.connection.is_at(ConnectionPhase::Headers) {
            self.header_bytes += bytes;
            if self.header_bytes > SMALL_HEADERS && self.large_headers.is_none() {
                let connections = self.connection.connections();
                let permit = Arc::clone(&connections.large_headers).try_acquire_owned();
                self.large_headers = Some(permit.map_err(|_| {
                    connections.count_refused(RefusedReason::HeaderMemory);
                    io::Error::other("too many connections with large headers")
                })?);
            }
        }
        Ok(())
    }

    /// Notes whether a part of an answer could be sent. Where not, the write limit applies in every phase: the next
    /// request may have come already, but hyper works on it only when this answer is sent.
    fn sent(&mut self, is_sent: bool) {
        if is_sent {
            if self.connection.is_at(ConnectionPhase::Unread) {
                self.connection.enter(self.held_up);
            }
            return;
        }
        let phase = [ConnectionPhase::Idle, ConnectionPhase::Requested, ConnectionPhase::Admitted]
            .into_iter()
            .find(|phase| self.connection.is_at(*phase));
        if let Some(phase) = phase {
            self.held_up = phase;
            self.connection.enter(ConnectionPhase::Unread);
        }
    }
}

impl Drop for WatchedStream {
    fn drop(&mut self) {
        // Else the kernel would go on keeping what the client does not read.
        if self.connection.is_at(ConnectionPhase::Unread) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.connection.is_at(ConnectionPhase::Headers) {
            (self.header_bytes, self.large_headers) = (0, None);
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        match into.filled().len() - before {
            0 => Poll::Ready(Ok(())),
            bytes => Poll::Ready(self.received(bytes)),
        }
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.sent(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
