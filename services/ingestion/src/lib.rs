//! The one way in: providers' webhooks and native events become records in the event log.
//!
//! - [`log`]: the event log, durable, ordered, read by every other service.
//! - `source`: the connections providers deliver through, and their secrets.
//! - `delivery`: a webhook, verified over its raw bytes, mapped, and appended before it is answered.
//! - `native`: events of an organization's own agents.
//! - `quarantine`: genuine deliveries that could not be mapped.
//! - `store`: where sources and quarantine are kept.

mod convert;
mod delivery;
mod error;
mod grpc;
pub mod log;
mod native;
mod page;
mod quarantine;
mod settings;
mod source;
mod store;

use std::sync::Arc;

use anyhow::Context;
use colloquy_proto::ingestion::v1::ingestion_service_server::IngestionServiceServer;
use colloquy_proto::ingestion::v1::source_service_server::SourceServiceServer;
use colloquy_service::Service;
use colloquy_service::transport::Transport;
use colloquy_storage::PageTokens;
use colloquy_types::Clock;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use colloquy_storage::{MasterKey, SealError};
pub use error::Error;
pub use quarantine::Bounds as QuarantineBounds;
pub use settings::Settings;

/// What the service and its database are called.
const NAME: &str = "ingestion";
/// The largest request that carries native events: a thousand turns with word timings fit.
const MAX_EVENTS_MESSAGE_BYTES: usize = 32 << 20;

/// What ingestion needs from its surroundings.
pub struct Deps {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Seals the places of lists.
    pub page_tokens: PageTokens,
    /// Ends the background tasks.
    pub stop: CancellationToken,
    /// Stores the recordings that come inside deliveries; carries the service token.
    pub recordings: Transport,
}

/// Builds the service: opens its database and the event log, both brought up to date.
///
/// # Errors
/// When one of them cannot be opened, or the spool folder cannot be made.
pub async fn build(settings: Settings, deps: Deps) -> anyhow::Result<Service> {
    let spool_dir = settings.spool_dir.clone();
    tokio::fs::create_dir_all(&spool_dir).await.with_context(|| format!("cannot make {}", spool_dir.display()))?;
    let (database, store) = store::open(&settings).await?;
    let (log, mut tasks) =
        log::open(&settings.engine, settings.log, &database, Arc::clone(&deps.clock), deps.stop.clone()).await?;

    tasks.push(log::observe::task(Arc::clone(&log), Arc::clone(&deps.clock), deps.stop.clone()));
    tasks.push(quarantine::gauges(Arc::clone(&store), deps.stop.clone()));
    let checks = vec![database.observe(NAME), log::observe::check(Arc::clone(&log))];

    let secrets = source::SecretBox::new(&settings.master_key);
    let live = source::LiveSources::new(Arc::clone(&store), secrets.clone());
    let sources = source::Sources::new(Arc::clone(&store), secrets, live.clone(), Arc::clone(&deps.clock));
    let quarantine = quarantine::Quarantine::new(store, &settings.master_key, settings.quarantine);
    let intake = delivery::Intake::new(
        live,
        quarantine.clone(),
        delivery::Recordings::new(deps.recordings),
        Arc::clone(&log),
        delivery::Spool::new(spool_dir),
        delivery::Limits { with_audio: settings.max_audio_body_bytes, without_audio: settings.max_body_bytes },
        Arc::clone(&deps.clock),
    );
    let event_log = log::grpc::EventLogGrpc::new(Arc::clone(&log), Arc::clone(&deps.clock), deps.stop);
    let native = native::NativeIntake { log, clock: deps.clock };
    let ingestion = grpc::IngestionGrpc { intake, native, quarantine, page_tokens: deps.page_tokens.clone() };
    let sources = source::SourceGrpc { sources, page_tokens: deps.page_tokens };

    let routes = Routes::new(IngestionServiceServer::new(ingestion).max_decoding_message_size(MAX_EVENTS_MESSAGE_BYTES))
        .add_service(SourceServiceServer::new(sources))
        .add_service(event_log.into_server());
    Ok(Service {
        name: NAME,
        grpc_names: vec![
            "colloquy.ingestion.v1.IngestionService",
            "colloquy.ingestion.v1.SourceService",
            "colloquy.log.v1.EventLogService",
        ],
        routes,
        tasks,
        checks,
    })
}

/// Brings the database and the event log up to date.
///
/// # Errors
/// When one of them cannot be opened or migrated.
pub async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let (database, _) = store::open(settings).await?;
    database.close().await;
    log::migrate(&settings.engine).await
}
