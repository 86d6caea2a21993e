//! Every route, one file per group.

mod agents;
mod alert_rules;
mod alerts;
mod analytics;
mod analyzers;
mod audio;
mod control;
mod convai;
mod conversations;
mod events;
mod feedback;
mod health;
mod listing;
mod quarantine;
mod search;
mod sources;
mod streams;
mod transcript;
mod webhook_deliveries;
mod webhook_endpoints;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::layers::{known_key, time_limit};
use crate::{Edge, live, openapi};

type Routes = OpenApiRouter<Arc<Edge>>;

/// Reading and changing conversations; these stand under `/v1` and again under `/v1/voiceai`.
fn conversations() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(conversations::list))
        .routes(routes!(conversations::active))
        .routes(routes!(conversations::read, conversations::update))
        .routes(routes!(conversations::events))
        .routes(routes!(transcript::read))
        .routes(routes!(feedback::give))
        .routes(routes!(control::send, control::read_state))
        .routes(routes!(analytics::conversation))
        .routes(routes!(analyzers::runs_of_conversation))
        .routes(routes!(agents::list))
        .routes(routes!(agents::read))
}

/// The same, of the routes whose bodies may take long.
fn recordings() -> Routes {
    OpenApiRouter::new().routes(routes!(audio::read, audio::write))
}

/// Those whose answers have no end; they stand under both as well.
fn conversation_streams() -> Routes {
    OpenApiRouter::new().routes(routes!(streams::conversation))
}

fn ingestion() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(sources::create, sources::list))
        .routes(routes!(sources::read, sources::update, sources::delete))
        .routes(routes!(events::ingest))
        .routes(routes!(quarantine::list))
        .routes(routes!(quarantine::retry))
}

fn webhooks() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(webhook_endpoints::create, webhook_endpoints::list))
        .routes(routes!(webhook_endpoints::read, webhook_endpoints::update, webhook_endpoints::delete))
        .routes(routes!(webhook_endpoints::rotate_secret))
        .routes(routes!(webhook_endpoints::event_types))
        .routes(routes!(webhook_deliveries::list))
        .routes(routes!(webhook_deliveries::retry))
        .routes(routes!(webhook_deliveries::recover))
        .routes(routes!(webhook_deliveries::replay))
        .routes(routes!(webhook_deliveries::test))
}

fn understanding() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(search::search))
        .routes(routes!(analytics::ask))
        .routes(routes!(analytics::schema))
        .routes(routes!(analytics::compare))
        .routes(routes!(analytics::agents))
        .routes(routes!(analytics::patterns))
        .routes(routes!(analytics::settings, analytics::change_settings))
        .routes(routes!(alert_rules::create, alert_rules::list))
        .routes(routes!(alert_rules::read, alert_rules::update, alert_rules::delete))
        .routes(routes!(alert_rules::backtest))
        .routes(routes!(alert_rules::backtest_new))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(alerts::resolve))
        .routes(routes!(analyzers::create, analyzers::list))
        .routes(routes!(analyzers::read, analyzers::update, analyzers::delete))
        .routes(routes!(analyzers::runs))
        .routes(routes!(analyzers::backfill))
        .routes(routes!(analyzers::read_backfill))
        .routes(routes!(analyzers::compare))
}

fn elevenlabs_shaped() -> Routes {
    OpenApiRouter::new().routes(routes!(convai::list::list)).routes(routes!(convai::conversation::read))
}

/// Returns the routes and their description.
pub(crate) fn all(edge: &Arc<Edge>) -> (Router<Arc<Edge>>, OpenApi) {
    let limit = from_fn_with_state(edge.settings.request_timeout, time_limit);
    let key = from_fn_with_state(Arc::clone(edge), known_key);
    let (described, document) = described();
    // Whoever listens may present the key in another way, which is looked at first.
    let quick = |routes: Router<Arc<Edge>>| routes.layer(key.clone()).layer(limit.clone());
    let slow = |routes: Router<Arc<Edge>>| routes.layer(key.clone());
    let streams = |routes: Router<Arc<Edge>>| routes.layer(key.clone()).layer(from_fn(live::with_offered_key));
    let alias = quick(conversations().split_for_parts().0)
        .merge(slow(recordings().split_for_parts().0))
        .merge(streams(conversation_streams().split_for_parts().0));
    let Described { quick: described_quick, slow: described_slow, streams: described_streams, keyless } = described;
    let routes = quick(described_quick).merge(slow(described_slow)).merge(streams(described_streams)).merge(keyless);
    let health = Router::new().route("/healthz", get(health::live)).route("/readyz", get(health::ready)).layer(limit.clone());
    let router = Router::new().nest("/v1", routes).nest("/v1/voiceai", alias).merge(health);
    (router, document)
}

/// The routes under `/v1`, by what stands around them.
struct Described {
    /// A time limit, and a look at the key.
    quick: Router<Arc<Edge>>,
    /// A look at the key: they may take long.
    slow: Router<Arc<Edge>>,
    /// The same, wherever the key is.
    streams: Router<Arc<Edge>>,
    /// Nothing: they prove where they come from in another way.
    keyless: Router<Arc<Edge>>,
}

fn described() -> (Described, OpenApi) {
    let (quick, quick_document) =
        conversations().merge(ingestion()).merge(webhooks()).merge(understanding()).merge(elevenlabs_shaped()).split_for_parts();
    let (slow, slow_document) = recordings().routes(routes!(convai::audio)).routes(routes!(analyzers::run)).split_for_parts();
    let (streams, streams_document) = conversation_streams().routes(routes!(streams::organization)).split_for_parts();
    let (keyless, keyless_document) = OpenApiRouter::new().routes(routes!(webhooks::receive)).split_for_parts();
    let document = openapi::complete([quick_document, slow_document, streams_document, keyless_document]);
    (Described { quick, slow, streams, keyless }, document)
}

/// Returns the description alone.
pub(crate) fn document() -> OpenApi {
    described().1
}
