//! To and from `colloquy.log.v1`. Reading collects every bad field, so that a sender mends its request once.

use std::str::FromStr;

use colloquy_proto::log::v1 as pb;
use colloquy_types::{ConversationId, EventId, OrganizationId, RecordId, SourceId, Timestamp, TurnId};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Alert, Analysis, Change, Command, CommandDone, CommandRefused, ControlOffer, Cost, Data, Ended, ErrorRaised, Event, Facts,
    Feedback, JsonMap, LeaseChange, Message, Outcome, Patch, Record, Recording, RecordingFailed, Session, SessionEnd, Speech,
    ToolCall, ToolResult, Transfer, Turn, Update, Word,
};

/// A field of a message that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct BadField {
    /// The field's path, for example `events[3].turn_added.turn.role`.
    pub field: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

type Read<T> = Result<T, BadField>;

fn bad<T>(field: &str, message: impl ToString) -> Read<T> {
    Err(BadField { field: field.to_owned(), message: message.to_string() })
}

fn parse<T: FromStr<Err: ToString>>(field: &str, text: &str) -> Read<T> {
    text.parse().or_else(|error: T::Err| bad(field, error.to_string()))
}

fn parse_opt<T: FromStr<Err: ToString>>(field: &str, text: Option<String>) -> Read<Option<T>> {
    text.map(|text| parse(field, &text)).transpose()
}

fn uuid<T: From<Uuid>>(field: &str, text: &str) -> Read<T> {
    Uuid::try_parse(text).map(T::from).or_else(|_| bad(field, "must be a UUID"))
}

fn json<T: serde::de::DeserializeOwned>(field: &str, text: Option<String>) -> Read<Option<T>> {
    text.map(|text| serde_json::from_str(&text).or_else(|error| bad(field, error))).transpose()
}

fn to_json<T: serde::Serialize>(value: Option<T>) -> Option<String> {
    // Maps with string keys and plain values always serialise.
    value.and_then(|value| serde_json::to_string(&value).ok())
}

/// Writes an instant.
pub fn timestamp_to_pb(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.as_millis();
    prost_types::Timestamp { seconds: millis.div_euclid(1000), nanos: (millis.rem_euclid(1000) * 1_000_000) as i32 }
}

/// Reads an instant; what is finer than a millisecond is dropped.
///
/// # Errors
/// When it lies outside the years 1 to 9999, naming `field`.
pub fn timestamp_from_pb(field: &str, at: prost_types::Timestamp) -> Read<Timestamp> {
    let millis = at.seconds.checked_mul(1000).and_then(|millis| millis.checked_add(i64::from(at.nanos.div_euclid(1_000_000))));
    match millis.map(Timestamp::from_millis) {
        Some(Ok(at)) => Ok(at),
        _ => bad(field, "must lie between the years 1 and 9999"),
    }
}

fn time_opt(field: &str, at: Option<prost_types::Timestamp>) -> Read<Option<Timestamp>> {
    at.map(|at| timestamp_from_pb(field, at)).transpose()
}

impl From<Record> for pb::Record {
    fn from(record: Record) -> Self {
        Self {
            record_id: record.record_id.to_string(),
            organization_id: record.organization_id.into(),
            source_id: record.source_id.map(|id| id.to_string()).unwrap_or_default(),
            received_at: Some(timestamp_to_pb(record.received_at)),
            events: record.events.into_iter().map(Into::into).collect(),
            raw_body: Default::default(),
            traceparent: record.traceparent,
            sequence: record.sequence,
        }
    }
}

impl TryFrom<pb::Record> for Record {
    type Error = Vec<BadField>;

    fn try_from(record: pb::Record) -> Result<Self, Self::Error> {
        let mut errors = Vec::new();
        let mut keep = |error: BadField| errors.push(error);
        let record_id = uuid::<RecordId>("record_id", &record.record_id).map_err(&mut keep).ok();
        let organization_id = parse::<OrganizationId>("organization_id", &record.organization_id).map_err(&mut keep).ok();
        let source_id = match record.source_id.as_str() {
            "" => None,
            text => uuid::<SourceId>("source_id", text).map_err(&mut keep).ok(),
        };
        let received_at = match record.received_at {
            Some(at) => timestamp_from_pb("received_at", at).map_err(&mut keep).ok(),
            None => Some(Timestamp::default()),
        };
        let mut events = Vec::with_capacity(record.events.len());
        for (index, event) in record.events.into_iter().enumerate() {
            match Event::try_from(event) {
                Ok(event) => events.push(event),
                Err(error) => keep(BadField { field: format!("events[{index}].{}", error.field), message: error.message }),
            }
        }
        match (record_id, organization_id, received_at) {
            (Some(record_id), Some(organization_id), Some(received_at)) if errors.is_empty() => {
                let (traceparent, sequence) = (record.traceparent, record.sequence);
                Ok(Self { record_id, organization_id, source_id, received_at, events, traceparent, sequence })
            }
            _ => Err(errors),
        }
    }
}

impl From<Event> for pb::Event {
    fn from(event: Event) -> Self {
        Self {
            event_id: event.event_id.to_string(),
            conversation_id: event.conversation_id.to_string(),
            provider: event.provider.as_str().to_owned(),
            external_id: event.external_id,
            occurred_at: Some(timestamp_to_pb(event.occurred_at)),
            ordinal: event.ordinal,
            data: Some(data_to_pb(event.data)),
        }
    }
}

impl TryFrom<pb::Event> for Event {
    type Error = BadField;

    fn try_from(event: pb::Event) -> Read<Self> {
        Ok(Self {
            event_id: uuid::<EventId>("event_id", &event.event_id)?,
            conversation_id: uuid::<ConversationId>("conversation_id", &event.conversation_id)?,
            provider: parse("provider", &event.provider)?,
            external_id: event.external_id,
            occurred_at: time_opt("occurred_at", event.occurred_at)?.unwrap_or_default(),
            ordinal: event.ordinal,
            data: match event.data {
                Some(data) => data_from_pb(data)?,
                // A newer writer's kind: readers keep their place and skip what they do not know.
                None => return bad("data", "must be one of the kinds this release knows"),
            },
        })
    }
}

fn data_to_pb(data: Data) -> pb::event::Data {
    use pb::event::Data as Pb;
    match data {
        Data::Started(facts) => Pb::ConversationStarted(pb::ConversationStarted { facts: Some(facts.into()) }),
        Data::Updated(update) => Pb::ConversationUpdated(pb::ConversationUpdated {
            facts: Some(update.facts.into()),
            status: update.status.map(|status| status.to_string()),
        }),
        Data::Ended(ended) => Pb::ConversationEnded(ended.into()),
        Data::Analyzed(analysis) => Pb::ConversationAnalyzed(analysis.into()),
        Data::Patched(patch) => Pb::ConversationPatched(patch.into()),
        Data::TurnAdded(turn) => Pb::TurnAdded(pb::TurnAdded { turn: Some(turn.into()) }),
        Data::TurnUpdated(turn) => Pb::TurnUpdated(pb::TurnUpdated { turn: Some(turn.into()) }),
        Data::TranscriptUpdated { turns } => {
            Pb::TranscriptUpdated(pb::TranscriptUpdated { turns: turns.into_iter().map(Into::into).collect() })
        }
        Data::TranscriptCompleted { turns, revision } => {
            Pb::TranscriptCompleted(pb::TranscriptCompleted { turns: turns.into_iter().map(Into::into).collect(), revision })
        }
        Data::SessionStarted(session) => Pb::SessionStarted(pb::SessionStarted {
            session_id: session.session_id,
            agent_id: session.agent_id,
            agent_version_id: session.agent_version_id,
        }),
        Data::SessionEnded(SessionEnd { session, reason }) => Pb::SessionEnded(pb::SessionEnded {
            session_id: session.session_id,
            agent_id: session.agent_id,
            agent_version_id: session.agent_version_id,
            reason,
        }),
        Data::TransferUpdated(transfer) => {
            Pb::TransferUpdated(pb::TransferUpdated { state: transfer.state.to_string(), destination: transfer.destination })
        }
        Data::RecordingAvailable(recording) => Pb::RecordingAvailable(pb::RecordingAvailable {
            url: recording.url,
            object_key: recording.object_key,
            sha256: recording.sha256,
            size_bytes: recording.size_bytes,
            content_type: recording.content_type,
            duration_ms: recording.duration_ms,
            channel: recording.channel.to_string(),
        }),
        Data::RecordingFailed(failed) => {
            Pb::RecordingFailed(pb::RecordingFailed { channel: failed.channel.to_string(), reason: failed.reason })
        }
        Data::FeedbackGiven(feedback) => Pb::FeedbackGiven(pb::FeedbackGiven {
            rating: feedback.rating,
            thumbs: feedback.thumbs.map(|thumbs| thumbs.to_string()),
            comment: feedback.comment,
        }),
        Data::ErrorRaised(error) => {
            Pb::ErrorRaised(pb::ErrorRaised { code: error.code, message: error.message, component: error.component })
        }
        Data::SpeechUpdated(speech) => {
            Pb::SpeechUpdated(pb::SpeechUpdated { role: speech.role.to_string(), state: speech.state.to_string() })
        }
        Data::ControlOffered(offer) => Pb::ControlOffered(pb::ControlOffered { url: offer.url }),
        Data::ControlAccepted(command) => Pb::ControlAccepted(pb::ControlAccepted {
            command_id: command.command_id.to_string(),
            command: command.command.to_string(),
            text: command.text,
            destination: command.destination,
            muted: command.muted,
            holder: command.holder,
        }),
        Data::ControlApplied(done) => {
            Pb::ControlApplied(pb::ControlApplied { command_id: done.command_id.to_string(), command: done.command.to_string() })
        }
        Data::ControlRejected(refused) => Pb::ControlRejected(pb::ControlRejected {
            command_id: refused.command_id.to_string(),
            command: refused.command.to_string(),
            reason: refused.reason,
            detail: refused.detail,
        }),
        Data::ControlLeaseChanged(change) => Pb::ControlLeaseChanged(pb::ControlLeaseChanged {
            state: change.state.to_string(),
            holder: change.holder,
            expires_at: change.expires_at.map(timestamp_to_pb),
        }),
        Data::AlertOpened(alert) => Pb::AlertOpened(pb::AlertOpened { alert: Some(alert.into()) }),
        Data::AlertAcknowledged(alert) => Pb::AlertAcknowledged(pb::AlertAcknowledged { alert: Some(alert.into()) }),
        Data::AlertResolved(alert) => Pb::AlertResolved(pb::AlertResolved { alert: Some(alert.into()) }),
    }
}

fn data_from_pb(data: pb::event::Data) -> Read<Data> {
    use pb::event::Data as Pb;
    Ok(match data {
        Pb::ConversationStarted(started) => Data::Started(facts_from_pb(started.facts)?),
        Pb::ConversationUpdated(updated) => Data::Updated(Update {
            facts: facts_from_pb(updated.facts)?,
            status: parse_opt("conversation_updated.status", updated.status)?,
        }),
        Pb::ConversationEnded(ended) => Data::Ended(ended.try_into()?),
        Pb::ConversationAnalyzed(analyzed) => Data::Analyzed(analyzed.try_into()?),
        Pb::ConversationPatched(patched) => Data::Patched(patched.try_into()?),
        Pb::TurnAdded(added) => Data::TurnAdded(turn_from_pb(added.turn)?),
        Pb::TurnUpdated(updated) => Data::TurnUpdated(turn_from_pb(updated.turn)?),
        Pb::TranscriptUpdated(updated) => Data::TranscriptUpdated { turns: turns_from_pb(updated.turns)? },
        Pb::TranscriptCompleted(completed) => {
            Data::TranscriptCompleted { turns: turns_from_pb(completed.turns)?, revision: completed.revision }
        }
        Pb::SessionStarted(started) => Data::SessionStarted(Session {
            session_id: started.session_id,
            agent_id: started.agent_id,
            agent_version_id: started.agent_version_id,
        }),
        Pb::SessionEnded(ended) => Data::SessionEnded(SessionEnd {
            session: Session { session_id: ended.session_id, agent_id: ended.agent_id, agent_version_id: ended.agent_version_id },
            reason: ended.reason,
        }),
        Pb::TransferUpdated(transfer) => Data::TransferUpdated(Transfer {
            state: parse("transfer_updated.state", &transfer.state)?,
            destination: transfer.destination,
        }),
        Pb::RecordingAvailable(recording) => Data::RecordingAvailable(Recording {
            url: recording.url,
            object_key: recording.object_key,
            sha256: recording.sha256,
            size_bytes: recording.size_bytes,
            content_type: recording.content_type,
            duration_ms: recording.duration_ms,
            channel: parse("recording_available.channel", &recording.channel)?,
        }),
        Pb::RecordingFailed(failed) => Data::RecordingFailed(RecordingFailed {
            channel: parse("recording_failed.channel", &failed.channel)?,
            reason: failed.reason,
        }),
        Pb::FeedbackGiven(feedback) => Data::FeedbackGiven(Feedback {
            rating: feedback.rating,
            thumbs: parse_opt("feedback_given.thumbs", feedback.thumbs)?,
            comment: feedback.comment,
        }),
        Pb::ErrorRaised(error) => {
            Data::ErrorRaised(ErrorRaised { code: error.code, message: error.message, component: error.component })
        }
        Pb::SpeechUpdated(speech) => Data::SpeechUpdated(Speech {
            role: parse("speech_updated.role", &speech.role)?,
            state: parse("speech_updated.state", &speech.state)?,
        }),
        Pb::ControlOffered(offer) => Data::ControlOffered(ControlOffer { url: offer.url }),
        Pb::ControlAccepted(command) => Data::ControlAccepted(Command {
            command_id: uuid("control_accepted.command_id", &command.command_id)?,
            command: parse("control_accepted.command", &command.command)?,
            text: command.text,
            destination: command.destination,
            muted: command.muted,
            holder: command.holder,
        }),
        Pb::ControlApplied(done) => Data::ControlApplied(CommandDone {
            command_id: uuid("control_applied.command_id", &done.command_id)?,
            command: parse("control_applied.command", &done.command)?,
        }),
        Pb::ControlRejected(refused) => Data::ControlRejected(CommandRefused {
            command_id: uuid("control_rejected.command_id", &refused.command_id)?,
            command: parse("control_rejected.command", &refused.command)?,
            reason: refused.reason,
            detail: refused.detail,
        }),
        Pb::ControlLeaseChanged(change) => Data::ControlLeaseChanged(LeaseChange {
            state: parse("control_lease_changed.state", &change.state)?,
            holder: change.holder,
            expires_at: time_opt("control_lease_changed.expires_at", change.expires_at)?,
        }),
        Pb::AlertOpened(opened) => Data::AlertOpened(alert_from_pb(opened.alert)?),
        Pb::AlertAcknowledged(acknowledged) => Data::AlertAcknowledged(alert_from_pb(acknowledged.alert)?),
        Pb::AlertResolved(resolved) => Data::AlertResolved(alert_from_pb(resolved.alert)?),
    })
}

impl From<Facts> for pb::Facts {
    fn from(facts: Facts) -> Self {
        Self {
            agent_id: facts.agent_id,
            agent_name: facts.agent_name,
            agent_version_id: facts.agent_version_id,
            agent_version_json: to_json(facts.agent_version),
            channel: facts.channel,
            direction: facts.direction.map(|direction| direction.to_string()),
            caller_number: facts.caller_number,
            caller_name: facts.caller_name,
            client_id: facts.client_id,
            user_id: facts.user_id,
            thread_id: facts.thread_id,
            language: facts.language,
            translation_language: facts.translation_language,
            started_at: facts.started_at.map(timestamp_to_pb),
            tags: facts.tags,
            metadata_json: to_json(facts.metadata),
            voice_platform: facts.voice_platform,
            latency_ms_json: to_json(facts.latency_ms),
            quality_json: to_json(facts.quality),
            network_json: to_json(facts.network),
        }
    }
}

fn facts_from_pb(facts: Option<pb::Facts>) -> Read<Facts> {
    let Some(facts) = facts else { return Ok(Facts::default()) };
    Ok(Facts {
        agent_id: facts.agent_id,
        agent_name: facts.agent_name,
        agent_version_id: facts.agent_version_id,
        agent_version: json::<JsonMap>("facts.agent_version_json", facts.agent_version_json)?,
        channel: facts.channel,
        direction: parse_opt("facts.direction", facts.direction)?,
        caller_number: facts.caller_number,
        caller_name: facts.caller_name,
        client_id: facts.client_id,
        user_id: facts.user_id,
        thread_id: facts.thread_id,
        language: facts.language,
        translation_language: facts.translation_language,
        started_at: time_opt("facts.started_at", facts.started_at)?,
        tags: facts.tags,
        metadata: json("facts.metadata_json", facts.metadata_json)?,
        voice_platform: facts.voice_platform,
        latency_ms: json("facts.latency_ms_json", facts.latency_ms_json)?,
        quality: json("facts.quality_json", facts.quality_json)?,
        network: json("facts.network_json", facts.network_json)?,
    })
}

impl From<Ended> for pb::ConversationEnded {
    fn from(ended: Ended) -> Self {
        Self {
            facts: Some(ended.facts.into()),
            status: ended.status.to_string(),
            end_reason: ended.end_reason,
            end_reason_detail: ended.end_reason_detail,
            failure_code: ended.failure_code,
            failure_message: ended.failure_message,
            ended_at: ended.ended_at.map(timestamp_to_pb),
            duration_ms: ended.duration_ms,
            cost: ended.cost.map(|cost| pb::Cost {
                amount_micros: cost.amount_micros,
                currency: cost.currency,
                source: cost.source,
            }),
            transferred_to: ended.transferred_to,
            voicemail: ended.voicemail,
            inferred: ended.inferred,
        }
    }
}

impl TryFrom<pb::ConversationEnded> for Ended {
    type Error = BadField;

    fn try_from(ended: pb::ConversationEnded) -> Read<Self> {
        Ok(Self {
            facts: facts_from_pb(ended.facts)?,
            status: parse("conversation_ended.status", &ended.status)?,
            end_reason: ended.end_reason,
            end_reason_detail: ended.end_reason_detail,
            failure_code: ended.failure_code,
            failure_message: ended.failure_message,
            ended_at: time_opt("conversation_ended.ended_at", ended.ended_at)?,
            duration_ms: ended.duration_ms,
            cost: ended.cost.map(|cost| Cost { amount_micros: cost.amount_micros, currency: cost.currency, source: cost.source }),
            transferred_to: ended.transferred_to,
            voicemail: ended.voicemail,
            inferred: ended.inferred,
        })
    }
}

impl From<Analysis> for pb::ConversationAnalyzed {
    fn from(analysis: Analysis) -> Self {
        let (has_topics, has_keywords) = (analysis.topics.is_some(), analysis.keywords.is_some());
        Self {
            facts: Some(analysis.facts.into()),
            authority: analysis.authority.to_string(),
            call_successful: analysis.call_successful.map(|word| word.to_string()),
            summary: analysis.summary,
            sentiment: analysis.sentiment.map(|word| word.to_string()),
            sentiment_score: analysis.sentiment_score,
            topics: analysis.topics.unwrap_or_default(),
            has_topics,
            keywords: analysis.keywords.unwrap_or_default(),
            has_keywords,
            intent: analysis.intent,
            resolution_status: analysis.resolution_status.map(|word| word.to_string()),
            satisfaction_score: analysis.satisfaction_score,
            outcome: analysis.outcome.map(|outcome| pb::Outcome {
                result: outcome.result,
                actions_json: to_json(outcome.actions),
                follow_up_tasks_json: to_json(outcome.follow_up_tasks),
                integrations_json: to_json(outcome.integrations),
            }),
            custom_analysis_json: to_json(analysis.custom_analysis),
        }
    }
}

impl TryFrom<pb::ConversationAnalyzed> for Analysis {
    type Error = BadField;

    fn try_from(analysis: pb::ConversationAnalyzed) -> Read<Self> {
        Ok(Self {
            facts: facts_from_pb(analysis.facts)?,
            authority: parse("conversation_analyzed.authority", &analysis.authority)?,
            call_successful: parse_opt("conversation_analyzed.call_successful", analysis.call_successful)?,
            summary: analysis.summary,
            sentiment: parse_opt("conversation_analyzed.sentiment", analysis.sentiment)?,
            sentiment_score: analysis.sentiment_score,
            topics: analysis.has_topics.then_some(analysis.topics),
            keywords: analysis.has_keywords.then_some(analysis.keywords),
            intent: analysis.intent,
            resolution_status: parse_opt("conversation_analyzed.resolution_status", analysis.resolution_status)?,
            satisfaction_score: analysis.satisfaction_score,
            outcome: match analysis.outcome {
                Some(outcome) => Some(Outcome {
                    result: outcome.result,
                    actions: json::<Vec<Value>>("outcome.actions_json", outcome.actions_json)?,
                    follow_up_tasks: json("outcome.follow_up_tasks_json", outcome.follow_up_tasks_json)?,
                    integrations: json("outcome.integrations_json", outcome.integrations_json)?,
                }),
                None => None,
            },
            custom_analysis: json("conversation_analyzed.custom_analysis_json", analysis.custom_analysis_json)?,
        })
    }
}

impl From<Patch> for pb::ConversationPatched {
    fn from(patch: Patch) -> Self {
        let change = |change: Change| match change {
            Change::Keep => None,
            Change::To(value) => Some(pb::StringChange { value }),
        };
        Self {
            has_tags: patch.tags.is_some(),
            tags: patch.tags.unwrap_or_default(),
            metadata_patch_json: to_json(patch.metadata),
            client_id: change(patch.client_id),
            user_id: change(patch.user_id),
        }
    }
}

impl TryFrom<pb::ConversationPatched> for Patch {
    type Error = BadField;

    fn try_from(patch: pb::ConversationPatched) -> Read<Self> {
        let change = |change: Option<pb::StringChange>| match change {
            None => Change::Keep,
            Some(change) => Change::To(change.value),
        };
        Ok(Self {
            tags: patch.has_tags.then_some(patch.tags),
            metadata: json("conversation_patched.metadata_patch_json", patch.metadata_patch_json)?,
            client_id: change(patch.client_id),
            user_id: change(patch.user_id),
        })
    }
}

impl From<Alert> for pb::AlertData {
    fn from(alert: Alert) -> Self {
        Self {
            alert_id: alert.alert_id.to_string(),
            rule_id: alert.rule_id.to_string(),
            rule_name: alert.rule_name,
            severity: alert.severity.to_string(),
            evidence_json: to_json(alert.evidence),
        }
    }
}

fn alert_from_pb(alert: Option<pb::AlertData>) -> Read<Alert> {
    let Some(alert) = alert else { return bad("alert", "is required") };
    Ok(Alert {
        alert_id: uuid("alert.alert_id", &alert.alert_id)?,
        rule_id: uuid("alert.rule_id", &alert.rule_id)?,
        rule_name: alert.rule_name,
        severity: parse("alert.severity", &alert.severity)?,
        evidence: json("alert.evidence_json", alert.evidence_json)?,
    })
}

impl From<Turn> for pb::TurnData {
    fn from(turn: Turn) -> Self {
        Self {
            turn_id: turn.turn_id.to_string(),
            index: turn.index,
            role: turn.role.to_string(),
            speaker: turn.speaker,
            text: turn.text,
            heard_text: turn.heard_text,
            translated_text: turn.translated_text,
            start_ms: turn.start_ms,
            end_ms: turn.end_ms,
            words: turn
                .words
                .into_iter()
                .map(|word| pb::WordData { text: word.text, start_ms: word.start_ms, end_ms: word.end_ms })
                .collect(),
            tool_call: turn.tool_call.map(|call| pb::ToolCallData {
                id: call.id,
                name: call.name,
                arguments_json: to_json(call.arguments),
            }),
            tool_result: turn.tool_result.map(|result| pb::ToolResultData {
                id: result.id,
                content_json: to_json(result.content),
                is_error: result.is_error,
            }),
            message: turn.message.map(|message| pb::MessageData {
                r#type: message.kind,
                direction: message.direction.map(|direction| direction.to_string()),
                from: message.from,
                to: message.to,
                delivery_status: message.delivery_status,
                attachments_json: to_json((!message.attachments.is_empty()).then_some(message.attachments)),
            }),
            at: turn.at.map(timestamp_to_pb),
            r#final: turn.is_final,
        }
    }
}

fn turn_from_pb(turn: Option<pb::TurnData>) -> Read<Turn> {
    let Some(turn) = turn else { return bad("turn", "is required") };
    Ok(Turn {
        turn_id: uuid::<TurnId>("turn.turn_id", &turn.turn_id)?,
        index: turn.index,
        role: parse("turn.role", &turn.role)?,
        speaker: turn.speaker,
        text: turn.text,
        heard_text: turn.heard_text,
        translated_text: turn.translated_text,
        start_ms: turn.start_ms,
        end_ms: turn.end_ms,
        words: turn
            .words
            .into_iter()
            .map(|word| Word { text: word.text, start_ms: word.start_ms, end_ms: word.end_ms })
            .collect(),
        tool_call: match turn.tool_call {
            Some(call) => Some(ToolCall {
                id: call.id,
                name: call.name,
                arguments: json("turn.tool_call.arguments_json", call.arguments_json)?,
            }),
            None => None,
        },
        tool_result: match turn.tool_result {
            Some(result) => Some(ToolResult {
                id: result.id,
                content: json("turn.tool_result.content_json", result.content_json)?,
                is_error: result.is_error,
            }),
            None => None,
        },
        message: match turn.message {
            Some(message) => Some(Message {
                kind: message.r#type,
                direction: parse_opt("turn.message.direction", message.direction)?,
                from: message.from,
                to: message.to,
                delivery_status: message.delivery_status,
                attachments: json("turn.message.attachments_json", message.attachments_json)?.unwrap_or_default(),
            }),
            None => None,
        },
        at: time_opt("turn.at", turn.at)?,
        is_final: turn.r#final,
    })
}

fn turns_from_pb(turns: Vec<pb::TurnData>) -> Read<Vec<Turn>> {
    turns.into_iter().map(|turn| turn_from_pb(Some(turn))).collect()
}

#[cfg(test)]
mod tests {
    use colloquy_types::Provider;

    use super::*;
    use crate::{Authority, CallSuccessful, CommandKind, EndStatus, LeaseState, Role, Severity, SpeechState};

    fn event(data: Data) -> Event {
        let conversation_id = ConversationId::generate();
        Event {
            event_id: EventId::generate(),
            conversation_id,
            provider: Provider::Vapi,
            external_id: "call-1".to_owned(),
            occurred_at: Timestamp::from_millis(-1).unwrap(),
            ordinal: 3,
            data,
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let map: JsonMap = serde_json::from_str(r#"{"n": 12345678901234567, "s": "x", "f": 0.1}"#).unwrap();
        let facts = Facts { metadata: Some(map.clone()), tags: vec!["a".to_owned()], ..Facts::default() };
        let mut turn = Turn::new(TurnId::generate(), Role::Tool);
        turn.tool_call = Some(ToolCall { arguments: Some(Value::String("not json".to_owned())), ..ToolCall::default() });
        let data = [
            Data::Started(facts.clone()),
            Data::Ended(Ended { facts, cost: Cost::from_provider(0.0254, "USD"), ..Ended::new(EndStatus::Abandoned) }),
            Data::Analyzed(Analysis {
                call_successful: Some(CallSuccessful::Unknown),
                topics: Some(Vec::new()),
                custom_analysis: Some(map),
                ..Analysis::by(Authority::Human)
            }),
            Data::Patched(Patch { client_id: Change::To(None), ..Patch::default() }),
            Data::TranscriptCompleted { turns: vec![turn], revision: 7 },
            Data::SpeechUpdated(Speech { role: Role::User, state: SpeechState::Started }),
            Data::ControlOffered(ControlOffer { url: "https://voice.example/1/control".to_owned() }),
            Data::ControlAccepted(Command {
                command_id: Uuid::from_u128(1),
                command: CommandKind::Say,
                text: Some("hello".to_owned()),
                destination: None,
                muted: Some(true),
                holder: Some("Ada".to_owned()),
            }),
            Data::ControlApplied(CommandDone { command_id: Uuid::from_u128(1), command: CommandKind::End }),
            Data::ControlRejected(CommandRefused {
                command_id: Uuid::from_u128(1),
                command: CommandKind::Transfer,
                reason: "vendor_refused".to_owned(),
                detail: Some("no such number".to_owned()),
            }),
            Data::ControlLeaseChanged(LeaseChange {
                state: LeaseState::Taken,
                holder: "Ada".to_owned(),
                expires_at: Some(Timestamp::from_millis(7).unwrap()),
            }),
            Data::AlertOpened(Alert {
                alert_id: Uuid::from_u128(1),
                rule_id: Uuid::from_u128(2),
                rule_name: "long silence".to_owned(),
                severity: Severity::Warning,
                evidence: Some(JsonMap::new()),
            }),
        ];
        for data in data {
            let written = event(data);
            assert_eq!(Event::try_from(pb::Event::from(written.clone())), Ok(written.clone()));
            let text = serde_json::to_string(&written.data).unwrap();
            assert_eq!(serde_json::from_str::<Data>(&text).unwrap(), written.data, "{text}");
        }
    }

    #[test]
    fn every_bad_field_is_named() {
        let record = pb::Record { record_id: "x".to_owned(), events: vec![pb::Event::default()], ..pb::Record::default() };
        let fields: Vec<String> = Record::try_from(record).unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["record_id", "organization_id", "events[0].event_id"]);
    }
}
