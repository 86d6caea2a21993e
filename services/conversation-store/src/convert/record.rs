//! The record of a conversation as `colloquy.conversation.v1.Conversation`: what is served is also what is kept.

use colloquy_events::convert::timestamp_to_pb;
use colloquy_events::{Authority, JsonMap, Outcome, RecordingChannel, Status};
use colloquy_proto::conversation::v1 as pb;
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId};
use prost::Message;
use serde_json::Value;

use crate::compression;
use crate::conversation::{Analytics, Conversation, Feedback, Recording, RecordingPlace, Session, Technical, TechnicalError};

/// Returns the bytes a record is kept as. Its ids are in its key, and not repeated.
pub(crate) fn encode(conversation: &Conversation) -> Vec<u8> {
    compression::pack(to_pb(conversation).encode_to_vec())
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8], organization: &OrganizationId, id: ConversationId) -> Result<pb::Conversation, StoreError> {
    let bytes = compression::unpack(bytes)?;
    let mut record = pb::Conversation::decode(bytes.as_slice())
        .map_err(|error| StoreError::Corrupt(format!("the record of conversation {id}: {error}")))?;
    record.conversation_id = id.to_string();
    record.organization_id = organization.as_str().to_owned();
    Ok(record)
}

/// Returns a record complete with its ids.
pub(crate) fn complete(conversation: &Conversation, organization: &OrganizationId) -> pb::Conversation {
    pb::Conversation {
        conversation_id: conversation.conversation_id.to_string(),
        organization_id: organization.as_str().to_owned(),
        ..to_pb(conversation)
    }
}

/// Returns the status as the wire has it.
pub(crate) const fn status_to_pb(status: Status) -> pb::ConversationStatus {
    match status {
        Status::Initiated => pb::ConversationStatus::Initiated,
        Status::InProgress => pb::ConversationStatus::InProgress,
        Status::Completed => pb::ConversationStatus::Completed,
        Status::Failed => pb::ConversationStatus::Failed,
        Status::Abandoned => pb::ConversationStatus::Abandoned,
    }
}

fn to_pb(conversation: &Conversation) -> pb::Conversation {
    let Conversation { caller_number: number, caller_name: name, failure_code: code, failure_message: message, .. } =
        conversation;
    pb::Conversation {
        conversation_id: String::new(),
        external_id: conversation.external_id.clone(),
        provider: conversation.provider.to_string(),
        thread_id: conversation.thread_id.clone(),
        organization_id: String::new(),
        client_id: conversation.client_id.clone(),
        user_id: conversation.user_id.clone(),
        agent_id: conversation.agent.id.clone(),
        agent_name: conversation.agent.name.clone(),
        agent_version_id: conversation.agent.version_id.clone(),
        channel: conversation.channel.clone(),
        direction: conversation.direction.map(|direction| direction.to_string()),
        caller: (number.is_some() || name.is_some()).then(|| pb::Caller { number: number.clone(), name: name.clone() }),
        status: status_to_pb(conversation.status).into(),
        end_reason: conversation.end_reason.clone(),
        end_reason_detail: conversation.end_reason_detail.clone(),
        failure: (code.is_some() || message.is_some()).then(|| pb::Failure { code: code.clone(), message: message.clone() }),
        created_at: Some(timestamp_to_pb(conversation.created_at)),
        started_at: conversation.started_at.map(timestamp_to_pb),
        ended_at: conversation.ended_at.map(timestamp_to_pb),
        duration_ms: conversation.duration_ms,
        turn_count: conversation.turn_count,
        call_successful: conversation.analytics.call_successful.to_string(),
        summary: conversation.analytics.summary.clone(),
        language: conversation.language.clone(),
        translation_language: conversation.translation_language.clone(),
        analytics: Some(analytics(&conversation.analytics)),
        outcome: Some(outcome(&conversation.outcome)),
        technical: Some(technical(&conversation.technical)),
        recording: Some(recording(&conversation.recordings)),
        cost: conversation.cost.as_ref().map(|cost| pb::Cost {
            amount_micros: cost.amount_micros,
            currency: cost.currency.clone(),
            source: cost.source.clone(),
        }),
        tags: conversation.tags.clone(),
        metadata_json: object(&conversation.metadata),
        sessions: conversation.sessions.iter().map(session).collect(),
        feedback: conversation.feedback.iter().map(feedback).collect(),
        judgements: conversation.judgements.iter().map(judgement).collect(),
        language_is_detected: conversation.language_is_detected,
    }
}

fn object(map: &JsonMap) -> String {
    // Maps with string keys always serialise.
    serde_json::to_string(map).unwrap_or_else(|_| "{}".to_owned())
}

fn array(values: Option<&Vec<Value>>) -> String {
    values.and_then(|values| serde_json::to_string(values).ok()).unwrap_or_else(|| "[]".to_owned())
}

fn analytics(analytics: &Analytics) -> pb::Analytics {
    pb::Analytics {
        sentiment: analytics.sentiment.map(|sentiment| sentiment.to_string()),
        sentiment_score: analytics.sentiment_score,
        topics: analytics.topics.clone(),
        keywords: analytics.keywords.clone(),
        intent: analytics.intent.clone(),
        resolution_status: analytics.resolution_status.to_string(),
        satisfaction_score: analytics.satisfaction.map(|satisfaction| satisfaction.score()),
        satisfaction_source: analytics.satisfaction.map(|satisfaction| satisfaction.source().to_owned()),
        custom_analysis_json: object(&analytics.custom_analysis),
    }
}

fn judgement((authority, judged): &(Authority, Analytics)) -> pb::Judgement {
    pb::Judgement {
        authority: authority.to_string(),
        call_successful: judged.call_successful.to_string(),
        summary: judged.summary.clone(),
        analytics: Some(analytics(judged)),
    }
}

/// Returns whether a record was kept by a release that did not keep what each authority judged, although one did.
pub(crate) fn lacks_judgements(record: &pb::Conversation) -> bool {
    let judged = |analytics: &pb::Analytics| {
        analytics.sentiment.is_some()
            || analytics.sentiment_score.is_some()
            || !analytics.topics.is_empty()
            || !analytics.keywords.is_empty()
            || analytics.intent.is_some()
            || analytics.satisfaction_score.is_some()
            || !matches!(analytics.resolution_status.as_str(), "" | "unknown")
            || !matches!(analytics.custom_analysis_json.as_str(), "" | "{}")
    };
    record.judgements.is_empty()
        && (record.summary.is_some()
            || !matches!(record.call_successful.as_str(), "" | "unknown")
            || record.analytics.as_ref().is_some_and(judged))
}

fn outcome(outcome: &Outcome) -> pb::Outcome {
    pb::Outcome {
        result: outcome.result.clone(),
        actions_json: array(outcome.actions.as_ref()),
        follow_up_tasks_json: array(outcome.follow_up_tasks.as_ref()),
        integrations_json: array(outcome.integrations.as_ref()),
    }
}

fn technical(technical: &Technical) -> pb::Technical {
    pb::Technical {
        voice_platform: technical.voice_platform.clone(),
        latency_ms_json: object(&technical.latency_ms),
        quality_json: object(&technical.quality),
        network_json: object(&technical.network),
        errors: technical.errors.iter().map(error).collect(),
    }
}

fn error(error: &TechnicalError) -> pb::ConversationError {
    pb::ConversationError {
        code: error.code.clone(),
        message: error.message.clone(),
        component: error.component.clone(),
        at: Some(timestamp_to_pb(error.at)),
    }
}

/// The mixed recording speaks for all; without one, the first.
fn recording(recordings: &[Recording]) -> pb::RecordingSummary {
    let stored = |recording: &&Recording| matches!(recording.place, RecordingPlace::Stored { .. });
    let main = recordings
        .iter()
        .filter(stored)
        .find(|recording| recording.channel == RecordingChannel::Mixed)
        .or_else(|| recordings.iter().find(stored));
    pb::RecordingSummary {
        available: main.is_some(),
        content_type: main.and_then(|recording| recording.content_type.clone()),
        duration_ms: main.and_then(|recording| recording.duration_ms),
        channels: recordings.iter().filter(stored).map(|recording| recording.channel.to_string()).collect(),
    }
}

fn session(session: &Session) -> pb::Session {
    pb::Session {
        session_id: session.session_id.clone(),
        agent_id: session.agent_id.clone(),
        agent_version_id: session.agent_version_id.clone(),
        started_at: session.started_at.map(timestamp_to_pb),
        ended_at: session.ended_at.map(timestamp_to_pb),
        reason: session.reason.clone(),
    }
}

/// Returns a rating as the wire has it.
pub(crate) fn feedback(feedback: &Feedback) -> pb::Feedback {
    pb::Feedback {
        rating: feedback.rating,
        thumbs: feedback.thumbs.map(|thumbs| thumbs.to_string()),
        comment: feedback.comment.clone(),
        at: Some(timestamp_to_pb(feedback.at)),
    }
}
