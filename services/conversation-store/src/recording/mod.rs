//! Recordings: kept in the object store under the name of their content, read in ranges, and fetched from where a provider
//! offers them.
//!
//! - [`objects`]: the object store.
//! - [`service`]: what can be done with a recording, and [`grpc`], how it is asked for.
//! - [`fetch`]: recordings that arrive as URLs.
//! - [`store`]: which recordings a conversation has, as the view keeps it.

mod convert;
mod error;
mod fetch;
mod grpc;
mod journal;
mod media_type;
mod objects;
mod range;
mod service;
mod store;

#[cfg(test)]
mod s3_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use colloquy_log_client::Appender;
use colloquy_outbound::{Client, Policy};
use colloquy_proto::conversation::v1::recording_service_server::RecordingServiceServer;
pub(crate) use colloquy_proto::conversation::v1::recording_service_server::SERVICE_NAME;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use colloquy_service::{Progress, Task};
use colloquy_storage::Database;
use colloquy_types::Clock;
use tokio_util::sync::CancellationToken;

/// How often unfinished uploads are looked for, and how long nobody must have written to one.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// The greatest recording in bytes.
pub(crate) const MAX_BYTES: u64 = 1 << 30;

/// What the recordings are told by the settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where recordings are kept: `file:///folder` or `s3://bucket/prefix`.
    pub(crate) objects_url: String,
    /// The greatest recording in bytes.
    pub(crate) max_bytes: u64,
    /// Which addresses recordings may be fetched from.
    pub(crate) outbound: Policy,
}

/// What the recordings are given.
pub(crate) struct Deps {
    /// The database of the view.
    pub(crate) database: Database,
    /// The event log; carries the service token.
    pub(crate) log: Transport,
    /// How far the view has read.
    pub(crate) progress: Progress,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Ends the tasks.
    pub(crate) stop: CancellationToken,
}

/// The recording service and what it does in the background.
pub(crate) struct Built {
    pub(crate) server: RecordingServiceServer<grpc::Handler>,
    pub(crate) tasks: Vec<Task>,
}

/// Opens the object store and returns the service.
///
/// # Errors
/// When the object store cannot be opened.
pub(crate) fn build(settings: Settings, deps: Deps) -> anyhow::Result<Built> {
    let Deps { database, log, progress, clock, stop } = deps;
    let objects = objects::Objects::open(&settings.objects_url.parse().context("objects-url")?, settings.max_bytes)?;
    let recordings = Arc::new(service::Recordings {
        store: store::over(&database),
        objects: objects.clone(),
        journal: journal::Journal::new(Appender::new(log), Arc::clone(&clock)),
        progress,
    });
    let fetcher = fetch::Fetcher {
        recordings: Arc::clone(&recordings),
        client: Client::new(settings.outbound).context("cannot set up outbound requests")?,
        clock: Arc::clone(&clock),
        timing: fetch::Timing::default(),
        stop: stop.clone(),
    };
    let handler = grpc::Handler::new(recordings);
    Ok(Built {
        server: RecordingServiceServer::new(handler).max_decoding_message_size(MAX_MESSAGE_BYTES),
        tasks: vec![
            Task::new("fetch recordings", fetcher.run()),
            Task::new("sweep unfinished uploads", sweep(objects, clock, stop)),
        ],
    })
}

/// Removes what processes that died have left of their uploads, at once and then from time to time.
async fn sweep(objects: objects::Objects, clock: Arc<dyn Clock>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let before = clock.now().saturating_add_millis(-(SWEEP_EVERY.as_millis() as i64));
        match objects.sweep(before).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "{removed} unfinished uploads were removed"),
            Err(error) => tracing::warn!("unfinished uploads could not be removed: {error:#}"),
        }
    }
    objects.close().await;
    Ok(())
}
