//! Between the wire and the domain.

use colloquy_proto::access::v1 as pb;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{KeyId, OrganizationId, Scope, ScopeSet, Timestamp};

use crate::{ApiKey, Error, NewApiKey, Secret};

/// Names longer than this help nobody.
const NAME_MAX_CHARS: usize = 200;

fn to_time(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.as_millis();
    prost_types::Timestamp { seconds: millis.div_euclid(1000), nanos: (millis.rem_euclid(1000) * 1_000_000) as i32 }
}

fn from_time(at: prost_types::Timestamp) -> Result<Timestamp, String> {
    let millis = at.seconds.checked_mul(1000).ok_or("must lie between the years 1 and 9999")?;
    Timestamp::from_millis(millis.saturating_add(i64::from(at.nanos) / 1_000_000)).map_err(|error| error.to_string())
}

/// Reads the key somebody wants made at `now`.
pub(crate) fn new_key(
    organization_id: OrganizationId,
    request: pb::CreateApiKeyRequest,
    now: Timestamp,
) -> Result<NewApiKey, Error> {
    let mut errors = FieldErrors::new();
    let name = request.name.trim().to_owned();
    errors.max_chars("name", &name, NAME_MAX_CHARS);
    if name.chars().any(char::is_control) {
        errors.add("name", "must not contain control characters");
    }
    let scopes: Vec<Scope> = request.scopes.iter().filter_map(|scope| errors.parse("scopes", scope)).collect();
    if request.scopes.is_empty() {
        errors.add("scopes", "must name at least one scope");
    }
    let expires_at = request.expires_at.and_then(|at| errors.check("expires_at", from_time(at)));
    if expires_at.is_some_and(|at| at <= now) {
        errors.add("expires_at", "must lie in the future");
    }
    errors.finish()?;
    let secret = Secret::generate().map_err(|_| Error::NoRandomness)?;
    let (key_id, scopes) = (KeyId::generate(), scopes.into_iter().collect::<ScopeSet>());
    Ok(NewApiKey { key_id, organization_id, name, secret, scopes, created_at: now, expires_at })
}

/// Reads a key's id.
pub(crate) fn key_id(text: &str) -> Result<KeyId, Problem> {
    text.parse().map_err(|_| Problem::invalid_field("key_id", "must be a UUID"))
}

impl From<ApiKey> for pb::ApiKey {
    fn from(key: ApiKey) -> Self {
        Self {
            key_id: key.key_id.to_string(),
            organization_id: key.organization_id.into(),
            name: key.name,
            prefix: key.prefix,
            scopes: scopes(key.scopes),
            created_at: Some(to_time(key.created_at)),
            expires_at: key.expires_at.map(to_time),
            revoked_at: key.revoked_at.map(to_time),
        }
    }
}

/// Writes whose key it is.
pub(crate) fn identity(key: ApiKey) -> pb::AuthenticateResponse {
    pb::AuthenticateResponse {
        key_id: key.key_id.to_string(),
        organization_id: key.organization_id.into(),
        scopes: scopes(key.scopes),
        expires_at: key.expires_at.map(to_time),
    }
}

/// Writes an organization.
pub(crate) fn organization(id: OrganizationId, created_at: Timestamp) -> pb::GetOrganizationResponse {
    pb::GetOrganizationResponse { organization_id: id.into(), created_at: Some(to_time(created_at)) }
}

fn scopes(scopes: ScopeSet) -> Vec<String> {
    scopes.iter().map(|scope| scope.as_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_of_a_new_key_is_named() {
        let request = pb::CreateApiKeyRequest {
            name: "x".repeat(201),
            scopes: vec!["conversations:delete".to_owned()],
            expires_at: Some(prost_types::Timestamp { seconds: 5, nanos: 0 }),
        };
        let Err(Error::Invalid(problem)) = new_key("acme".parse().unwrap(), request, Timestamp::from_millis(9_000).unwrap())
        else {
            panic!("accepted")
        };
        let fields: Vec<&str> = problem.fields.iter().map(|bad| bad.field.as_str()).collect();
        assert_eq!(fields, ["name", "scopes", "expires_at"]);
    }
}
