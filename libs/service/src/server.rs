//! Listening: connections, and stopping within a grace period.

mod connection;
mod ending;
mod opening;
mod stalling;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::tls::Tls;
use connection::Serving;

/// How many bytes of an HTTP/1 connection wait in memory each way, beside a single greater piece of a body. A request's head has to
/// fit in too. The library's own 400 KiB are a lot for a peer that follows a stream and reads nothing.
const HTTP1_BUFFER_BYTES: usize = 64 << 10;
/// How long a peer may take to send its request head.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Binds `address` at once, so that a taken port fails in the first second.
///
/// # Errors
/// When the address cannot be bound, naming `setting`.
pub async fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{setting}: cannot listen on {address}"))
}

/// How old gRPC connections become.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionAge {
    /// When a connection is asked to close, a tenth sooner or later by chance. Callers open another at once, perhaps to a replica
    /// that was not there before.
    pub after: Duration,
    /// How long calls that are under way may then take. Streams without an end of their own are ended at once.
    pub grace: Duration,
}

impl ConnectionAge {
    /// Returns the age `after`, with half a minute of grace.
    pub const fn new(after: Duration) -> Self {
        Self { after, grace: Duration::from_secs(30) }
    }
}

/// How connections are taken.
#[derive(Clone, Default)]
pub struct Connections {
    /// With a certificate, only TLS is taken; with authorities, only from callers who show a certificate of theirs.
    pub tls: Option<Arc<Tls>>,
    /// How old they become; for ever without.
    pub age: Option<ConnectionAge>,
}

/// Serves `router` over HTTP/1.1 and HTTP/2 until `stop`, then lets open requests finish for at most `grace`.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, grace: Duration) {
    serve_connections(listener, router, Connections::default(), stop, grace).await;
}

/// Does the same, taking connections as `connections` says.
pub async fn serve_connections(
    listener: TcpListener,
    router: Router,
    connections: Connections,
    stop: CancellationToken,
    grace: Duration,
) {
    let Connections { tls, age } = connections;
    let abandon = CancellationToken::new();
    let serving = Arc::new(Serving { http: http(), router, tls, age, stop: stop.clone(), abandon: abandon.clone() });
    let open = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, or the peer is gone already: neither is a reason to spin or to stop.
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        open.spawn(connection::serve(serving.clone(), stream));
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(grace, open.wait()).await.is_err() {
        tracing::warn!(grace_ms = grace.as_millis() as u64, "connections were still open when the grace period ended");
        abandon.cancel();
        open.wait().await;
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(HTTP1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(1_024);
    builder
}
