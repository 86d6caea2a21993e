//! Reading and changing conversations.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use colloquy_proto::conversation::v1 as pb;
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_service::FieldErrors;
use tonic::Code;

use super::listing::{self, FilterParameters, ListParameters};
use crate::Edge;
use crate::answer::{at_position, json, json_with_room};
use crate::body::{self, MAX_SMALL_BODY_BYTES, MERGE_PATCH, Member, Object};
use crate::clients::Calling;
use crate::naming::{Naming, OF_CONVERSATION};
use crate::path::Id;
use crate::problem::{Refusal, finish};
use crate::query::{NoQuery, Query};
use crate::shape::conversation::{Conversation, ConversationDetail, ConversationPage};
use crate::shape::event::{ConversationEvent, History};
use crate::shape::time::to_message;
use crate::shape::turn::Turn;

/// About what one conversation takes as JSON.
const USUAL_CONVERSATION_BYTES: usize = 3 << 10;
const OF_LIST: Naming = Naming::of(&[("order_by", "sort"), ("query", "search")]).with_bare_members("");
const OF_CHANGE: Naming = Naming::of(&[("conversation_id", "id"), ("metadata_patch_json", "metadata")]);

/// List conversations
///
/// The newest first, a page at a time. A cursor is bound to its filter and sort. Needs the scope `conversations:read`.
#[utoipa::path(get, path = "/conversations", tag = "Conversations", operation_id = "list_conversations",
    params(FilterParameters, ListParameters), responses((status = 200, description = "A page of conversations.", body = ConversationPage)))]
pub(super) async fn list(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let request = listing::read(&mut query);
    query.finish()?;
    page(&edge, &calling, request).await
}

/// List running conversations
///
/// The same list, of conversations that are `initiated` or `in_progress`. Needs the scope `conversations:read`.
#[utoipa::path(get, path = "/conversations/active", tag = "Conversations", operation_id = "list_active_conversations",
    params(FilterParameters, ListParameters), responses((status = 200, description = "A page of conversations.", body = ConversationPage)))]
pub(super) async fn active(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let mut request = listing::read(&mut query);
    let live = [pb::ConversationStatus::Initiated as i32, pb::ConversationStatus::InProgress as i32];
    if let Some(filter) = &mut request.filter {
        if filter.statuses.iter().any(|status| !live.contains(status)) {
            query.complain("status", "must be one of initiated, in_progress");
        }
        if filter.statuses.is_empty() {
            filter.statuses = live.to_vec();
        }
    }
    query.finish()?;
    page(&edge, &calling, request).await
}

async fn page(edge: &Edge, calling: &Calling, request: pb::ListConversationsRequest) -> Result<Response, Refusal> {
    let answer = edge.clients.conversations.clone().list_conversations(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_LIST.refuse(status))?.into_inner();
    let page = ConversationPage {
        has_more: !answer.next_page_token.is_empty(),
        cursor: Some(answer.next_page_token).filter(|cursor| !cursor.is_empty()),
        total: answer.total_size,
        conversations: answer.conversations.into_iter().map(Conversation::from).collect(),
    };
    json_with_room(&page, (page.conversations.len() + 1) * USUAL_CONVERSATION_BYTES)
}

/// Read a conversation
///
/// With its transcript, sessions and history. Needs the scope `conversations:read`; without `transcripts:read` transcript and
/// summary are `null`.
#[utoipa::path(get, path = "/conversations/{id}", tag = "Conversations", operation_id = "get_conversation",
    params(
        ("id" = String, Path, description = "The canonical id, or `provider:external_id`."),
        ("as_of" = Option<String>, Query, format = DateTime, description = "The record as it was known at this time (RFC 3339)."),
        ("min_position" = Option<u64>, Query, minimum = 0, description = "Wait (at most 5 s) until this position has been read."),
    ),
    responses((status = 200, description = "The conversation.", body = ConversationDetail)))]
pub(super) async fn read(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(id): Id,
    mut query: Query,
) -> Result<Response, Refusal> {
    let as_of = query.time("as_of");
    let min_position = query.min_position();
    query.finish()?;

    let record = pb::GetConversationRequest {
        conversation_id: id.clone(),
        as_of: as_of.map(to_message),
        min_position,
        organization_id: String::new(),
    };
    let events = pb::ListConversationEventsRequest { conversation_id: id.clone(), min_position, organization_id: String::new() };
    let (mut conversations, mut history_of) = (edge.clients.conversations.clone(), edge.clients.conversations.clone());
    let (record, history, turns) = tokio::join!(
        conversations.get_conversation(calling.call(record)),
        history_of.list_conversation_events(calling.call(events)),
        async {
            // The transcript's service keeps no past states; the present one would be a lie.
            if as_of.is_some() { Ok(None) } else { turns(&edge, &calling, id, min_position).await }
        },
    );
    let mut record =
        record.map_err(|status| OF_CONVERSATION.refuse(status))?.into_inner().conversation.ok_or_else(Refusal::internal)?;
    let transcript = turns?;
    let sessions = std::mem::take(&mut record.sessions);
    let history = history.map_err(|status| OF_CONVERSATION.refuse(status))?.into_inner();
    let mut history: Vec<ConversationEvent> = history.events.into_iter().map(ConversationEvent::from).collect();
    if as_of.is_some() {
        history.retain(|event| event.received_at.0 <= as_of);
    }
    let detail = ConversationDetail {
        conversation: record.into(),
        transcript,
        sessions: sessions.into_iter().map(Into::into).collect(),
        history,
    };
    json_with_room(&detail, 16 << 10)
}

/// Reads the turns; `None` when the key may not.
async fn turns(edge: &Edge, calling: &Calling, id: String, min_position: u64) -> Result<Option<Vec<Turn>>, Refusal> {
    let request = transcript_pb::GetTranscriptRequest { conversation_id: id, min_position, organization_id: String::new() };
    match edge.clients.transcripts.clone().get_transcript(calling.call(request)).await {
        Ok(answer) => Ok(Some(answer.into_inner().turns.into_iter().map(Turn::from).collect())),
        Err(status) if status.code() == Code::PermissionDenied => Ok(None),
        // Whether the conversation exists is for conversation-store to say; here nothing was said in it yet.
        Err(status) if status.code() == Code::NotFound => Ok(Some(Vec::new())),
        Err(status) => Err(OF_CONVERSATION.refuse(status)),
    }
}

/// What can be changed of a conversation: a JSON merge patch (RFC 7396). What is absent stays.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `update` reads")]
pub(super) struct ConversationChange {
    /// The new tags, all of them; `null` removes them.
    tags: Option<Vec<String>>,
    /// A merge patch of the metadata: `null` removes a field, or all of them.
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// The new customer; `null` removes it.
    client_id: Option<String>,
    /// The new end user; `null` removes it.
    user_id: Option<String>,
}

/// Change a conversation
///
/// A JSON merge patch (RFC 7396) of tags, metadata, customer and end user; `null` removes. Needs the scope `conversations:write`.
#[utoipa::path(patch, path = "/conversations/{id}", tag = "Conversations", operation_id = "update_conversation",
    params(("id" = String, Path, description = "The canonical id, or `provider:external_id`.")),
    request_body(content((ConversationChange = "application/json"), (ConversationChange = "application/merge-patch+json"))),
    responses((status = 200, description = "The conversation with its change.", body = Conversation,
        headers(("x-colloquy-position" = u64, description = "The position after which any reader has it.")))))]
pub(super) async fn update(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(id): Id,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, MERGE_PATCH, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let change = read_change(id, &body)?;
    let answer = edge.clients.conversations.clone().update_conversation(calling.call(change)).await;
    let answer = answer.map_err(|status| OF_CHANGE.refuse(status))?.into_inner();
    let conversation = Conversation::from(answer.conversation.ok_or_else(Refusal::internal)?);
    Ok(at_position(json(&conversation)?, answer.position))
}

fn read_change(conversation_id: String, body: &[u8]) -> Result<pb::UpdateConversationRequest, Refusal> {
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(body)?;
    let tags = match object.read("tags", "an array of strings, or null", &mut errors) {
        Member::Absent => None,
        Member::Null => Some(pb::TagsChange { tags: Vec::new() }),
        Member::Value(tags) => Some(pb::TagsChange { tags }),
    };
    let metadata = match object.raw("metadata") {
        Member::Absent => None,
        Member::Null => Some("null".to_owned()),
        Member::Value(raw) if raw.get().starts_with('{') => Some(raw.get().to_owned()),
        Member::Value(_) => {
            errors.add("metadata", "must be an object, or null");
            None
        }
    };
    let mut text = |name| match object.read::<String>(name, "a string, or null", &mut errors) {
        Member::Absent => None,
        Member::Null => Some(pb::TextChange { value: None }),
        Member::Value(value) => Some(pb::TextChange { value: Some(value) }),
    };
    let (client_id, user_id) = (text("client_id"), text("user_id"));
    object.finish(&mut errors);
    finish(errors)?;
    Ok(pb::UpdateConversationRequest { conversation_id, tags, metadata_patch_json: metadata, client_id, user_id })
}

/// List what happened to a conversation
///
/// Its lifecycle history, oldest first. Needs the scope `conversations:read`.
#[utoipa::path(get, path = "/conversations/{id}/events", tag = "Conversations", operation_id = "list_conversation_events",
    params(
        ("id" = String, Path, description = "The canonical id, or `provider:external_id`."),
        ("min_position" = Option<u64>, Query, minimum = 0, description = "Wait (at most 5 s) until this position has been read."),
    ),
    responses((status = 200, description = "The history.", body = History)))]
pub(super) async fn events(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(id): Id,
    mut query: Query,
) -> Result<Response, Refusal> {
    let request = pb::ListConversationEventsRequest {
        conversation_id: id,
        min_position: query.min_position(),
        organization_id: String::new(),
    };
    query.finish()?;
    let answer = edge.clients.conversations.clone().list_conversation_events(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_CONVERSATION.refuse(status))?.into_inner();
    json(&History { events: answer.events.into_iter().map(ConversationEvent::from).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_tells_removal_from_absence() {
        let change =
            read_change("c".into(), br#"{"tags": null, "client_id": null, "user_id": "u", "metadata": {"a": null}}"#).unwrap();
        assert_eq!(change.tags, Some(pb::TagsChange::default()));
        assert_eq!(change.client_id, Some(pb::TextChange { value: None }));
        assert_eq!(change.user_id, Some(pb::TextChange { value: Some("u".into()) }));
        assert_eq!(change.metadata_patch_json.as_deref(), Some("{\"a\": null}"));
        assert_eq!(
            read_change("c".into(), b"{}").unwrap(),
            pb::UpdateConversationRequest { conversation_id: "c".into(), ..Default::default() }
        );
    }
}
