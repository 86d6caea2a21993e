//! Transcript entries of ElevenLabs (1.3).

use colloquy_events::{Role, ToolCall, ToolResult, Turn};
use colloquy_types::Timestamp;
use serde_json::Value;

use crate::delivery::TurnIds;
use crate::latency;
use crate::sessions::Parts;
use crate::time;
use crate::value::{embedded, flag, list, number, short, text, word};

/// More kinds of measurements, or more transfers, than this are not told apart: no agent has them.
const MAX_KINDS: usize = 1000;

/// What can be read from the entries.
#[derive(Default)]
pub(super) struct Transcript {
    /// The turns, in order.
    pub(super) turns: Vec<Turn>,
    /// The agents that spoke.
    pub(super) parts: Parts,
    /// How often the person cut the agent off.
    pub(super) interruptions: usize,
    /// Calls of the tool that transfers out of the conversation, with what became of them.
    pub(super) transfers: Vec<Transfer>,
    /// Whether the agent hung up by tool.
    pub(super) agent_hung_up: bool,
    /// Latencies by metric, in milliseconds.
    pub(super) latencies: Vec<(String, Vec<f64>)>,
}

/// A transfer out of the conversation. Handing over to another AI agent is none: that is a session's end and another's beginning.
pub(super) struct Transfer {
    /// What joins call and result.
    pub(super) request_id: String,
    /// A number or address.
    pub(super) destination: Option<String>,
    /// Whether it worked; `None` while there is no result.
    pub(super) succeeded: Option<bool>,
    /// When it was called.
    pub(super) at: Option<Timestamp>,
}

impl Transcript {
    /// Reads `entries` of a conversation that began at `started_at`.
    pub(super) fn read(entries: &[Value], started_at: Option<Timestamp>, ids: &mut TurnIds) -> Self {
        let mut transcript = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            transcript.read_entry(index, entry, started_at, ids);
        }
        // Only where several agents spoke does the role not say who.
        if !transcript.parts.are_several() {
            transcript.turns.iter_mut().for_each(|turn| turn.speaker = None);
        }
        transcript
    }

    fn read_entry(&mut self, index: usize, entry: &Value, started_at: Option<Timestamp>, ids: &mut TurnIds) {
        // `created_at_unix_ms` is newer and finer than the whole seconds of `time_in_call_secs`.
        let at = time::unix_millis(&entry["created_at_unix_ms"]);
        let start_ms = time::between(started_at, at).or_else(|| time::seconds_as_ms(&entry["time_in_call_secs"]));
        let when = at.or_else(|| time::after(started_at, start_ms));
        let name = short(&entry["id"]).unwrap_or_else(|| index.to_string());

        self.note_metrics(&entry["conversation_turn_metrics"]);
        let role = if word(&entry["role"]) == "user" { Role::User } else { Role::Agent };
        let speaker = short(&entry["agent_metadata"]["agent_id"]).filter(|_| role == Role::Agent);
        self.parts.saw(speaker.clone(), when);
        let place = |turn: &mut Turn| {
            turn.start_ms = start_ms;
            turn.at = at;
        };

        let mut turn = Turn::new(ids.of(&name), role);
        place(&mut turn);
        let spoken = text(&entry["message"]);
        let meant = text(&entry["original_message"]);
        if flag(&entry["interrupted"]) == Some(true) && role == Role::Agent {
            self.interruptions += 1;
        }
        match meant {
            // What was cut off is what was meant; what was heard is what `message` holds.
            Some(meant) if flag(&entry["interrupted"]) == Some(true) => {
                turn.text = Some(meant);
                turn.heard_text = Some(spoken.unwrap_or_default());
            }
            _ => turn.text = spoken,
        }
        if turn.text.is_some() {
            turn.speaker = speaker;
            self.turns.push(turn);
        }

        for (number, call) in list(&entry["tool_calls"]).iter().enumerate() {
            let id = short(&call["request_id"]);
            let identity = id.as_ref().map_or_else(|| format!("{name}/call/{number}"), |id| format!("call/{id}"));
            let mut turn = Turn::new(ids.of(&identity), Role::Tool);
            place(&mut turn);
            let arguments = embedded(&call["params_as_json"]);
            self.note_call(call, arguments.as_ref(), when);
            turn.tool_call = Some(ToolCall { id, name: short(&call["tool_name"]), arguments });
            self.turns.push(turn);
        }
        for (number, result) in list(&entry["tool_results"]).iter().enumerate() {
            let id = short(&result["request_id"]);
            let identity = id.as_ref().map_or_else(|| format!("{name}/result/{number}"), |id| format!("result/{id}"));
            let mut turn = Turn::new(ids.of(&identity), Role::Tool);
            place(&mut turn);
            let is_error = flag(&result["is_error"]);
            self.note_result(id.as_deref(), is_error);
            turn.tool_result = Some(ToolResult { id, content: embedded(&result["result_value"]), is_error });
            self.turns.push(turn);
        }
    }

    fn note_call(&mut self, call: &Value, arguments: Option<&Value>, at: Option<Timestamp>) {
        let arguments = arguments.unwrap_or(&Value::Null);
        match word(&call["tool_name"]) {
            "end_call" => self.agent_hung_up = true,
            "transfer_to_number" if self.transfers.len() < MAX_KINDS => {
                let keys = ["transfer_number", "phone_number", "number", "sip_uri", "destination", "agent_number"];
                let destination = keys.iter().find_map(|key| short(&arguments[*key]));
                let request_id = short(&call["request_id"]).unwrap_or_else(|| self.transfers.len().to_string());
                self.transfers.push(Transfer { request_id, destination, succeeded: None, at });
            }
            _ => {}
        }
    }

    fn note_result(&mut self, request_id: Option<&str>, is_error: Option<bool>) {
        let called = self.transfers.iter_mut().find(|transfer| Some(transfer.request_id.as_str()) == request_id);
        if let Some(transfer) = called {
            transfer.succeeded = Some(is_error != Some(true));
        }
    }

    /// The current form nests metrics under `metrics`; the documented older one has them directly.
    fn note_metrics(&mut self, turn_metrics: &Value) {
        let metrics = if turn_metrics["metrics"].is_object() { &turn_metrics["metrics"] } else { turn_metrics };
        for (name, metric) in metrics.as_object().into_iter().flatten() {
            let Some(seconds) = number(&metric["elapsed_time"]) else { continue };
            let millis = latency::tidy(seconds * 1000.0);
            if let Some((_, values)) = self.latencies.iter_mut().find(|(known, _)| known == name) {
                values.push(millis);
            } else if self.latencies.len() < MAX_KINDS {
                self.latencies.push((name.clone(), vec![millis]));
            }
        }
    }
}
