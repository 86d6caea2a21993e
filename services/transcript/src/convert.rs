//! To and from `colloquy.transcript.v1`.

use colloquy_events::convert::timestamp_to_pb;
use colloquy_events::{Message, Role, Turn};
use colloquy_figures::{BySide, Figures, Interruptions, Silence, Times};
use colloquy_proto::transcript::v1 as pb;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{ConversationId, ConversationName};
use serde::Serialize;

use crate::fold::Transcript;
use crate::render::Format;
use crate::timing::{self, Source};

/// A transcript to read, or to count.
pub struct Get {
    /// Whose.
    pub conversation: ConversationName,
    /// Wait until this position was read.
    pub min_position: u64,
}

/// A transcript to write.
pub struct Render {
    /// Whose.
    pub conversation: ConversationName,
    /// How.
    pub format: Format,
    /// The language wanted; empty for the original.
    pub language: String,
    /// Wait until this position was read.
    pub min_position: u64,
}

impl TryFrom<pb::GetTranscriptRequest> for Get {
    type Error = Problem;

    fn try_from(request: pb::GetTranscriptRequest) -> Result<Self, Problem> {
        Self::new(&request.conversation_id, request.min_position)
    }
}

impl TryFrom<pb::GetFiguresRequest> for Get {
    type Error = Problem;

    fn try_from(request: pb::GetFiguresRequest) -> Result<Self, Problem> {
        Self::new(&request.conversation_id, request.min_position.unwrap_or_default())
    }
}

impl Get {
    fn new(conversation_id: &str, min_position: u64) -> Result<Self, Problem> {
        let mut errors = FieldErrors::new();
        let conversation = errors.parse("conversation_id", conversation_id);
        errors.finish()?;
        let Some(conversation) = conversation else { return Err(incomplete()) };
        Ok(Self { conversation, min_position })
    }
}

impl TryFrom<pb::RenderTranscriptRequest> for Render {
    type Error = Problem;

    fn try_from(request: pb::RenderTranscriptRequest) -> Result<Self, Problem> {
        let mut errors = FieldErrors::new();
        let conversation = errors.parse("conversation_id", &request.conversation_id);
        let format = errors.check("format", format(request.format()));
        errors.finish()?;
        let (Some(conversation), Some(format)) = (conversation, format) else { return Err(incomplete()) };
        Ok(Self { conversation, format, language: request.language, min_position: request.min_position })
    }
}

/// A field has no value only when it was noted as bad, so this is never seen.
fn incomplete() -> Problem {
    Problem::invalid(Vec::new())
}

fn format(format: pb::TranscriptFormat) -> Result<Format, &'static str> {
    match format {
        pb::TranscriptFormat::Text => Ok(Format::Text),
        pb::TranscriptFormat::Srt => Ok(Format::Srt),
        pb::TranscriptFormat::Vtt => Ok(Format::Vtt),
        pb::TranscriptFormat::Unspecified => Err("must be TEXT, SRT or VTT"),
    }
}

/// Writes a transcript.
pub fn transcript_to_pb(conversation_id: ConversationId, transcript: Transcript) -> pb::GetTranscriptResponse {
    let timings = timing::of_turns(&transcript.turns, transcript.duration_ms);
    let turns = transcript.turns.into_iter().zip(timings).enumerate();
    pb::GetTranscriptResponse {
        conversation_id: conversation_id.to_string(),
        status: transcript.status.as_str().to_owned(),
        language: transcript.language,
        translation_language: transcript.translation_language,
        turns: turns.map(|(index, (turn, timing))| turn_to_pb(index, turn, timing)).collect(),
    }
}

/// Counts turns and writes the figures. While a conversation runs they are what was counted so far: what cannot be established yet is nothing yet.
pub fn figures_to_pb(conversation_id: ConversationId, turns: &[Turn]) -> pb::GetFiguresResponse {
    let figures = Figures::of(turns, Default::default());
    pb::GetFiguresResponse {
        conversation_id: conversation_id.to_string(),
        turn_count: figures.turn_count.counted,
        duration_ms: figures.reach_ms,
        talk: Some(talk_to_pb(&figures.talk.counted)),
        silence: Some(silence_to_pb(figures.silence.counted)),
        interruptions_by_user: Some(interruptions_to_pb(figures.interruptions_by_user.counted)),
        interruptions_by_agent: Some(interruptions_to_pb(figures.interruptions_by_agent.counted)),
    }
}

fn talk_to_pb(talk: &BySide) -> pb::TalkFigures {
    pb::TalkFigures {
        agent_ms: talk.agent.ms,
        user_ms: talk.user.ms,
        ratio: talk.agent_ratio(),
        agent_words_per_minute: talk.agent.words_per_minute(),
        user_words_per_minute: talk.user.words_per_minute(),
    }
}

const fn silence_to_pb(silence: Silence) -> pb::SilenceFigures {
    pb::SilenceFigures { total_ms: silence.total_ms, longest_ms: silence.longest_ms, count: silence.count }
}

const fn interruptions_to_pb(interruptions: Interruptions) -> pb::InterruptionFigures {
    pb::InterruptionFigures { count: interruptions.count, overlap_ms: interruptions.overlap_ms }
}

fn turn_to_pb(index: usize, turn: Turn, timing: Option<timing::Timing>) -> pb::Turn {
    let told = Times::of(&turn);
    let (start_ms, end_ms, timing) = match timing {
        Some(timing) => (Some(timing.start_ms), Some(timing.end_ms), source_to_pb(timing.source)),
        // Of what is not speech nothing is estimated.
        None if turn.start_ms.is_some() || turn.end_ms.is_some() => (turn.start_ms, turn.end_ms, pb::Timing::Turn),
        None => (None, None, pb::Timing::Unspecified),
    };
    pb::Turn {
        turn_id: turn.turn_id.to_string(),
        index: u32::try_from(index).unwrap_or(u32::MAX),
        role: role_to_pb(turn.role).into(),
        speaker: turn.speaker,
        text: turn.text,
        heard_text: turn.heard_text,
        translated_text: turn.translated_text,
        start_ms,
        end_ms,
        timing: timing.into(),
        words: turn
            .words
            .into_iter()
            .map(|word| pb::Word { text: word.text, start_ms: word.start_ms, end_ms: word.end_ms })
            .collect(),
        tool_call: turn.tool_call.map(|call| pb::ToolCall {
            id: call.id,
            name: call.name,
            arguments_json: call.arguments.as_ref().map(json),
        }),
        tool_result: turn.tool_result.map(|result| pb::ToolResult {
            id: result.id,
            content_json: result.content.as_ref().map(json),
            is_error: result.is_error,
        }),
        message: turn.message.map(message_to_pb),
        at: turn.at.map(timestamp_to_pb),
        partial: !turn.is_final,
        start_is_told: told.start.is_some(),
        end_is_told: told.end.is_some(),
    }
}

fn message_to_pb(message: Message) -> pb::TurnMessage {
    pb::TurnMessage {
        r#type: message.kind,
        direction: message.direction.map(|direction| direction.to_string()),
        from: message.from,
        to: message.to,
        delivery_status: message.delivery_status,
        attachments_json: (!message.attachments.is_empty()).then(|| json(&message.attachments)),
    }
}

pub(crate) const fn role_to_pb(role: Role) -> pb::TurnRole {
    match role {
        Role::Agent => pb::TurnRole::Agent,
        Role::User => pb::TurnRole::User,
        Role::HumanAgent => pb::TurnRole::HumanAgent,
        Role::Tool => pb::TurnRole::Tool,
        Role::System => pb::TurnRole::System,
    }
}

const fn source_to_pb(source: Source) -> pb::Timing {
    match source {
        Source::Word => pb::Timing::Word,
        Source::Turn => pb::Timing::Turn,
        Source::Estimated => pb::Timing::Estimated,
    }
}

fn json(value: &impl Serialize) -> String {
    // JSON values always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use colloquy_types::TurnId;

    use super::*;

    #[test]
    fn every_bad_field_of_a_request_is_named() {
        let request = pb::RenderTranscriptRequest { conversation_id: "?".to_owned(), format: 99, ..Default::default() };
        let fields: Vec<String> = Render::try_from(request).err().unwrap().fields.into_iter().map(|bad| bad.field).collect();
        assert_eq!(fields, ["conversation_id", "format"]);
    }

    #[test]
    fn turns_are_numbered_in_order_and_say_where_their_times_come_from() {
        let turn = |role, text: &str| Turn { text: Some(text.to_owned()), ..Turn::new(TurnId::generate(), role) };
        let turns = vec![
            Turn { index: Some(7), start_ms: Some(100), end_ms: Some(900), ..turn(Role::User, "hello") },
            Turn { start_ms: Some(950), ..Turn::new(TurnId::generate(), Role::Tool) },
            Turn { is_final: false, ..turn(Role::Agent, "hi") },
            Turn::new(TurnId::generate(), Role::System),
        ];
        let answer = transcript_to_pb(ConversationId::generate(), Transcript { turns, ..crate::fold::fold(&[]) });
        let seen: Vec<_> =
            answer.turns.iter().map(|turn| (turn.index, turn.start_ms, turn.end_ms, turn.timing(), turn.partial)).collect();
        assert_eq!(seen[0], (0, Some(100), Some(900), pb::Timing::Turn, false));
        assert_eq!(seen[1], (1, Some(950), None, pb::Timing::Turn, false));
        assert_eq!((seen[2].1, seen[2].3, seen[2].4), (Some(900), pb::Timing::Estimated, true));
        assert_eq!(seen[3], (3, None, None, pb::Timing::Unspecified, false));
        let told: Vec<_> = answer.turns.iter().map(|turn| (turn.start_is_told, turn.end_is_told)).collect();
        assert_eq!(told, [(true, true), (true, false), (false, false), (false, false)]);
    }
}
