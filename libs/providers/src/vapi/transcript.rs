//! Message entries of Vapi (3.3).

use colloquy_events::{Role, ToolCall, ToolResult, Turn};
use colloquy_types::Timestamp;
use serde_json::Value;

use crate::delivery::TurnIds;
use crate::sessions::Parts;
use crate::time;
use crate::value::{embedded, first, list, short, text, word};

/// What can be read from the entries.
#[derive(Default)]
pub(super) struct Transcript {
    /// The turns, in order.
    pub(super) turns: Vec<Turn>,
    /// The assistants that spoke.
    pub(super) parts: Parts,
    started_at: Option<Timestamp>,
}

impl Transcript {
    /// Reads the history from wherever the message holds it; `None` when it holds none.
    pub(super) fn read(message: &Value, started_at: Option<Timestamp>, ids: &mut TurnIds) -> Option<Self> {
        // Message-level fields are the newest; the copies within `call` may be empty.
        let places = [&message["artifact"], message, &message["call"]["artifact"], &message["call"]];
        let histories = || ["messages", "messagesOpenAIFormatted"].into_iter().flat_map(|name| places.map(|place| &place[name]));
        let entries =
            histories().find(|entries| !list(entries).is_empty()).or_else(|| histories().find(|entries| entries.is_array()))?;
        let mut transcript = Self { started_at, ..Self::default() };
        let mut prompts_are_over = false;
        for (index, entry) in list(entries).iter().enumerate() {
            // The first entries are the system prompt, which nobody spoke.
            prompts_are_over |= word(&entry["role"]) != "system";
            if prompts_are_over {
                transcript.read_entry(index, entry, ids);
            }
        }
        if !transcript.parts.are_several() {
            transcript.turns.iter_mut().for_each(|turn| turn.speaker = None);
        }
        Some(transcript)
    }

    /// Returns whether the person said anything.
    pub(super) fn user_spoke(&self) -> bool {
        self.turns.iter().any(|turn| turn.role == Role::User && turn.is_spoken())
    }

    fn read_entry(&mut self, index: usize, entry: &Value, ids: &mut TurnIds) {
        let at = time::unix_millis(&entry["time"]);
        let start_ms = time::seconds_as_ms(&entry["secondsFromStart"]).or_else(|| time::between(self.started_at, at));
        // `duration` is in milliseconds although documented in seconds, and leaves pauses out: the clock times are better.
        let end_ms = start_ms.zip(time::between(at, time::unix_millis(&entry["endTime"]))).map(|(start, length)| start + length);
        // The OpenAI form calls it `content`.
        let content = first(&[&entry["message"], &entry["content"]]);
        let spoken = |role: Role, ids: &mut TurnIds| {
            let mut turn = Turn::new(ids.of(&index.to_string()), role);
            turn.text = text(content);
            (turn.start_ms, turn.end_ms, turn.at) = (start_ms, end_ms, at);
            turn
        };

        match word(&entry["role"]) {
            // Docs pages and some bodies say `assistant` for `bot`.
            "bot" | "assistant" => {
                let mut turn = spoken(Role::Agent, ids);
                turn.speaker = short(first(&[&entry["assistantName"], &entry["assistantId"]]));
                self.parts.saw(short(&entry["assistantId"]), at.or_else(|| time::after(self.started_at, start_ms)));
                self.keep(turn);
                self.read_tool_calls(index, &entry["tool_calls"], (start_ms, at), ids);
            }
            // Words in `metadata.wordLevelConfidence` have units and origins that differ by transcriber: not usable.
            "user" => self.keep(spoken(Role::User, ids)),
            "tool_calls" => self.read_tool_calls(index, &entry["toolCalls"], (start_ms, at), ids),
            "tool_call_result" | "tool" => {
                let id = short(first(&[&entry["toolCallId"], &entry["tool_call_id"]]));
                let identity = id.as_ref().map_or_else(|| index.to_string(), |id| format!("result/{id}"));
                let mut turn = Turn::new(ids.of(&identity), Role::Tool);
                (turn.start_ms, turn.at) = (start_ms, at);
                let content = embedded(first(&[&entry["result"], &entry["content"]]));
                turn.tool_result = Some(ToolResult { id, content, is_error: None });
                self.turns.push(turn);
            }
            _ => self.keep(spoken(Role::System, ids)),
        }
    }

    /// One entry may call several tools: each call is a turn.
    fn read_tool_calls(&mut self, index: usize, calls: &Value, place: (Option<i64>, Option<Timestamp>), ids: &mut TurnIds) {
        for (number, call) in list(calls).iter().enumerate() {
            let id = short(&call["id"]);
            let identity = id.as_ref().map_or_else(|| format!("{index}.{number}"), |id| format!("call/{id}"));
            let mut turn = Turn::new(ids.of(&identity), Role::Tool);
            (turn.start_ms, turn.at) = place;
            let function = &call["function"];
            turn.tool_call = Some(ToolCall { id, name: text(&function["name"]), arguments: embedded(&function["arguments"]) });
            self.turns.push(turn);
        }
    }

    fn keep(&mut self, turn: Turn) {
        if turn.text.is_some() {
            self.turns.push(turn);
        }
    }
}
