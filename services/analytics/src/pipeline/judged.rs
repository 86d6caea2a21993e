//! Our own judgement, told to the log when it is new.

use aws_lc_rs::digest;
use colloquy_events::{Analysis as Judged, Data, Event, Record};
use colloquy_service::telemetry;
use colloquy_types::{EventId, RecordId, Timestamp};

use crate::analysis::Analysis;
use crate::input::Input;
use crate::judgement;
use crate::store::{Before, Told};

/// Returns what is to be told of a conversation that is over, if that is not what was told last.
///
/// The event's id follows from what it says and from how many were told before it: told again after a crash it is the same, and what
/// came to be different in between is another.
pub(super) fn news(
    input: &Input,
    analysis: &Analysis,
    own_leads: bool,
    before: &Before,
    now: Timestamp,
) -> Option<(Record, Told)> {
    if !analysis.settled {
        return None;
    }
    let judged = judgement::to_event(&analysis.own, analysis.language.value.as_deref(), own_leads);
    if before.told.is_none() && judged == Judged::by(judged.authority) {
        return None;
    }
    // Maps with string keys always serialise.
    let json = serde_json::to_vec(&judged).unwrap_or_default();
    let sha256 = digest::digest(&digest::SHA256, &json).as_ref().to_vec();
    if before.told.as_ref() == Some(&sha256) {
        return None;
    }
    let revision = before.revision + 1;
    let record = &input.record;
    let identity = ["analysis", &revision.to_string(), &hex::encode(&sha256)];
    let event = Event {
        event_id: EventId::derive(record.conversation_id, &identity),
        conversation_id: record.conversation_id,
        provider: record.provider,
        external_id: record.external_id.clone(),
        occurred_at: now,
        ordinal: 0,
        data: Data::Analyzed(judged),
    };
    let record = Record {
        record_id: RecordId::derive(&record.organization_id, [event.event_id]),
        organization_id: record.organization_id.clone(),
        source_id: None,
        received_at: now,
        events: vec![event],
        traceparent: telemetry::traceparent(),
        sequence: 0,
    };
    Some((record, Told { revision, sha256 }))
}
