//! The `conversation_agent_session.*` webhooks (notes, 4). A session is a conversation here, the message thread it belongs to is
//! its thread.

use colloquy_events::{Analysis, Authority, CallSuccessful, Data, Direction, Facts, JsonMap, Message, Role, Turn, end_reason};
use colloquy_types::{Provider, Timestamp};
use serde_json::Value;

use crate::analysis::{Ending, sentiment, take_well_known};
use crate::delivery::{Delivery, TurnIds, external_id};
use crate::mapping::{Context, MapError, Mapped};
use crate::sessions::Parts;
use crate::time;
use crate::value::{list, map as object, non_empty, phone, remainder, short, text, word};

/// Fields of `data` that have their own place in the canonical record. The rating stays: "partial" has no canonical word.
const KNOWN_DATA: &[&str] = &[
    "agent_version",
    "chat_summary",
    "chat_transcript",
    "conversation_id",
    "custom_analysis_data",
    "ended_at",
    "ended_reason",
    "id",
    "language",
    "messages",
    "started_at",
    "translated_chat_transcript",
    "translation_language",
    "user_sentiment",
];

/// Ids that messages carry and that tie the session to the rest of the product (4.3).
const CORRELATIONS: &[&str] = &["channel_id", "contact_id", "campaign_id", "sequence_id", "step_id"];

/// How far along a session is when it is told of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Started,
    Ended,
    Analyzed,
}

/// Maps a delivery: `{event, data, request_id, created_at}`; all three events carry the same snapshot (4.2).
pub(crate) fn map(body: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let Some(event) = text(&body["event"]) else { return Err(MapError::field("event", "is required")) };
    let stage = match event.as_str() {
        "conversation_agent_session.started" => Stage::Started,
        "conversation_agent_session.ended" => Stage::Ended,
        "conversation_agent_session.analyzed" => Stage::Analyzed,
        other => return Err(MapError::unknown_event(other)),
    };
    let data = &body["data"];
    let id = external_id("data.id", &data["id"])?;
    // 6.1: `request_id` is unique per event.
    let key = short(&body["request_id"]).unwrap_or_else(|| event.clone());
    let mut delivery = Delivery::new(context, Provider::AgentSession, id, &[&key]);

    let started_at = time::iso(&data["started_at"]);
    let ended_at = time::iso(&data["ended_at"]);
    // The envelope's time precedes that of messages and ends in the published sample: it never dates anything before them.
    let sent_at = time::iso(&body["created_at"]);
    let turns = read_messages(list(&data["messages"]), started_at, &mut delivery.turn_ids());
    let last_message_at = turns.iter().filter_map(|turn| turn.at).max();

    let facts = identity(data, started_at);
    let version_id = facts.agent_version_id.clone();
    let agent_id = facts.agent_id.clone();
    if stage == Stage::Started {
        let facts = Facts { agent_version: object(&data["agent_version"]).cloned(), metadata: metadata(data), ..facts };
        delivery.push(started_at.or(sent_at), Data::Started(facts));
        delivery.push(last_message_at.or(started_at), Data::TranscriptUpdated { turns });
        return delivery.finish();
    }

    let over_at = ended_at.or(last_message_at.max(sent_at));
    let user_wrote = turns.iter().any(|turn| turn.role == Role::User);
    let ended_reason = short(&data["ended_reason"]);
    let ending = ending(ended_reason.as_deref().unwrap_or_default(), user_wrote);
    delivery.push(started_at.or(over_at), Data::Started(facts));
    let revision: u32 = if stage == Stage::Analyzed { 2 } else { 1 };
    if data["messages"].is_array() {
        delivery.push(over_at.max(last_message_at), Data::TranscriptCompleted { turns, revision });
    }
    let mut parts = Parts::default();
    parts.saw(agent_id, started_at);
    parts.push(&mut delivery, version_id.as_deref(), started_at, ended_at, ending.reason);

    let mut ended = ending.ended(ended_reason);
    ended.facts.agent_version = object(&data["agent_version"]).cloned();
    ended.facts.metadata = metadata(data);
    ended.ended_at = ended_at;
    ended.duration_ms = time::between(started_at, ended_at);
    // Both events tell of one end, and the envelope's time is not to be trusted: a millisecond lets the one that knows more win.
    delivery.push(time::after(over_at, Some(i64::from(revision) - 1)), Data::Ended(ended));
    if let Some(analysis) = analysis(data) {
        delivery.push(over_at.max(sent_at), Data::Analyzed(analysis));
    }
    delivery.finish()
}

fn identity(data: &Value, started_at: Option<Timestamp>) -> Facts {
    let agent = &data["agent_version"];
    // 4.4: numbers and direction are those of the first message.
    let opening = list(&data["messages"]).first().unwrap_or(&Value::Null);
    let direction = direction(&opening["direction"]);
    let caller = match direction {
        Some(Direction::Inbound) => &opening["from"],
        Some(Direction::Outbound) => &opening["to"],
        None => &Value::Null,
    };
    Facts {
        agent_id: short(&agent["agent_id"]),
        agent_name: short(&agent["name"]),
        agent_version_id: short(&agent["id"]),
        channel: short(&opening["type"]).map(|kind| kind.to_ascii_lowercase()),
        direction,
        caller_number: phone(caller),
        thread_id: short(&data["conversation_id"]),
        language: short(&data["language"]),
        translation_language: short(&data["translation_language"]),
        started_at,
        ..Facts::default()
    }
}

fn metadata(data: &Value) -> Option<JsonMap> {
    let mut metadata = remainder(data, KNOWN_DATA);
    let opening = list(&data["messages"]).first().unwrap_or(&Value::Null);
    for name in CORRELATIONS {
        if let Some(id) = short(&opening[*name]) {
            metadata.entry(*name).or_insert(Value::String(id));
        }
    }
    non_empty(metadata)
}

fn direction(given: &Value) -> Option<Direction> {
    word(given).to_ascii_lowercase().parse().ok()
}

/// Message entries (4.3): text only, no tools.
fn read_messages(messages: &[Value], started_at: Option<Timestamp>, ids: &mut TurnIds) -> Vec<Turn> {
    let read = |(index, given): (usize, &Value)| {
        let direction = direction(&given["direction"]);
        let kind = short(&given["type"]).map(|kind| kind.to_ascii_lowercase());
        let role = match direction {
            // A note is for the team: nobody sent it to anybody.
            _ if kind.as_deref() == Some("note") => Role::System,
            Some(Direction::Inbound) => Role::User,
            Some(Direction::Outbound) if word(&given["mode"]).eq_ignore_ascii_case("manual") => Role::HumanAgent,
            Some(Direction::Outbound) => Role::Agent,
            None => Role::System,
        };
        let identity = short(&given["id"]).unwrap_or_else(|| index.to_string());
        let mut turn = Turn::new(ids.of(&identity), role);
        turn.text = text(&given["body"]);
        turn.translated_text = text(&given["translated_body"]);
        turn.at = time::iso(&given["created_at"]);
        // Messages can be dated before the session, and in the sample even after its end.
        turn.start_ms = match (started_at, turn.at) {
            (Some(start), Some(at)) => Some(at.millis_since(start).clamp(0, time::MAX_OFFSET_MS)),
            _ => None,
        };
        if role == Role::HumanAgent {
            turn.speaker = short(&given["user_id"]);
        }
        turn.message = Some(Message {
            kind,
            direction,
            from: phone(&given["from"]),
            to: phone(&given["to"]),
            delivery_status: short(&given["delivery_status"]),
            attachments: list(&given["attachments"]).to_vec(),
        });
        turn
    };
    messages.iter().enumerate().map(read).collect()
}

/// Only `user_ended` has been seen; other words are read for hints (4.4).
fn ending(reason: &str, user_wrote: bool) -> Ending {
    let reason = reason.to_ascii_lowercase();
    let hints = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if hints(&["error", "fail"]) {
        return Ending::failed(end_reason::PLATFORM_ERROR);
    }
    if !user_wrote {
        return Ending::abandoned(end_reason::NO_ANSWER);
    }
    Ending::completed(if hints(&["timeout", "timed_out", "inactiv", "silence", "idle", "expired"]) {
        end_reason::SILENCE_TIMEOUT
    } else if hints(&["max_", "duration"]) {
        end_reason::MAX_DURATION
    } else if hints(&["transfer"]) {
        end_reason::TRANSFERRED
    } else if hints(&["take_over", "takeover", "taken_over", "human", "manual"]) {
        end_reason::TAKEN_OVER
    } else if hints(&["cancel", "stopped"]) {
        end_reason::CANCELLED
    } else if hints(&["user", "contact", "customer"]) {
        end_reason::USER_ENDED
    } else if hints(&["agent", "assistant"]) {
        end_reason::AGENT_ENDED
    } else {
        end_reason::ENDED
    })
}

/// Returns the analysis, once any of its fields is there.
fn analysis(data: &Value) -> Option<Analysis> {
    let fields = ["chat_completion_rating", "chat_summary", "user_sentiment", "custom_analysis_data"];
    if fields.iter().all(|field| data[*field].is_null()) {
        return None;
    }
    let mut analysis = Analysis::by(Authority::Provider);
    analysis.call_successful = match word(&data["chat_completion_rating"]).to_ascii_lowercase().as_str() {
        "complete" => Some(CallSuccessful::Success),
        "incomplete" => Some(CallSuccessful::Failure),
        _ => Some(CallSuccessful::Unknown),
    };
    analysis.summary = text(&data["chat_summary"]);
    analysis.sentiment = sentiment(&data["user_sentiment"]);
    if let Some(extracted) = object(&data["custom_analysis_data"]) {
        take_well_known(&mut analysis, extracted);
        analysis.custom_analysis = Some(extracted.clone());
    }
    Some(analysis)
}

#[cfg(test)]
mod tests {
    use colloquy_events::EndStatus;

    use super::*;

    #[test]
    fn the_reason_and_whether_anybody_wrote_decide_the_end() {
        assert_eq!(ending("user_ended", true), Ending::completed(end_reason::USER_ENDED));
        assert_eq!(ending("", true), Ending::completed(end_reason::ENDED));
        assert_eq!(ending("brand_new", true), Ending::completed(end_reason::ENDED));
        assert_eq!(ending("agent_ended", true), Ending::completed(end_reason::AGENT_ENDED));
        assert_eq!(ending("user_ended", false).status, EndStatus::Abandoned);
        for reason in ["llm_error", "delivery_failed", "FAILURE"] {
            assert_eq!(ending(reason, false).status, EndStatus::Failed, "{reason}");
        }
    }
}
