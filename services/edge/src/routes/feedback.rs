//! What people say of a conversation.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use colloquy_proto::conversation::v1 as pb;
use colloquy_service::FieldErrors;

use crate::Edge;
use crate::answer::{at_position, json};
use crate::body::{self, JSON, MAX_SMALL_BODY_BYTES, Object};
use crate::clients::Calling;
use crate::naming::OF_CONVERSATION;
use crate::path::Id;
use crate::problem::{Refusal, finish};
use crate::query::NoQuery;
use crate::shape::conversation::Feedback;

const THUMBS: [&str; 2] = ["up", "down"];

/// A person's rating: `rating` or `thumbs`, and a comment.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `give` reads")]
pub(super) struct NewFeedback {
    /// From 1 to 5.
    #[schema(minimum = 1, maximum = 5)]
    rating: Option<u32>,
    /// `up` or `down`; where figures count ratings from 1 to 5, as 5 or 1.
    thumbs: Option<String>,
    /// In their words; at most 4,000 characters.
    #[schema(max_length = 4000)]
    comment: Option<String>,
}

/// Give feedback
///
/// A person's rating of a conversation. Needs the scope `conversations:write`.
#[utoipa::path(post, path = "/conversations/{id}/feedback", tag = "Conversations", operation_id = "give_feedback",
    params(("id" = String, Path, description = "The canonical id, or `provider:external_id`.")),
    request_body = NewFeedback,
    responses((status = 200, description = "The rating as it is kept.", body = Feedback,
        headers(("x-colloquy-position" = u64, description = "The position after which any reader has it.")))))]
pub(super) async fn give(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(id): Id,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let given = read(id, &body)?;
    let answer = edge.clients.conversations.clone().give_feedback(calling.call(given)).await;
    let answer = answer.map_err(|status| OF_CONVERSATION.refuse(status))?.into_inner();
    let feedback = Feedback::from(answer.feedback.unwrap_or_default());
    Ok(at_position(json(&feedback)?, answer.position))
}

fn read(conversation_id: String, body: &[u8]) -> Result<pb::GiveFeedbackRequest, Refusal> {
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(body)?;
    let rating: Option<u32> = object.read("rating", "a whole number from 1 to 5", &mut errors).value();
    if rating.is_some_and(|rating| !(1..=5).contains(&rating)) {
        errors.add("rating", "must be a whole number from 1 to 5");
    }
    let thumbs = object.text("thumbs", &mut errors).value();
    if thumbs.as_deref().is_some_and(|thumbs| !THUMBS.contains(&thumbs)) {
        errors.add("thumbs", "must be one of up, down");
    }
    let comment = object.text("comment", &mut errors).value();
    object.finish(&mut errors);
    finish(errors)?;
    Ok(pb::GiveFeedbackRequest { conversation_id, rating, thumbs, comment })
}
