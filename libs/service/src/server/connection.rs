//! One connection, from its first byte to its last.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rand::RngExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::ConnectionAge;
use super::ending::{Closing, OfConnection};
use super::opening::{Opened, Opening};
use super::stalling::Stalling;
use crate::tls::Tls;

/// How long a peer may take to say which protocol it speaks, TLS included.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may take nothing of what it is sent. Nobody else would ever end a connection whose peer asked and does not read.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);

/// What all connections of a listener have in common.
pub(super) struct Serving {
    pub(super) http: auto::Builder<TokioExecutor>,
    pub(super) router: Router,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) age: Option<ConnectionAge>,
    /// No new calls.
    pub(super) stop: CancellationToken,
    /// The grace period is over.
    pub(super) abandon: CancellationToken,
}

/// Serves one connection until it ends.
pub(super) async fn serve(serving: Arc<Serving>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Some(config) = serving.tls.as_ref().and_then(|tls| tls.server()) else {
        return converse(&serving, stream).await;
    };
    let accepting = tokio::time::timeout(OPENING_TIMEOUT, TlsAcceptor::from(config).accept(stream));
    match serving.stop.run_until_cancelled(accepting).await {
        Some(Ok(Ok(stream))) => converse(&serving, stream).await,
        Some(Ok(Err(error))) => tracing::debug!("a TLS handshake failed: {error}"),
        Some(Err(_)) => tracing::debug!("a TLS handshake took too long"),
        None => {}
    }
}

async fn converse<S>(serving: &Serving, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opened = Opened::default();
    let closing = Closing::new(&serving.stop);
    let service = TowerToHyperService::new(OfConnection::new(serving.router.clone(), closing.clone()));
    let stream = TokioIo::new(Stalling::new(Opening::new(stream, opened.clone()), STALL_TIMEOUT));
    let mut connection = pin!(serving.http.serve_connection_with_upgrades(stream, service));

    let grace = tokio::select! {
        // What has arrived is taken before anything else ends the connection.
        biased;
        ended = connection.as_mut() => return log_end(ended),
        () = stays_silent(&opened) => return tracing::debug!("a peer connected and did not speak"),
        grace = comes_of_age(serving.age) => Some(grace),
        () = serving.stop.cancelled() => None,
    };
    connection.as_mut().graceful_shutdown();
    if grace.is_some() {
        closing.now();
    }
    let patience = async {
        match grace {
            Some(grace) => tokio::time::sleep(grace).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = connection.as_mut() => log_end(ended),
        () = patience => tracing::debug!("calls were still under way when a connection was closed for its age"),
        () = serving.abandon.cancelled() => {}
    }
}

fn log_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

async fn stays_silent(opened: &Opened) {
    tokio::time::sleep(OPENING_TIMEOUT).await;
    if opened.is_open() {
        std::future::pending::<()>().await;
    }
}

/// Returns how long calls may still take, once the connection is old enough.
async fn comes_of_age(age: Option<ConnectionAge>) -> Duration {
    let Some(ConnectionAge { after, grace }) = age else { return std::future::pending().await };
    // Not all callers should come back at once.
    let part = rand::rng().random_range(0.9..=1.1);
    tokio::time::sleep(after.mul_f64(part)).await;
    grace
}
