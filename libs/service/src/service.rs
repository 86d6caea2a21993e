//! A service, built and ready to be composed.

use std::pin::Pin;

use tonic::service::Routes;

use crate::readiness::Check;

/// One service: its methods, and what it does in the background.
pub struct Service {
    /// The name by which it is served, configured and logged, for example `conversation-store`.
    pub name: &'static str,
    /// The full names of its gRPC services, for health.
    pub grpc_names: Vec<&'static str>,
    /// Its methods.
    pub routes: Routes,
    /// What it does in the background.
    pub tasks: Vec<Task>,
    /// What it needs to be ready.
    pub checks: Vec<Check>,
}

impl Service {
    /// Returns this service together with what another one does, under this one's name.
    pub fn with(mut self, other: Self) -> Self {
        self.grpc_names.extend(other.grpc_names);
        self.routes = Routes::from(self.routes.into_axum_router().merge(other.routes.into_axum_router().reset_fallback()));
        self.tasks.extend(other.tasks);
        self.checks.extend(other.checks);
        self
    }
}

/// Something that runs until it is told to stop. Whoever builds it gives it the stop token.
pub struct Task {
    /// What it is called in logs.
    pub name: &'static str,
    /// The work. Ending before the stop token is an error, which ends the process: nothing limps on half alive.
    pub work: Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>,
}

impl Task {
    /// Returns a task that does `work`.
    pub fn new(name: &'static str, work: impl Future<Output = anyhow::Result<()>> + Send + 'static) -> Self {
        Self { name, work: Box::pin(work) }
    }
}
