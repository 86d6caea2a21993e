//! Requests of the log's gRPC service, read and checked.

use bytes::Bytes;
use colloquy_events::convert::timestamp_to_pb;
use colloquy_events::{Data, Event, Record};
use colloquy_proto::log::v1 as pb;
use colloquy_service::{Caller, FieldErrors, Problem};
use colloquy_storage::StoreError;
use colloquy_types::{EventId, OrganizationId, Position, Provider, RecordId, Scope, Timestamp};

use super::record::encode_message;
use super::{
    Appended, Batch, ConsumerStart, ConsumerState, LogError, MAX_RECORDS_PER_APPEND, NewRecord, TailRequest, Tailed, tail,
};

/// How many events a batch has when the reader does not say, and how many at most.
const BATCH_EVENTS: u32 = 1_000;
const MAX_BATCH_EVENTS: u32 = 10_000;
/// A consumer's name is no longer.
const MAX_CONSUMER_NAME: usize = 64;

/// Reads what to append, naming every bad field of every record.
pub(super) fn new_records(caller: &Caller, now: Timestamp, request: pb::AppendRequest) -> Result<Vec<NewRecord>, Problem> {
    let mut errors = FieldErrors::new();
    if request.records.is_empty() || request.records.len() > MAX_RECORDS_PER_APPEND {
        return Err(Problem::invalid_field("records", format!("must be 1 to {MAX_RECORDS_PER_APPEND}")));
    }
    let mut records = Vec::with_capacity(request.records.len());
    for (index, mut record) in request.records.into_iter().enumerate() {
        let organization = caller.acting_for(&record.organization_id, Scope::EventsWrite)?;
        complete(&mut record, &organization, caller, now);
        if record.events.is_empty() || record.events.len() > Position::MAX_EVENTS_PER_RECORD {
            errors.add(format!("records[{index}].events"), format!("must be 1 to {}", Position::MAX_EVENTS_PER_RECORD));
            continue;
        }
        let raw_body: Bytes = std::mem::take(&mut record.raw_body);
        match Record::try_from(record) {
            Ok(record) => {
                if matches!(caller, Caller::Key(_)) {
                    check_foreign(&mut errors, index, &record);
                }
                records.push(NewRecord { record, raw_body });
            }
            Err(bad) => bad.into_iter().for_each(|bad| errors.add(format!("records[{index}].{}", bad.field), bad.message)),
        }
    }
    errors.finish()?;
    Ok(records)
}

/// Fills in what a sender may leave to us.
fn complete(record: &mut pb::Record, organization: &OrganizationId, caller: &Caller, now: Timestamp) {
    record.organization_id = organization.as_str().to_owned();
    record.sequence = 0;
    // When something was received is for the receiver to say.
    if record.received_at.is_none() || matches!(caller, Caller::Key(_)) {
        record.received_at = Some(timestamp_to_pb(now));
    }
    if record.record_id.is_empty() {
        let events: Result<Vec<EventId>, _> = record.events.iter().map(|event| event.event_id.parse()).collect();
        if let Ok(events) = events {
            record.record_id = RecordId::derive(organization, events).to_string();
        }
    }
}

/// Checks a record that does not come from a service: it may say what `POST /v1/events` may say and nothing that only
/// Colloquy itself may, such as which stored object a recording is.
fn check_foreign(errors: &mut FieldErrors, index: usize, record: &Record) {
    if record.source_id.is_some() {
        errors.add(format!("records[{index}].source_id"), "must be empty with an API key");
    }
    for (event_index, event) in record.events.iter().enumerate() {
        if let Err((field, message)) = foreign(event) {
            errors.add(format!("records[{index}].events[{event_index}].{field}"), message);
        }
    }
}

fn foreign(event: &Event) -> Result<(), (&'static str, &'static str)> {
    if event.provider != Provider::Native {
        return Err(("provider", "must be 'native' with an API key"));
    }
    match &event.data {
        Data::RecordingAvailable(recording) if recording.object_key.is_some() => {
            Err(("recording_available.object_key", "must be empty with an API key"))
        }
        Data::Ended(ended) if ended.inferred => Err(("conversation_ended.inferred", "must be false with an API key")),
        Data::Started(_)
        | Data::Updated(_)
        | Data::Ended(_)
        | Data::Analyzed(_)
        | Data::TurnAdded(_)
        | Data::TurnUpdated(_)
        | Data::TranscriptUpdated { .. }
        | Data::TranscriptCompleted { .. }
        | Data::SessionStarted(_)
        | Data::SessionEnded(_)
        | Data::RecordingAvailable(_)
        | Data::FeedbackGiven(_)
        | Data::ErrorRaised(_) => Ok(()),
        // What Colloquy's own services find out, decide or do. Whoever could say where a call is steered could have them call anything.
        Data::Patched(_)
        | Data::RecordingFailed(_)
        | Data::TransferUpdated(_)
        | Data::SpeechUpdated(_)
        | Data::ControlOffered(_)
        | Data::ControlAccepted(_)
        | Data::ControlApplied(_)
        | Data::ControlRejected(_)
        | Data::ControlLeaseChanged(_)
        | Data::AlertOpened(_)
        | Data::AlertAcknowledged(_)
        | Data::AlertResolved(_) => Err(("data", "is not a native event")),
    }
}

/// Returns whose consumers a caller may use: a service those that see all, a key its own organization's.
pub(super) fn consumers_of(caller: &Caller) -> Result<Option<OrganizationId>, Problem> {
    match caller {
        Caller::Service => Ok(None),
        _ => caller.require(Scope::Admin).map(Some),
    }
}

/// Reads how a consumer begins.
pub(super) fn consumer_start(caller: &Caller, start: pb::ConsumeStart) -> Result<ConsumerStart, Problem> {
    let organization = consumers_of(caller)?;
    let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if start.consumer.is_empty() || start.consumer.len() > MAX_CONSUMER_NAME || !start.consumer.bytes().all(of_name) {
        return Err(Problem::invalid_field("start.consumer", format!("must be 1 to {MAX_CONSUMER_NAME} of 'a-z 0-9 . _ -'")));
    }
    let max_events = if start.max_batch_events == 0 { BATCH_EVENTS } else { start.max_batch_events.min(MAX_BATCH_EVENTS) };
    Ok(ConsumerStart { name: start.consumer, organization, after: start.after_position.map(Position), max_events })
}

/// Reads what to follow.
pub(super) fn tail_request(caller: &Caller, request: pb::TailRequest) -> Result<TailRequest, Problem> {
    let of_service = matches!(caller, Caller::Service);
    let organization = match request.organization_id.as_str() {
        "" if of_service => None,
        named => {
            if !of_service {
                caller.require(Scope::TranscriptsRead)?;
            }
            Some(caller.acting_for(named, Scope::ConversationsRead)?)
        }
    };
    let mut errors = FieldErrors::new();
    let conversation = match request.conversation_id.as_str() {
        "" => None,
        id => errors.check("conversation_id", id.parse().map_err(|_| "must be a UUID")),
    };
    let known = |kind: &&str| of_service || tail::is_public(kind);
    let kinds: Vec<&str> = colloquy_events::KINDS.into_iter().filter(known).collect();
    if !request.kinds.iter().all(|kind| kinds.contains(&kind.as_str())) {
        errors.add("kinds", format!("each must be one of {}", kinds.join(", ")));
    }
    errors.finish()?;
    Ok(TailRequest {
        after: request.after_position.map(Position),
        organization,
        conversation,
        kinds: request.kinds,
        public_only: !of_service,
        until_end: request.until_end,
        with_progress: request.with_progress,
    })
}

impl From<Appended> for pb::AppendResponse {
    fn from(appended: Appended) -> Self {
        Self { position: appended.position.0, accepted: appended.accepted, duplicates: appended.duplicates }
    }
}

impl From<Batch> for pb::ConsumeResponse {
    fn from(batch: Batch) -> Self {
        Self {
            batch_id: batch.batch_id,
            // As they are: a newer release's words must not get lost on the way to its readers.
            records: batch.records.into_iter().map(|record| record.message).collect(),
            delivery_count: batch.delivery_count,
            after_position: batch.after.0,
            acknowledged_position: batch.acknowledged.0,
        }
    }
}

/// Writes a batch for an organization's own reader. What only services may see leaves an empty place, as what was erased does, so
/// that other events keep theirs.
///
/// # Errors
/// When a record is damaged.
pub(super) fn batch_of_organization(mut batch: Batch) -> Result<pb::ConsumeResponse, LogError> {
    for record in &mut batch.records {
        let mut message = record.to_message().map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let is_private = |event: &pb::Event| !event.event_id.is_empty() && !tail::is_public(tail::kind(event));
        if !message.events.iter().any(is_private) {
            continue;
        }
        message.events.iter_mut().filter(|event| is_private(event)).for_each(|event| *event = pb::Event::default());
        record.message = encode_message(&message).freeze();
    }
    Ok(batch.into())
}

impl From<ConsumerState> for pb::Consumer {
    fn from(state: ConsumerState) -> Self {
        Self {
            name: state.name,
            organization_id: state.organization.map(String::from).unwrap_or_default(),
            acknowledged_position: state.acknowledged.0,
            end_position: state.end.0,
            lag_records: state.lag_records,
            handed_out_records: state.handed_out,
            redelivered_records: state.redelivered,
            oldest_received_at: state.oldest_received_at.map(timestamp_to_pb),
        }
    }
}

impl From<Tailed> for pb::TailResponse {
    fn from(tailed: Tailed) -> Self {
        match tailed {
            Tailed::Event(tailed) => Self {
                position: tailed.position.0,
                organization_id: tailed.organization_id.into(),
                received_at: tailed.received_at,
                kind: tail::kind(&tailed.event).to_owned(),
                event: Some(tailed.event),
            },
            Tailed::ReadThrough(position) => Self { position: position.0, ..Self::default() },
        }
    }
}
