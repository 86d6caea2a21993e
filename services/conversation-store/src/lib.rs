//! Conversation-store: what is known of every conversation, in one shape, whoever sent it.
//!
//! A reader of the event log. It keeps the events of every conversation, folds them into a record (`fold`), and serves records,
//! lists, histories and agents; what people change comes back to it through the log like everything else.

mod changes;
mod compression;
mod conversation;
mod convert;
mod error;
mod fold;
mod gauges;
mod grpc;
mod list;
mod recording;
mod renewal;
mod search;
mod store;
mod stored_event;
mod sweep;
mod turn_events;
mod view;

use std::sync::Arc;
use std::time::Duration;

use colloquy_log_client::{Appender, UnknownEvents};
use colloquy_outbound::Policy;
use colloquy_proto::conversation::v1::conversation_service_server::{ConversationServiceServer, SERVICE_NAME};
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use colloquy_service::{Progress, Service, Task};
use colloquy_storage::{DatabaseUrl, PageTokens};
use colloquy_types::{Clock, Position};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use self::changes::Changes;

/// What the service and its reader are called.
const NAME: &str = "conversation-store";

/// What the service is told by its settings.
pub struct Settings {
    /// Where conversations are kept.
    pub database: DatabaseUrl,
    /// Where recordings are kept: `file:///folder` or `s3://bucket/prefix`.
    pub objects_url: String,
    /// Which addresses recordings may be fetched from.
    pub outbound: Policy,
    /// A conversation without any delivery for this long is closed as failed, `unknown_end`.
    pub stuck_after: Duration,
}

/// What the service is given.
pub struct Deps {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Seals page tokens.
    pub page_tokens: PageTokens,
    /// Ends what runs in the background.
    pub stop: CancellationToken,
    /// The event log, called as this installation itself.
    pub log: Transport,
    /// Transcripts, called as this installation itself: they know where something was said.
    pub transcripts: Transport,
}

/// Opens the store and returns the service.
///
/// # Errors
/// When the database cannot be opened or migrated.
pub async fn build(settings: Settings, deps: Deps) -> anyhow::Result<Service> {
    let database = store::open_database(&settings.database).await?;
    let conversations = store::over(&database).await?;
    let unknown_events = UnknownEvents::of(&database);
    let progress = Progress::starting_at(Position::START);
    let appender = Appender::new(deps.log.clone());
    let changes = Changes::new(conversations.clone(), appender.clone(), progress.clone(), deps.clock.clone());
    let handler = grpc::Handler::new(grpc::Deps {
        store: conversations.clone(),
        changes,
        transcripts: search::Transcripts::new(deps.transcripts),
        progress: progress.clone(),
        page_tokens: deps.page_tokens.clone(),
        clock: deps.clock.clone(),
    });
    let server = ConversationServiceServer::new(handler).max_encoding_message_size(MAX_MESSAGE_BYTES);

    let checks = vec![database.observe(NAME), colloquy_log_client::check(NAME, deps.log.clone(), deps.clock.clone())];
    let gauges = gauges::fetch_queue(database.clone(), deps.stop.clone());
    let recordings =
        recording::Settings { objects_url: settings.objects_url, max_bytes: recording::MAX_BYTES, outbound: settings.outbound };
    let recordings = recording::build(
        recordings,
        recording::Deps {
            database,
            log: deps.log.clone(),
            progress: progress.clone(),
            clock: deps.clock.clone(),
            stop: deps.stop.clone(),
        },
    )?;

    let reader = Arc::new(view::View::new(conversations.clone(), deps.clock.clone(), unknown_events));
    let renewal = renewal::Renewal::new(conversations.clone(), deps.clock.clone());
    let sweeper = sweep::Sweeper::new(conversations, appender, deps.clock, settings.stuck_after);
    let mut tasks = vec![
        Task::new("conversation-store reader", colloquy_log_client::run(reader, deps.log, progress, deps.stop.clone())),
        Task::new("conversation-store renewal", renewal.run(deps.stop.clone())),
        Task::new("conversation-store sweeper", sweeper.run(deps.stop)),
    ];
    tasks.push(gauges);
    tasks.extend(recordings.tasks);
    let routes = Routes::new(server).add_service(recordings.server);
    Ok(Service { name: NAME, grpc_names: vec![SERVICE_NAME, recording::SERVICE_NAME], routes, tasks, checks })
}

/// Brings the database up to date.
///
/// # Errors
/// When it cannot be opened or migrated.
pub async fn migrate(url: &DatabaseUrl) -> anyhow::Result<()> {
    store::open_database(url).await?.close().await;
    Ok(())
}
