//! A transcript as the SDKs know it: entries by `user` or `agent`, which carry tool calls and their results.

use colloquy_proto::transcript::v1 as pb;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// One entry of a transcript.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConvaiTurn {
    /// `user` or `agent`; tools, the platform and people on the agent's side are `agent`.
    role: &'static str,
    /// What was said, and heard.
    message: Option<String>,
    /// What was generated, when less was heard.
    original_message: Option<String>,
    /// Whether an interruption cut it.
    interrupted: bool,
    /// Whole seconds from the start.
    time_in_call_secs: i64,
    /// Calls to tools.
    tool_calls: Vec<ConvaiToolCall>,
    /// What tools answered.
    tool_results: Vec<ConvaiToolResult>,
}

/// A call to a tool.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConvaiToolCall {
    /// Always `client`: which kind of tool it was is not kept.
    r#type: &'static str,
    /// What joins call and result.
    request_id: String,
    /// The tool.
    tool_name: String,
    /// Its arguments as JSON text.
    params_as_json: String,
    /// Whether the tool was called.
    tool_has_been_called: bool,
}

/// What a tool answered.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConvaiToolResult {
    /// Always `client`: which kind of tool it was is not kept.
    r#type: &'static str,
    /// What joins call and result.
    request_id: String,
    /// The tool.
    tool_name: String,
    /// The answer as text.
    result_value: String,
    /// Whether the tool failed.
    is_error: bool,
    /// Whether the tool was called.
    tool_has_been_called: bool,
}

const TOOL: &str = "client";

/// Returns the entries of a transcript, one for each turn.
pub(super) fn entries(turns: Vec<pb::Turn>) -> Vec<ConvaiTurn> {
    let mut called: Vec<(String, String)> = Vec::new();
    turns.into_iter().map(|turn| entry(turn, &mut called)).collect()
}

fn entry(turn: pb::Turn, called: &mut Vec<(String, String)>) -> ConvaiTurn {
    let role = if turn.role() == pb::TurnRole::User { "user" } else { "agent" };
    let interrupted = turn.heard_text.is_some();
    let (message, original_message) = match turn.heard_text {
        Some(heard) => (Some(heard), turn.text),
        None => (turn.text, None),
    };
    let tool_calls = turn.tool_call.map(tool_call).into_iter().inspect(|call| {
        called.push((call.request_id.clone(), call.tool_name.clone()));
    });
    let tool_calls = tool_calls.collect();
    ConvaiTurn {
        role,
        message,
        original_message,
        interrupted,
        time_in_call_secs: turn.start_ms.unwrap_or_default().max(0) / 1000,
        tool_calls,
        tool_results: turn.tool_result.map(|result| tool_result(result, called)).into_iter().collect(),
    }
}

fn tool_call(call: pb::ToolCall) -> ConvaiToolCall {
    ConvaiToolCall {
        r#type: TOOL,
        request_id: call.id.unwrap_or_default(),
        tool_name: call.name.unwrap_or_default(),
        params_as_json: call.arguments_json.unwrap_or_else(|| "{}".to_owned()),
        tool_has_been_called: true,
    }
}

fn tool_result(result: pb::ToolResult, called: &[(String, String)]) -> ConvaiToolResult {
    let request_id = result.id.unwrap_or_default();
    let tool_name = called.iter().rev().find(|(id, _)| *id == request_id).map(|(_, name)| name.clone());
    // What was a text before it was kept as JSON is that text again.
    let result_value = result.content_json.map(|json| match serde_json::from_str(&json) {
        Ok(Value::String(text)) => text,
        _ => json,
    });
    ConvaiToolResult {
        r#type: TOOL,
        request_id,
        tool_name: tool_name.unwrap_or_default(),
        result_value: result_value.unwrap_or_default(),
        is_error: result.is_error.unwrap_or_default(),
        tool_has_been_called: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_the_message() {
        let turn = pb::Turn {
            role: pb::TurnRole::Agent as i32,
            text: Some("all of it".into()),
            heard_text: Some("all".into()),
            start_ms: Some(7_999),
            ..Default::default()
        };
        let [entry] = entries(vec![turn]).try_into().unwrap_or_else(|_| panic!("one entry"));
        assert_eq!((entry.message.as_deref(), entry.original_message.as_deref()), (Some("all"), Some("all of it")));
        assert_eq!((entry.interrupted, entry.time_in_call_secs), (true, 7));
    }

    #[test]
    fn a_result_knows_the_tool_by_its_call() {
        let call = pb::ToolCall { id: Some("r1".into()), name: Some("book".into()), arguments_json: Some("{\"a\":1}".into()) };
        let result = pb::ToolResult { id: Some("r1".into()), content_json: Some("\"done\"".into()), is_error: None };
        let entries = entries(vec![
            pb::Turn { tool_call: Some(call), ..Default::default() },
            pb::Turn { tool_result: Some(result), ..Default::default() },
        ]);
        assert_eq!(entries[0].tool_calls[0].params_as_json, "{\"a\":1}");
        assert_eq!(entries[1].tool_results[0].tool_name, "book");
        assert_eq!(entries[1].tool_results[0].result_value, "done");
        assert_eq!((entries[1].role, entries[1].message.as_deref()), ("agent", None));
    }
}
