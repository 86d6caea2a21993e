//! Recordings, read in ranges and written as streams.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use colloquy_proto::conversation::v1 as pb;
use futures::StreamExt;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use tonic::{Code, Status};
use utoipa::ToSchema;

use crate::answer::{at_position, created};
use crate::body::media_type;
use crate::clients::Calling;
use crate::naming::{Naming, OF_CONVERSATION};
use crate::path::Id;
use crate::problem::Refusal;
use crate::query::Query;
use crate::{Edge, range, upload};

const CHANNELS: [&str; 3] = ["mixed", "user", "agent"];
/// Containers that hold audio although their names do not say so.
const OTHER_CONTAINERS: [&str; 5] = ["application/ogg", "video/mp4", "video/ogg", "video/quicktime", "video/webm"];
/// What a recording is sent as whose own type makes no header.
const UNKNOWN_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

const OF_UPLOAD: Naming =
    Naming::of(&[("head.conversation_id", "id"), ("head.content_type", "content-type"), ("head.", ""), ("chunk", "body")]);

/// What was stored.
#[derive(Serialize, ToSchema)]
pub(super) struct StoredRecording {
    /// Hex SHA-256 of the bytes; also the recording's `ETag`.
    sha256: String,
    /// Size in bytes.
    size_bytes: u64,
    /// `mixed`, `user` or `agent`.
    channel: String,
    /// Media type.
    content_type: String,
}

/// Read a recording
///
/// All of it, or a range. Needs the scope `audio:read`. HEAD answers the same without the bytes.
#[utoipa::path(get, path = "/conversations/{id}/audio", tag = "Conversations", operation_id = "get_recording",
    params(
        ("id" = String, Path, description = "The canonical id, or `provider:external_id`."),
        ("channel" = Option<String>, Query, description = "`mixed`, `user` or `agent`; without it the mixed one, or the only one."),
        ("min_position" = Option<u64>, Query, minimum = 0, description = "Wait (at most 5 s) until this position has been read."),
        ("range" = Option<String>, Header, description = "One range of bytes, for example `bytes=0-1023`."),
        ("if-range" = Option<String>, Header, description = "The `ETag` the range is wanted of; of another recording, the whole."),
        ("if-none-match" = Option<String>, Header, description = "The `ETag` of what the caller has already."),
    ),
    responses(
        (status = 200, description = "The recording.", content_type = "audio/*", body = Vec<u8>, headers(
            ("etag" = String, description = "The quoted hex SHA-256 of the whole."),
            ("accept-ranges" = String, description = "`bytes`."))),
        (status = 206, description = "The range asked for.", content_type = "audio/*", body = Vec<u8>, headers(
            ("content-range" = String, description = "Which bytes of how many."))),
        (status = 304, description = "The caller has it already."),
    ))]
pub(super) async fn read(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(conversation_id): Id,
    method: Method,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response, Refusal> {
    let channel = query.word("channel", &CHANNELS).unwrap_or_default();
    let min_position = query.min_position();
    query.finish()?;
    let wanted = Wanted { conversation_id, channel, min_position };
    send(&edge, &calling, &wanted, &method, &headers).await
}

/// Which recording is wanted.
pub(super) struct Wanted {
    /// The conversation, as the service names it.
    pub(super) conversation_id: String,
    /// The channel; empty leaves it to the service.
    pub(super) channel: String,
    /// The position to wait for.
    pub(super) min_position: u64,
}

type Pieces = tonic::Streaming<pb::ReadRecordingResponse>;

/// Answers with a recording, heeding range and conditions.
pub(super) async fn send(
    edge: &Edge,
    calling: &Calling,
    wanted: &Wanted,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let head_only = method == Method::HEAD;
    let mut asked = if head_only { None } else { range::requested(headers) };
    if asked.is_some() && range::depends_on_state(headers) {
        let (head, _) = open(edge, calling, wanted, None, true).await.map_err(|status| OF_CONVERSATION.refuse(status))?;
        if !range::is_state(headers, &etag(&head)) {
            asked = None;
        }
    }
    let opened = match &asked {
        Some(range) if range::is_empty(range) => Err(Status::out_of_range("no byte fits the range")),
        range => open(edge, calling, wanted, *range, head_only).await,
    };
    let (head, pieces) = match opened {
        Ok(opened) => opened,
        Err(status) if status.code() == Code::OutOfRange && asked.is_some() => {
            let (head, _) = open(edge, calling, wanted, None, true).await.map_err(|status| OF_CONVERSATION.refuse(status))?;
            let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE", "no byte fits the range");
            return Err(refusal.with(CONTENT_RANGE, &format!("bytes */{}", head.size_bytes)));
        }
        Err(status) => return Err(OF_CONVERSATION.refuse(status)),
    };

    let etag = etag(&head);
    if range::is_known(headers, &etag) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(response.headers_mut(), &etag);
        return Ok(response);
    }
    let mut response = Response::new(if head_only { Body::empty() } else { bytes(pieces) });
    describe(response.headers_mut(), &etag);
    let content_type = HeaderValue::from_str(&head.content_type).unwrap_or(UNKNOWN_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    let length = if asked.is_some() { head.length } else { head.size_bytes };
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    if asked.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let last = (head.first + head.length).saturating_sub(1);
        let which = format!("bytes {}-{last}/{}", head.first, head.size_bytes);
        if let Ok(which) = HeaderValue::from_str(&which) {
            response.headers_mut().insert(CONTENT_RANGE, which);
        }
    }
    Ok(response)
}

fn etag(head: &pb::ReadRecordingHead) -> String {
    format!("\"{}\"", head.sha256)
}

fn describe(headers: &mut HeaderMap, etag: &str) {
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Kept by the caller alone, and asked for again each time: the key may have been revoked since.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}

async fn open(
    edge: &Edge,
    calling: &Calling,
    wanted: &Wanted,
    range: Option<pb::ByteRange>,
    head_only: bool,
) -> Result<(pb::ReadRecordingHead, Pieces), Status> {
    let request = pb::ReadRecordingRequest {
        conversation_id: wanted.conversation_id.clone(),
        channel: wanted.channel.clone(),
        range,
        head_only,
        min_position: wanted.min_position,
    };
    let mut pieces = edge.clients.recordings.clone().read_recording(calling.call(request)).await?.into_inner();
    let first = tokio::time::timeout(edge.settings.request_timeout, pieces.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("the recording did not begin in time"))??;
    match first.and_then(|first| first.part) {
        Some(pb::read_recording_response::Part::Head(head)) => Ok((head, pieces)),
        _ => Err(Status::internal("a recording began without its head")),
    }
}

/// The bytes as they come. An error in their midst breaks the connection: nothing else tells the caller that some are missing.
fn bytes(pieces: Pieces) -> Body {
    Body::from_stream(pieces.filter_map(async |piece| match piece {
        Ok(pb::ReadRecordingResponse { part: Some(pb::read_recording_response::Part::Chunk(chunk)) }) => Some(Ok(chunk)),
        Ok(_) => None,
        Err(status) => {
            tracing::warn!(grpc.code = ?status.code(), "a recording broke off: {}", status.message());
            Some(Err(std::io::Error::other("the recording broke off")))
        }
    }))
}

/// Store a recording
///
/// The body is the recording; it is passed on while it arrives. Needs the scope `conversations:write`.
#[utoipa::path(put, path = "/conversations/{id}/audio", tag = "Conversations", operation_id = "put_recording",
    params(
        ("id" = String, Path, description = "The canonical id, or `provider:external_id`."),
        ("channel" = Option<String>, Query, description = "`mixed` (the default), `user` or `agent`."),
    ),
    request_body(content = Vec<u8>, content_type = "audio/*", description = "The recording, with its own content type."),
    responses((status = 201, description = "It is stored.", body = StoredRecording,
        headers(("x-colloquy-position" = u64, description = "The position after which any reader has it.")))))]
pub(super) async fn write(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(conversation_id): Id,
    mut query: Query,
    request: Request,
) -> Result<Response, Refusal> {
    let channel = query.word("channel", &CHANNELS).unwrap_or_else(|| "mixed".to_owned());
    query.finish()?;
    let (parts, body) = request.into_parts();
    let content_type = media_type(&parts.headers).filter(|given| is_audio(given));
    let Some(content_type) = content_type else {
        upload::discard_unless_held_back(&parts.headers, body).await;
        return Err(Refusal::unsupported_media(&format!("audio/* or one of {}", OTHER_CONTAINERS.join(", "))));
    };

    use pb::upload_recording_request::Part;
    let head = pb::UploadRecordingHead { conversation_id, content_type: content_type.clone(), channel: channel.clone() };
    let limits = upload::Limits {
        max_bytes: edge.settings.max_recording_bytes,
        idle: edge.settings.idle_timeout,
        total: edge.settings.upload_timeout,
    };
    let mut recordings = edge.clients.recordings.clone();
    let answer = upload::pass_on(
        &parts.headers,
        body,
        limits,
        pb::UploadRecordingRequest { part: Some(Part::Head(head)) },
        |chunk| pb::UploadRecordingRequest { part: Some(Part::Chunk(chunk)) },
        |pieces| {
            Box::pin(async move {
                let answer = recordings.upload_recording(calling.long_call(pieces, limits.total)).await;
                answer.map_err(|status| OF_UPLOAD.refuse(status))
            })
        },
    );
    let answer = answer.await?.into_inner();
    let stored = StoredRecording { sha256: answer.sha256, size_bytes: answer.size_bytes, channel, content_type };
    Ok(at_position(created(&stored, None)?, answer.position))
}

fn is_audio(media_type: &str) -> bool {
    let named = media_type.strip_prefix("audio/").is_some_and(|subtype| !subtype.is_empty() && subtype != "*");
    named || OTHER_CONTAINERS.contains(&media_type)
}
