//! Transcript entries of Retell: calls and chats (2.3).

use colloquy_events::{Direction, Message, Role, ToolCall, ToolResult, Turn, Word};
use colloquy_types::Timestamp;
use serde_json::Value;

use crate::delivery::TurnIds;
use crate::sessions::Parts;
use crate::time;
use crate::value::{embedded, flag, list, short, text, word};

/// What can be read from the entries.
#[derive(Default)]
pub(super) struct Transcript {
    /// The turns, in order.
    pub(super) turns: Vec<Turn>,
    /// The agents that took over, after the first.
    pub(super) parts: Parts,
    /// Where the last timed turn ends, in milliseconds from the start.
    last_end: Option<i64>,
    /// How many turns, and words of utterances, without a time of their own follow it.
    untimed_since: i64,
    started_at: Option<Timestamp>,
    sms: bool,
    utterances: usize,
    machinery: usize,
}

impl Transcript {
    /// Reads the fullest transcript `record` has. Returns `None` when it has none, which says nothing about the turns there were.
    pub(super) fn read(record: &Value, started_at: Option<Timestamp>, ids: &mut TurnIds) -> Option<Self> {
        // The array with tool calls is a superset; the scrubbed one is all there is when personal data is not stored.
        let bodies = [
            "transcript_with_tool_calls",
            "message_with_tool_calls",
            "transcript_object",
            "scrubbed_transcript_with_tool_calls",
            "scrubbed_message_with_tool_calls",
        ];
        let arrays = || bodies.iter().map(|name| &record[*name]);
        let body = arrays().find(|body| !list(body).is_empty()).or_else(|| arrays().find(|body| body.is_array()))?;
        let sms = word(&record["chat_type"]) == "sms_chat";
        let mut transcript = Self { started_at, sms, ..Self::default() };
        transcript.parts.saw(short(&record["agent_id"]), started_at);
        // Tools of integrations run before and after the conversation itself.
        for entry in list(&record["pre_session_transcript_with_tool_calls"]) {
            transcript.read_entry(entry, ids);
        }
        for entry in list(body) {
            transcript.read_entry(entry, ids);
        }
        for entry in list(&record["post_session_transcript_with_tool_calls"]) {
            transcript.read_entry(entry, ids);
        }
        Some(transcript)
    }

    /// Returns when the transcript so far was taken: at its last word. What has no time of its own counts a millisecond each:
    /// turns (tools, nodes), and the words of an utterance that is not timed yet, which take longer than that to say. So of two
    /// snapshots the longer one is the later.
    pub(super) fn taken_at(&self) -> Option<Timestamp> {
        let last_word = time::after(self.started_at, self.last_end);
        let last_message = self.turns.iter().filter_map(|turn| turn.at).max();
        let last = last_word.max(last_message).or(self.started_at)?;
        Some(last.saturating_add_millis(self.untimed_since))
    }

    fn read_entry(&mut self, entry: &Value, ids: &mut TurnIds) {
        let message_id = short(&entry["message_id"]);
        let turn = match word(&entry["role"]) {
            "tool_call_invocation" => self.tool_call(entry, ids),
            "tool_call_result" => {
                let id = short(&entry["tool_call_id"]);
                let mut turn = self.tool_turn("result", id.as_deref(), ids);
                let is_error = flag(&entry["successful"]).map(|successful| !successful);
                turn.tool_result = Some(ToolResult { id, content: embedded(&entry["content"]), is_error });
                turn
            }
            "node_transition" => {
                let text = transition(&entry["former_node_name"], &entry["new_node_name"]);
                self.machine_turn(Role::System, text, message_id, ids)
            }
            "state_transition" => {
                let text = transition(&entry["former_state_name"], &entry["new_state_name"]);
                self.machine_turn(Role::System, text, message_id, ids)
            }
            "injected" => self.machine_turn(Role::System, text(&entry["content"]), message_id, ids),
            // The person speaks through the keys.
            "dtmf" => self.machine_turn(Role::User, text(&entry["digit"]), message_id, ids),
            "agent" => self.utterance(Role::Agent, entry, message_id, ids),
            // The person a call was transferred to is on the agent's side.
            "transfer_target" => self.utterance(Role::HumanAgent, entry, message_id, ids),
            "user" | "sms" => self.utterance(Role::User, entry, message_id, ids),
            // Roles added later: what they hold is kept, without guessing who speaks.
            _ => self.machine_turn(Role::System, text(&entry["content"]), message_id, ids),
        };
        self.place(turn, entry);
    }

    /// Gives the turn its time, and keeps it.
    fn place(&mut self, mut turn: Turn, entry: &Value) {
        turn.at = time::unix_millis(&entry["created_timestamp"]);
        let own =
            turn.start_ms.or_else(|| time::seconds_as_ms(&entry["time_sec"])).or_else(|| time::between(self.started_at, turn.at));
        // Tool, node and key entries have no time: they happen when the previous utterance is over.
        turn.start_ms = own.or(self.last_end);
        if own.is_some() {
            self.last_end = self.last_end.max(turn.end_ms.or(own));
            self.untimed_since = 0;
        } else {
            let words =
                if turn.role.is_spoken() { turn.text.as_deref().map_or(0, |text| text.split_whitespace().count()) } else { 0 };
            self.untimed_since = self.untimed_since.saturating_add(1 + i64::try_from(words).unwrap_or(i64::MAX));
        }
        self.turns.push(turn);
    }

    /// Utterances are numbered among themselves, so that they have the same ids with and without the entries between them.
    fn utterance(&mut self, role: Role, entry: &Value, message_id: Option<String>, ids: &mut TurnIds) -> Turn {
        let identity = message_id.unwrap_or_else(|| format!("utterance/{}", self.utterances));
        self.utterances += 1;
        let mut turn = Turn::new(ids.of(&identity), role);
        turn.text = text(&entry["content"]);
        turn.words = list(&entry["words"]).iter().filter_map(spoken_word).collect();
        // There is no time of the utterance: its first and last word have it.
        turn.start_ms = turn.words.iter().map(|word| word.start_ms).min();
        turn.end_ms = turn.words.iter().map(|word| word.end_ms).max();
        let attachments = list(&entry["multimedia"]).to_vec();
        let is_sms = self.sms || word(&entry["role"]) == "sms";
        if is_sms || !attachments.is_empty() {
            let direction = if role == Role::User { Direction::Inbound } else { Direction::Outbound };
            let kind = is_sms.then(|| "sms".to_owned());
            turn.message = Some(Message { kind, direction: Some(direction), attachments, ..Message::default() });
        }
        turn
    }

    fn tool_call(&mut self, entry: &Value, ids: &mut TurnIds) -> Turn {
        let id = short(&entry["tool_call_id"]);
        let mut turn = self.tool_turn("call", id.as_deref(), ids);
        let arguments = embedded(&entry["arguments"]);
        if word(&entry["type"]) == "agent_swap" {
            let arguments = arguments.as_ref().unwrap_or(&Value::Null);
            // The swap names the next agent by id, or by nothing but the tool.
            let next = short(&arguments["agent_id"]).or_else(|| short(&entry["name"]));
            self.parts.saw(next, time::after(self.started_at, self.last_end));
        }
        turn.tool_call = Some(ToolCall { id, name: text(&entry["name"]), arguments });
        turn
    }

    fn tool_turn(&mut self, half: &str, id: Option<&str>, ids: &mut TurnIds) -> Turn {
        let number = self.machinery;
        self.machinery += 1;
        let identity = id.map_or_else(|| format!("{half}/#{number}"), |id| format!("{half}/{id}"));
        Turn::new(ids.of(&identity), Role::Tool)
    }

    fn machine_turn(&mut self, role: Role, text: Option<String>, message_id: Option<String>, ids: &mut TurnIds) -> Turn {
        let identity = message_id.unwrap_or_else(|| format!("machinery/{}", self.machinery));
        self.machinery += 1;
        Turn { text, ..Turn::new(ids.of(&identity), role) }
    }
}

/// Word times are float seconds from the start of the audio, each optional.
fn spoken_word(given: &Value) -> Option<Word> {
    let start_ms = time::seconds_as_ms(&given["start"])?;
    let end_ms = time::seconds_as_ms(&given["end"]).unwrap_or(start_ms).max(start_ms);
    Some(Word { text: text(&given["word"])?, start_ms, end_ms })
}

fn transition(former: &Value, new: &Value) -> Option<String> {
    match (text(former), text(new)) {
        (Some(former), Some(new)) => Some(format!("{former} → {new}")),
        (None, Some(new)) => Some(format!("→ {new}")),
        (former, None) => former,
    }
}
