//! Listening: connections, health, reflection, and stopping within a grace period.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// How long a peer may take to send its request head.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Binds `address` at once, so that a taken port fails in the first second.
///
/// # Errors
/// When the address cannot be bound, naming `setting`.
pub async fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{setting}: cannot listen on {address}"))
}

/// Serves `router` over HTTP/1.1 and HTTP/2 until `stop`, then lets open requests finish for at most `grace`.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, grace: Duration) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
    builder
        .http2()
        .timer(hyper_util::rt::TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(1_024);
    let graceful = GracefulShutdown::new();
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
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        let watched = graceful.watch(connection);
        // Owned by `graceful`, which waits for it below.
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(grace_ms = grace.as_millis() as u64, "connections were still open when the grace period ended");
    }
}

/// Health by gRPC service name: not serving until [`Health::set_serving`], and not serving again once stopping.
#[derive(Clone)]
pub struct Health(HealthReporter);

/// Returns health, and a router with `grpc.health.v1` and reflection (v1), both for the services named.
///
/// # Errors
/// When the embedded descriptors cannot be read.
pub async fn health_and_reflection(names: &[&'static str]) -> anyhow::Result<(Health, Router)> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for name in names {
        reporter.set_service_status(*name, ServingStatus::NotServing).await;
    }
    reporter.set_service_status("", ServingStatus::NotServing).await;
    let descriptors = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(colloquy_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    // Only what is served is listed: this process may hold some services, and contracts may come before their services.
    let listed = names.iter().chain(&["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]);
    let reflection =
        listed.fold(descriptors, |builder, name| builder.with_service_name(*name)).build_v1().context("reflection")?;
    let routes = tonic::service::Routes::new(health).add_service(reflection);
    Ok((Health(reporter), routes.into_axum_router()))
}

impl Health {
    /// Says that the named services, and the server as a whole, are serving.
    pub async fn set_serving(&self, names: &[&'static str], serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in names.iter().chain(&[""]) {
            self.0.set_service_status(*name, status).await;
        }
    }
}
