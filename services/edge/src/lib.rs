//! The REST edge: it parses, calls, and shapes JSON, and nothing else.
//!
//! It keeps nothing and has no authority: the caller's key travels on as metadata, and each service enforces organization and scope
//! for itself. Only live streams are followed with the service token, once for everybody who listens, and handed out by what their
//! keys allow. Every route is in `routes`; what they share is here:
//!
//! - `query`, `path`, `body`, `upload`, `accept`, `range`: what comes in, checked;
//! - `clients`: calls to the services, with the caller's key;
//! - `shape`: what goes out;
//! - `live`: what goes out as it happens;
//! - `problem`, `naming`, `request_id`, `layers`: errors, in the caller's words, and what stands around every route;
//! - `openapi`, `docs`: the description of it all.

mod accept;
mod answer;
mod body;
mod clients;
mod docs;
mod layers;
mod live;
mod naming;
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
use colloquy_service::Task;
use colloquy_service::readiness::Check;
use colloquy_service::transport::Transport;

use clients::{Behind, Clients};
use live::Live;
pub use live::{StreamDeps, StreamSettings};
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
    /// `colloquy.analytics.v1`.
    pub analytics: Transport,
    /// `colloquy.notification.v1` and `colloquy.control.v1`.
    pub notification: Transport,
    /// `colloquy.access.v1`; only asked whether it is up.
    pub access: Transport,
}

/// What every handler can reach.
pub(crate) struct Edge {
    pub(crate) settings: Settings,
    pub(crate) clients: Clients,
    pub(crate) live: Arc<Live>,
}

/// Returns the checks that the services behind the edge are serving.
pub fn checks(deps: Deps) -> Vec<Check> {
    Behind::all(deps).map(|behind| Check::service(behind.name, behind.transport, behind.grpc_name)).into()
}

/// Returns the REST server, and what has to run beside it for live streams to live; it ends with their stop token.
pub fn build(settings: Settings, deps: Deps, streams: StreamDeps) -> (Router, Task) {
    let clients = Clients::new(deps);
    let live = Live::new(settings.streams.clone(), streams, &clients);
    let task = live.task();
    let edge = Arc::new(Edge { settings, clients, live });
    let (routes, document) = routes::all(&edge);
    let described = docs::routes(&document);
    (layers::around(routes.with_state(edge).merge(described)), task)
}
