//! What organizations want to know of their conversations beyond what everybody does.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use colloquy_proto::analytics::v1 as pb;
use colloquy_service::FieldErrors;
use http::StatusCode;
use utoipa::ToSchema;

use super::analytics::{elements, filter};
use crate::Edge;
use crate::answer::{created, json};
use crate::body::{self, JSON, MAX_SMALL_BODY_BYTES, MERGE_PATCH, Object};
use crate::clients::Calling;
use crate::naming::{Naming, OF_CONVERSATION};
use crate::path::{Id, UuidId};
use crate::problem::{Refusal, finish};
use crate::query::{NoQuery, Query};
use crate::shape::analyzer::{Analyzer, AnalyzerPage, AnalyzerRun, AnalyzerRunPage, Backfill, VersionComparison};

/// A language model takes its time; the service answers within 55 seconds.
const RUN_TIMEOUT: Duration = Duration::from_secs(58);

const OF_ANALYZER: Naming = Naming::of(&[("analyzer.", "")]);
const OF_BACKFILL: Naming = Naming::of(&[]).with_bare_members("filter.");

/// An analyzer to make.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `read_parts` reads")]
pub(super) struct NewAnalyzer {
    /// What people call it.
    #[schema(max_length = 200)]
    name: String,
    /// Whose conversations; absent or empty means all agents.
    agent_ids: Option<Vec<String>>,
    /// What to extract; at most 50.
    fields: Option<Vec<NewAnalyzerField>>,
    /// What to score; at most 50.
    scorecard: Option<Vec<NewScorecardQuestion>>,
    /// Whether every conversation is analysed once it has ended; default true.
    enabled: Option<bool>,
}

/// A change of an analyzer: a JSON merge patch (RFC 7396). What is absent stays; `null` takes a value away, and its default counts
/// again.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `read_parts` reads")]
pub(super) struct AnalyzerChange {
    /// What people call it; cannot be taken away.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// Whose conversations, all of them; `null` or empty means all agents.
    agent_ids: Option<Vec<String>>,
    /// What to extract, all of it; at most 50.
    fields: Option<Vec<NewAnalyzerField>>,
    /// What to score, all of it; at most 50.
    scorecard: Option<Vec<NewScorecardQuestion>>,
    /// Whether every conversation is analysed once it has ended; default true.
    enabled: Option<bool>,
}

/// One value to extract.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `read_field` reads")]
pub(super) struct NewAnalyzerField {
    /// Its name in `custom_analysis` and in queries (`custom.NAME`): letters, digits and `_`.
    #[schema(max_length = 64)]
    name: String,
    /// `enum`, `string`, `boolean`, `number` or `date`.
    r#type: String,
    /// What to look for, in prose.
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// The values of an `enum`; 2 to 50.
    choices: Option<Vec<String>>,
    /// Examples of a `string`; at most 20.
    examples: Option<Vec<String>>,
}

/// One question of a scorecard.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `read_question` reads")]
pub(super) struct NewScorecardQuestion {
    /// What identifies it within its analyzer: letters, digits and `_`.
    #[schema(max_length = 64)]
    name: String,
    /// What is asked, to be answered with yes, no or not applicable.
    #[schema(max_length = 2000)]
    question: String,
    /// How much it counts; default 1.
    weight: Option<f64>,
}

/// A conversation to run an analyzer over.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `run` reads")]
pub(super) struct NewRun {
    /// The canonical id, or `provider:external_id`.
    conversation_id: String,
    /// Whether to ask again although there is an answer; default false.
    again: Option<bool>,
}

/// Conversations to run an analyzer over.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `backfill` reads")]
pub(super) struct NewBackfill {
    /// Which: the list's parameter names.
    #[schema(value_type = Option<Object>)]
    filter: Option<()>,
    /// Whether only to say what it would come to; default true.
    estimate_only: Option<bool>,
}

/// Make an analyzer
///
/// Typed fields and a scorecard, established by the installation's language model when it has one. Needs the scope `admin`.
#[utoipa::path(post, path = "/analyzers", tag = "Analyzers", operation_id = "create_analyzer", request_body = NewAnalyzer,
    responses((status = 201, description = "The analyzer.", body = Analyzer,
        headers(("location" = String, description = "The path of the analyzer.")))))]
pub(super) async fn create(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let (analyzer, paths) = read_parts(&body)?;
    if !paths.iter().any(|path| path == "name") {
        return Err(Refusal::field("name", "is required"));
    }
    let request = pb::CreateAnalyzerRequest { analyzer: Some(analyzer) };
    let answer = edge.clients.analyzers.clone().create_analyzer(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_ANALYZER.refuse(status))?.into_inner();
    let analyzer = answer.analyzer.ok_or_else(Refusal::internal)?;
    let location = format!("/v1/analyzers/{}", analyzer.analyzer_id);
    created(&Analyzer::from(analyzer), Some(&location))
}

/// List analyzers
///
/// Newest first, a page at a time. Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/analyzers", tag = "Analyzers", operation_id = "list_analyzers",
    params(
        ("page_size" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many at most; default 30."),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the previous page."),
    ),
    responses((status = 200, description = "A page of analyzers.", body = AnalyzerPage)))]
pub(super) async fn list(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let request = pb::ListAnalyzersRequest { page_size: query.page_size(), page_token: query.cursor().unwrap_or_default() };
    query.finish()?;
    let answer = edge.clients.analyzers.clone().list_analyzers(calling.call(request)).await?.into_inner();
    json(&AnalyzerPage::from(answer))
}

/// Read an analyzer
///
/// As it is now, or as one of its versions was. Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/analyzers/{id}", tag = "Analyzers", operation_id = "get_analyzer",
    params(
        ("id" = String, Path, description = "UUID of the analyzer."),
        ("version" = Option<u32>, Query, minimum = 1, description = "As this version was."),
    ),
    responses((status = 200, description = "The analyzer.", body = Analyzer)))]
pub(super) async fn read(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(analyzer_id): UuidId,
    mut query: Query,
) -> Result<Response, Refusal> {
    let version = query.integer("version", 1..=u32::MAX).unwrap_or_default();
    query.finish()?;
    let request = pb::GetAnalyzerRequest { analyzer_id, version };
    let answer = edge.clients.analyzers.clone().get_analyzer(calling.call(request)).await?.into_inner();
    json(&Analyzer::from(answer.analyzer.ok_or_else(Refusal::internal)?))
}

/// Change an analyzer
///
/// What is absent stays; lists are replaced as a whole. What changes its answers makes a new version; former runs stay as they are.
/// Needs the scope `admin`.
#[utoipa::path(patch, path = "/analyzers/{id}", tag = "Analyzers", operation_id = "update_analyzer",
    params(("id" = String, Path, description = "UUID of the analyzer.")),
    request_body(content((AnalyzerChange = "application/json"), (AnalyzerChange = "application/merge-patch+json"))),
    responses((status = 200, description = "The analyzer as it is now.", body = Analyzer)))]
pub(super) async fn update(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(analyzer_id): UuidId,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, MERGE_PATCH, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let (mut analyzer, paths) = read_parts(&body)?;
    analyzer.analyzer_id = analyzer_id;
    let request = pb::UpdateAnalyzerRequest { analyzer: Some(analyzer), update_mask: Some(prost_types::FieldMask { paths }) };
    let answer = edge.clients.analyzers.clone().update_analyzer(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_ANALYZER.refuse(status))?.into_inner();
    json(&Analyzer::from(answer.analyzer.ok_or_else(Refusal::internal)?))
}

/// Remove an analyzer
///
/// Its runs stay. Needs the scope `admin`.
#[utoipa::path(delete, path = "/analyzers/{id}", tag = "Analyzers", operation_id = "delete_analyzer",
    params(("id" = String, Path, description = "UUID of the analyzer.")),
    responses((status = 204, description = "It is removed.")))]
pub(super) async fn delete(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(analyzer_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::DeleteAnalyzerRequest { analyzer_id };
    edge.clients.analyzers.clone().delete_analyzer(calling.call(request)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Run an analyzer over a conversation
///
/// Answers with the run of the same version, model and words when there is one already, unless `again` is set. Needs the scope
/// `admin`.
#[utoipa::path(post, path = "/analyzers/{id}/run", tag = "Analyzers", operation_id = "run_analyzer",
    params(("id" = String, Path, description = "UUID of the analyzer.")), request_body = NewRun,
    responses((status = 200, description = "What it said.", body = AnalyzerRun)))]
pub(super) async fn run(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(analyzer_id): UuidId,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(&body)?;
    let conversation_id = object.required_text("conversation_id", &mut errors).unwrap_or_default();
    let again = object.read("again", "true or false", &mut errors).value().unwrap_or_default();
    object.finish(&mut errors);
    finish(errors)?;
    let request = pb::RunAnalyzerRequest { analyzer_id, conversation_id, again };
    let answer = edge.clients.analyzers.clone().run_analyzer(calling.long_call(request, RUN_TIMEOUT)).await?.into_inner();
    json(&AnalyzerRun::from(answer.run.ok_or_else(Refusal::internal)?))
}

/// List what an analyzer said
///
/// Newest first, a page at a time. Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/analyzers/{id}/runs", tag = "Analyzers", operation_id = "list_analyzer_runs",
    params(
        ("id" = String, Path, description = "UUID of the analyzer."),
        ("conversation_id" = Option<String>, Query, description = "Only of this conversation."),
        ("page_size" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many at most; default 30."),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the previous page, all else unchanged."),
    ),
    responses((status = 200, description = "A page of runs.", body = AnalyzerRunPage)))]
pub(super) async fn runs(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(analyzer_id): UuidId,
    mut query: Query,
) -> Result<Response, Refusal> {
    let conversation_id = query.text("conversation_id").unwrap_or_default();
    page_of_runs(&edge, &calling, (analyzer_id, conversation_id), query, Naming::of(&[])).await
}

/// List what analyzers said of a conversation
///
/// Newest first, a page at a time. Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/conversations/{id}/analyzer-runs", tag = "Analyzers", operation_id = "list_conversation_runs",
    params(
        ("id" = String, Path, description = "The canonical id, or `provider:external_id`."),
        ("page_size" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many at most; default 30."),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the previous page, all else unchanged."),
    ),
    responses((status = 200, description = "A page of runs.", body = AnalyzerRunPage)))]
pub(super) async fn runs_of_conversation(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(conversation_id): Id,
    query: Query,
) -> Result<Response, Refusal> {
    page_of_runs(&edge, &calling, (String::new(), conversation_id), query, OF_CONVERSATION).await
}

async fn page_of_runs(
    edge: &Edge,
    calling: &Calling,
    (analyzer_id, conversation_id): (String, String),
    mut query: Query,
    naming: Naming,
) -> Result<Response, Refusal> {
    let (page_size, page_token) = (query.page_size(), query.cursor().unwrap_or_default());
    query.finish()?;
    let request = pb::ListAnalyzerRunsRequest { analyzer_id, conversation_id, page_size, page_token };
    let answer = edge.clients.analyzers.clone().list_analyzer_runs(calling.call(request)).await;
    let answer = answer.map_err(|status| naming.refuse(status))?.into_inner();
    json(&AnalyzerRunPage::from(answer))
}

/// Run an analyzer over many conversations
///
/// In the background; by default only says what it would come to. Needs the scope `admin`.
#[utoipa::path(post, path = "/analyzers/{id}/backfill", tag = "Analyzers", operation_id = "backfill_analyzer",
    params(("id" = String, Path, description = "UUID of the analyzer.")), request_body = NewBackfill,
    responses((status = 200, description = "What it comes to.", body = Backfill)))]
pub(super) async fn backfill(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(analyzer_id): UuidId,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(&body)?;
    let filter = filter(&mut object, &mut errors);
    let estimate_only = object.read("estimate_only", "true or false", &mut errors).value().unwrap_or(true);
    object.finish(&mut errors);
    finish(errors)?;
    let request = pb::BackfillAnalyzerRequest { analyzer_id, filter, estimate_only };
    let answer = edge.clients.analyzers.clone().backfill_analyzer(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_BACKFILL.refuse(status))?.into_inner();
    json(&Backfill::from(answer.backfill.ok_or_else(Refusal::internal)?))
}

/// Read how far a back-fill is
///
/// Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/analyzer-backfills/{id}", tag = "Analyzers", operation_id = "get_analyzer_backfill",
    params(("id" = String, Path, description = "UUID of the back-fill.")),
    responses((status = 200, description = "The back-fill.", body = Backfill)))]
pub(super) async fn read_backfill(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(backfill_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::GetBackfillRequest { backfill_id };
    let answer = edge.clients.analyzers.clone().get_backfill(calling.call(request)).await?.into_inner();
    json(&Backfill::from(answer.backfill.ok_or_else(Refusal::internal)?))
}

/// Compare two versions of an analyzer
///
/// Over the conversations both have seen. Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/analyzers/{id}/compare", tag = "Analyzers", operation_id = "compare_analyzer_versions",
    params(
        ("id" = String, Path, description = "UUID of the analyzer."),
        ("a" = u32, Query, minimum = 1, description = "One version."),
        ("b" = u32, Query, minimum = 1, description = "The other."),
    ),
    responses((status = 200, description = "How they agree.", body = VersionComparison)))]
pub(super) async fn compare(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(analyzer_id): UuidId,
    mut query: Query,
) -> Result<Response, Refusal> {
    for name in ["a", "b"] {
        query.complain_of_missing(name, "is required: a version");
    }
    let version_a = query.integer("a", 1..=u32::MAX).unwrap_or_default();
    let version_b = query.integer("b", 1..=u32::MAX).unwrap_or_default();
    query.finish()?;
    let request = pb::CompareAnalyzerVersionsRequest { analyzer_id, version_a, version_b };
    let answer = edge.clients.analyzers.clone().compare_analyzer_versions(calling.call(request)).await?.into_inner();
    json(&VersionComparison::from(answer))
}

/// Reads the parts of an analyzer that are there, and names them as a field mask does.
fn read_parts(body: &[u8]) -> Result<(pb::Analyzer, Vec<String>), Refusal> {
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(body)?;
    let mut paths = Vec::new();
    for name in ["name", "agent_ids", "fields", "scorecard", "enabled"] {
        if object.raw(name).is_given() {
            paths.push(name.to_owned());
        }
    }
    let analyzer = pb::Analyzer {
        name: object.text("name", &mut errors).value().unwrap_or_default(),
        agent_ids: object.read("agent_ids", "an array of strings", &mut errors).value().unwrap_or_default(),
        fields: elements(&mut object, "fields", &mut errors, read_field),
        scorecard: elements(&mut object, "scorecard", &mut errors, read_question),
        // What is taken away is its default, as if it had never been said.
        enabled: object.read("enabled", "true or false", &mut errors).value().unwrap_or(true),
        ..Default::default()
    };
    object.finish(&mut errors);
    finish(errors)?;
    Ok((analyzer, paths))
}

fn read_field(mut object: Object<'_>, errors: &mut FieldErrors) -> pb::AnalyzerField {
    let field = pb::AnalyzerField {
        name: object.required_text("name", errors).unwrap_or_default(),
        r#type: object.required_text("type", errors).unwrap_or_default(),
        description: object.text("description", errors).value().unwrap_or_default(),
        choices: object.read("choices", "an array of strings", errors).value().unwrap_or_default(),
        examples: object.read("examples", "an array of strings", errors).value().unwrap_or_default(),
    };
    object.finish(errors);
    field
}

fn read_question(mut object: Object<'_>, errors: &mut FieldErrors) -> pb::ScorecardQuestion {
    let question = pb::ScorecardQuestion {
        name: object.required_text("name", errors).unwrap_or_default(),
        question: object.required_text("question", errors).unwrap_or_default(),
        weight: object.read("weight", "a number", errors).value().unwrap_or(1.0),
    };
    object.finish(errors);
    question
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_that_is_taken_away_is_on_as_if_nobody_had_said_anything() {
        let given = |body: &str| read_parts(body.as_bytes()).unwrap();
        for (body, enabled) in [("{}", true), (r#"{"enabled": null}"#, true), (r#"{"enabled": false}"#, false)] {
            let (analyzer, paths) = given(body);
            assert_eq!((analyzer.enabled, paths.is_empty()), (enabled, body == "{}"), "{body}");
        }
    }
}
