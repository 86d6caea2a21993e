//! Transcripts.

use colloquy_proto::transcript::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::json::Json;
use super::time::Time;

/// What was said, by whom and when.
#[derive(Serialize, ToSchema)]
pub(crate) struct Transcript {
    /// UUID of the conversation.
    conversation_id: String,
    /// `initiated`, `in_progress`, `completed`, `failed` or `abandoned`.
    status: Option<String>,
    /// BCP 47 code of the language spoken.
    language: Option<String>,
    /// BCP 47 code of the language it was translated to.
    translation_language: Option<String>,
    /// In order.
    turns: Vec<Turn>,
}

/// One turn.
#[derive(Serialize, ToSchema)]
pub(crate) struct Turn {
    /// UUID.
    turn_id: String,
    /// Its place, from 0.
    index: u32,
    /// `agent`, `user`, `human_agent`, `tool` or `system`.
    role: Option<&'static str>,
    /// Who spoke, by name, when it is known.
    speaker: Option<String>,
    /// What was generated or transcribed.
    text: Option<String>,
    /// What was spoken before an interruption cut it.
    heard_text: Option<String>,
    /// The text in the translation language.
    translated_text: Option<String>,
    /// Milliseconds from the start.
    start_ms: Option<i64>,
    /// Milliseconds from the start.
    end_ms: Option<i64>,
    /// Where the times come from: `word`, `turn` or `estimated`.
    timing: Option<&'static str>,
    /// Words with their times.
    words: Vec<Word>,
    /// A call to a tool.
    tool_call: Option<ToolCall>,
    /// What a tool answered.
    tool_result: Option<ToolResult>,
    /// The message that carried it.
    message: Option<TurnMessage>,
    /// When it was said, by the wall clock.
    at: Time,
    /// Whether it may still change.
    partial: bool,
}

/// One word and its time.
#[derive(Serialize, ToSchema)]
pub(crate) struct Word {
    /// As it is written.
    text: String,
    /// Milliseconds from the start.
    start_ms: i64,
    /// Milliseconds from the start.
    end_ms: i64,
}

/// A call to a tool.
#[derive(Serialize, ToSchema)]
pub(crate) struct ToolCall {
    /// What joins call and result.
    id: Option<String>,
    /// The tool.
    name: Option<String>,
    /// Its arguments.
    #[schema(value_type = Value)]
    arguments: Json,
}

/// What a tool answered.
#[derive(Serialize, ToSchema)]
pub(crate) struct ToolResult {
    /// What joins call and result.
    id: Option<String>,
    /// The answer.
    #[schema(value_type = Value)]
    content: Json,
    /// Whether the tool failed.
    is_error: Option<bool>,
}

/// The message that carried a turn.
#[derive(Serialize, ToSchema)]
pub(crate) struct TurnMessage {
    /// `sms`, `email`, …
    r#type: Option<String>,
    /// `inbound` or `outbound`.
    direction: Option<String>,
    /// The sender.
    from: Option<String>,
    /// The receiver.
    to: Option<String>,
    /// The provider's word for what became of it.
    delivery_status: Option<String>,
    /// What came with it.
    #[schema(value_type = Vec<Object>)]
    attachments: Json,
}

pub(crate) fn role_word(role: pb::TurnRole) -> Option<&'static str> {
    match role {
        pb::TurnRole::Unspecified => None,
        pb::TurnRole::Agent => Some("agent"),
        pb::TurnRole::User => Some("user"),
        pb::TurnRole::HumanAgent => Some("human_agent"),
        pb::TurnRole::Tool => Some("tool"),
        pb::TurnRole::System => Some("system"),
    }
}

fn timing_word(timing: pb::Timing) -> Option<&'static str> {
    match timing {
        pb::Timing::Unspecified => None,
        pb::Timing::Word => Some("word"),
        pb::Timing::Turn => Some("turn"),
        pb::Timing::Estimated => Some("estimated"),
    }
}

impl From<pb::GetTranscriptResponse> for Transcript {
    fn from(given: pb::GetTranscriptResponse) -> Self {
        Self {
            conversation_id: given.conversation_id,
            status: Some(given.status).filter(|status| !status.is_empty()),
            language: given.language,
            translation_language: given.translation_language,
            turns: given.turns.into_iter().map(Turn::from).collect(),
        }
    }
}

impl From<pb::Turn> for Turn {
    fn from(given: pb::Turn) -> Self {
        let (role, timing) = (role_word(given.role()), timing_word(given.timing()));
        let word = |word: pb::Word| Word { text: word.text, start_ms: word.start_ms, end_ms: word.end_ms };
        Self {
            turn_id: given.turn_id,
            index: given.index,
            role,
            speaker: given.speaker,
            text: given.text,
            heard_text: given.heard_text,
            translated_text: given.translated_text,
            start_ms: given.start_ms,
            end_ms: given.end_ms,
            timing,
            words: given.words.into_iter().map(word).collect(),
            tool_call: given.tool_call.map(ToolCall::from),
            tool_result: given.tool_result.map(ToolResult::from),
            message: given.message.map(TurnMessage::from),
            at: given.at.into(),
            partial: given.partial,
        }
    }
}

impl From<pb::ToolCall> for ToolCall {
    fn from(given: pb::ToolCall) -> Self {
        Self { id: given.id, name: given.name, arguments: Json::any(given.arguments_json) }
    }
}

impl From<pb::ToolResult> for ToolResult {
    fn from(given: pb::ToolResult) -> Self {
        Self { id: given.id, content: Json::any(given.content_json), is_error: given.is_error }
    }
}

impl From<pb::TurnMessage> for TurnMessage {
    fn from(given: pb::TurnMessage) -> Self {
        Self {
            r#type: given.r#type,
            direction: given.direction,
            from: given.from,
            to: given.to,
            delivery_status: given.delivery_status,
            attachments: Json::array(given.attachments_json.unwrap_or_default()),
        }
    }
}
