//! One turn of a conversation, as far as it is known.

use colloquy_types::{Timestamp, TurnId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Direction, Role};

/// One turn: spoken, written, or made by a tool. Times are milliseconds from the start of the conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Derived from what identifies the turn at the provider.
    pub turn_id: TurnId,
    /// Its place among the turns, from 0, when the sender numbers them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Who it is by.
    pub role: Role,
    /// Who spoke, when the role does not say enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
    /// What was generated or transcribed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What was spoken before an interruption cut it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_text: Option<String>,
    /// The text in the conversation's translation language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translated_text: Option<String>,
    /// Where it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<i64>,
    /// Where it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ms: Option<i64>,
    /// Words with their times, where the provider has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
    /// A call to a tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call: Option<ToolCall>,
    /// What a tool answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_result: Option<ToolResult>,
    /// The message that carried the turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// When it was said, by the wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// False for a partial turn, which the next partial or final one of the same role replaces.
    #[serde(rename = "final")]
    pub is_final: bool,
}

impl Turn {
    /// Returns a final turn of which only its id and role are known.
    pub fn new(turn_id: TurnId, role: Role) -> Self {
        Self {
            turn_id,
            index: None,
            role,
            speaker: None,
            text: None,
            heard_text: None,
            translated_text: None,
            start_ms: None,
            end_ms: None,
            words: Vec::new(),
            tool_call: None,
            tool_result: None,
            message: None,
            at: None,
            is_final: true,
        }
    }

    /// Returns what was heard: the spoken part when the turn was interrupted, else the whole text.
    pub fn heard(&self) -> Option<&str> {
        self.heard_text.as_deref().or(self.text.as_deref())
    }

    /// Returns whether the turn is speech with words in it: what counts, and what captions show.
    pub fn is_spoken(&self) -> bool {
        self.role.is_spoken() && self.heard().is_some_and(|text| !text.trim().is_empty())
    }
}

/// One word and its time, in milliseconds from the start of the conversation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Word {
    /// The word as it is written, with punctuation.
    pub text: String,
    /// Where it begins.
    pub start_ms: i64,
    /// Where it ends.
    pub end_ms: i64,
}

/// A call to a tool.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ToolCall {
    /// What joins call and result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its arguments: JSON where they parse, else the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
}

/// What a tool answered.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ToolResult {
    /// What joins call and result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The answer: JSON where it parses, else the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Value>,
    /// Whether the tool failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
}

/// The message that carried a turn.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    /// `sms`, `mms`, `email`, `whatsapp` or another word a provider uses.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Which way it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The provider's word for what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_status: Option<String>,
    /// What was attached, as the provider describes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Value>,
}
