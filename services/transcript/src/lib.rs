//! The transcript service: what was said, by whom and when, as turns, plain text and captions.
//!
//! A reader keeps, of a conversation's events, the set a transcript needs ([`kept`], [`store`]); the transcript itself is made
//! when somebody reads it ([`fold`], [`transcripts`]), and written as JSON's fields, text, SRT or VTT ([`convert`], [`render`]),
//! or counted (`colloquy_figures`).

pub mod caption;
pub mod convert;
pub mod error;
pub mod fold;
pub mod grpc;
pub mod kept;
pub mod language;
pub mod payload;
pub mod reader;
pub mod render;
pub mod search;
mod settings;
pub mod speaker;
pub mod store;
pub mod text;
pub mod timing;
pub mod transcripts;
mod width;
pub mod wording;

use std::sync::Arc;

use colloquy_log_client::UnknownEvents;
use colloquy_proto::transcript::v1::transcript_service_server::SERVICE_NAME;
use colloquy_service::{Progress, Service, Task};
use colloquy_storage::{Database, DatabaseUrl, Durability};

pub use settings::{Deps, Settings};

/// Opens the database, and returns the service with the tasks that read the log into it.
///
/// # Errors
/// When the database cannot be opened.
pub async fn build(settings: Settings, deps: Deps) -> anyhow::Result<Service> {
    // What a lazy database loses when the power goes, the log replays.
    let database = Database::open(&settings.database_url, NAME, Durability::Lazy, &store::migrations()).await?;
    let store = store::open(&database);
    let progress = Progress::starting_at(store.position().await?);
    let index = search::store::open(&database);
    let index_progress = Progress::starting_at(index.position().await?);
    let reader = reader::Reader::new(Arc::clone(&store), Arc::clone(&index), deps.clock.clone(), UnknownEvents::of(&database));
    let indexer = search::reader::Reader::new(Arc::clone(&index), Arc::clone(&store), progress.clone(), deps.clock.clone());
    let transcripts = transcripts::Transcripts::new(store, progress.clone());
    let search =
        search::Search::new(index, transcripts.clone(), index_progress.clone(), deps.page_tokens).switched(settings.search);
    let checks = vec![database.observe(NAME), colloquy_log_client::check(store::READER, deps.log.clone(), deps.clock.clone())];
    let reading = colloquy_log_client::run(Arc::new(reader), deps.log.clone(), progress, deps.stop.clone());
    let mut tasks = vec![Task::new("transcript reader", reading)];
    if settings.search {
        let indexing = colloquy_log_client::run(Arc::new(indexer), deps.log, index_progress, deps.stop);
        tasks.push(Task::new("transcript search reader", indexing));
    }
    Ok(Service {
        name: NAME,
        grpc_names: vec![SERVICE_NAME],
        routes: tonic::service::Routes::new(grpc::Handler::server(transcripts, search)),
        tasks,
        checks,
    })
}

/// What the service and its database are called.
pub const NAME: &str = "transcript";

/// Brings the database up to date.
///
/// # Errors
/// When it cannot be opened or migrated.
pub async fn migrate(url: &DatabaseUrl) -> anyhow::Result<()> {
    Database::open(url, NAME, Durability::Lazy, &store::migrations()).await?.close().await;
    Ok(())
}
