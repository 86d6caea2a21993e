//! What the bodies of `conversation_agent_session.*` look like.

use serde_json::{Value, json};

use super::schema::{Object, any, anything, list, nullable, one_of, text, time, uuid};
use crate::payload::agent_session::Phase;

/// One of the last phase, where everything is known.
const EXAMPLE: &str = include_str!("session.json");

pub(super) const fn description(phase: Phase) -> &'static str {
    match phase {
        Phase::Started => "A conversation runs: once for each, with what was said so far.",
        Phase::Ended => "A conversation is over, with everything that was said: once, and once more if it had only seemed so.",
        Phase::Analyzed => "A conversation was judged: with everything that was said, and the judgement.",
    }
}

pub(super) fn schema(phase: Phase) -> Value {
    Object::new()
        .with("data", session().schema())
        .with("api_version", json!({"const": "v1"}))
        .with("event", json!({"const": phase.event_type()}))
        .with("created_at", time("When it happened."))
        .with("request_id", uuid("The message; a repeat has the same."))
        .document(phase.event_type(), description(phase))
}

pub(super) fn example(phase: Phase) -> Value {
    let mut example: Value = serde_json::from_str(EXAMPLE).expect("the example is part of the program and is read by its tests");
    example["event"] = phase.event_type().into();
    let data = &mut example["data"];
    if phase < Phase::Analyzed {
        for name in ["chat_completion_rating", "chat_summary", "user_sentiment", "custom_analysis_data"] {
            data[name] = Value::Null;
        }
    }
    if phase < Phase::Ended {
        data["ended_at"] = Value::Null;
        data["ended_reason"] = Value::Null;
    }
    example
}

fn session() -> Object {
    Object::new()
        .with("agent_version", agent_version().schema())
        .with_nullable("conversation_id", text("The message thread, which can hold many sessions."))
        .with("id", text("The session: of agent sessions the provider's id of it, of others the conversation's id here."))
        .with_nullable("started_at", time("When it began."))
        .with_nullable("ended_at", time("When it ended."))
        .with_nullable("ended_reason", text("Why it ended."))
        .with_nullable("chat_completion_rating", text("`complete`, `incomplete`, or a provider's other word."))
        .with_nullable("chat_summary", text("In prose."))
        .with_nullable("user_sentiment", text("`positive`, `neutral` or `negative`."))
        .with_nullable("custom_analysis_data", anything("Values extracted by name."))
        .with("messages", list(message().schema(), "What was said, in order."))
        .with_nullable("chat_transcript", text("A line for each message: `User: …`, `Agent: …`."))
        .with_nullable("translated_chat_transcript", text("The same in the translation language."))
        .with_nullable("language", text("BCP 47 code of the language spoken."))
        .with_nullable("translation_language", text("BCP 47 code of the language it was translated to."))
}

fn agent_version() -> Object {
    Object::new()
        .with_nullable("agent_id", text("The agent."))
        .with("created_by_id", any("Who made the version, as the provider knows them."))
        .with_nullable("description", text("What it is for."))
        .with_nullable("id", text("The version."))
        .with_nullable("llm_id", text("The model's settings, as the provider knows them."))
        .with_nullable("name", text("The agent's name."))
        .with_nullable("organization_id", text("Whose agent it is, as the provider knows them."))
        .with_nullable("provider_settings", anything("The version's settings, as the provider sent them."))
}

fn message() -> Object {
    Object::new()
        .with("attachments", list(any("As the provider describes it."), "What was attached."))
        .with_nullable("body", text("What was said, as far as it was heard."))
        .with_nullable("campaign_contact_id", text("The provider's id."))
        .with_nullable("campaign_id", text("The provider's id."))
        .with_nullable("channel_id", text("The provider's id."))
        .with_nullable("contact_id", text("The provider's id."))
        .with_nullable("conversation_id", text("The message thread."))
        .with_nullable("created_at", time("When it was said."))
        .with_nullable("delivery_status", text("The provider's word for what became of it."))
        .with("direction", one_of(["INBOUND", "OUTBOUND"], "Which way it went, seen from the agent."))
        .with_nullable("from", text("The sender's number."))
        .with("id", uuid("The message."))
        .with_nullable("language", text("BCP 47 code."))
        .with("metadata", anything("The provider's own fields."))
        .with("mode", one_of(["manual", "ai"], "Who wrote it: a person, or the agent."))
        .with_nullable("sequence_id", text("The provider's id."))
        .with_nullable("step_contact_id", text("The provider's id."))
        .with_nullable("step_id", text("The provider's id."))
        .with_nullable("to", text("The receiver's number."))
        .with_nullable("translated_body", text("In the translation language."))
        .with_nullable("translation_language", text("BCP 47 code."))
        .with("type", nullable(text("`sms`, `call`, `chat`, …")))
        .with_nullable("updated_at", time("When it last changed."))
        .with_nullable("user_id", text("The person on the agent's side who wrote it."))
}
