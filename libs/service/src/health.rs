//! `grpc.health.v1` and reflection.

use anyhow::Context;
use axum::Router;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Health by gRPC service name, and, as `""`, of the server as a whole. What it says follows [`crate::readiness`].
#[derive(Clone)]
pub struct Health(HealthReporter);

impl Health {
    /// Returns health that says that nothing is serving, and the routes it answers on.
    pub async fn new() -> (Self, Routes) {
        let (reporter, server) = tonic_health::server::health_reporter();
        reporter.set_service_status("", ServingStatus::NotServing).await;
        (Self(reporter), Routes::new(server))
    }

    /// Says whether the named services are serving.
    pub async fn set(&self, names: &[&'static str], serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in names {
            self.0.set_service_status(*name, status).await;
        }
    }
}

/// Returns reflection (v1) of the services named. Only what is served is listed: this process may hold some services, and
/// contracts may come before their services.
///
/// # Errors
/// When the embedded descriptors cannot be read.
pub fn reflection(names: &[&'static str]) -> anyhow::Result<Router> {
    let descriptors = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(colloquy_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    let listed = names.iter().chain(&["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]);
    let reflection =
        listed.fold(descriptors, |builder, name| builder.with_service_name(*name)).build_v1().context("reflection")?;
    Ok(Routes::new(reflection).into_axum_router())
}
