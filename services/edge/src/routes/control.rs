//! Stepping into running conversations.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use colloquy_proto::control::v1 as pb;
use colloquy_service::FieldErrors;
use http::StatusCode;

use crate::Edge;
use crate::answer::{at_position, json};
use crate::body::{self, JSON, MAX_SMALL_BODY_BYTES, Object};
use crate::clients::Calling;
use crate::naming::OF_CONVERSATION;
use crate::path::Id;
use crate::problem::{Refusal, finish};
use crate::query::NoQuery;
use crate::shape::control::{CommandReceipt, Control};

/// A command to a running conversation.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `send` reads")]
pub(super) struct NewCommand {
    /// `take_over`, `release`, `say`, `inject_context`, `transfer`, `mute` or `end`.
    command: String,
    /// The lease that `take_over` returned; every other command needs it. With `take_over` it renews the lease, or hands it over
    /// when `holder` is another.
    lease_id: Option<String>,
    /// The same key again within a day is the same command, and not carried out again; at most 200 characters.
    #[schema(max_length = 200)]
    idempotency_key: Option<String>,
    /// For `say` and `inject_context`; at most 4,000 characters.
    #[schema(max_length = 4000)]
    text: Option<String>,
    /// For `transfer`: a number in E.164, or a `sip:` address.
    destination: Option<String>,
    /// For `mute`: whether the agent is to be muted; default true.
    muted: Option<bool>,
    /// For `take_over`: the name the holder goes by; default the id of the API key.
    #[schema(max_length = 200)]
    holder: Option<String>,
    /// For `take_over`: after how long without renewal the conversation is free again; default 30.
    #[schema(minimum = 5, maximum = 600)]
    lease_seconds: Option<u32>,
    /// For `take_over` and `release`: whoever holds it, take it away. Needs the scope `admin`.
    force: Option<bool>,
}

/// Command a running conversation
///
/// `take_over` returns a lease, which every other command needs and which runs out unless `take_over` renews it. The answer says
/// that the command was taken; `control.applied` or `control.rejected` on the stream and in the history says what became of it. A
/// command that the provider cannot carry out is a 409 `urn:colloquy:problem:command-unsupported`. Needs the scope
/// `conversations:write`.
#[utoipa::path(post, path = "/conversations/{id}/control", tag = "Live", operation_id = "send_command",
    params(("id" = String, Path, description = "The canonical id, or `provider:external_id`.")),
    request_body = NewCommand,
    responses((status = 202, description = "The command was taken.", body = CommandReceipt,
        headers(("x-colloquy-position" = u64, description = "The position of its `control.accepted` event.")))))]
pub(super) async fn send(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(id): Id,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let given = read(id, &body)?;
    let answer = edge.clients.control.clone().send_command(calling.call(given)).await;
    let answer = answer.map_err(|status| OF_CONVERSATION.refuse(status))?.into_inner();
    let position = answer.position;
    let receipt = CommandReceipt::new(answer).ok_or_else(Refusal::internal)?;
    let mut response = json(&receipt)?;
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(at_position(response, position))
}

/// Read who holds a conversation
///
/// Which commands it takes, and what became of the latest ones. Needs the scope `conversations:read`.
#[utoipa::path(get, path = "/conversations/{id}/control", tag = "Live", operation_id = "get_control",
    params(("id" = String, Path, description = "The canonical id, or `provider:external_id`.")),
    responses((status = 200, description = "Who holds it, and what can be done.", body = Control)))]
pub(super) async fn read_state(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(conversation_id): Id,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::GetControlRequest { conversation_id };
    let answer = edge.clients.control.clone().get_control(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_CONVERSATION.refuse(status))?.into_inner();
    json(&Control::from(answer))
}

fn read(conversation_id: String, body: &[u8]) -> Result<pb::SendCommandRequest, Refusal> {
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(body)?;
    let request = pb::SendCommandRequest {
        conversation_id,
        command: object.required_text("command", &mut errors).unwrap_or_default(),
        lease_id: object.text("lease_id", &mut errors).value().unwrap_or_default(),
        idempotency_key: object.text("idempotency_key", &mut errors).value().unwrap_or_default(),
        text: object.text("text", &mut errors).value(),
        destination: object.text("destination", &mut errors).value(),
        muted: object.read("muted", "true or false", &mut errors).value(),
        holder: object.text("holder", &mut errors).value().unwrap_or_default(),
        lease_seconds: object.read("lease_seconds", "a whole number from 5 to 600", &mut errors).value().unwrap_or_default(),
        force: object.read("force", "true or false", &mut errors).value().unwrap_or_default(),
    };
    object.finish(&mut errors);
    finish(errors)?;
    Ok(request)
}
