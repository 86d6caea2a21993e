//! A conversation as its record and transcript come from their services.

use colloquy_events::convert::{BadField, timestamp_from_pb};
use colloquy_events::{Message, Role, Status, ToolCall, ToolResult, Turn, Word};
use colloquy_proto::conversation::v1 as pb;
use colloquy_proto::transcript::v1 as transcript;
use colloquy_types::Timestamp;
use serde::de::DeserializeOwned;

use crate::input::{Cost, Error, Feedback, Input, Record};
use crate::judgement::{self, object, parse};

type Read<T> = Result<T, BadField>;

fn bad<T>(field: &str, message: &str) -> Read<T> {
    Err(BadField { field: field.to_owned(), message: message.to_owned() })
}

impl Input {
    /// Reads a record and the turns that belong to it.
    ///
    /// # Errors
    /// Naming the first field that cannot be read: the services are of different releases.
    pub fn of(record: &pb::Conversation, turns: Vec<transcript::Turn>) -> Result<Self, BadField> {
        let turns = turns.into_iter().enumerate().map(|(index, turn)| {
            read_turn(turn).map_err(|error| BadField { field: format!("turns[{index}].{}", error.field), ..error })
        });
        Ok(Self { record: read_record(record)?, turns: turns.collect::<Read<_>>()? })
    }
}

fn read_record(record: &pb::Conversation) -> Read<Record> {
    let nothing = pb::Technical::default();
    let technical = record.technical.as_ref().unwrap_or(&nothing);
    let Some(created_at) = time("created_at", record.created_at)? else { return bad("created_at", "must be there") };
    Ok(Record {
        organization_id: parse("organization_id", &record.organization_id)?,
        conversation_id: parse("conversation_id", &record.conversation_id)?,
        provider: parse("provider", &record.provider)?,
        external_id: record.external_id.clone(),
        agent_id: record.agent_id.clone(),
        agent_version_id: record.agent_version_id.clone(),
        client_id: record.client_id.clone(),
        user_id: record.user_id.clone(),
        caller: record.caller.as_ref().and_then(|caller| caller.number.clone()),
        channel: record.channel.clone(),
        direction: record.direction.clone(),
        status: status(record.status())?,
        end_reason: record.end_reason.clone(),
        failure_code: record.failure.as_ref().and_then(|failure| failure.code.clone()),
        created_at,
        started_at: time("started_at", record.started_at)?,
        ended_at: time("ended_at", record.ended_at)?,
        duration_ms: record.duration_ms,
        language: record.language.clone().filter(|_| !record.language_is_detected),
        outcome: record.outcome.as_ref().and_then(|outcome| outcome.result.clone()),
        tags: record.tags.clone(),
        latency_ms: object("technical.latency_ms_json", &technical.latency_ms_json)?,
        quality: object("technical.quality_json", &technical.quality_json)?,
        network: object("technical.network_json", &technical.network_json)?,
        errors: technical.errors.iter().map(error).collect::<Read<_>>()?,
        cost: record.cost.as_ref().map(|cost| Cost {
            amount_micros: cost.amount_micros,
            currency: cost.currency.clone(),
            source: cost.source.clone(),
        }),
        feedback: record.feedback.iter().map(feedback).collect::<Read<_>>()?,
        judgements: judgement::all_from_pb(&record.judgements)?,
    })
}

fn status(status: pb::ConversationStatus) -> Read<Status> {
    match status {
        pb::ConversationStatus::Initiated => Ok(Status::Initiated),
        pb::ConversationStatus::InProgress => Ok(Status::InProgress),
        pb::ConversationStatus::Completed => Ok(Status::Completed),
        pb::ConversationStatus::Failed => Ok(Status::Failed),
        pb::ConversationStatus::Abandoned => Ok(Status::Abandoned),
        pb::ConversationStatus::Unspecified => bad("status", "must be one this release knows"),
    }
}

fn error(error: &pb::ConversationError) -> Read<Error> {
    let at = time("technical.errors.at", error.at)?;
    Ok(Error { code: error.code.clone(), component: error.component.clone(), at })
}

fn feedback(feedback: &pb::Feedback) -> Read<Feedback> {
    let thumbs_up = match feedback.thumbs.as_deref() {
        None => None,
        Some("up") => Some(true),
        Some("down") => Some(false),
        Some(_) => return bad("feedback.thumbs", "must be one of up, down"),
    };
    Ok(Feedback { rating: feedback.rating, thumbs_up, at: time("feedback.at", feedback.at)? })
}

/// Times that were made up from the neighbours of a turn are left out: captions need them, figures are made of facts.
pub(crate) fn read_turn(turn: transcript::Turn) -> Read<Turn> {
    let is_known = turn.timing() != transcript::Timing::Estimated;
    Ok(Turn {
        turn_id: parse("turn_id", &turn.turn_id)?,
        index: Some(turn.index),
        role: role(turn.role())?,
        start_ms: turn.start_ms.filter(|_| is_known || turn.start_is_told),
        end_ms: turn.end_ms.filter(|_| is_known || turn.end_is_told),
        speaker: turn.speaker,
        text: turn.text,
        heard_text: turn.heard_text,
        translated_text: turn.translated_text,
        words: turn
            .words
            .into_iter()
            .map(|word| Word { text: word.text, start_ms: word.start_ms, end_ms: word.end_ms })
            .collect(),
        tool_call: turn.tool_call.map(tool_call).transpose()?,
        tool_result: turn.tool_result.map(tool_result).transpose()?,
        message: turn.message.map(message).transpose()?,
        at: time("at", turn.at)?,
        is_final: !turn.partial,
    })
}

fn role(role: transcript::TurnRole) -> Read<Role> {
    match role {
        transcript::TurnRole::Agent => Ok(Role::Agent),
        transcript::TurnRole::User => Ok(Role::User),
        transcript::TurnRole::HumanAgent => Ok(Role::HumanAgent),
        transcript::TurnRole::Tool => Ok(Role::Tool),
        transcript::TurnRole::System => Ok(Role::System),
        transcript::TurnRole::Unspecified => bad("role", "must be one this release knows"),
    }
}

fn tool_call(call: transcript::ToolCall) -> Read<ToolCall> {
    Ok(ToolCall { id: call.id, name: call.name, arguments: json("tool_call.arguments_json", call.arguments_json)? })
}

fn tool_result(result: transcript::ToolResult) -> Read<ToolResult> {
    let content = json("tool_result.content_json", result.content_json)?;
    Ok(ToolResult { id: result.id, content, is_error: result.is_error })
}

fn message(message: transcript::TurnMessage) -> Read<Message> {
    Ok(Message {
        kind: message.r#type,
        direction: message.direction.as_deref().map(|word| parse("message.direction", word)).transpose()?,
        from: message.from,
        to: message.to,
        delivery_status: message.delivery_status,
        attachments: json("message.attachments_json", message.attachments_json)?.unwrap_or_default(),
    })
}

fn time(field: &str, at: Option<prost_types::Timestamp>) -> Read<Option<Timestamp>> {
    at.map(|at| timestamp_from_pb(field, at)).transpose()
}

fn json<T: DeserializeOwned>(field: &str, text: Option<String>) -> Read<Option<T>> {
    // What the parser says would quote the text, which people wrote.
    text.map(|text| serde_json::from_str(&text).or_else(|_| bad(field, "must be JSON"))).transpose()
}

#[cfg(test)]
mod tests;
