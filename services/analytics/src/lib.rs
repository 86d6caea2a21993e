//! The analytics service: what conversations come to, one by one and together, and what in them needs somebody's attention.
//!
//! A reader notes which conversations changed; workers read record and transcript of each as they are now, analyse them, and keep
//! one flat row a conversation ([`features`]). Queries ([`query`]) and alert rules ([`alert`]) ask those rows.

pub mod alert;
pub mod analysed;
pub mod analysis;
pub mod analyzer;
pub mod convert;
pub mod error;
pub mod features;
mod grpc;
pub mod hooks;
pub mod input;
pub mod judgement;
#[cfg(test)]
mod neighbours;
pub mod organization;
mod pipeline;
pub mod query;
pub mod reader;
mod settings;
pub mod store;
#[cfg(test)]
mod testing;
mod upstream;

use std::sync::Arc;

use anyhow::Context;
use colloquy_log_client::{Appender, UnknownEvents};
use colloquy_proto::analytics::v1::{alert_service_server, analytics_service_server, analyzer_service_server};
use colloquy_service::{Progress, Service, Task};
use colloquy_storage::{Database, DatabaseUrl, Durability};
use tokio::sync::Notify;
use tonic::service::Routes;

use crate::analyzer::model::{Model, OpenAi, Patience};

pub use settings::{Deps, ModelSettings, Settings};

/// What the service and its database are called.
pub const NAME: &str = "analytics";

const GRPC_NAMES: [&str; 3] =
    [analytics_service_server::SERVICE_NAME, alert_service_server::SERVICE_NAME, analyzer_service_server::SERVICE_NAME];

/// Opens the database, and returns the service with the tasks that read the log, analyse conversations, sum figures up, watch them,
/// and ask the language model.
///
/// # Errors
/// When the database cannot be opened, or the language model cannot be asked with these settings.
pub async fn build(settings: Settings, deps: Deps) -> anyhow::Result<Service> {
    let Settings { database, model } = settings;
    let Deps { clock, page_tokens, stop, log, conversations, transcripts } = deps;
    let model = model.as_ref().map(ask_with).transpose().context("the language model cannot be asked")?;
    // Rules, alerts, analyzers and their runs are kept nowhere else.
    let database = Database::open(&database, NAME, Durability::Full, &store::migrations()).await?;
    let store = store::open(&database);
    let progress = Progress::starting_at(store.position().await?);
    let wake = Arc::new(Notify::new());
    let frontier =
        analysed::Frontier::new(Arc::clone(&store), progress.clone(), log.clone(), Arc::clone(&clock), Arc::clone(&wake));
    let queries = query::Queries::new(&database, Arc::clone(&clock));

    let alerts = alert::build(alert::Parts {
        database: database.clone(),
        clock: Arc::clone(&clock),
        page_tokens: page_tokens.clone(),
        stop: stop.clone(),
        log: log.clone(),
        transcripts: transcripts.clone(),
        queries: queries.clone(),
        frontier: frontier.clone(),
    })
    .await?;
    let analyzers = analyzer::build(analyzer::Parts {
        store: analyzer::store::open(&database),
        figures: Arc::clone(&store),
        model,
        conversations: conversations.clone(),
        transcripts: transcripts.clone(),
        wake_figures: Arc::clone(&wake),
        page_tokens,
        clock: Arc::clone(&clock),
        pace: analyzer::Pace::default(),
        stop: stop.clone(),
    });
    let unknown_events = UnknownEvents::of(&database);
    let reader = Arc::new(reader::Reader::new(Arc::clone(&store), unknown_events, Arc::clone(&clock), Arc::clone(&wake)));
    let mut tasks = pipeline::tasks(pipeline::Parts {
        store: Arc::clone(&store),
        conversations,
        transcripts,
        log: Appender::new(log.clone()),
        contributors: vec![analyzers.listener.clone()],
        listeners: vec![alerts.listener, analyzers.listener],
        clock: Arc::clone(&clock),
        wake,
        stop: stop.clone(),
    });
    let checks = vec![database.observe(NAME), colloquy_log_client::check(store::READER, log.clone(), Arc::clone(&clock))];
    tasks.push(Task::new("analytics reader", colloquy_log_client::run(reader, log, progress, stop.clone())));
    tasks.push(Task::new("analytics rollups", store::rollups::run(database, Arc::clone(&clock), stop)));
    tasks.extend(alerts.tasks);
    tasks.extend(analyzers.tasks);
    let routes = Routes::new(grpc::Handler { store, frontier, queries, clock }.into_server())
        .add_service(alerts.handler.into_server())
        .add_service(analyzers.handler.into_server());
    Ok(Service { name: NAME, grpc_names: GRPC_NAMES.to_vec(), routes, tasks, checks })
}

/// Returns how the model is asked, and how many tokens an organization may use of it in a day.
fn ask_with(settings: &ModelSettings) -> anyhow::Result<(Arc<dyn Model>, u64)> {
    let model = OpenAi::new(settings, Patience::default())?;
    Ok((Arc::new(model), settings.tokens_per_day))
}

/// Brings the database up to date.
///
/// # Errors
/// When it cannot be opened or migrated.
pub async fn migrate(url: &DatabaseUrl) -> anyhow::Result<()> {
    Database::open(url, NAME, Durability::Full, &store::migrations()).await?.close().await;
    Ok(())
}
