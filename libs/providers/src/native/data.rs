//! The data of native events, type by type, as the API documents them.

use colloquy_events::{
    Analysis, Authority, Cost, Data, EndStatus, Ended, ErrorRaised, Facts, Feedback, Message, Outcome, Recording,
    RecordingChannel, Role, Session, SessionEnd, ToolCall, ToolResult, Turn, Update, Word,
};
use colloquy_types::{ConversationId, Timestamp, TurnId, normalize_phone_number};
use serde_json::Value;
use uuid::Uuid;

use super::check::{Fields, MAX_ITEMS, MAX_WORDS};
use crate::recording;

/// What data is read against.
pub(super) struct Frame<'a> {
    pub(super) conversation_id: ConversationId,
    pub(super) event_id: &'a str,
    pub(super) occurred_at: Timestamp,
}

/// Reads the data of an event of type `kind`; `None` when the type is unknown or the data cannot be used. Problems are reported
/// through `fields`.
pub(super) fn read(kind: &str, fields: &mut Fields<'_, '_>, frame: &Frame<'_>) -> Option<Data> {
    match kind {
        "conversation.started" => {
            fields.require("agent_id");
            let facts = Facts { started_at: Some(frame.occurred_at), ..facts(fields) };
            Some(Data::Started(facts))
        }
        "conversation.updated" => Some(Data::Updated(Update { facts: facts(fields), status: fields.word("status") })),
        "turn.added" => turn(fields, frame, false).map(Data::TurnAdded),
        "turn.updated" => turn(fields, frame, true).map(Data::TurnUpdated),
        "session.started" => session(fields).map(|end| Data::SessionStarted(end.session)),
        "session.ended" => session(fields).map(Data::SessionEnded),
        "conversation.ended" => ended(fields, frame).map(Data::Ended),
        "conversation.analyzed" => Some(Data::Analyzed(analysis(fields))),
        "recording.available" => recording(fields).map(Data::RecordingAvailable),
        "feedback.given" => Some(Data::FeedbackGiven(feedback(fields))),
        "error.raised" => {
            fields.require("code");
            let (code, message, component) = (fields.id("code"), fields.text("message"), fields.id("component"));
            Some(Data::ErrorRaised(ErrorRaised { code: code?, message, component }))
        }
        _ => None,
    }
}

/// The types of native events.
pub(super) const TYPES: &[&str] = &[
    "conversation.started",
    "conversation.updated",
    "turn.added",
    "turn.updated",
    "session.started",
    "session.ended",
    "conversation.ended",
    "conversation.analyzed",
    "recording.available",
    "feedback.given",
    "error.raised",
];

fn facts(fields: &mut Fields<'_, '_>) -> Facts {
    let caller = fields.nested("caller", |caller| (caller.id("number"), caller.id("name")));
    let (number, caller_name) = caller.unwrap_or_default();
    let (agent_version_id, agent_version) = agent_version(fields);
    Facts {
        agent_id: fields.id("agent_id"),
        agent_name: fields.id("agent_name"),
        agent_version_id,
        agent_version,
        channel: fields.id("channel"),
        direction: fields.word("direction"),
        caller_number: number.map(|given| normalize_phone_number(&given).unwrap_or(given)),
        caller_name,
        client_id: fields.id("client_id"),
        user_id: fields.id("user_id"),
        thread_id: fields.id("thread_id"),
        language: fields.id("language"),
        translation_language: fields.id("translation_language"),
        tags: fields.names("tags").unwrap_or_default(),
        metadata: fields.object("metadata").cloned(),
        ..Facts::default()
    }
}

/// A version is its id, or its settings with the id among them.
fn agent_version(fields: &mut Fields<'_, '_>) -> (Option<String>, Option<colloquy_events::JsonMap>) {
    match fields.value("agent_version") {
        Some(Value::Object(settings)) => {
            let id = settings.get("id").and_then(Value::as_str).filter(|id| super::check::id_problem(id).is_none());
            (id.map(str::to_owned), Some(settings.clone()))
        }
        Some(Value::String(_)) => (fields.id("agent_version"), None),
        Some(_) => {
            fields.error("agent_version", "must be a string or an object");
            (None, None)
        }
        None => (None, None),
    }
}

fn turn(fields: &mut Fields<'_, '_>, frame: &Frame<'_>, is_update: bool) -> Option<Turn> {
    fields.require("role");
    let given_id = fields.id("turn_id");
    let index = fields.integer("index", 0..=i64::from(u32::MAX)).and_then(|index| u32::try_from(index).ok());
    let turn_id = match (&given_id, index) {
        // A client's own UUIDs are kept.
        (Some(id), _) => Uuid::try_parse(id).map_or_else(|_| TurnId::derive(frame.conversation_id, id), TurnId),
        (None, Some(index)) => TurnId::derive(frame.conversation_id, &index.to_string()),
        (None, None) => {
            if is_update {
                fields.error("turn_id", "is required unless index is given: one of them says which turn is updated");
            }
            TurnId::derive(frame.conversation_id, &format!("event/{}", frame.event_id))
        }
    };
    let role: Option<Role> = fields.word("role");
    let (start_ms, end_ms) = span(fields);
    let words = fields.nested_list("words", MAX_WORDS, |word| {
        word.require("text");
        word.require("start_ms");
        word.require("end_ms");
        let text = word.text("text");
        let (start_ms, end_ms) = span(word);
        Some(Word { text: text?, start_ms: start_ms?, end_ms: end_ms? })
    });
    let turn = Turn {
        index,
        speaker: None,
        text: fields.text("text"),
        heard_text: fields.text("heard_text"),
        translated_text: fields.text("translated_text"),
        start_ms,
        end_ms,
        words,
        tool_call: fields.nested("tool_call", |call| ToolCall {
            id: call.id("id"),
            name: call.id("name"),
            arguments: call.value("arguments").cloned(),
        }),
        tool_result: fields.nested("tool_result", |result| ToolResult {
            id: result.id("id"),
            content: result.value("content").cloned(),
            is_error: result.flag("is_error"),
        }),
        message: fields.nested("message", |message| Message {
            kind: message.id("type"),
            direction: message.word("direction"),
            from: message.id("from").map(|given| normalize_phone_number(&given).unwrap_or(given)),
            to: message.id("to").map(|given| normalize_phone_number(&given).unwrap_or(given)),
            delivery_status: message.id("delivery_status"),
            attachments: message.array("attachments", MAX_ITEMS).unwrap_or_default().to_vec(),
        }),
        at: fields.time("at"),
        is_final: fields.flag("final").unwrap_or(true),
        ..Turn::new(turn_id, Role::System)
    };
    role.map(|role| Turn { role, ..turn })
}

/// Reads `start_ms` and `end_ms`, which must not be the wrong way round.
fn span(fields: &mut Fields<'_, '_>) -> (Option<i64>, Option<i64>) {
    let (start_ms, end_ms) = (fields.millis("start_ms"), fields.millis("end_ms"));
    if start_ms.zip(end_ms).is_some_and(|(start, end)| start > end) {
        fields.error("end_ms", "must not be less than start_ms");
    }
    (start_ms, end_ms)
}

/// `reason` is only of use at the end, but belongs to both types.
fn session(fields: &mut Fields<'_, '_>) -> Option<SessionEnd> {
    fields.require("session_id");
    let session_id = fields.id("session_id");
    let agent_id = fields.id("agent_id");
    let agent_version_id = agent_version(fields).0;
    let reason = fields.id("reason");
    Some(SessionEnd { session: Session { session_id: session_id?, agent_id, agent_version_id }, reason })
}

fn ended(fields: &mut Fields<'_, '_>, frame: &Frame<'_>) -> Option<Ended> {
    fields.require("status");
    let status: Option<EndStatus> = fields.word("status");
    let end_reason = fields.id("end_reason");
    let end_reason_detail = fields.text("end_reason_detail");
    let failure = fields.nested("failure", |failure| {
        failure.require("code");
        (failure.id("code"), failure.text("message"))
    });
    let (failure_code, failure_message) = failure.unwrap_or_default();
    let duration_ms = fields.seconds("duration_seconds");
    let cost = fields.nested("cost", |cost| {
        cost.require("amount_micros");
        cost.require("currency");
        let amount_micros = cost.integer("amount_micros", -9_000_000_000_000_000..=9_000_000_000_000_000);
        let currency = cost.id("currency");
        if currency.as_deref().is_some_and(|code| code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase())) {
            cost.error("currency", "must be an ISO 4217 code of three capital letters, for example USD");
        }
        let source = cost.id("source").unwrap_or_else(|| "provider".to_owned());
        Some(Cost { amount_micros: amount_micros?, currency: currency?, source })
    });
    let mut ended = Ended::new(status?);
    (ended.end_reason, ended.end_reason_detail) = (end_reason, end_reason_detail);
    (ended.failure_code, ended.failure_message) = (failure_code, failure_message);
    ended.ended_at = Some(frame.occurred_at);
    ended.duration_ms = duration_ms;
    ended.cost = cost.flatten();
    Some(ended)
}

fn analysis(fields: &mut Fields<'_, '_>) -> Analysis {
    let mut analysis = Analysis::by(Authority::Provider);
    analysis.call_successful = fields.word("call_successful");
    analysis.summary = fields.text("summary");
    analysis.sentiment = fields.word("sentiment");
    analysis.topics = fields.names("topics");
    analysis.keywords = fields.names("keywords");
    analysis.intent = fields.text("intent");
    analysis.resolution_status = fields.word("resolution_status");
    analysis.satisfaction_score = fields.number("satisfaction_score", 1.0..=5.0);
    analysis.outcome = fields.nested("outcome", |outcome| {
        let list = |outcome: &mut Fields<'_, '_>, name| outcome.array(name, MAX_ITEMS).map(<[Value]>::to_vec);
        Outcome {
            result: outcome.id("result"),
            actions: list(outcome, "actions"),
            follow_up_tasks: list(outcome, "follow_up_tasks"),
            integrations: list(outcome, "integrations"),
        }
    });
    analysis.custom_analysis = fields.object("custom_analysis").cloned();
    analysis
}

fn recording(fields: &mut Fields<'_, '_>) -> Option<Recording> {
    fields.require("url");
    let url = fields.text("url");
    if url.as_deref().is_some_and(|url| !recording::is_link(url)) {
        fields.error("url", "must be an http or https URL of at most 8192 bytes");
    }
    let content_type = fields.id("content_type");
    let duration_ms = fields.seconds("duration_seconds");
    let channel = fields.word("channel").unwrap_or(RecordingChannel::Mixed);
    Some(Recording { url: Some(url?), object_key: None, sha256: None, size_bytes: None, content_type, duration_ms, channel })
}

fn feedback(fields: &mut Fields<'_, '_>) -> Feedback {
    let rating = fields.integer("rating", 1..=5).and_then(|rating| u32::try_from(rating).ok());
    let is_rated = fields.value("rating").is_some() || fields.value("thumbs").is_some();
    let thumbs = fields.word("thumbs");
    let comment = fields.text("comment");
    if !is_rated {
        fields.error("rating", "is required unless thumbs is given");
    }
    Feedback { rating, thumbs, comment }
}
