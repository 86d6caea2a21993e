//! Access: organizations, and the API keys that act for them.
//!
//! Every other service asks it whose key it was shown; it is the only one that knows. Keys are random, only their SHA-256 is
//! kept, and an answer is believed for a few seconds (`colloquy_service::auth`), which is how long a revoked key lives on.

mod api_key;
mod bootstrap;
mod convert;
mod error;
mod grpc;
mod store;

use std::sync::Arc;

use colloquy_proto::access::v1::access_service_server::{AccessServiceServer, SERVICE_NAME};
use colloquy_service::Service;
use colloquy_storage::{DatabaseUrl, PageTokens};
use colloquy_types::Clock;
use tonic::service::Routes;

pub use api_key::{ApiKey, NewApiKey, Secret};
pub use bootstrap::Bootstrap;
pub use error::Error;
pub use store::{KeyPage, Keys, open};

/// What the service is told by its settings.
pub struct Settings {
    /// Where organizations and keys are kept.
    pub database: DatabaseUrl,
    /// The first administrator key for organization `default`; without one, and with no key at all yet, one is made.
    pub bootstrap_api_key: Option<Secret>,
}

/// What the service is given.
pub struct Deps {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Seals page tokens.
    pub page_tokens: PageTokens,
}

/// Opens the store, makes sure there is a first key, and returns the service; with it the key that was made, to be shown once.
///
/// # Errors
/// When the database cannot be opened or migrated.
pub async fn build(settings: Settings, deps: Deps) -> anyhow::Result<(Service, Bootstrap)> {
    let (database, keys) = store::open_with_database(&settings.database).await?;
    let bootstrap = bootstrap::run(keys.as_ref(), settings.bootstrap_api_key, deps.clock.now()).await?;
    let handler = grpc::Handler::new(keys, deps.clock, deps.page_tokens);
    let routes = Routes::new(AccessServiceServer::new(handler));
    let checks = vec![database.observe("access")];
    Ok((Service { name: "access", grpc_names: vec![SERVICE_NAME], routes, tasks: Vec::new(), checks }, bootstrap))
}

/// Brings the database up to date.
///
/// # Errors
/// When it cannot be opened or migrated.
pub async fn migrate(url: &DatabaseUrl) -> anyhow::Result<()> {
    open(url).await.map(drop)
}
