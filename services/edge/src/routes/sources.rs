//! Provider connections.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use colloquy_proto::ingestion::v1 as pb;
use colloquy_service::FieldErrors;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, StatusCode};
use utoipa::ToSchema;

use crate::answer::{created, json};
use crate::body::{self, JSON, MAX_SMALL_BODY_BYTES, MERGE_PATCH, Member, Object};
use crate::clients::Calling;
use crate::naming::Naming;
use crate::path::UuidId;
use crate::problem::{Refusal, finish};
use crate::query::{NoQuery, Query};
use crate::shape::source::{Source, SourcePage};
use crate::{Edge, Settings};

const NAMING: Naming = Naming::of(&[("source.", "")]);

/// A connection to make.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `create` reads")]
pub(super) struct NewSource {
    /// `elevenlabs`, `retell`, `vapi`, `agent_session` or `native`.
    provider: String,
    /// What people call it; at most 200 characters.
    #[schema(max_length = 200)]
    name: String,
    /// How deliveries prove where they come from.
    verification: NewVerification,
    /// The organization's customer that its conversations belong to, when the provider does not say.
    client_id: Option<String>,
    /// How the provider is called, to steer running conversations.
    control: Option<NewProviderAccess>,
}

/// How a provider is called, to steer running conversations.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `control` reads")]
pub(super) struct NewProviderAccess {
    /// Write-only: the provider's API key, at most 1,024 visible ASCII characters. Retell signs its webhooks with that key, so
    /// there it may be left out. In a change `null` removes it.
    #[schema(max_length = 1024)]
    api_key: Option<String>,
    /// Where the provider's API stands, when it is not the usual address, for example of a data residency region: an `http` or
    /// `https` URL without credentials, query or fragment. In a change `null` means the usual address again; with another address
    /// `api_key` must be given again.
    #[schema(max_length = 2048)]
    base_url: Option<String>,
}

/// How deliveries prove where they come from.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `verification` reads")]
pub(super) struct NewVerification {
    /// `hmac` (the provider's own scheme), `standard_webhooks`, `shared_secret`, `bearer` or `none`.
    scheme: String,
    /// Write-only: the shared secret. Required unless `scheme` is `none`.
    secret: Option<String>,
    /// The header that carries the signature or secret, when it is not the provider's usual one.
    header: Option<String>,
    /// The header that carries the time.
    timestamp_header: Option<String>,
    /// What is signed, with `{timestamp}`, `{body}` and `{id}`; default `{timestamp}.{body}`.
    format: Option<String>,
    /// `hex` or `base64`; default `hex`.
    encoding: Option<String>,
    /// What stands before the signature, for example `sha256=`.
    prefix: Option<String>,
    /// `sha256`, `sha512` or `sha1`; default `sha256`.
    algorithm: Option<String>,
    /// Whether the secret is base64 of the key.
    secret_is_base64: Option<bool>,
}

/// A change of a connection; what is absent stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `update` reads")]
pub(super) struct SourceChange {
    /// The new name.
    name: Option<String>,
    /// The new customer; `null` removes it.
    client_id: Option<String>,
    /// The new verification, all of it.
    verification: Option<NewVerification>,
    /// How the provider is called; what is absent of it stays, and `null` removes all of it.
    control: Option<NewProviderAccess>,
    /// How long the previous secret stays valid, in seconds; default 0, at most 30 days.
    #[schema(maximum = 2592000)]
    previous_secret_valid_seconds: Option<u32>,
}

/// Make a source
///
/// A connection to a provider, and the URL it sends its deliveries to. Needs the scope `admin`.
#[utoipa::path(post, path = "/sources", tag = "Ingestion", operation_id = "create_source", request_body = NewSource,
    responses((status = 201, description = "The source.", body = Source,
        headers(("location" = String, description = "The path of the source.")))))]
pub(super) async fn create(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    _: NoQuery,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let given = read_new(&body)?;
    let request = pb::CreateSourceRequest { source: Some(given) };
    let answer = edge.clients.sources.clone().create_source(calling.call(request)).await;
    let answer = answer.map_err(|status| NAMING.refuse(status))?.into_inner();
    let source = answer.source.ok_or_else(Refusal::internal)?;
    let location = format!("/v1/sources/{}", source.source_id);
    created(&Source::new(source, &base(&edge.settings, &headers)), Some(&location))
}

/// List sources
///
/// Newest first, a page at a time, without secrets. Needs the scope `admin`.
#[utoipa::path(get, path = "/sources", tag = "Ingestion", operation_id = "list_sources",
    params(
        ("page_size" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many at most; default 30."),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the previous page."),
    ),
    responses((status = 200, description = "A page of sources.", body = SourcePage)))]
pub(super) async fn list(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response, Refusal> {
    let request = pb::ListSourcesRequest { page_size: query.page_size(), page_token: query.cursor().unwrap_or_default() };
    query.finish()?;
    let answer = edge.clients.sources.clone().list_sources(calling.call(request)).await?.into_inner();
    let base = base(&edge.settings, &headers);
    json(&SourcePage {
        sources: answer.sources.into_iter().map(|source| Source::new(source, &base)).collect(),
        has_more: !answer.next_page_token.is_empty(),
        cursor: Some(answer.next_page_token).filter(|cursor| !cursor.is_empty()),
    })
}

/// Read a source
///
/// Without its secret. Needs the scope `admin`.
#[utoipa::path(get, path = "/sources/{id}", tag = "Ingestion", operation_id = "get_source",
    params(("id" = String, Path, description = "UUID of the source.")),
    responses((status = 200, description = "The source.", body = Source)))]
pub(super) async fn read(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(source_id): UuidId,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let request = pb::GetSourceRequest { source_id };
    let answer = edge.clients.sources.clone().get_source(calling.call(request)).await?.into_inner();
    json(&Source::new(answer.source.ok_or_else(Refusal::internal)?, &base(&edge.settings, &headers)))
}

/// Change a source
///
/// What is absent stays. A new secret may leave the old one valid for a while. Needs the scope `admin`.
#[utoipa::path(patch, path = "/sources/{id}", tag = "Ingestion", operation_id = "update_source",
    params(("id" = String, Path, description = "UUID of the source.")),
    request_body(content((SourceChange = "application/json"), (SourceChange = "application/merge-patch+json"))),
    responses((status = 200, description = "The source as it is now.", body = Source)))]
pub(super) async fn update(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(source_id): UuidId,
    _: NoQuery,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, MERGE_PATCH, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let change = read_change(source_id, &body)?;
    let answer = edge.clients.sources.clone().update_source(calling.call(change)).await;
    let answer = answer.map_err(|status| NAMING.refuse(status))?.into_inner();
    json(&Source::new(answer.source.ok_or_else(Refusal::internal)?, &base(&edge.settings, &headers)))
}

/// Remove a source
///
/// Its URL answers 404 from then on; what it brought stays. Needs the scope `admin`.
#[utoipa::path(delete, path = "/sources/{id}", tag = "Ingestion", operation_id = "delete_source",
    params(("id" = String, Path, description = "UUID of the source.")),
    responses((status = 204, description = "It is removed.")))]
pub(super) async fn delete(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(source_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    edge.clients.sources.clone().delete_source(calling.call(pb::DeleteSourceRequest { source_id })).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn read_new(body: &[u8]) -> Result<pb::Source, Refusal> {
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(body)?;
    let provider = object.required_text("provider", &mut errors).unwrap_or_default();
    let name = object.required_text("name", &mut errors).unwrap_or_default();
    let client_id = object.text("client_id", &mut errors).value();
    let verification = match object.object("verification", &mut errors) {
        Member::Value(given) => Some(read_verification(given, &mut errors)),
        Member::Null => {
            errors.add("verification", "must be an object");
            None
        }
        Member::Absent => None,
    };
    if !object.raw("verification").is_given() {
        errors.add("verification", "is required; `{\"scheme\": \"none\"}` takes deliveries from anybody");
    }
    let control = object.object("control", &mut errors).value().map(|given| read_control(given, &mut errors));
    object.finish(&mut errors);
    finish(errors)?;
    Ok(pb::Source { provider, name, client_id, verification, control, ..Default::default() })
}

fn read_change(source_id: String, body: &[u8]) -> Result<pb::UpdateSourceRequest, Refusal> {
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(body)?;
    let mut source = pb::Source { source_id, ..Default::default() };
    let mut paths = Vec::new();
    match object.text("name", &mut errors) {
        Member::Absent => {}
        Member::Null => errors.add("name", "must be a string"),
        Member::Value(name) => {
            source.name = name;
            paths.push("name".to_owned());
        }
    }
    let client_id = object.text("client_id", &mut errors);
    if client_id.is_given() {
        paths.push("client_id".to_owned());
        source.client_id = client_id.value();
    }
    match object.object("verification", &mut errors) {
        Member::Absent => {}
        Member::Null => errors.add("verification", "must be an object"),
        Member::Value(given) => {
            source.verification = Some(read_verification(given, &mut errors));
            paths.push("verification".to_owned());
        }
    }
    let control = object.object("control", &mut errors);
    if control.is_given() {
        paths.push("control".to_owned());
        source.control = control.value().map(|given| read_control(given, &mut errors));
    }
    let seconds = object.read("previous_secret_valid_seconds", "a whole number of seconds", &mut errors).value();
    object.finish(&mut errors);
    finish(errors)?;
    Ok(pb::UpdateSourceRequest {
        source: Some(source),
        update_mask: Some(prost_types::FieldMask { paths }),
        previous_secret_valid_seconds: seconds.unwrap_or_default(),
    })
}

/// Empty is what is to be forgotten: so the service tells `null` from what is absent.
fn read_control(mut object: Object<'_>, errors: &mut FieldErrors) -> pb::ProviderAccess {
    let mut read = |name| match object.text(name, errors) {
        Member::Absent => None,
        Member::Null => Some(String::new()),
        Member::Value(text) => Some(text),
    };
    let (api_key, base_url) = (read("api_key"), read("base_url"));
    object.finish(errors);
    pb::ProviderAccess { api_key, base_url, ..Default::default() }
}

fn read_verification(mut object: Object<'_>, errors: &mut FieldErrors) -> pb::Verification {
    let verification = pb::Verification {
        scheme: object.required_text("scheme", errors).unwrap_or_default(),
        secret: object.text("secret", errors).value(),
        header: object.text("header", errors).value(),
        timestamp_header: object.text("timestamp_header", errors).value(),
        format: object.text("format", errors).value(),
        encoding: object.text("encoding", errors).value(),
        prefix: object.text("prefix", errors).value(),
        algorithm: object.text("algorithm", errors).value(),
        secret_is_base64: object.read("secret_is_base64", "true or false", errors).value(),
        ..Default::default()
    };
    object.finish(errors);
    verification
}

/// What a webhook URL begins with: what the settings say, else the host this request was made to.
fn base(settings: &Settings, headers: &HeaderMap) -> String {
    if let Some(url) = &settings.public_url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| host.parse::<Authority>().is_ok());
    host.map(|host| format!("http://{host}")).unwrap_or_default()
}
