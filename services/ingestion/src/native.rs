//! Native events: what an organization's own agents send, all of a request or nothing.

use std::sync::Arc;

use colloquy_events::Record;
use colloquy_providers::Context;
use colloquy_providers::native::{NativeEvent, map_events};
use colloquy_service::telemetry::traceparent;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{Clock, OrganizationId, RecordId};

use crate::error::Error;
use crate::log::{Appended, EventLog, LogError, NewRecord, observe};

/// The most events of one request.
const MAX_EVENTS: usize = 1_000;
/// Requests with more data than this are not read where other requests wait for the same thread, in bytes.
const INLINE_BYTES: usize = 256 << 10;

/// One event as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct SentEvent {
    pub(crate) event_id: String,
    pub(crate) conversation_id: String,
    pub(crate) kind: String,
    pub(crate) occurred_at: Option<String>,
    pub(crate) data_json: String,
}

/// Takes native events in.
pub(crate) struct NativeIntake {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl NativeIntake {
    /// Appends the events as one record and returns once they are durable. Their raw form is not kept: fields nobody knows are
    /// refused, so the events say all of it.
    pub(crate) async fn ingest(&self, organization: OrganizationId, events: Vec<SentEvent>) -> Result<Appended, Error> {
        if events.is_empty() || events.len() > MAX_EVENTS {
            return Err(Problem::invalid_field("events", format!("must have 1 to {MAX_EVENTS} items")).into());
        }
        let received_at = self.clock.now();
        let size: usize = events.iter().map(|event| event.data_json.len()).sum();
        let map = move || {
            let context = Context { organization_id: &organization, received_at };
            let sent: Vec<NativeEvent<'_>> = events.iter().map(SentEvent::as_native).collect();
            map_events(&sent, &context).map(|events| Record {
                record_id: RecordId::derive(&organization, events.iter().map(|event| event.event_id)),
                organization_id: organization.clone(),
                source_id: None,
                received_at,
                events,
                traceparent: String::new(),
                sequence: 0,
            })
        };
        let mapped =
            if size <= INLINE_BYTES { map() } else { tokio::task::spawn_blocking(map).await.map_err(|_| Error::Interrupted)? };
        let mut record = match mapped {
            Ok(record) => record,
            Err(bad) => {
                let mut errors = FieldErrors::new();
                for error in bad {
                    errors.add(error.field, error.message);
                }
                errors.finish()?;
                return Err(Problem::invalid_field("events", "cannot be read").into());
            }
        };
        record.traceparent = traceparent();
        match observe::append(&*self.log, vec![NewRecord::from(record)]).await {
            Ok(appended) => Ok(appended),
            Err(error @ (LogError::RecordTooLarge { .. } | LogError::TooManyEvents { .. })) => {
                tracing::debug!("a request was too large for one record: {error}");
                Err(Problem::invalid_field("events", "are too large together; send them in several requests").into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl SentEvent {
    fn as_native(&self) -> NativeEvent<'_> {
        NativeEvent {
            event_id: &self.event_id,
            conversation_id: &self.conversation_id,
            r#type: &self.kind,
            occurred_at: self.occurred_at.as_deref(),
            data_json: &self.data_json,
        }
    }
}
