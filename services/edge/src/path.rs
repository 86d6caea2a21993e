//! Ids in paths.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use uuid::Uuid;

use crate::problem::Refusal;
use crate::query::MAX_TEXT_BYTES;

/// The longest provider's name with its colon, before an id of the greatest length.
const MAX_ID_BYTES: usize = MAX_TEXT_BYTES + 16;

/// The `{id}` of a path: anything but empty, absurdly long or unprintable. What it names is for the service to say.
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let bad = |message: &str| Refusal::field("id", message);
        let Ok(Path(id)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(bad("must be UTF-8"));
        };
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(bad(&format!("must be 1 to {MAX_ID_BYTES} bytes")));
        }
        if id.chars().any(char::is_control) {
            return Err(bad("must not hold control characters"));
        }
        Ok(Self(id))
    }
}

/// The `{id}` of something that only ever has a UUID: any other text names nothing.
pub(crate) struct UuidId(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for UuidId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Id(id) = Id::from_request_parts(parts, state).await?;
        match Uuid::try_parse(&id) {
            Ok(id) => Ok(Self(id.to_string())),
            Err(_) => Err(Refusal::not_found("nothing has this id")),
        }
    }
}
