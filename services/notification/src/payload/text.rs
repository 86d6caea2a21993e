//! Bodies in words, for people: what Slack and e-mail show.

use std::fmt::Write as _;

use serde_json::Value;

/// No value is shown longer, in characters.
const LONGEST_VALUE: usize = 300;

/// What is shown of events beside alerts and turns, in this order: facts, never what was said.
const SHOWN: [(&str, &str); 24] = [
    ("agent_name", "Agent"),
    ("agent_id", "Agent id"),
    ("client_id", "Client"),
    ("channel", "Channel"),
    ("direction", "Direction"),
    ("status", "Status"),
    ("end_reason", "Ended because"),
    ("ended_reason", "Ended because"),
    ("failure_code", "Failure"),
    ("duration_ms", "Duration, ms"),
    ("started_at", "Started"),
    ("ended_at", "Ended"),
    ("call_successful", "Success"),
    ("chat_completion_rating", "Rating"),
    ("sentiment", "Sentiment"),
    ("user_sentiment", "Sentiment"),
    ("resolution_status", "Resolution"),
    ("state", "State"),
    ("command", "Command"),
    ("reason", "Reason"),
    ("holder", "Holder"),
    ("rating", "Rating"),
    ("code", "Code"),
    ("endpoint_id", "Endpoint"),
];

/// A message for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text {
    /// One line.
    pub subject: String,
    /// Lines.
    pub body: String,
}

/// Returns what a body says, in words. What was said in a conversation is shown of turns only.
pub fn text_of(event_type: &str, body: &[u8]) -> Text {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let data = &body["data"];
    let mut lines = Lines::default();
    let subject = match event_type.split('.').next() {
        Some("alert") => alert(event_type, data, &mut lines),
        Some("turn") => turn(event_type, data, &mut lines),
        _ => facts(event_type, data, &mut lines),
    };
    let agent_session = event_type.starts_with("conversation_agent_session.");
    lines.add("Conversation", &data[if agent_session { "id" } else { "conversation_id" }]);
    lines.add("Provider", &data["provider"]);
    lines.add("External id", &data["external_id"]);
    lines.add("When", &body[if agent_session { "created_at" } else { "timestamp" }]);
    Text { subject, body: lines.0 }
}

fn alert(event_type: &str, data: &Value, lines: &mut Lines) -> String {
    let what = event_type.rsplit('.').next().unwrap_or(event_type);
    let name = shown(&data["rule_name"]).unwrap_or_else(|| "Alert".to_owned());
    let severity = shown(&data["severity"]).unwrap_or_else(|| "info".to_owned());
    let subject = format!("[{severity}] {name} ({what})");
    lines.line(&subject);
    lines.add("Severity", &data["severity"]);
    if let Some(evidence) = data["evidence"].as_object() {
        for (figure, value) in evidence.iter().filter(|(_, value)| is_figure(value)) {
            lines.add(figure, value);
        }
    }
    lines.add("Alert", &data["alert_id"]);
    subject
}

fn turn(event_type: &str, data: &Value, lines: &mut Lines) -> String {
    let role = shown(&data["role"]).unwrap_or_else(|| "somebody".to_owned());
    let words = [&data["heard_text"], &data["text"]].into_iter().find_map(shown).unwrap_or_default();
    lines.line(&format!("{role}: {words}"));
    subject(event_type, data)
}

fn facts(event_type: &str, data: &Value, lines: &mut Lines) -> String {
    let subject = if event_type == super::own::TEST { "Test from Colloquy".to_owned() } else { subject(event_type, data) };
    lines.line(&subject);
    let agent = &data["agent_version"];
    lines.add("Agent", if data["agent_name"].is_null() { &agent["name"] } else { &Value::Null });
    for (name, label) in SHOWN {
        lines.add(label, &data[name]);
    }
    subject
}

fn subject(event_type: &str, data: &Value) -> String {
    let of = [&data["agent_name"], &data["agent_version"]["name"], &data["external_id"]].into_iter().find_map(shown);
    of.map_or_else(|| event_type.to_owned(), |of| format!("{event_type}: {of}"))
}

/// Returns whether a value is a figure or a single word, not what somebody said.
fn is_figure(value: &Value) -> bool {
    match value {
        Value::Number(_) | Value::Bool(_) => true,
        Value::String(text) => text.len() <= 64 && !text.contains(char::is_whitespace),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Returns a value on one line, if there is anything to show.
fn shown(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((end, _)) = line.char_indices().nth(LONGEST_VALUE) {
        line.truncate(end);
        line.push('…');
    }
    (!line.is_empty()).then_some(line)
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(text);
    }

    fn add(&mut self, label: &str, value: &Value) {
        if let Some(value) = shown(value) {
            self.line("");
            // Writing to a string does not fail.
            let _ = write!(self.0, "{label}: {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::payload::catalogue;

    #[test]
    fn an_alert_shows_its_rule_its_figures_and_its_conversation() {
        let body = json!({"type": "alert.opened", "timestamp": "2026-03-02T15:00:00.000Z", "data": {
            "conversation_id": "c1", "rule_name": "Caller is\r\nBcc: upset", "severity": "critical", "alert_id": "a1",
            "evidence": {"sentiment_score": -0.8, "sentiment": "negative", "text": "I will call my lawyer"},
        }});
        let text = text_of("alert.opened", body.to_string().as_bytes());
        assert_eq!(text.subject, "[critical] Caller is Bcc: upset (opened)");
        let expected = "[critical] Caller is Bcc: upset (opened)\nSeverity: critical\nsentiment_score: -0.8\nsentiment: negative\n\
                        Alert: a1\nConversation: c1\nWhen: 2026-03-02T15:00:00.000Z";
        assert_eq!(text.body, expected);
    }

    #[test]
    fn only_turns_show_what_was_said() {
        let spoken = ["Friday, please.", "One moment, please.", "Very helpful.", "appointment.", "warehouse", "looking for work"];
        for event_type in catalogue::event_types() {
            let text = text_of(event_type.name, event_type.example_json.as_bytes());
            assert!(!text.subject.is_empty() && !text.subject.contains('\n'), "{}", event_type.name);
            let tells = spoken.iter().any(|words| text.body.contains(words) || text.subject.contains(words));
            assert_eq!(tells, event_type.name.starts_with("turn."), "{}: {}", event_type.name, text.body);
        }
    }

    #[test]
    fn what_is_no_json_still_has_a_subject() {
        assert_eq!(text_of("conversation.ended", b"{").subject, "conversation.ended");
    }
}
