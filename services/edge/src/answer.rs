//! Answers as JSON, written once into one buffer.

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::problem::Refusal;

/// The position after which any reader has what was written.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("x-colloquy-position");

/// Enough for most answers without growing the buffer.
const USUAL_BYTES: usize = 4 << 10;

/// Returns `value` as a 200.
pub(crate) fn json(value: &impl Serialize) -> Result<Response, Refusal> {
    json_with_room(value, USUAL_BYTES)
}

/// Returns `value` as a 200 that has about `bytes`.
pub(crate) fn json_with_room(value: &impl Serialize, bytes: usize) -> Result<Response, Refusal> {
    let mut buffer = Vec::with_capacity(bytes);
    if let Err(error) = serde_json::to_writer(&mut buffer, value) {
        tracing::error!("an answer could not be written: {error}");
        return Err(Refusal::internal());
    }
    let mut response = Response::new(Body::from(buffer));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Returns `value` as a 201, at `location` when it has one.
pub(crate) fn created(value: &impl Serialize, location: Option<&str>) -> Result<Response, Refusal> {
    let mut response = json(value)?;
    *response.status_mut() = StatusCode::CREATED;
    if let Some(Ok(location)) = location.map(HeaderValue::from_str) {
        response.headers_mut().insert(http::header::LOCATION, location);
    }
    Ok(response)
}

/// Names the position of a write.
pub(crate) fn at_position(mut response: Response, position: u64) -> Response {
    response.headers_mut().insert(POSITION, HeaderValue::from(position));
    response
}
