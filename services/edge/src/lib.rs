//! The REST edge: it parses, calls, and shapes JSON, and nothing else.
//!
//! It holds no state and no authority: the caller's key travels on as metadata, and each service enforces organization and scope
//! for itself. Every route is in `routes`; what they share is here:
//!
//! - `query`, `path`, `body`, `upload`, `accept`, `range`: what comes in, checked;
//! - `clients`: calls to the services, with the caller's key;
//! - `shape`: what goes out;
//! - `problem`, `request_id`, `layers`: errors and what stands around every route;
//! - `openapi`, `docs`: the description of it all.

mod accept;
mod answer;
mod body;
mod clients;
mod docs;
mod layers;
mod openapi;
mod path;
mod problem;
mod query;
mod range;
mod request_id;
mod routes;
mod settings;
mod shape;
mod upload;

use std::sync::Arc;

use axum::Router;
use colloquy_service::readiness::Check;
use colloquy_service::transport::Transport;

use clients::{Behind, Clients};
pub use openapi::document as openapi_document;
pub use settings::Settings;

/// The services behind the edge. The transports carry deadline and trace, but never the service token: a caller's key is the only
/// authority the edge passes on.
#[derive(Clone)]
pub struct Deps {
    /// `colloquy.conversation.v1`.
    pub conversation_store: Transport,
    /// `colloquy.transcript.v1`.
    pub transcript: Transport,
    /// `colloquy.ingestion.v1`.
    pub ingestion: Transport,
    /// `colloquy.access.v1`; only asked whether it is up.
    pub access: Transport,
}

/// What every handler can reach.
pub(crate) struct Edge {
    pub(crate) settings: Settings,
    pub(crate) clients: Clients,
}

/// Returns the checks that the services behind the edge are serving.
pub fn checks(deps: Deps) -> Vec<Check> {
    Behind::all(deps).map(|behind| Check::service(behind.name, behind.transport, behind.grpc_name)).into()
}

/// Returns the REST server.
pub fn router(settings: Settings, deps: Deps) -> Router {
    let edge = Arc::new(Edge { settings, clients: Clients::new(deps) });
    let (routes, document) = routes::all(&edge);
    let described = docs::routes(&document);
    layers::around(routes.with_state(edge).merge(described))
}
