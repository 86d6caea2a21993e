//! Chats and the sessions that hold them. A session is a conversation of many chats, each an exchange; a chat without a session is
//! a conversation of one exchange.

use colloquy_events::{Cost, Data, Facts, LiveStatus, Role, Turn, Update, end_reason};
use colloquy_types::{Provider, Timestamp};
use serde_json::Value;

use crate::analysis::Ending;
use crate::delivery::{Delivery, TurnIds, external_id};
use crate::mapping::{Context, MapError, Mapped};
use crate::time;
use crate::value::{first, non_empty, number, phone, remainder, short, text, word};

const KNOWN_CHAT: &[&str] = &[
    "assistant",
    "assistantId",
    "assistantOverrides",
    "cost",
    "createdAt",
    "customer",
    "id",
    "input",
    "messages",
    "output",
    "sessionId",
    "squad",
    "status",
    "updatedAt",
];

/// One exchange: `input` is what the person wrote, `output` what was answered.
pub(super) fn created(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let chat = &message["chat"];
    let chat_id = external_id("message.chat.id", &chat["id"])?;
    let session_id = short(&chat["sessionId"]);
    let conversation = session_id.clone().unwrap_or_else(|| chat_id.clone());
    let mut delivery = Delivery::new(context, Provider::Vapi, conversation, &["chat.created", &chat_id]);
    let at = time::iso(&chat["createdAt"]).or_else(|| super::said_at(message));

    let facts = Facts { metadata: non_empty(remainder(chat, KNOWN_CHAT)), ..identity(message, chat) };
    if session_id.is_some() {
        delivery.push(at, Data::Updated(Update { facts, status: Some(LiveStatus::InProgress) }));
    } else {
        delivery.push(at, Data::Started(Facts { started_at: at, ..facts }));
    }

    let mut ids = delivery.turn_ids();
    let mut turns = Vec::new();
    read_messages(&chat["input"], "input", Role::User, &chat_id, at, &mut ids, &mut turns);
    read_messages(&chat["output"], "output", Role::Agent, &chat_id, at, &mut ids, &mut turns);
    if session_id.is_none() {
        delivery.push(at, Data::TranscriptCompleted { turns, revision: 1 });
        let mut ended = Ending::completed(end_reason::ENDED).ended(None);
        ended.ended_at = at;
        ended.cost = number(&chat["cost"]).and_then(|dollars| Cost::from_provider(dollars, "USD"));
        delivery.push(at, Data::Ended(ended));
    } else {
        for turn in turns {
            let name = turn.turn_id.to_string();
            delivery.push_named(&[&name], at, Data::TurnAdded(turn));
        }
    }
    delivery.finish()
}

/// The frame around chats: it begins, changes, and at some time is completed.
pub(super) fn session(kind: &str, message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let session = &message["session"];
    let id = external_id("message.session.id", &session["id"])?;
    let updated = text(first(&[&session["updatedAt"], &message["timestamp"]])).unwrap_or_default();
    let key = if kind == "session.created" { "" } else { updated.as_str() };
    let mut delivery = Delivery::new(context, Provider::Vapi, id, &[kind, key]);
    let began_at = time::iso(&session["createdAt"]);
    let changed_at = time::iso(&session["updatedAt"]).or_else(|| super::said_at(message));

    let metadata = non_empty(remainder(session, KNOWN_CHAT));
    let facts = Facts { metadata, started_at: began_at, ..identity(message, session) };
    if kind == "session.created" {
        delivery.push(began_at.or(changed_at), Data::Started(facts));
    } else {
        delivery.push(changed_at, Data::Updated(Update { facts, status: None }));
    }
    if word(&session["status"]) == "completed" {
        let mut ended = Ending::completed(end_reason::ENDED).ended(None);
        ended.ended_at = changed_at;
        ended.duration_ms = time::between(began_at, changed_at);
        delivery.push(changed_at, Data::Ended(ended));
    }
    delivery.finish()
}

fn identity(message: &Value, frame: &Value) -> Facts {
    let assistant = first(&[&message["assistant"], &frame["assistant"]]);
    let customer = first(&[&message["customer"], &frame["customer"]]);
    Facts {
        agent_id: short(first(&[&frame["assistantId"], &assistant["id"]])),
        agent_name: short(&assistant["name"]),
        channel: Some("chat".to_owned()),
        caller_number: phone(&customer["number"]),
        caller_name: short(&customer["name"]),
        user_id: short(&customer["externalId"]),
        ..Facts::default()
    }
}

/// `input` is text or an array of messages, `output` an array; system prompts among them are left out.
fn read_messages(
    given: &Value,
    side: &str,
    default: Role,
    chat_id: &str,
    at: Option<Timestamp>,
    ids: &mut TurnIds,
    turns: &mut Vec<Turn>,
) {
    let alone = std::slice::from_ref(given);
    for (index, entry) in given.as_array().map_or(alone, Vec::as_slice).iter().enumerate() {
        let role = match word(&entry["role"]) {
            "system" | "developer" => continue,
            "user" => Role::User,
            "assistant" | "bot" => Role::Agent,
            "tool" => Role::Tool,
            _ => default,
        };
        let said = if entry.is_string() { entry } else { first(&[&entry["content"], &entry["message"]]) };
        if let Some(text) = text(said) {
            let turn_id = ids.of(&format!("{chat_id}/{side}/{index}"));
            turns.push(Turn { text: Some(text), at, ..Turn::new(turn_id, role) });
        }
    }
}
