//! What a genuine delivery means: its recording is stored, its body mapped, and a record made of it.

use std::sync::Arc;

use bytes::Bytes;
use colloquy_events::{Data, Event, Record};
use colloquy_providers::{Context, Mapped, map, redact, spliced_field};
use colloquy_types::{OrganizationId, Provider, RecordId, SourceId, Timestamp};
use tokio::sync::Semaphore;

use super::body::Body;
use super::recording::{Failure, Recordings, Spliced};
use crate::error::Error;
use crate::log::NewRecord;
use crate::quarantine::StoredRecording;

/// Bodies larger than this are not worked on where other requests wait for the same thread.
const INLINE_BYTES: u64 = 256 << 10;
/// How many large bodies are worked on at once: parsed, one takes several times its size.
const LARGE_AT_ONCE: usize = 6;

/// Where a delivery comes from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) organization_id: OrganizationId,
    pub(crate) source_id: SourceId,
    pub(crate) provider: Provider,
    pub(crate) client_id: Option<String>,
    pub(crate) received_at: Timestamp,
}

/// What a delivery means.
pub(super) enum Interpretation {
    /// Something happened. What cannot be appended is unmappable after all.
    Record(NewRecord, Unmapped),
    /// It is understood, and nothing has to be kept of it.
    Nothing,
    /// It cannot be mapped.
    Unmappable(Unmapped),
}

/// A delivery that cannot be mapped.
pub(super) struct Unmapped {
    /// Why.
    pub(super) reason: String,
    /// What of it to map again: without its recording, when that was stored.
    pub(super) body: Body,
    /// Where the recording is.
    pub(super) recording: Option<StoredRecording>,
}

/// Finds out what deliveries mean.
#[derive(Clone)]
pub(super) struct Interpreter {
    recordings: Recordings,
    large: Arc<Semaphore>,
}

impl Interpreter {
    pub(super) fn new(recordings: Recordings) -> Self {
        Self { recordings, large: Arc::new(Semaphore::new(LARGE_AT_ONCE)) }
    }

    /// Returns what `body` means. `recording` is where its recording is, when an earlier attempt stored it already.
    pub(super) async fn interpret(
        &self,
        origin: &Origin,
        body: Body,
        recording: Option<StoredRecording>,
    ) -> Result<Interpretation, Error> {
        let is_large = body.len() > INLINE_BYTES;
        let _turn = match is_large {
            true => Some(self.large.acquire().await.map_err(|_| Error::Interrupted)?),
            false => None,
        };
        let (rest, recording) = match spliced_field(origin.provider) {
            Some(path) if recording.is_none() => match self.splice(origin, path, body, is_large).await? {
                Ok(Spliced { rest, recording }) => (rest, recording),
                Err(unmapped) => return Ok(Interpretation::Unmappable(unmapped)),
            },
            _ if is_large => {
                let bytes = tokio::task::spawn_blocking(move || body.into_bytes());
                (bytes.await.map_err(|_| Error::Interrupted)??, recording)
            }
            _ => (body.into_bytes()?, recording),
        };
        if rest.len() as u64 <= INLINE_BYTES {
            return Ok(read(origin, rest, recording));
        }
        let origin = origin.clone();
        let reading = tokio::task::spawn_blocking(move || read(&origin, rest, recording));
        reading.await.map_err(|_| Error::Interrupted)
    }

    /// Takes the recording out of the body and stores it.
    async fn splice(
        &self,
        origin: &Origin,
        path: &'static [&'static str],
        mut body: Body,
        is_large: bool,
    ) -> Result<Result<Spliced, Unmapped>, Error> {
        let spliced = if is_large {
            let (whole, spliced) = self.recordings.take_from_large(&origin.organization_id, path, body).await?;
            body = whole;
            spliced
        } else {
            self.recordings.take_from_small(&origin.organization_id, path, &mut body).await
        };
        match spliced {
            Ok(spliced) => Ok(Ok(spliced)),
            Err(Failure::Splice(error)) => Ok(Err(Unmapped { reason: error.to_string(), body, recording: None })),
            Err(Failure::Error(error)) => Err(error),
        }
    }
}

/// Maps the rest of a body. Blocks when the body is large.
fn read(origin: &Origin, rest: Bytes, recording: Option<StoredRecording>) -> Interpretation {
    let context = Context { organization_id: &origin.organization_id, received_at: origin.received_at };
    let Mapped { mut events } = match map(origin.provider, &rest, &context) {
        Ok(mapped) => mapped,
        Err(error) => {
            return Interpretation::Unmappable(Unmapped { reason: error.to_string(), body: Body::from(rest), recording });
        }
    };
    complete(origin, &mut events, recording.as_ref());
    if events.is_empty() {
        return Interpretation::Nothing;
    }
    let raw_body = match origin.provider {
        // Fields nobody knows are refused there, so the events say all of it.
        Provider::Native => Bytes::new(),
        // Who speaks right now: told several times a turn, each time with everything about the call.
        _ if events.iter().any(|event| matches!(event.data, Data::SpeechUpdated(_))) => Bytes::new(),
        provider => Bytes::from(redact(provider, &rest)),
    };
    let record = Record {
        record_id: RecordId::derive(&origin.organization_id, events.iter().map(|event| event.event_id)),
        organization_id: origin.organization_id.clone(),
        source_id: Some(origin.source_id),
        received_at: origin.received_at,
        events,
        traceparent: String::new(),
        sequence: 0,
    };
    let otherwise = Unmapped { reason: String::new(), body: Body::from(rest), recording };
    Interpretation::Record(NewRecord { record, raw_body }, otherwise)
}

/// Adds what the body itself does not say: the source's client, and where the recording is.
fn complete(origin: &Origin, events: &mut Vec<Event>, recording: Option<&StoredRecording>) {
    for event in events.iter_mut() {
        if let Data::RecordingAvailable(available) = &mut event.data
            && available.url.is_none()
            && let Some(stored) = recording
        {
            available.object_key = Some(stored.object_key.clone());
            available.sha256 = Some(stored.sha256.clone());
            available.size_bytes = Some(stored.size_bytes);
            available.content_type = stored.content_type.clone().or(available.content_type.take());
        }
        // A native sender may name the client once, at the start; later events that do not repeat it must not undo that.
        let may_name = origin.provider != Provider::Native || matches!(event.data, Data::Started(_));
        if may_name
            && let Some(facts) = event.data.facts_mut()
            && facts.client_id.is_none()
        {
            facts.client_id.clone_from(&origin.client_id);
        }
    }
    // A recording of no bytes is none.
    events.retain(|event| match &event.data {
        Data::RecordingAvailable(available) => available.url.is_some() || available.object_key.is_some(),
        _ => true,
    });
}
