//! The ElevenLabs-shaped routes: what the official SDKs send and parse, so that a program written for them works with only its
//! base URL changed.
//!
//! Quirks that follow from that shape, and are found nowhere else in this API: a conversation is named by its provider's own id;
//! times are whole seconds; what is not known is an empty string or 0 where the SDKs refuse `null`; `next_cursor` is the cursor.

pub(super) mod conversation;
pub(super) mod list;
mod metadata;
mod turns;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use colloquy_proto::conversation::v1 as pb;
use colloquy_types::{Provider, Timestamp};
use futures::future::join_all;
use http::{HeaderMap, Method};
use tonic::{Code, Status};
use uuid::Uuid;

use super::audio::{self, Wanted};
use crate::Edge;
use crate::clients::Calling;
use crate::naming::OF_CONVERSATION;
use crate::path::Id;
use crate::problem::Refusal;
use crate::query::NoQuery;
use crate::shape::time::Time;

/// Read a recording
///
/// The recording of a conversation. Needs the scopes `conversations:read` and `audio:read`.
#[utoipa::path(get, path = "/convai/conversations/{id}/audio", tag = "ElevenLabs-shaped", operation_id = "convai_get_recording",
    params(("id" = String, Path, description = "The provider's own id.")),
    responses((status = 200, description = "The recording.", content_type = "audio/*", body = Vec<u8>)))]
pub(super) async fn audio(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(id): Id,
    _: NoQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let conversation = find(&edge, &calling, &id).await?;
    let wanted = Wanted { conversation_id: conversation.conversation_id, channel: String::new(), min_position: 0 };
    audio::send(&edge, &calling, &wanted, &method, &headers).await
}

/// Returns the conversation that `id` names: `provider:external_id`, the id of any provider, ElevenLabs first, or the canonical id.
async fn find(edge: &Edge, calling: &Calling, id: &str) -> Result<pb::Conversation, Refusal> {
    let names_provider = id.split_once(':').is_some_and(|(provider, _)| provider.parse::<Provider>().is_ok());
    let first = if names_provider { id.to_owned() } else { format!("{}:{id}", Provider::ElevenLabs) };
    let missing = match get(edge, calling, first).await {
        Err(status) if status.code() == Code::NotFound => status,
        answer => return of_found(answer),
    };
    if names_provider {
        return Err(missing.into());
    }
    let others = Provider::ALL.iter().filter(|provider| **provider != Provider::ElevenLabs);
    let mut names: Vec<String> = others.map(|provider| format!("{provider}:{id}")).collect();
    if Uuid::try_parse(id).is_ok() {
        names.push(id.to_owned());
    }
    for answer in join_all(names.into_iter().map(|name| get(edge, calling, name))).await {
        match answer {
            Err(status) if status.code() == Code::NotFound => {}
            answer => return of_found(answer),
        }
    }
    Err(missing.into())
}

fn of_found(answer: Result<Option<pb::Conversation>, Status>) -> Result<pb::Conversation, Refusal> {
    answer.map_err(|status| OF_CONVERSATION.refuse(status))?.ok_or_else(Refusal::internal)
}

async fn get(edge: &Edge, calling: &Calling, conversation_id: String) -> Result<Option<pb::Conversation>, Status> {
    let request = pb::GetConversationRequest { conversation_id, ..Default::default() };
    Ok(edge.clients.conversations.clone().get_conversation(calling.call(request)).await?.into_inner().conversation)
}

/// What a conversation is called here.
fn external_id(conversation: &pb::Conversation) -> String {
    let id = if conversation.external_id.is_empty() { &conversation.conversation_id } else { &conversation.external_id };
    id.clone()
}

/// Their word for a state.
fn status_word(conversation: &pb::Conversation) -> &'static str {
    match conversation.status() {
        pb::ConversationStatus::Unspecified | pb::ConversationStatus::Initiated => "initiated",
        pb::ConversationStatus::InProgress => "in-progress",
        pb::ConversationStatus::Completed => "done",
        pb::ConversationStatus::Failed => "failed",
        // Nobody answered: a call that never connected failed, one that did is done.
        pb::ConversationStatus::Abandoned if conversation.started_at.is_none() => "failed",
        pb::ConversationStatus::Abandoned => "done",
    }
}

fn start_seconds(conversation: &pb::Conversation) -> i64 {
    let start = Time::from(conversation.started_at).0.or(Time::from(conversation.created_at).0);
    start.map(Timestamp::as_seconds).unwrap_or_default()
}

fn duration_seconds(conversation: &pb::Conversation) -> i64 {
    conversation.duration_ms.unwrap_or_default().max(0) / 1000
}

fn success_word(conversation: &pb::Conversation) -> String {
    let word = conversation.call_successful.as_str();
    if word.is_empty() { "unknown".to_owned() } else { word.to_owned() }
}

/// What it cost in dollars; other currencies have no place in this shape.
fn dollars(conversation: &pb::Conversation) -> Option<f64> {
    conversation.cost.as_ref().filter(|cost| cost.currency == "USD").map(|cost| cost.amount_micros as f64 / 1e6)
}
