//! The bodies of `conversation_agent_session.*`: a conversation as the agent-session webhook family shows it, key by key and in
//! its order, whichever provider it runs on. What is not known is null.
//!
//! A body shows what its phase tells: `started` neither the end nor a judgement, `ended` no judgement, also when they are known
//! by the time it is made.

use colloquy_events::JsonMap;
use colloquy_events::convert::timestamp_from_pb;
use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_proto::transcript::v1::TurnRole;
use colloquy_types::{Provider, Timestamp};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// What a body tells of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// The conversation runs.
    Started,
    /// It is over.
    Ended,
    /// It was judged.
    Analyzed,
}

impl Phase {
    /// Every phase, in their order.
    pub const ALL: [Self; 3] = [Self::Started, Self::Ended, Self::Analyzed];

    /// Returns the event type.
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Started => "conversation_agent_session.started",
            Self::Ended => "conversation_agent_session.ended",
            Self::Analyzed => "conversation_agent_session.analyzed",
        }
    }

    /// Returns the phase an event type tells of.
    pub fn of(event_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.event_type() == event_type)
    }
}

/// What a body is made of.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What it tells of.
    pub phase: Phase,
    /// The message: a repeat has the same.
    pub message_id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// The conversation.
    pub conversation: &'a conversation_pb::Conversation,
    /// What was said.
    pub turns: &'a [transcript_pb::Turn],
    /// The settings of the agent's version, as its provider sent them.
    pub agent_version: Option<&'a JsonMap>,
}

#[derive(Serialize)]
struct Body<'a> {
    data: Session<'a>,
    api_version: &'static str,
    event: &'static str,
    created_at: String,
    request_id: Uuid,
}

#[derive(Serialize)]
struct Session<'a> {
    agent_version: AgentVersion<'a>,
    conversation_id: Option<&'a str>,
    id: &'a str,
    started_at: Option<String>,
    ended_at: Option<String>,
    ended_reason: Option<&'a str>,
    chat_completion_rating: Option<&'a str>,
    chat_summary: Option<&'a str>,
    user_sentiment: Option<&'a str>,
    custom_analysis_data: Option<JsonMap>,
    messages: Vec<Message<'a>>,
    chat_transcript: Option<String>,
    translated_chat_transcript: Option<String>,
    language: Option<&'a str>,
    translation_language: Option<&'a str>,
}

#[derive(Serialize)]
struct AgentVersion<'a> {
    agent_id: Option<&'a str>,
    created_by_id: Option<&'a Value>,
    description: Option<&'a str>,
    id: Option<&'a str>,
    llm_id: Option<&'a str>,
    name: Option<&'a str>,
    organization_id: Option<&'a str>,
    provider_settings: Option<&'a JsonMap>,
}

#[derive(Serialize)]
struct Message<'a> {
    attachments: Value,
    body: Option<&'a str>,
    campaign_contact_id: Option<&'a str>,
    campaign_id: Option<&'a str>,
    channel_id: Option<&'a str>,
    contact_id: Option<&'a str>,
    conversation_id: Option<&'a str>,
    created_at: Option<String>,
    delivery_status: Option<&'a str>,
    direction: &'static str,
    from: Option<&'a str>,
    id: &'a str,
    language: Option<&'a str>,
    metadata: JsonMap,
    mode: &'static str,
    sequence_id: Option<&'a str>,
    step_contact_id: Option<&'a str>,
    step_id: Option<&'a str>,
    to: Option<&'a str>,
    translated_body: Option<&'a str>,
    translation_language: Option<&'a str>,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    updated_at: Option<String>,
    user_id: Option<&'a str>,
}

/// Returns the body as JSON.
pub fn body(told: &Told<'_>) -> Vec<u8> {
    let Told { phase, conversation, .. } = *told;
    let metadata: JsonMap = serde_json::from_str(&conversation.metadata_json).unwrap_or_default();
    let is_session = conversation.provider == Provider::AgentSession.as_str();
    // What the family calls a session is the conversation here, and what it calls a conversation is the thread.
    let id = if is_session { &conversation.external_id } else { &conversation.conversation_id };
    // Of the family's own sessions the message's correlations are kept with the record.
    let correlations = if is_session { Some(&metadata) } else { None };
    let started_at = instant(conversation.started_at);
    // A partial turn of a running conversation may still become something else.
    let is_told = |turn: &&transcript_pb::Turn| is_message(turn) && !(turn.partial && phase == Phase::Started);
    let turns: Vec<&transcript_pb::Turn> = told.turns.iter().filter(is_told).collect();
    let is_over = phase >= Phase::Ended;
    let analysis = conversation.analytics.as_ref().filter(|_| phase == Phase::Analyzed);
    let reason = if is_session { &conversation.end_reason_detail } else { &conversation.end_reason };
    let session = Session {
        agent_version: agent_version(conversation, told.agent_version, is_session),
        conversation_id: conversation.thread_id.as_deref(),
        id,
        started_at: started_at.map(seconds),
        ended_at: instant(conversation.ended_at).filter(|_| is_over).map(seconds),
        ended_reason: reason.as_deref().filter(|_| is_over),
        chat_completion_rating: analysis.and_then(|_| rating(conversation, correlations)),
        chat_summary: analysis.and(conversation.summary.as_deref()),
        user_sentiment: analysis.and_then(|analysis| analysis.sentiment.as_deref()),
        custom_analysis_data: analysis.and_then(|analysis| extracted(&analysis.custom_analysis_json)),
        messages: turns.iter().map(|turn| message(turn, conversation, correlations, started_at)).collect(),
        chat_transcript: transcript(&turns, heard),
        translated_chat_transcript: translated(&turns, conversation),
        language: conversation.language.as_deref(),
        translation_language: conversation.translation_language.as_deref(),
    };
    let event = phase.event_type();
    let body = Body { data: session, api_version: "v1", event, created_at: micros(told.at), request_id: told.message_id };
    // Plain structs and maps with string keys always serialise.
    serde_json::to_vec(&body).unwrap_or_default()
}

fn agent_version<'a>(
    conversation: &'a conversation_pb::Conversation,
    snapshot: Option<&'a JsonMap>,
    is_session: bool,
) -> AgentVersion<'a> {
    let field = |name: &str| snapshot.and_then(|snapshot| snapshot.get(name)).filter(|value| !value.is_null());
    let own = |name: &str| field(name).and_then(Value::as_str).filter(|_| is_session);
    AgentVersion {
        agent_id: conversation.agent_id.as_deref(),
        created_by_id: field("created_by_id").filter(|_| is_session),
        description: field("description").and_then(Value::as_str),
        id: conversation.agent_version_id.as_deref(),
        llm_id: field("llm_id").and_then(Value::as_str),
        name: conversation.agent_name.as_deref(),
        organization_id: own("organization_id"),
        // Other providers have no such envelope: all they sent are settings.
        provider_settings: if is_session { field("provider_settings").and_then(Value::as_object) } else { snapshot },
    }
}

fn rating<'a>(conversation: &'a conversation_pb::Conversation, kept: Option<&'a JsonMap>) -> Option<&'a str> {
    // The family has words that ours do not tell apart.
    if let Some(own) = kept.and_then(|kept| text(kept, "chat_completion_rating")) {
        return Some(own);
    }
    match conversation.call_successful.as_str() {
        "success" => Some("complete"),
        "failure" => Some("incomplete"),
        _ => None,
    }
}

fn extracted(json: &str) -> Option<JsonMap> {
    serde_json::from_str::<JsonMap>(json).ok().filter(|values| !values.is_empty())
}

/// Returns whether a turn is a message between people and agents; one can be a picture without words.
fn is_message(turn: &transcript_pb::Turn) -> bool {
    let is_spoken = matches!(turn.role(), TurnRole::User | TurnRole::Agent | TurnRole::HumanAgent);
    let has_attachments = turn.message.as_ref().is_some_and(|message| message.attachments_json.is_some());
    is_spoken && (has_attachments || heard(turn).is_some())
}

fn message<'a>(
    turn: &'a transcript_pb::Turn,
    conversation: &'a conversation_pb::Conversation,
    correlations: Option<&'a JsonMap>,
    started_at: Option<Timestamp>,
) -> Message<'a> {
    let carried = turn.message.as_ref();
    let is_inbound = match carried.and_then(|carried| carried.direction.as_deref()) {
        Some(direction) => direction == "inbound",
        None => turn.role() == TurnRole::User,
    };
    let person = conversation.caller.as_ref().and_then(|caller| caller.number.as_deref());
    let correlation = |name: &str| correlations.and_then(|kept| text(kept, name));
    let spoken_at = started_at.zip(turn.start_ms).map(|(start, offset)| start.saturating_add_millis(offset));
    let attachments = carried.and_then(|carried| carried.attachments_json.as_deref());
    let translated_body = turn.translated_text.as_deref();
    let is_human = turn.role() == TurnRole::HumanAgent;
    Message {
        attachments: attachments.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_else(|| Value::Array(Vec::new())),
        body: heard(turn),
        campaign_contact_id: None,
        campaign_id: correlation("campaign_id"),
        channel_id: correlation("channel_id"),
        contact_id: correlation("contact_id"),
        conversation_id: conversation.thread_id.as_deref(),
        created_at: instant(turn.at).or(spoken_at).map(micros),
        delivery_status: carried.and_then(|carried| carried.delivery_status.as_deref()),
        direction: if is_inbound { "INBOUND" } else { "OUTBOUND" },
        from: carried.and_then(|carried| carried.from.as_deref()).or(person.filter(|_| is_inbound)),
        id: &turn.turn_id,
        language: None,
        metadata: JsonMap::new(),
        // What a person writes is manual, on either side.
        mode: if turn.role() == TurnRole::Agent { "ai" } else { "manual" },
        sequence_id: correlation("sequence_id"),
        step_contact_id: None,
        step_id: correlation("step_id"),
        to: carried.and_then(|carried| carried.to.as_deref()).or(person.filter(|_| !is_inbound)),
        translated_body,
        translation_language: translated_body.and(conversation.translation_language.as_deref()),
        kind: carried.and_then(|carried| carried.r#type.as_deref()).or_else(|| message_type(conversation)),
        updated_at: None,
        user_id: if is_human { turn.speaker.as_deref() } else { None },
    }
}

/// Returns what the family calls a message of the conversation's channel.
fn message_type(conversation: &conversation_pb::Conversation) -> Option<&str> {
    match conversation.channel.as_deref() {
        Some("phone") => Some("call"),
        channel => channel,
    }
}

/// Returns what was heard: after an interruption, only what was spoken before it.
fn heard(turn: &transcript_pb::Turn) -> Option<&str> {
    turn.heard_text.as_deref().or(turn.text.as_deref()).filter(|text| !text.trim().is_empty())
}

/// Returns one line a turn, or nothing when nothing was said.
fn transcript<'a>(
    turns: &[&'a transcript_pb::Turn],
    words: impl Fn(&'a transcript_pb::Turn) -> Option<&'a str>,
) -> Option<String> {
    let mut lines = String::new();
    for turn in turns {
        let Some(text) = words(turn) else { continue };
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(if turn.role() == TurnRole::User { "User:" } else { "Agent:" });
        for word in text.split_whitespace() {
            lines.push(' ');
            lines.push_str(word);
        }
    }
    (!lines.is_empty()).then_some(lines)
}

/// Returns the transcript in the translation's language, where anything of it is: what was said in that language, or translated.
fn translated(turns: &[&transcript_pb::Turn], conversation: &conversation_pb::Conversation) -> Option<String> {
    let language = conversation.translation_language.as_deref()?;
    let is_the_same = conversation.language.as_deref() == Some(language);
    if !is_the_same && turns.iter().all(|turn| turn.translated_text.is_none()) {
        return None;
    }
    let translation = |turn: &transcript_pb::Turn| turn.translated_text.is_some();
    transcript(turns, |turn| if translation(turn) { turn.translated_text.as_deref() } else { heard(turn) })
}

fn text<'a>(map: &'a JsonMap, name: &str) -> Option<&'a str> {
    map.get(name)?.as_str()
}

fn instant(at: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    timestamp_from_pb("at", at?).ok()
}

/// Writes an instant as sessions have theirs: whole seconds.
fn seconds(at: Timestamp) -> String {
    let text = at.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(whole, _)| format!("{whole}Z"))
}

/// Writes an instant as messages have theirs: microseconds.
fn micros(at: Timestamp) -> String {
    let text = at.to_string();
    text.strip_suffix('Z').map_or_else(|| text.clone(), |text| format!("{text}000Z"))
}

#[cfg(test)]
mod tests;
