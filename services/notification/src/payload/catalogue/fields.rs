//! What the data of each kind of event has in it.

use colloquy_events::{
    Authority, CallSuccessful, CommandKind, Direction, EndStatus, LeaseState, LiveStatus, RecordingChannel, ResolutionStatus,
    Role, Sentiment, Severity, SpeechState, Thumbs, TransferState,
};
use colloquy_types::Provider;
use serde_json::{Value, json};

use super::schema::{Object, any, anything, flag, integer, list, nullable, number, one_of, text, time, uuid};
use crate::endpoint::{DisabledReason, Kind};

macro_rules! words {
    ($set:ident) => {
        $set::ALL.iter().map(|word| word.as_str())
    };
}

fn texts(description: &str) -> Value {
    list(json!({"type": "string"}), description)
}

fn event(object: Object) -> Object {
    object
        .with("event_id", uuid("The event; a repeat has the same."))
        .with_nullable("position", integer("Its place in the log, ascending within an organization; null in a replay."))
}

pub(super) fn every_event(object: Object) -> Object {
    event(object)
        .with("conversation_id", uuid("The conversation."))
        .with("external_id", text("The provider's own id of the conversation."))
        .with("provider", one_of(words!(Provider), "Who the conversation runs on."))
}

pub(super) fn facts(object: Object) -> Object {
    object
        .may_have("agent_id", text("The agent that leads the conversation."))
        .may_have("agent_name", text("The agent's name."))
        .may_have("agent_version_id", text("The provider's id of the agent's version."))
        .may_have("agent_version", anything("The agent's settings, as the provider sent them."))
        .may_have("channel", text("`phone`, `web`, `chat`, `sms`, `whatsapp`, `email`, or another word a provider uses."))
        .may_have("direction", one_of(words!(Direction), "Which way it goes, seen from the agent."))
        .may_have("caller_number", text("The person's number, in E.164 where it can be written so."))
        .may_have("caller_name", text("The person's name."))
        .may_have("client_id", text("The organization's customer."))
        .may_have("user_id", text("The end user, as the organization calls them."))
        .may_have("thread_id", text("The message thread the conversation is one session of."))
        .may_have("language", text("BCP 47 code of the language spoken."))
        .may_have("translation_language", text("BCP 47 code of the language it was translated to."))
        .may_have("started_at", time("When it began."))
        .may_have("tags", texts("Tags."))
        .may_have("metadata", anything("The provider's own fields."))
        .may_have("voice_platform", text("The platform that carries it."))
        .may_have("latency_ms", anything("Latencies in milliseconds, by stage."))
        .may_have("quality", anything("Quality figures."))
        .may_have("network", anything("Network facts."))
}

pub(super) fn update(object: Object) -> Object {
    facts(object).may_have("status", one_of(words!(LiveStatus), "Where it stands."))
}

pub(super) fn ended(object: Object) -> Object {
    let cost = Object::new()
        .with("amount_micros", integer("Millionths of the currency unit."))
        .with("currency", text("ISO 4217 code."))
        .with("source", text("Who says so."));
    facts(object)
        .with("status", one_of(words!(EndStatus), "How it ended."))
        .may_have("end_reason", text("Why, in Colloquy's words."))
        .may_have("end_reason_detail", text("Why, in the provider's words."))
        .may_have("failure_code", text("What failed, by code."))
        .may_have("failure_message", text("What failed, for people."))
        .may_have("ended_at", time("When it ended."))
        .may_have("duration_ms", integer("How long it lasted, in milliseconds."))
        .may_have("cost", cost.schema())
        .may_have("transferred_to", text("Where it was transferred to."))
        .may_have("voicemail", flag("Whether a machine answered."))
        .may_have("inferred", flag("True when nothing was heard of it any more; the real end may follow."))
}

pub(super) fn analysis(object: Object) -> Object {
    let outcome = Object::new()
        .may_have("result", text("One word for the result."))
        .may_have("actions", list(any("What was done."), "What was done."))
        .may_have("follow_up_tasks", list(any("What remains to be done."), "What remains to be done."))
        .may_have("integrations", list(any("What other systems were told."), "What other systems were told."));
    facts(object)
        .with("authority", one_of(words!(Authority), "Whose judgement it is."))
        .may_have("call_successful", one_of(words!(CallSuccessful), "Whether it reached its goal."))
        .may_have("summary", text("A summary in prose."))
        .may_have("sentiment", one_of(words!(Sentiment), "The person's mood."))
        .may_have("sentiment_score", number("From -1 (negative) to 1 (positive)."))
        .may_have("topics", texts("What it was about."))
        .may_have("keywords", texts("Words that mattered."))
        .may_have("intent", text("What the person wanted."))
        .may_have("resolution_status", one_of(words!(ResolutionStatus), "What became of it."))
        .may_have("satisfaction_score", number("From 1 to 5."))
        .may_have("outcome", outcome.schema())
        .may_have("custom_analysis", anything("Values extracted by name."))
}

pub(super) fn patch(object: Object) -> Object {
    object
        .may_have("tags", texts("The new tags, all of them."))
        .may_have("metadata", anything("A JSON merge patch (RFC 7396) for the metadata."))
        .may_have("client_id", nullable(text("The new customer; null takes it away.")))
        .may_have("user_id", nullable(text("The new end user; null takes it away.")))
}

pub(super) fn turn(object: Object) -> Object {
    let word = Object::new()
        .with("text", text("As it is written."))
        .with("start_ms", integer("Milliseconds from the start."))
        .with("end_ms", integer("Milliseconds from the start."));
    let call = Object::new()
        .may_have("id", text("What joins call and result."))
        .may_have("name", text("The tool."))
        .may_have("arguments", any("Its arguments."));
    let result = Object::new()
        .may_have("id", text("What joins call and result."))
        .may_have("content", any("The answer."))
        .may_have("is_error", flag("Whether the tool failed."));
    let message = Object::new()
        .may_have("type", text("`sms`, `email`, …"))
        .may_have("direction", one_of(words!(Direction), "Which way it went."))
        .may_have("from", text("The sender."))
        .may_have("to", text("The receiver."))
        .may_have("delivery_status", text("The provider's word for what became of it."))
        .may_have("attachments", list(any("As the provider describes it."), "What was attached."));
    object
        .with("turn_id", uuid("The turn."))
        .may_have("index", integer("Its place among the turns, from 0."))
        .with("role", one_of(words!(Role), "Who it is by."))
        .may_have("speaker", text("Who spoke, when the role does not say enough."))
        .may_have("text", text("What was generated or transcribed."))
        .may_have("heard_text", text("What was spoken before an interruption cut it."))
        .may_have("translated_text", text("The text in the translation language."))
        .may_have("start_ms", integer("Milliseconds from the start."))
        .may_have("end_ms", integer("Milliseconds from the start."))
        .may_have("words", list(word.schema(), "Words with their times."))
        .may_have("tool_call", call.schema())
        .may_have("tool_result", result.schema())
        .may_have("message", message.schema())
        .may_have("at", time("When it was said."))
        .with("final", flag("False for a partial turn."))
}

pub(super) fn turns(object: Object) -> Object {
    object.with("turns", list(turn(Object::new()).schema(), "Every turn, in order."))
}

pub(super) fn final_turns(object: Object) -> Object {
    turns(object).with("revision", integer("Of several final transcripts the highest counts."))
}

pub(super) fn session(object: Object) -> Object {
    object
        .with("session_id", text("What identifies the part within its conversation."))
        .may_have("agent_id", text("The agent."))
        .may_have("agent_version_id", text("The agent's version."))
}

pub(super) fn session_end(object: Object) -> Object {
    session(object).may_have("reason", text("Why."))
}

pub(super) fn transfer(object: Object) -> Object {
    object.with("state", one_of(words!(TransferState), "Where it stands.")).may_have("destination", text("A number or address."))
}

pub(super) fn recording(object: Object) -> Object {
    object
        .with("channel", one_of(words!(RecordingChannel), "Whose voice it holds."))
        .with_nullable("content_type", text("Media type."))
        .with_nullable("duration_ms", integer("How long it lasts, in milliseconds."))
        .with_nullable("size_bytes", integer("How many bytes it has."))
        .with_nullable("sha256", text("SHA-256 of the bytes, in hex."))
        .with("path", text("Where to fetch it, at this server, with an API key that has the scope `audio:read`."))
}

pub(super) fn recording_failed(object: Object) -> Object {
    object.with("channel", one_of(words!(RecordingChannel), "Which one.")).with("reason", text("Why, for people."))
}

pub(super) fn feedback(object: Object) -> Object {
    object
        .may_have("rating", integer("From 1 to 5."))
        .may_have("thumbs", one_of(words!(Thumbs), "A thumb instead."))
        .may_have("comment", text("In the person's words."))
}

pub(super) fn error(object: Object) -> Object {
    object
        .with("code", text("What, by code."))
        .may_have("message", text("What, for people."))
        .may_have("component", text("Where."))
}

pub(super) fn speech(object: Object) -> Object {
    object.with("role", one_of(words!(Role), "Who.")).with("state", one_of(words!(SpeechState), "Which."))
}

pub(super) fn command_done(object: Object) -> Object {
    object.with("command_id", uuid("The command.")).with("command", one_of(words!(CommandKind), "What it asks for."))
}

pub(super) fn command(object: Object) -> Object {
    command_done(object)
        .may_have("text", text("What to say or to inject."))
        .may_have("destination", text("Where to transfer to."))
        .may_have("muted", flag("Whether the agent is to be muted, or heard again."))
        .may_have("holder", text("Who gave it."))
}

pub(super) fn command_refused(object: Object) -> Object {
    command_done(object).with("reason", text("Why, by code.")).may_have("detail", text("Why, for people."))
}

pub(super) fn lease(object: Object) -> Object {
    object
        .with("state", one_of(words!(LeaseState), "What became of the lease."))
        .with("holder", text("Who holds it now, or held it."))
        .may_have("expires_at", time("When it runs out unless it is renewed."))
}

/// What every event has, as alerts have it.
pub(super) fn every_alert(object: Object) -> Object {
    event(object)
        .with_nullable(
            "conversation_id",
            uuid("The conversation; null when the alert is about a window of time and not about one."),
        )
        .with_nullable("external_id", text("The provider's own id of the conversation; null without one."))
        .with_nullable("provider", one_of(words!(Provider), "Who the conversation runs on; null without one."))
}

pub(super) fn alert(object: Object) -> Object {
    object
        .with("alert_id", uuid("The alert."))
        .with("rule_id", uuid("The rule that raised it."))
        .with("rule_name", text("What people call the rule."))
        .with("severity", one_of(words!(Severity), "How much it matters."))
        .may_have("evidence", anything("What the rule saw."))
}

pub(super) fn test(object: Object) -> Object {
    object.with("endpoint_id", uuid("The endpoint.")).with("text", text("Says that it is a test."))
}

pub(super) fn endpoint_failing(object: Object) -> Object {
    object
        .with("endpoint_id", uuid("The endpoint."))
        .with("kind", one_of(Kind::ALL.map(Kind::as_str), "How it is told."))
        .with("description", text("What it is for."))
        .with("failing_since", time("Since when every attempt failed."))
}

pub(super) fn endpoint_disabled(object: Object) -> Object {
    let reasons = [DisabledReason::Gone, DisabledReason::Failing].map(DisabledReason::as_str);
    object
        .with("endpoint_id", uuid("The endpoint."))
        .with("kind", one_of(Kind::ALL.map(Kind::as_str), "How it was told."))
        .with("description", text("What it is for."))
        .with("reason", one_of(reasons, "`gone`: it answered 410; `failing`: every attempt of five days failed."))
        .with_nullable("failing_since", time("Since when every attempt failed."))
}
