//! The quarantine: genuine deliveries that could not be mapped, kept with the reason until a retry maps them.
//!
//! A delivery is named after its source and its bytes, so a provider that repeats one counts attempts and takes no more room.
//! Bodies are kept without the secrets their provider is known to send. One that is not JSON cannot be searched for secrets and
//! is kept as it came, and so is one too large to be parsed; all are compressed and sealed, so that none can be read from a stolen file. What a source may have waiting
//! is bounded. Resolved entries give way to new ones; waiting ones never do, since they were answered with a promise: when
//! nothing can give way the new delivery is refused with a retry hint, and the provider keeps it.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use colloquy_providers::redact;
use colloquy_service::Task;
use colloquy_service::metrics::{self, Polled, QuarantineSize};
use colloquy_types::{OrganizationId, Provider, QuarantineId, SourceId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::delivery::Body;
use crate::error::Error;
use crate::store::{Place, QuarantineFilter, Quarantining, Store};
use colloquy_storage::{MasterKey, Sealer};

/// Speed matters more than the last per cent: what lands here is on the path of an answer.
const ZSTD_LEVEL: i32 = 3;
/// Larger bodies are not parsed to find secrets in them. Only a recording that could not be taken out makes them so large.
const SEARCHABLE_BYTES: u64 = 8 << 20;
/// How often the gauges ask how much there is.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// The longest reason kept, in characters.
const MAX_REASON_CHARS: usize = 500;

/// How much one source may have in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most entries, resolved ones included.
    pub max_entries: u64,
    /// The most bytes, as stored.
    pub max_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_entries: 10_000, max_bytes: 256 << 20 }
    }
}

/// A delivery that could not be mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    /// Whose it is.
    pub(crate) organization_id: OrganizationId,
    /// Derived from the source and the body.
    pub(crate) quarantine_id: QuarantineId,
    /// The source it came through.
    pub(crate) source_id: SourceId,
    /// The source's provider.
    pub(crate) provider: Provider,
    /// When it first came.
    pub(crate) received_at: Timestamp,
    /// Why it could not be mapped the last time.
    pub(crate) reason: String,
    /// Its size, secrets removed.
    pub(crate) size_bytes: u64,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// When a retry mapped it.
    pub(crate) resolved_at: Option<Timestamp>,
    /// The position after which a resolved one can be read.
    pub(crate) position: Option<u64>,
    /// Where its recording is, when it had one.
    pub(crate) recording: Option<StoredRecording>,
}

/// A recording that was taken out of a delivery and stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRecording {
    /// The key in the object store.
    pub(crate) object_key: String,
    /// Hex SHA-256 of the bytes.
    pub(crate) sha256: String,
    /// Size in bytes.
    pub(crate) size_bytes: u64,
    /// Media type told from the first bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
}

/// A delivery's body: compressed, then sealed. Empty once the delivery is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuarantinedBody {
    /// The bytes.
    pub(crate) sealed: Vec<u8>,
}

/// A delivery on its way into quarantine.
pub(crate) struct Unmappable {
    pub(crate) organization_id: OrganizationId,
    pub(crate) source_id: SourceId,
    pub(crate) provider: Provider,
    pub(crate) received_at: Timestamp,
    pub(crate) reason: String,
    pub(crate) body: Body,
    pub(crate) recording: Option<StoredRecording>,
}

/// Keeps what could not be mapped.
#[derive(Clone)]
pub(crate) struct Quarantine {
    store: Arc<dyn Store>,
    sealer: Sealer,
    bounds: Bounds,
}

impl Quarantine {
    pub(crate) fn new(store: Arc<dyn Store>, master: &MasterKey, bounds: Bounds) -> Self {
        Self { store, sealer: Sealer::new(master, "colloquy quarantined bodies"), bounds }
    }

    /// Keeps a delivery, durably, and returns its id.
    pub(crate) async fn keep(&self, delivery: Unmappable) -> Result<QuarantineId, Error> {
        let quarantine = self.clone();
        let sealing = tokio::task::spawn_blocking(move || quarantine.sealed(delivery));
        let (delivery, body) = sealing.await.map_err(|_| Error::Interrupted)??;
        match self.store.quarantine(&delivery, &body, self.bounds).await? {
            Quarantining::Kept => {
                let id = delivery.quarantine_id;
                tracing::warn!(
                    quarantine.id = %id, source.id = %delivery.source_id, provider = %delivery.provider,
                    "a delivery could not be mapped and is in quarantine as {id}"
                );
                Ok(id)
            }
            Quarantining::Full => Err(Error::QuarantineFull { source_id: delivery.source_id }),
        }
    }

    fn sealed(&self, delivery: Unmappable) -> Result<(Quarantined, QuarantinedBody), Error> {
        let Unmappable { organization_id, source_id, provider, received_at, reason, mut body, recording } = delivery;
        let quarantine_id = quarantine_id(source_id, &mut body, recording.as_ref())?;
        let (size_bytes, compressed) = compress(provider, body)?;
        let sealed = self.sealer.seal(&[organization_id.as_str().as_bytes(), quarantine_id.as_bytes()], compressed)?;
        let delivery = Quarantined {
            organization_id,
            quarantine_id,
            source_id,
            provider,
            received_at,
            reason: short(&reason),
            size_bytes,
            attempts: 1,
            resolved_at: None,
            position: None,
            recording,
        };
        Ok((delivery, QuarantinedBody { sealed }))
    }

    /// Returns a quarantined delivery and its body; the body is empty once the delivery is resolved.
    pub(crate) async fn open(&self, organization: &OrganizationId, id: QuarantineId) -> Result<(Quarantined, Vec<u8>), Error> {
        let found = self.store.quarantined(organization, id).await?;
        let (delivery, body) = found.ok_or(Error::QuarantineNotFound(id))?;
        if body.sealed.is_empty() {
            return Ok((delivery, Vec::new()));
        }
        let compressed = self.sealer.open(&[organization.as_str().as_bytes(), id.as_bytes()], &body.sealed)?;
        // The size is known, and was bounded when it was written.
        let capacity = usize::try_from(delivery.size_bytes).unwrap_or(usize::MAX);
        let plain = zstd::bulk::decompress(&compressed, capacity).map_err(Error::Compression)?;
        Ok((delivery, plain))
    }

    /// Returns a page, newest first.
    pub(crate) async fn page(
        &self,
        organization: &OrganizationId,
        filter: QuarantineFilter,
        after: Option<Place<QuarantineId>>,
        limit: u32,
    ) -> Result<Vec<Quarantined>, Error> {
        Ok(self.store.page_of_quarantine(organization, filter, after, limit).await?)
    }

    /// Notes that a retry mapped the delivery.
    pub(crate) async fn resolve(&self, delivery: Quarantined, now: Timestamp, position: u64) -> Result<Quarantined, Error> {
        let attempts = delivery.attempts.saturating_add(1);
        let resolved = Quarantined { resolved_at: Some(now), position: Some(position), attempts, ..delivery };
        self.store.note_attempt(&resolved).await?;
        Ok(resolved)
    }

    /// Notes that a retry failed, and why.
    pub(crate) async fn fail(&self, delivery: Quarantined, reason: &str) -> Result<Quarantined, Error> {
        let attempts = delivery.attempts.saturating_add(1);
        let failed = Quarantined { reason: short(reason), attempts, ..delivery };
        self.store.note_attempt(&failed).await?;
        Ok(failed)
    }
}

/// Returns the task that keeps asking how much waits in quarantine, for the gauges.
pub(crate) fn gauges(store: Arc<dyn Store>, stop: CancellationToken) -> Task {
    let size = Polled::default();
    metrics::register_quarantine(size.reader());
    let ask = async move || {
        let (deliveries, bytes) = store.quarantine_size().await.ok()?;
        Some(QuarantineSize { deliveries, bytes })
    };
    Task::new("quarantine gauges", size.keep_asking(ASK_EVERY, stop, ask))
}

/// Derives the id of a delivery from its source and its bytes.
fn quarantine_id(source: SourceId, body: &mut Body, recording: Option<&StoredRecording>) -> Result<QuarantineId, Error> {
    let mut hash = digest::Context::new(&digest::SHA256);
    body.read_through(|piece| {
        hash.update(piece);
        Ok(())
    })?;
    if let Some(recording) = recording {
        hash.update(recording.sha256.as_bytes());
    }
    Ok(QuarantineId(Uuid::new_v5(&source.0, hash.finish().as_ref())))
}

/// Returns a body's size and compressed bytes, without secrets when it can be searched for them: when it is JSON of a size that
/// may be read as a whole. A note in the place of what cannot be searched could never be mapped again.
fn compress(provider: Provider, mut body: Body) -> Result<(u64, Vec<u8>), Error> {
    if body.len() > SEARCHABLE_BYTES {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(Error::Compression)?;
        body.read_through(|piece| encoder.write_all(piece).map_err(Error::Compression))?;
        return Ok((body.len(), encoder.finish().map_err(Error::Compression)?));
    }
    let bytes = body.into_bytes()?;
    let is_json = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
    let kept = if is_json { Bytes::from(redact(provider, &bytes)) } else { bytes };
    Ok((kept.len() as u64, zstd::bulk::compress(&kept, ZSTD_LEVEL).map_err(Error::Compression)?))
}

/// Returns a reason fit to be stored and shown: bounded, without control characters.
fn short(reason: &str) -> String {
    reason.chars().filter(|letter| !letter.is_control()).take(MAX_REASON_CHARS).collect()
}
