//! Sources to and from the wire. Secrets go one way only.

use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::ingestion::v1 as pb;
use colloquy_providers::verify::{Scheme, Verification};
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{OrganizationId, SourceId, Timestamp};

use super::{
    Access, AccessChange, Change, Draft, MAX_CLIENT_ID_CHARS, MAX_NAME_CHARS, MAX_PREVIOUS_VALID_SECONDS, SealedAccess, Secret,
    Source, VerificationChange,
};

/// The most characters of a prefix or format.
const MAX_OPTION_CHARS: usize = 200;

/// What an update names.
pub(super) struct Update {
    pub(super) source_id: SourceId,
    pub(super) change: Change,
}

pub(super) fn source_id(field: &str, text: &str) -> Result<SourceId, Problem> {
    text.parse().map_err(|_| Problem::invalid_field(field, "must be a UUID"))
}

pub(super) fn draft(request: pb::CreateSourceRequest) -> Result<Draft, Problem> {
    let Some(source) = request.source else { return Err(Problem::invalid_field("source", "is required")) };
    let mut errors = FieldErrors::new();
    let provider = errors.parse("source.provider", &source.provider);
    check_name(&mut errors, &source.name);
    check_client_id(&mut errors, source.client_id.as_deref());
    let verification = source.verification.map(|verification| read_verification(&mut errors, verification));
    let control = read_control(&mut errors, source.control.unwrap_or_default()).into_access();
    match &verification {
        None => errors.add("source.verification", "is required; deliveries that prove nothing need the scheme 'none'"),
        Some(VerificationChange { scheme: None, .. }) if errors.is_empty() => {
            errors.add("source.verification.scheme", "is required; deliveries that prove nothing need the scheme 'none'");
        }
        Some(_) => {}
    }
    match (provider, verification) {
        (Some(provider), Some(VerificationChange { scheme: Some(scheme), options, secret })) if errors.is_empty() => {
            let verification = Verification { scheme, ..options };
            Ok(Draft { provider, name: source.name, client_id: source.client_id, verification, secret, control })
        }
        _ => Err(failed(errors)),
    }
}

pub(super) fn update(request: pb::UpdateSourceRequest) -> Result<Update, Problem> {
    let Some(source) = request.source else { return Err(Problem::invalid_field("source", "is required")) };
    let mut errors = FieldErrors::new();
    let source_id =
        errors.check("source.source_id", source_id("source.source_id", &source.source_id).map_err(|_| "must be a UUID"));
    let mut change = Change {
        name: None,
        client_id: None,
        verification: None,
        control: None,
        previous_valid_seconds: request.previous_secret_valid_seconds,
    };
    if request.previous_secret_valid_seconds > MAX_PREVIOUS_VALID_SECONDS {
        errors.add("previous_secret_valid_seconds", format!("must be at most {MAX_PREVIOUS_VALID_SECONDS} (30 days)"));
    }
    check_name(&mut errors, &source.name);
    check_client_id(&mut errors, source.client_id.as_deref());
    let verification = source.verification.map(|verification| read_verification(&mut errors, verification));
    let control = source.control.map(|control| read_control(&mut errors, control));
    match request.update_mask.map(|mask| mask.paths).filter(|paths| !paths.is_empty()) {
        None => {
            if !source.provider.is_empty() {
                errors.add("source.provider", "cannot be changed; make another source");
            }
            change.name = Some(source.name).filter(|name| !name.is_empty());
            change.client_id = source.client_id.map(Some);
            change.verification = verification;
            change.control = control;
        }
        Some(paths) => {
            for path in paths {
                match path.as_str() {
                    "name" if source.name.is_empty() => errors.add("source.name", "must not be empty"),
                    "name" => change.name = Some(source.name.clone()),
                    "client_id" => change.client_id = Some(source.client_id.clone()),
                    "verification" if verification.is_none() => errors.add("source.verification", "is required"),
                    "verification" => change.verification.clone_from(&verification),
                    // Named without any, it is forgotten; of what is given, the fields that are set change.
                    "control" => change.control = Some(control.clone().unwrap_or(AccessChange::forget())),
                    "provider" => errors.add("source.provider", "cannot be changed; make another source"),
                    other => errors.add(
                        "update_mask",
                        format!("'{other}' cannot be changed; allowed: name, client_id, verification, control"),
                    ),
                }
            }
        }
    }
    match source_id {
        Some(source_id) if errors.is_empty() => Ok(Update { source_id, change }),
        _ => Err(failed(errors)),
    }
}

/// Returns the problem of a collection that is known not to be empty.
fn failed(errors: FieldErrors) -> Problem {
    errors.finish().err().unwrap_or_else(|| Problem::invalid_field("source", "is not valid"))
}

fn check_name(errors: &mut FieldErrors, name: &str) {
    errors.max_chars("source.name", name, MAX_NAME_CHARS);
    if name.chars().any(char::is_control) {
        errors.add("source.name", "must not contain control characters");
    }
}

fn check_client_id(errors: &mut FieldErrors, client_id: Option<&str>) {
    let Some(client_id) = client_id else { return };
    errors.max_chars("source.client_id", client_id, MAX_CLIENT_ID_CHARS);
    if client_id.is_empty() || client_id.chars().any(char::is_control) {
        errors.add("source.client_id", "must not be empty or contain control characters");
    }
}

fn read_verification(errors: &mut FieldErrors, verification: pb::Verification) -> VerificationChange {
    let scheme = match verification.scheme.as_str() {
        "" => None,
        text => errors.parse("source.verification.scheme", text),
    };
    let mut options = Verification {
        scheme: Scheme::default(),
        header: verification.header,
        timestamp_header: verification.timestamp_header,
        format: verification.format,
        encoding: None,
        prefix: verification.prefix,
        algorithm: None,
        secret_is_base64: verification.secret_is_base64.unwrap_or_default(),
    };
    if let Some(encoding) = verification.encoding {
        options.encoding = errors.parse("source.verification.encoding", &encoding);
    }
    if let Some(algorithm) = verification.algorithm {
        options.algorithm = errors.parse("source.verification.algorithm", &algorithm);
    }
    for (field, text) in [("prefix", &options.prefix), ("format", &options.format)] {
        let text = text.as_deref().unwrap_or_default();
        errors.max_chars(&format!("source.verification.{field}"), text, MAX_OPTION_CHARS);
        if text.chars().any(char::is_control) {
            errors.add(format!("source.verification.{field}"), "must not contain control characters");
        }
    }
    VerificationChange { scheme, options, secret: verification.secret.map(Secret::new) }
}

fn read_control(errors: &mut FieldErrors, control: pb::ProviderAccess) -> AccessChange {
    AccessChange::read(control.api_key, control.base_url, errors)
}

/// Whose credentials are asked for.
pub(super) fn credentials(request: &pb::GetSourceCredentialsRequest) -> Result<(OrganizationId, SourceId), Problem> {
    let mut errors = FieldErrors::new();
    let organization = errors.parse("organization_id", &request.organization_id);
    let source = errors.check("source_id", request.source_id.parse().map_err(|_| "must be a UUID"));
    match (organization, source) {
        (Some(organization), Some(source)) => Ok((organization, source)),
        _ => Err(failed(errors)),
    }
}

/// Returns what it takes to call a provider, in the clear.
pub(super) fn credentials_to_pb(access: Access) -> pb::GetSourceCredentialsResponse {
    let api_key = access.api_key.map(|key| key.expose().to_owned());
    pb::GetSourceCredentialsResponse { api_key, base_url: access.base_url }
}

fn control_to_pb(control: SealedAccess) -> pb::ProviderAccess {
    pb::ProviderAccess { api_key: None, has_api_key: control.api_key.is_some(), base_url: control.base_url }
}

/// Returns the source as its owner sees it at `now`: without secrets.
pub(super) fn source_to_pb(source: Source, now: Timestamp) -> pb::Source {
    let source_id = source.source_id.to_string();
    let verification = pb::Verification {
        scheme: source.verification.scheme.to_string(),
        secret: None,
        has_secret: source.secrets.current.is_some(),
        previous_secret_expires_at: source.secrets.previous_valid_until(now).map(timestamp_to_pb),
        header: source.verification.header,
        timestamp_header: source.verification.timestamp_header,
        format: source.verification.format,
        encoding: source.verification.encoding.map(|encoding| encoding.to_string()),
        prefix: source.verification.prefix,
        algorithm: source.verification.algorithm.map(|algorithm| algorithm.to_string()),
        secret_is_base64: source.verification.secret_is_base64.then_some(true),
    };
    pb::Source {
        webhook_path: format!("/v1/webhooks/{source_id}"),
        source_id,
        provider: source.provider.to_string(),
        name: source.name,
        client_id: source.client_id,
        verification: Some(verification),
        control: Some(control_to_pb(source.control)),
        created_at: Some(timestamp_to_pb(source.created_at)),
        updated_at: Some(timestamp_to_pb(source.updated_at)),
    }
}
