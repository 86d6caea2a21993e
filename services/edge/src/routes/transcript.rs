//! Transcripts, in the form the caller likes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use colloquy_proto::transcript::v1 as pb;
use http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::answer::json_with_room;
use crate::clients::Calling;
use crate::naming::OF_CONVERSATION;
use crate::path::Id;
use crate::problem::Refusal;
use crate::query::Query;
use crate::shape::turn::Transcript;
use crate::{Edge, accept};

/// How a transcript is written: by `format`, by `Accept`, and what it is sent as.
const FORMATS: [(&str, &str, &str, Option<pb::TranscriptFormat>); 4] = [
    ("json", "application/json", "application/json", None),
    ("text", "text/plain", "text/plain; charset=utf-8", Some(pb::TranscriptFormat::Text)),
    ("srt", "application/x-subrip", "application/x-subrip", Some(pb::TranscriptFormat::Srt)),
    ("vtt", "text/vtt", "text/vtt", Some(pb::TranscriptFormat::Vtt)),
];

/// Read a transcript
///
/// As JSON, as text of one line a spoken turn, or as captions. Needs the scope `transcripts:read`.
#[utoipa::path(get, path = "/conversations/{id}/transcript", tag = "Conversations", operation_id = "get_transcript",
    params(
        ("id" = String, Path, description = "The canonical id, or `provider:external_id`."),
        ("format" = Option<String>, Query, description = "`json`, `text`, `srt` or `vtt`; without it the `Accept` header decides."),
        ("language" = Option<String>, Query, description = "BCP 47 code; picks the translation in `text`, `srt` and `vtt` when it \
            is the translation's. JSON always has both."),
        ("min_position" = Option<u64>, Query, minimum = 0, description = "Wait (at most 5 s) until this position has been read."),
        ("accept" = Option<String>, Header, description = "`application/json`, `text/plain`, `application/x-subrip` or `text/vtt`."),
    ),
    responses((status = 200, description = "The transcript.", content(
        (Transcript = "application/json"), (String = "text/plain"), (String = "application/x-subrip"), (String = "text/vtt")))))]
pub(super) async fn read(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(conversation_id): Id,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response, Refusal> {
    let format = query.word("format", &FORMATS.map(|format| format.0));
    let language = query.text("language").unwrap_or_default();
    let min_position = query.min_position();
    query.finish()?;
    let chosen = match format {
        Some(word) => FORMATS.iter().find(|format| format.0 == word),
        None => accept::choose(&headers, &FORMATS.map(|format| format.1)).and_then(|index| FORMATS.get(index)),
    };
    let Some((_, _, content_type, format)) = chosen else {
        let detail = "a transcript is application/json, text/plain, application/x-subrip or text/vtt";
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", detail));
    };

    let mut transcripts = edge.clients.transcripts.clone();
    let mut response = match format {
        None => {
            let request = pb::GetTranscriptRequest { conversation_id, min_position, organization_id: String::new() };
            let answer = transcripts.get_transcript(calling.call(request)).await;
            let answer = answer.map_err(|status| OF_CONVERSATION.refuse(status))?.into_inner();
            let room = 1024 + answer.turns.len() * 512;
            json_with_room(&Transcript::from(answer), room)?
        }
        Some(format) => {
            let request = pb::RenderTranscriptRequest { conversation_id, format: *format as i32, language, min_position };
            let answer = transcripts.render_transcript(calling.call(request)).await;
            let answer = answer.map_err(|status| OF_CONVERSATION.refuse(status))?.into_inner();
            let mut response = Response::new(Body::from(answer.content));
            if let Some(Ok(language)) = answer.language.map(|language| HeaderValue::from_str(&language)) {
                response.headers_mut().insert(CONTENT_LANGUAGE, language);
            }
            response
        }
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}
