//! Takes deliveries in: verified over their raw bytes first, then understood, then durable, and only then answered.

use std::sync::Arc;

use bytes::Bytes;
use colloquy_providers::spliced_field;
use colloquy_providers::verify::{Headers, Rejection, Verifier};
use colloquy_service::telemetry::traceparent;
use colloquy_types::{Clock, OrganizationId, QuarantineId, SourceId, Timestamp};

use super::body::{Body, BodyWriter, Spool};
use super::interpret::{Interpretation, Interpreter, Origin, Unmapped};
use super::outcome;
use super::recording::Recordings;
use crate::error::Error;
use crate::log::{EventLog, LogError, NewRecord, observe};
use crate::quarantine::{Quarantine, Quarantined, Unmappable};
use crate::source::{LiveSource, LiveSources};

/// How large bodies may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of sources whose deliveries may hold a recording, in bytes.
    pub(crate) with_audio: u64,
    /// Of all others, in bytes.
    pub(crate) without_audio: u64,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Delivered {
    /// The position after which it can be read; 0 when there is nothing to read.
    pub(crate) position: u64,
    /// How many events were new.
    pub(crate) accepted: u32,
    /// How many events were already there.
    pub(crate) duplicates: u32,
    /// Its id in quarantine, when it could not be mapped.
    pub(crate) quarantine_id: Option<QuarantineId>,
}

/// Takes deliveries in.
pub(crate) struct Intake {
    sources: LiveSources,
    quarantine: Quarantine,
    interpreter: Interpreter,
    log: Arc<dyn EventLog>,
    spool: Spool,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

/// A delivery while it streams in.
pub(crate) struct Receiving {
    source: Arc<LiveSource>,
    received_at: Timestamp,
    verifier: Verifier,
    body: BodyWriter,
}

impl Receiving {
    /// Takes the next part of the body.
    pub(crate) async fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.body.push(chunk).await.inspect_err(|error| outcome::refused(Some(self.source.provider), error))?;
        self.verifier.update(chunk);
        Ok(())
    }
}

impl Intake {
    pub(crate) fn new(
        sources: LiveSources,
        quarantine: Quarantine,
        recordings: Recordings,
        log: Arc<dyn EventLog>,
        spool: Spool,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { sources, quarantine, interpreter: Interpreter::new(recordings), log, spool, limits, clock }
    }

    /// Begins a delivery. Headers that cannot belong to a genuine one end it before a byte of its body is read.
    pub(crate) async fn begin(&self, source_id: SourceId, headers: &Headers) -> Result<Receiving, Error> {
        let source = self.sources.find(source_id).await.inspect_err(|error| outcome::refused(None, error))?;
        let received_at = self.clock.now();
        let verifier = source.verifier(headers, received_at).map_err(|rejection| rejected(source_id, rejection));
        let verifier = verifier.inspect_err(|error| outcome::refused(Some(source.provider), error))?;
        let carries_audio = spliced_field(source.provider).is_some();
        let limit = if carries_audio { self.limits.with_audio } else { self.limits.without_audio };
        Ok(Receiving { source, received_at, verifier, body: self.spool.begin(limit) })
    }

    /// Ends a delivery: nothing of it is looked at before its signature was found genuine.
    pub(crate) async fn finish(&self, delivery: Receiving) -> Result<Delivered, Error> {
        let provider = delivery.source.provider;
        let delivered = self.verify_and_keep(delivery).await;
        match &delivered {
            Ok(delivered) => outcome::taken(provider, delivered),
            Err(error) => outcome::refused(Some(provider), error),
        }
        delivered
    }

    async fn verify_and_keep(&self, delivery: Receiving) -> Result<Delivered, Error> {
        let Receiving { source, received_at, verifier, body } = delivery;
        verifier.finish().map_err(|rejection| rejected(source.source_id, rejection))?;
        let origin = Origin {
            organization_id: source.organization_id.clone(),
            source_id: source.source_id,
            provider: source.provider,
            client_id: source.client_id.clone(),
            received_at,
        };
        let outcome = match self.interpreter.interpret(&origin, body.finish().await?, None).await? {
            Interpretation::Nothing => return Ok(Delivered::default()),
            Interpretation::Unmappable(unmapped) => Err(unmapped),
            Interpretation::Record(record, otherwise) => self.append(record, otherwise).await?,
        };
        match outcome {
            Ok(delivered) => Ok(delivered),
            Err(unmapped) => self.quarantine(&origin, unmapped).await,
        }
    }

    /// Appends a record. One that no log takes cannot be mapped, whatever the log's state.
    async fn append(&self, mut new: NewRecord, otherwise: Unmapped) -> Result<Result<Delivered, Unmapped>, Error> {
        new.record.traceparent = traceparent();
        match observe::append(&*self.log, vec![new]).await {
            Ok(appended) => Ok(Ok(Delivered {
                position: appended.position.0,
                accepted: appended.accepted,
                duplicates: appended.duplicates,
                quarantine_id: None,
            })),
            Err(error @ (LogError::RecordTooLarge { .. } | LogError::TooManyEvents { .. })) => {
                Ok(Err(Unmapped { reason: error.to_string(), ..otherwise }))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn quarantine(&self, origin: &Origin, unmapped: Unmapped) -> Result<Delivered, Error> {
        let kept = self.quarantine.keep(Unmappable {
            organization_id: origin.organization_id.clone(),
            source_id: origin.source_id,
            provider: origin.provider,
            received_at: origin.received_at,
            reason: unmapped.reason,
            body: unmapped.body,
            recording: unmapped.recording,
        });
        Ok(Delivered { quarantine_id: Some(kept.await?), ..Delivered::default() })
    }

    /// Maps a quarantined delivery again, with what is known today. One that was resolved already is returned as it is.
    pub(crate) async fn retry(&self, organization: &OrganizationId, id: QuarantineId) -> Result<Quarantined, Error> {
        let (delivery, body) = self.quarantine.open(organization, id).await?;
        if delivery.resolved_at.is_some() {
            return Ok(delivery);
        }
        let client_id = match self.sources.find(delivery.source_id).await {
            Ok(source) => source.client_id.clone(),
            // What a source brought outlives it.
            Err(Error::SourceNotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let origin = Origin {
            organization_id: organization.clone(),
            source_id: delivery.source_id,
            provider: delivery.provider,
            client_id,
            received_at: delivery.received_at,
        };
        let body = Body::from(Bytes::from(body));
        let outcome = match self.interpreter.interpret(&origin, body, delivery.recording.clone()).await? {
            Interpretation::Nothing => Ok(Delivered::default()),
            Interpretation::Unmappable(unmapped) => Err(unmapped),
            Interpretation::Record(record, otherwise) => self.append(record, otherwise).await?,
        };
        match outcome {
            Ok(delivered) => self.quarantine.resolve(delivery, self.clock.now(), delivered.position).await,
            Err(unmapped) => self.quarantine.fail(delivery, &unmapped.reason).await,
        }
    }
}

/// Notes why a delivery was refused. Not louder: anybody who knows a URL can make it happen.
fn rejected(source_id: SourceId, rejection: Rejection) -> Error {
    tracing::debug!(source.id = %source_id, "a delivery to {source_id} was refused: {rejection}");
    Error::Rejected(rejection)
}
