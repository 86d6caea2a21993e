//! Vapi (notes, 3): "server messages", always `{message: {type, …}}`.

mod chat;
mod control;
mod ending;
mod report;
mod success;
mod transcript;

use colloquy_events::{
    Data, Direction, ErrorRaised, Facts, LiveStatus, Role, Session, SessionEnd, Speech, SpeechState, Transfer, TransferState,
    Turn, Update, end_reason,
};
use colloquy_types::{Provider, Timestamp};
use serde_json::Value;

use crate::delivery::{Delivery, external_id, fingerprint};
use crate::mapping::{Context, MapError, Mapped};
use crate::time;
use crate::value::{first, parse_taking, phone, short, text, word};
use transcript::Transcript;

/// Maps a delivery by its message type (3.1, "Message types").
pub(crate) fn map(body: &[u8], context: &Context<'_>) -> Result<Mapped, MapError> {
    let (body, control_url) = parse_taking(body, |body| control::offered(&body["message"]))?;
    let message = &body["message"];
    if !message.is_object() {
        return Err(MapError::field("message", "must be an object"));
    }
    let mapped = map_message(message, context)?;
    Ok(match control_url {
        Some(url) => control::add(mapped, url, message),
        None => mapped,
    })
}

fn map_message(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let Some(kind) = text(&message["type"]) else { return Err(MapError::field("message.type", "is required")) };
    match kind.as_str() {
        "end-of-call-report" => report::end_of_call(message, context),
        "status-update" => status_update(message, context),
        "conversation-update" => conversation_update(message, context),
        // Sent literally with its filter when only final transcripts are subscribed to.
        "transcript" | "transcript[transcriptType=\"final\"]" | "transcript[transcriptType='final']" => {
            live_transcript(message, context)
        }
        "speech-update" => speech_update(message, context),
        "user-interrupted" => user_interrupted(message, context),
        "transfer-update" => transfer_update(message, context),
        "assistant.started" => assistant_started(message, context),
        "language-change-detected" => language_change(message, context),
        "hang" => hang(message, context),
        "chat.created" => chat::created(message, context),
        "session.created" | "session.updated" => chat::session(&kind, message, context),
        // Live signals that say nothing the others do not.
        "model-output" | "assistant.speechStarted" | "phone-call-control" | "voice-input"
        // Deletion mirrors and uploads to the owner's storage: no state of the conversation (3.4).
        | "call.artifact.upload" | "call.deleted" | "call.delete.failed" | "chat.deleted" | "session.deleted"
        // Questions that expect an answer, sent here by mistake.
        | "assistant-request" | "tool-calls" | "function-call" | "transfer-destination-request" | "handoff-destination-request"
        | "knowledge-base-request" | "voice-request" | "call.endpointing.request" => Ok(Mapped::nothing()),
        other if other.starts_with("campaign") => Ok(Mapped::nothing()),
        other => Err(MapError::unknown_event(other)),
    }
}

fn begin(message: &Value, key: &[&str], context: &Context<'_>) -> Result<Delivery, MapError> {
    let id = external_id("message.call.id", &message["call"]["id"])?;
    Ok(Delivery::new(context, Provider::Vapi, id, key))
}

/// Deliveries carry no id. What is said once a call is named by its type; everything else by its time as well (6.1).
fn stamp(message: &Value) -> String {
    text(&message["timestamp"]).unwrap_or_default()
}

fn said_at(message: &Value) -> Option<Timestamp> {
    time::unix_millis(&message["timestamp"])
}

fn started_at(message: &Value) -> Option<Timestamp> {
    time::iso(first(&[&message["startedAt"], &message["call"]["startedAt"]]))
}

/// What every message of a running call repeats, dated so that the repeats are one event.
fn push_live_facts(delivery: &mut Delivery, message: &Value) {
    let known_since = time::iso(&message["call"]["createdAt"]).or_else(|| started_at(message));
    delivery.push_facts(known_since, Update { facts: identity(message), status: None });
}

fn status_update(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let status = word(&message["status"]);
    let mut delivery = begin(message, &["status-update", status], context)?;
    let at = said_at(message);
    let update = |status| Data::Updated(Update { facts: Facts::default(), status: Some(status) });
    match status {
        "ended" => return report::ended(delivery, message, 0),
        "in-progress" => {
            delivery.push(started_at(message).or(at), Data::Started(identity(message)));
            delivery.push(at, update(LiveStatus::InProgress));
        }
        "scheduled" | "queued" | "ringing" => {
            push_live_facts(&mut delivery, message);
            delivery.push(at, update(LiveStatus::Initiated));
        }
        "forwarding" => {
            push_live_facts(&mut delivery, message);
            delivery.push(at, update(LiveStatus::InProgress));
            let transfer = Transfer { state: TransferState::Started, destination: destination(message) };
            delivery.push(at, Data::TransferUpdated(transfer));
        }
        // About deletion: no state of the conversation.
        "not-found" | "deletion-failed" => {}
        // A status added later is no reason to forget who talks.
        _ => push_live_facts(&mut delivery, message),
    }
    delivery.finish()
}

/// The whole history so far: replaces the transcript, whatever was missed.
fn conversation_update(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let mut delivery = begin(message, &["conversation-update"], context)?;
    push_live_facts(&mut delivery, message);
    if let Some(transcript) = Transcript::read(message, started_at(message), &mut delivery.turn_ids()) {
        let said_at = said_at(message).or_else(|| transcript.turns.iter().filter_map(|turn| turn.at).max());
        let stamp = if message["timestamp"].is_null() { fingerprint(&transcript.turns) } else { stamp(message) };
        delivery.extend_key(stamp);
        delivery.push(said_at, Data::TranscriptUpdated { turns: transcript.turns });
    }
    delivery.finish()
}

/// A partial transcript is replaced by the next one of its role. There is no id of the turn: its time stands for it.
fn live_transcript(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let is_final = word(&message["transcriptType"]) != "partial" || word(&message["type"]) != "transcript";
    let (role, name) = if word(&message["role"]) == "user" { (Role::User, "user") } else { (Role::Agent, "assistant") };
    let finality = if is_final { "final" } else { "partial" };
    // Of two in one millisecond, neither is a repeat of the other unless they say the same.
    let (stamp, said) = (stamp(message), fingerprint(&message["transcript"]));
    let mut delivery = begin(message, &["transcript", name, finality, &stamp, &said], context)?;
    push_live_facts(&mut delivery, message);
    let said_at = said_at(message);
    let turn_id = delivery.turn_ids().of(&format!("live/{name}/{finality}/{stamp}/{said}"));
    let turn = Turn { text: text(&message["transcript"]), at: said_at, is_final, ..Turn::new(turn_id, role) };
    if turn.text.is_some() {
        delivery.push(said_at, Data::TurnAdded(turn));
    }
    delivery.finish()
}

/// Somebody begins or ceases to speak: shown while it happens, part of no record.
fn speech_update(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let role = match word(&message["role"]) {
        "user" => Role::User,
        "assistant" | "bot" => Role::Agent,
        _ => return Ok(Mapped::nothing()),
    };
    match word(&message["status"]).parse() {
        Ok(state) => speech(message, Speech { role, state }, context),
        Err(_) => Ok(Mapped::nothing()),
    }
}

/// The person spoke into the assistant's turn, which ends with that.
fn user_interrupted(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    speech(message, Speech { role: Role::Agent, state: SpeechState::Stopped }, context)
}

/// What passes is not worth a place in quarantine: without a call it means nothing.
fn speech(message: &Value, speech: Speech, context: &Context<'_>) -> Result<Mapped, MapError> {
    let turn = text(first(&[&message["turn"], &message["turnId"]])).unwrap_or_default();
    let key = ["speech", speech.role.as_str(), speech.state.as_str(), &stamp(message), &turn];
    let Ok(mut delivery) = begin(message, &key, context) else { return Ok(Mapped::nothing()) };
    push_live_facts(&mut delivery, message);
    delivery.push(said_at(message), Data::SpeechUpdated(speech));
    delivery.finish()
}

/// A transfer to a number, or a handover from one assistant of a squad to another.
fn transfer_update(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let mut delivery = begin(message, &["transfer-update", &stamp(message)], context)?;
    push_live_facts(&mut delivery, message);
    let at = said_at(message);
    let assistant = |side: &str| short(&message[side]["id"]).or_else(|| short(&message[side]["name"]));
    let session = |agent_id: String| Session { session_id: agent_id.clone(), agent_id: Some(agent_id), agent_version_id: None };
    if let Some(next) = assistant("toAssistant") {
        if let Some(previous) = assistant("fromAssistant") {
            let reason = Some(end_reason::TRANSFERRED.to_owned());
            delivery.push(at, Data::SessionEnded(SessionEnd { session: session(previous), reason }));
        }
        delivery.push(at, Data::SessionStarted(session(next)));
    } else {
        let transfer = Transfer { state: TransferState::Started, destination: destination(message) };
        delivery.push(at, Data::TransferUpdated(transfer));
    }
    delivery.finish()
}

fn assistant_started(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let mut delivery = begin(message, &["assistant.started", &stamp(message)], context)?;
    push_live_facts(&mut delivery, message);
    let ids = [&message["newAssistant"]["id"], &message["assistant"]["id"], &message["call"]["assistantId"]];
    if let Some(agent_id) = short(first(&ids)) {
        let session = Session { session_id: agent_id.clone(), agent_id: Some(agent_id), agent_version_id: None };
        delivery.push(said_at(message), Data::SessionStarted(session));
    }
    delivery.finish()
}

fn language_change(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let mut delivery = begin(message, &["language-change-detected", &stamp(message)], context)?;
    let facts = Facts { language: short(&message["language"]), ..Facts::default() };
    delivery.push(said_at(message), Data::Updated(Update { facts, status: None }));
    delivery.finish()
}

/// The assistant did not answer in time; the call goes on.
fn hang(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let mut delivery = begin(message, &["hang", &stamp(message)], context)?;
    push_live_facts(&mut delivery, message);
    let error = ErrorRaised {
        code: "hang".to_owned(),
        message: Some("the assistant did not respond in time".to_owned()),
        component: Some("assistant".to_owned()),
    };
    delivery.push(said_at(message), Data::ErrorRaised(error));
    delivery.finish()
}

/// Where a call goes: a number with its extension, a SIP address, or an assistant.
fn destination(message: &Value) -> Option<String> {
    let target = first(&[&message["destination"], &message["call"]["destination"]]);
    if let Some(number) = phone(&target["number"]) {
        return Some(match short(&target["extension"]) {
            Some(extension) => format!("{number};ext={extension}"),
            None => number,
        });
    }
    short(first(&[&target["sipUri"], &target["assistantName"], &target["assistantId"]]))
}

/// Who, how and when: what every message repeats (3.6).
fn identity(message: &Value) -> Facts {
    let call = &message["call"];
    let kind = word(&call["type"]);
    let customer = first(&[&message["customer"], &call["customer"]]);
    let assistant = first(&[&message["assistant"], &call["assistant"]]);
    let (channel, direction) = match kind {
        "inboundPhoneCall" => (Some("phone"), Some(Direction::Inbound)),
        "outboundPhoneCall" => (Some("phone"), Some(Direction::Outbound)),
        "webCall" | "vapi.websocketCall" => (Some("web"), None),
        _ => (None, None),
    };
    let version = first(&[&message["assistantVersion"], &assistant["version"]]);
    Facts {
        agent_id: short(first(&[&call["assistantId"], &assistant["id"], &call["workflowId"]])),
        agent_name: short(&assistant["name"]),
        agent_version_id: short(version).or_else(|| short(&version["id"])),
        channel: channel.map(str::to_owned).or_else(|| short(&call["type"])),
        direction,
        // The customer is the person, whoever called.
        caller_number: phone(first(&[&customer["number"], &customer["sipUri"]])),
        caller_name: short(&customer["name"]),
        user_id: short(first(&[&customer["externalId"], &call["customerId"]])),
        started_at: started_at(message),
        voice_platform: short(&call["phoneCallProvider"]),
        ..Facts::default()
    }
}
