//! The notification service: tells other systems what happened, and goes on until they have heard it.
//!
//! A reader of the log makes messages of events and a delivery of each for every endpoint that listens, in one transaction
//! ([`store`]); workers claim deliveries and attempt them ([`send`]), on a schedule that gives up after more than a day. What a
//! body looks like is in [`payload`]. People look after endpoints ([`endpoints`]) and what became of deliveries ([`deliveries`]),
//! and have conversations told again ([`replay`]).

mod convert;
pub mod deliveries;
pub mod delivery;
pub mod endpoint;
pub mod endpoints;
pub mod error;
mod grpc;
pub mod kept;
pub mod matching;
pub mod message;
pub mod payload;
pub mod prune;
pub mod reader;
pub mod replay;
pub mod secrets;
pub mod send;
mod settings;
pub mod store;
#[cfg(test)]
mod testing;
pub mod work;

use std::sync::Arc;

use colloquy_log_client::UnknownEvents;
use colloquy_proto::notification::v1::webhook_service_server::SERVICE_NAME;
use colloquy_service::{Progress, Service, Task};
use colloquy_storage::{Database, DatabaseUrl, Durability};

pub use settings::{Deps, Settings, Smtp};

/// What the service and its database are called.
pub const NAME: &str = "notification";

/// Opens the database, and returns the service with the tasks that read the log, attempt deliveries, carry out replays and forget
/// what is old.
///
/// # Errors
/// When the database cannot be opened, or nothing could be sent with these settings.
pub async fn build(settings: Settings, deps: Deps) -> anyhow::Result<Service> {
    let Settings { database, outbound, master_key, smtp } = settings;
    let Deps { clock, page_tokens, stop, log, conversations, transcripts } = deps;
    // Endpoints, and what became of deliveries, are kept nowhere else.
    let database = Database::open(&database, NAME, Durability::Full, &store::migrations()).await?;
    let store = store::open(&database);
    let secrets = secrets::SecretBox::new(&master_key);
    let progress = Progress::starting_at(store.position().await?);

    let (dispatcher, mut tasks) = work::build(work::Parts {
        store: Arc::clone(&store),
        sender: send::Sender::new(outbound.clone(), smtp.as_ref())?,
        snapshots: Arc::new(payload::Views::new(conversations.clone(), transcripts)),
        secrets: secrets.clone(),
        clock: Arc::clone(&clock),
        stop: stop.clone(),
    });
    let dispatch: Arc<dyn reader::Dispatch> = Arc::new(dispatcher);
    let reader = Arc::new(reader::Reader::new(reader::Parts {
        store: Arc::clone(&store),
        unknown_events: UnknownEvents::of(&database),
        dispatch: Arc::clone(&dispatch),
        claim: work::CLAIM,
        clock: Arc::clone(&clock),
    }));
    let endpoints = endpoints::Endpoints::new(Arc::clone(&store), secrets, outbound, smtp.is_some(), Arc::clone(&clock));
    let replays = replay::Replays::new(Arc::clone(&store), endpoints.clone(), conversations, Arc::clone(&clock));
    let handler = grpc::Handler {
        deliveries: deliveries::Deliveries::new(Arc::clone(&store), endpoints.clone(), dispatch, Arc::clone(&clock)),
        endpoints,
        replays: replays.clone(),
        page_tokens,
        clock: Arc::clone(&clock),
    };

    let checks = vec![database.observe(NAME), colloquy_log_client::check(store::READER, log.clone(), Arc::clone(&clock))];
    tasks.push(Task::new("notification reader", colloquy_log_client::run(reader, log, progress, stop.clone())));
    tasks.push(Task::new("notification replays", replays.run(stop.clone())));
    tasks.push(Task::new("notification housekeeping", prune::run(store, clock, stop)));
    let routes = tonic::service::Routes::new(handler.into_server());
    Ok(Service { name: NAME, grpc_names: vec![SERVICE_NAME], routes, tasks, checks })
}

/// Brings the database up to date.
///
/// # Errors
/// When it cannot be opened or migrated.
pub async fn migrate(url: &DatabaseUrl) -> anyhow::Result<()> {
    Database::open(url, NAME, Durability::Full, &store::migrations()).await?.close().await;
    Ok(())
}
