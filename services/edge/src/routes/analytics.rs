//! What conversations come to, one by one and together.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_service::FieldErrors;
use serde_json::value::RawValue;
use tonic::Status;
use utoipa::ToSchema;

use super::listing::{self, read_filter_object};
use crate::Edge;
use crate::answer::json;
use crate::body::{self, JSON, MAX_SMALL_BODY_BYTES, MERGE_PATCH, Member, Object};
use crate::clients::Calling;
use crate::naming::{Naming, OF_CONVERSATION};
use crate::path::Id;
use crate::problem::{Refusal, finish};
use crate::query::{NoQuery, Query};
use crate::shape::analytics::{
    AgentTable, AnalysisSettings, AnalyticsAnswer, AnalyticsSchema, Asked, Comparisons, ConversationAnalytics, Patterns,
};
use crate::shape::time::to_message;

/// So many elements are read of an array; how many are allowed is for the service to say, and always less.
const MAX_ELEMENTS: usize = 1_000;
const OF_QUESTION: Naming = Naming::of(&[]);
const OF_SETTINGS: Naming = Naming::of(&[("settings.", "")]);
/// The members of the filter are the parameters.
const OF_SET: Naming = Naming::of(&[("filter.", "")]);

/// Read what a conversation comes to
///
/// Every figure with what made it and the turns it came from. While the conversation runs, figures are those so far. Needs the scope
/// `analytics:read`.
#[utoipa::path(get, path = "/conversations/{id}/analytics", tag = "Analytics", operation_id = "get_conversation_analytics",
    params(
        ("id" = String, Path, description = "The canonical id, or `provider:external_id`."),
        ("min_position" = Option<u64>, Query, minimum = 0, description = "Wait (at most 5 s) until this position was analysed."),
    ),
    responses((status = 200, description = "The figures.", body = ConversationAnalytics)))]
pub(super) async fn conversation(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(conversation_id): Id,
    mut query: Query,
) -> Result<Response, Refusal> {
    let request = pb::GetConversationAnalyticsRequest { conversation_id, min_position: query.min_position() };
    query.finish()?;
    let answer = edge.clients.analytics.clone().get_conversation_analytics(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_CONVERSATION.refuse(status))?.into_inner();
    json(&ConversationAnalytics::from(answer.analytics.ok_or_else(Refusal::internal)?))
}

/// A question over many conversations.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `ask` reads")]
pub(super) struct AnalyticsQuestion {
    /// What to compute; 1 to 20.
    #[schema(min_items = 1, max_items = 20)]
    measures: Vec<AnalyticsMeasure>,
    /// What to compute it by: at most 3 names of `GET /v1/analytics/schema`.
    #[schema(max_items = 3)]
    dimensions: Option<Vec<String>>,
    /// Over which conversations: the list's parameter names, `filter` among them.
    #[schema(value_type = Option<Object>)]
    filter: Option<()>,
    /// Over which time, in which steps.
    time: AnalyticsTime,
    /// Aliases, dimensions or `bucket`, with `-` before it for descending.
    order_by: Option<Vec<String>>,
    /// At most this many rows; default 1,000.
    #[schema(minimum = 1, maximum = 10000)]
    limit: Option<i32>,
    /// Values computed of the measures.
    formulas: Option<Vec<AnalyticsFormula>>,
    /// Wait (at most 5 s) until this position was analysed.
    min_position: Option<u64>,
}

/// What to compute.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `ask` reads")]
pub(super) struct AnalyticsMeasure {
    /// A measure of `GET /v1/analytics/schema`; absent for `count` and the concurrency operations.
    field: Option<String>,
    /// `count`, `sum`, `avg`, `min`, `max`, `p50`, `p75`, `p90`, `p95`, `p99`, `rate`, `histogram`, `concurrency_peak` or
    /// `concurrency_avg`.
    op: String,
    /// What the answer calls it; default: the operation and the field, for example `avg_duration_seconds`.
    alias: Option<String>,
    /// Only over these of the conversations.
    #[schema(value_type = Option<Object>)]
    filter: Option<()>,
}

/// A half-open stretch of time, in steps.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `ask` reads")]
pub(super) struct AnalyticsTime {
    /// `created_at` from here, inclusive (RFC 3339).
    #[schema(format = DateTime)]
    from: String,
    /// `created_at` until here, exclusive (RFC 3339).
    #[schema(format = DateTime)]
    to: String,
    /// `minute`, `hour`, `day`, `week` (from Monday), `month`, `quarter`, `year` or `auto`; absent gives one row for all of it.
    step: Option<String>,
    /// IANA name; default `UTC`. Days have 23 to 25 hours where the zone says so.
    timezone: Option<String>,
}

/// A value computed of measures.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `ask` reads")]
pub(super) struct AnalyticsFormula {
    /// What the answer calls it.
    alias: String,
    /// Aliases of measures, numbers, `+ - * /` and parentheses, for example `resolved / total`.
    expression: String,
}

/// Ask a question over many conversations
///
/// Measures, by up to three dimensions, over time in any zone. Buckets without conversations are there. Needs the scope
/// `analytics:read`.
#[utoipa::path(post, path = "/analytics/query", tag = "Analytics", operation_id = "query_analytics",
    request_body = AnalyticsQuestion,
    responses((status = 200, description = "The answer.", body = AnalyticsAnswer)))]
pub(super) async fn ask(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let question = read_question(&body)?;
    let dimensions = question.dimensions.clone();
    let measures = question.measures.iter().map(|measure| Asked { alias: measure.alias.clone(), is_rate: measure.op == "rate" });
    let formulas = question.formulas.iter().map(|formula| Asked { alias: formula.alias.clone(), is_rate: false });
    let asked: Vec<Asked> = measures.chain(formulas).collect();
    let answer = edge.clients.analytics.clone().query_analytics(calling.call(question)).await;
    let answer = answer.map_err(|status| OF_QUESTION.refuse(status))?.into_inner();
    json(&AnalyticsAnswer::new(answer, dimensions, asked))
}

fn read_question(body: &[u8]) -> Result<pb::QueryAnalyticsRequest, Refusal> {
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(body)?;
    if !object.raw("time").is_given() {
        errors.add("time", "is required: {from, to, step, timezone}");
    }
    let question = pb::QueryAnalyticsRequest {
        measures: elements(&mut object, "measures", &mut errors, read_measure),
        dimensions: object.read("dimensions", "an array of strings", &mut errors).value().unwrap_or_default(),
        filter: filter(&mut object, &mut errors),
        time: object.object("time", &mut errors).value().map(|time| read_time(time, &mut errors)),
        order_by: object.read("order_by", "an array of strings", &mut errors).value().unwrap_or_default(),
        limit: limit(&mut object, &mut errors),
        formulas: elements(&mut object, "formulas", &mut errors, read_formula),
        min_position: object.read("min_position", "a whole number", &mut errors).value().unwrap_or_default(),
        organization_id: String::new(),
    };
    object.finish(&mut errors);
    finish(errors)?;
    Ok(question)
}

/// Reads how many rows are wanted; 0 when that is not said.
fn limit(object: &mut Object<'_>, errors: &mut FieldErrors) -> i32 {
    const ROWS: &str = "a whole number from 1 to 10000";
    let given = object.read("limit", ROWS, errors).value();
    if given.is_some_and(|limit| !(1..=10_000).contains(&limit)) {
        errors.add("limit", format!("must be {ROWS}"));
    }
    given.unwrap_or_default()
}

fn read_measure(mut object: Object<'_>, errors: &mut FieldErrors) -> pb::Measure {
    let field = object.text("field", errors).value().unwrap_or_default();
    let op = object.required_text("op", errors).unwrap_or_default();
    let alias = object.text("alias", errors).value().filter(|alias| !alias.is_empty());
    let filter = filter(&mut object, errors);
    object.finish(errors);
    let alias = alias.unwrap_or_else(|| if field.is_empty() { op.clone() } else { format!("{op}_{field}").replace('.', "_") });
    pb::Measure { field, op, alias, filter }
}

fn read_formula(mut object: Object<'_>, errors: &mut FieldErrors) -> pb::Formula {
    let alias = object.required_text("alias", errors).unwrap_or_default();
    let expression = object.required_text("expression", errors).unwrap_or_default();
    object.finish(errors);
    pb::Formula { alias, expression }
}

fn read_time(mut object: Object<'_>, errors: &mut FieldErrors) -> pb::TimeRange {
    let range = pb::TimeRange {
        from: instant(&mut object, "from", errors),
        to: instant(&mut object, "to", errors),
        step: object.text("step", errors).value().unwrap_or_default(),
        timezone: object.text("timezone", errors).value().unwrap_or_default(),
    };
    object.finish(errors);
    range
}

/// Reads a time that must be there.
pub(super) fn instant(object: &mut Object<'_>, name: &'static str, errors: &mut FieldErrors) -> Option<prost_types::Timestamp> {
    let text = object.required_text(name, errors)?;
    errors.parse(&object.path_of(name), &text).map(to_message)
}

/// Reads the filter of an object, by the names of the list's parameters.
pub(super) fn filter(object: &mut Object<'_>, errors: &mut FieldErrors) -> Option<ConversationFilter> {
    let raw = object.raw("filter").value()?;
    read_filter_object(&object.path_of("filter"), raw, errors)
}

/// Reads an array of objects.
pub(super) fn elements<T>(
    object: &mut Object<'_>,
    name: &'static str,
    errors: &mut FieldErrors,
    mut read: impl FnMut(Object<'_>, &mut FieldErrors) -> T,
) -> Vec<T> {
    let path = object.path_of(name);
    let raw = match object.raw(name) {
        Member::Value(raw) => raw,
        Member::Absent | Member::Null => return Vec::new(),
    };
    let Ok(given) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        errors.add(path, "must be an array of objects");
        return Vec::new();
    };
    if given.len() > MAX_ELEMENTS {
        errors.add(path, format!("must have at most {MAX_ELEMENTS} elements"));
        return Vec::new();
    }
    let objects = given.into_iter().enumerate().filter_map(|(at, raw)| {
        let object = Object::at(format!("{path}[{at}]"), raw, errors)?;
        Some(read(object, errors))
    });
    objects.collect()
}

/// List what can be asked
///
/// Every measure with its operations, and every dimension. Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/analytics/schema", tag = "Analytics", operation_id = "get_analytics_schema",
    responses((status = 200, description = "Measures and dimensions.", body = AnalyticsSchema)))]
pub(super) async fn schema(State(edge): State<Arc<Edge>>, calling: Calling, _: NoQuery) -> Result<Response, Refusal> {
    let request = pb::GetAnalyticsSchemaRequest {};
    let answer = edge.clients.analytics.clone().get_analytics_schema(calling.call(request)).await?.into_inner();
    json(&AnalyticsSchema::from(answer))
}

/// Two sets of conversations to compare.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `compare` reads")]
pub(super) struct AnalyticsComparison {
    /// What to compare: operations `avg`, `rate` and `count`; 1 to 20.
    #[schema(min_items = 1, max_items = 20)]
    measures: Vec<AnalyticsMeasure>,
    /// The set to compare with.
    baseline: AnalyticsSegment,
    /// The set to judge.
    candidate: AnalyticsSegment,
}

/// A set of conversations.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `compare` reads")]
pub(super) struct AnalyticsSegment {
    /// Which: the list's parameter names.
    #[schema(value_type = Option<Object>)]
    filter: Option<()>,
    /// `created_at` from here, inclusive (RFC 3339).
    #[schema(format = DateTime)]
    from: String,
    /// `created_at` until here, exclusive (RFC 3339).
    #[schema(format = DateTime)]
    to: String,
}

/// Compare two sets of conversations
///
/// Two periods or two versions of an agent, for example; says which differences are more than chance. Needs the scope
/// `analytics:read`.
#[utoipa::path(post, path = "/analytics/compare", tag = "Analytics", operation_id = "compare_analytics",
    request_body = AnalyticsComparison,
    responses((status = 200, description = "How they differ.", body = Comparisons)))]
pub(super) async fn compare(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let request = read_comparison(&body)?;
    let answer = edge.clients.analytics.clone().compare_analytics(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_QUESTION.refuse(status))?.into_inner();
    json(&Comparisons::from(answer))
}

fn read_comparison(body: &[u8]) -> Result<pb::CompareAnalyticsRequest, Refusal> {
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(body)?;
    let measures = elements(&mut object, "measures", &mut errors, read_measure);
    let mut segment = |name: &'static str| match object.object(name, &mut errors) {
        Member::Value(segment) => Some(read_segment(segment, &mut errors)),
        Member::Null | Member::Absent => {
            errors.add(name, "is required: {filter, from, to}");
            None
        }
    };
    let (baseline, candidate) = (segment("baseline"), segment("candidate"));
    object.finish(&mut errors);
    finish(errors)?;
    Ok(pb::CompareAnalyticsRequest { measures, baseline, candidate })
}

fn read_segment(mut object: Object<'_>, errors: &mut FieldErrors) -> pb::Segment {
    let segment = pb::Segment {
        filter: filter(&mut object, errors),
        from: instant(&mut object, "from", errors),
        to: instant(&mut object, "to", errors),
    };
    object.finish(errors);
    segment
}

/// Compare agents
///
/// A table of agents with what their conversations come to, busiest first. Looks at the conversations that began from `started_after` to
/// `started_before`: up to now unless told, and 30 days long unless told. Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/analytics/agents", tag = "Analytics", operation_id = "list_agent_performance",
    params(listing::FilterParameters),
    responses((status = 200, description = "The agents.", body = AgentTable)))]
pub(super) async fn agents(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let Set { filter, from, to, bounds } = Set::read(&mut query);
    query.finish()?;
    let request = pb::ListAgentPerformanceRequest { filter: Some(filter), from, to };
    let answer = edge.clients.analytics.clone().list_agent_performance(calling.call(request)).await;
    let answer = answer.map_err(|status| bounds.refuse(status))?.into_inner();
    json(&AgentTable::from(answer))
}

/// Find patterns
///
/// The ways conversations go most often, from topic to outcome, and the turns where they fail. Looks at the conversations that began from
/// `started_after` to `started_before`: up to now unless told, and 30 days long unless told. Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/analytics/patterns", tag = "Analytics", operation_id = "find_patterns",
    params(listing::FilterParameters, ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many of each; default 20.")),
    responses((status = 200, description = "The patterns.", body = Patterns)))]
pub(super) async fn patterns(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let Set { filter, from, to, bounds } = Set::read(&mut query);
    let limit = query.integer("limit", 1..=100).unwrap_or_default();
    query.finish()?;
    let request = pb::FindPatternsRequest { filter: Some(filter), from, to, limit };
    let answer = edge.clients.analytics.clone().find_patterns(calling.call(request)).await;
    let answer = answer.map_err(|status| bounds.refuse(status))?.into_inner();
    json(&Patterns::from(answer))
}

/// A set of conversations: the filter's bounds of time are the set's.
struct Set {
    filter: ConversationFilter,
    from: Option<prost_types::Timestamp>,
    to: Option<prost_types::Timestamp>,
    bounds: Bounds,
}

/// What the caller calls the bounds: each has two names.
struct Bounds {
    from: &'static str,
    to: &'static str,
}

impl Set {
    fn read(query: &mut Query) -> Self {
        let mut filter = listing::read_filter(query);
        let one_of = |usual, other| if query.has(other) && !query.has(usual) { other } else { usual };
        let bounds = Bounds {
            from: one_of("started_after", "call_start_after_unix"),
            to: one_of("started_before", "call_start_before_unix"),
        };
        let (from, to) = (filter.created_from.take(), filter.created_before.take());
        Self { filter, from, to, bounds }
    }
}

impl Bounds {
    fn refuse(&self, status: Status) -> Refusal {
        OF_SET.refuse(status).renaming(|bad| match bad.field.as_str() {
            "from" | "time" => {
                self.from.clone_into(&mut bad.field);
                // What is said of the beginning names the end.
                if let Some(text) = bad.message.strip_suffix(" to") {
                    bad.message = format!("{text} {}", self.to);
                }
            }
            "to" => self.to.clone_into(&mut bad.field),
            _ => {}
        })
    }
}

/// How conversations are to be analysed; what is absent stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `change_settings` reads")]
pub(super) struct AnalysisSettingsChange {
    /// From when on a pause is silence, in milliseconds.
    #[schema(minimum = 500, maximum = 60000)]
    silence_ms: Option<u32>,
    /// Whose analysis leads where both have one: `provider` or `own`.
    leading: Option<String>,
    /// The organization's own topics, all of them; at most 500.
    taxonomy: Option<Vec<NewTaxonomyTopic>>,
    /// Whether the language model, where one is configured, is asked of every conversation what it was about and how it went. The
    /// organization's own analyzers run either way.
    insight_enabled: Option<bool>,
}

/// A topic of an organization's own.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `change_settings` reads")]
pub(super) struct NewTaxonomyTopic {
    /// What it is called.
    #[schema(max_length = 100)]
    name: String,
    /// What is said when it is the topic; case and accents are ignored.
    #[schema(min_items = 1, max_items = 100)]
    phrases: Vec<String>,
}

/// Read how conversations are analysed
///
/// Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/analytics/settings", tag = "Analytics", operation_id = "get_analysis_settings",
    responses((status = 200, description = "The settings.", body = AnalysisSettings)))]
pub(super) async fn settings(State(edge): State<Arc<Edge>>, calling: Calling, _: NoQuery) -> Result<Response, Refusal> {
    let request = pb::GetAnalysisSettingsRequest {};
    let answer = edge.clients.analytics.clone().get_analysis_settings(calling.call(request)).await?.into_inner();
    json(&AnalysisSettings::from(answer.settings.unwrap_or_default()))
}

/// Change how conversations are analysed
///
/// From the next analysis on. Needs the scope `admin`.
#[utoipa::path(patch, path = "/analytics/settings", tag = "Analytics", operation_id = "update_analysis_settings",
    request_body(content((AnalysisSettingsChange = "application/json"), (AnalysisSettingsChange = "application/merge-patch+json"))),
    responses((status = 200, description = "The settings as they are now.", body = AnalysisSettings)))]
pub(super) async fn change_settings(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, MERGE_PATCH, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let change = read_settings(&body)?;
    let answer = edge.clients.analytics.clone().update_analysis_settings(calling.call(change)).await;
    let answer = answer.map_err(|status| OF_SETTINGS.refuse(status))?.into_inner();
    json(&AnalysisSettings::from(answer.settings.unwrap_or_default()))
}

fn read_settings(body: &[u8]) -> Result<pb::UpdateAnalysisSettingsRequest, Refusal> {
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(body)?;
    let mut paths = Vec::new();
    for name in ["silence_ms", "leading", "taxonomy", "insight_enabled"] {
        if object.raw(name).is_given() {
            paths.push(name.to_owned());
        }
    }
    let settings = pb::AnalysisSettings {
        silence_ms: object.read("silence_ms", "a whole number of milliseconds", &mut errors).value().unwrap_or_default(),
        leading: object.text("leading", &mut errors).value().unwrap_or_default(),
        taxonomy: elements(&mut object, "taxonomy", &mut errors, |mut topic, errors| {
            let given = pb::TaxonomyTopic {
                name: topic.required_text("name", errors).unwrap_or_default(),
                phrases: topic.read("phrases", "an array of strings", errors).value().unwrap_or_default(),
            };
            topic.finish(errors);
            given
        }),
        insight_enabled: object.read("insight_enabled", "true or false", &mut errors).value(),
    };
    object.finish(&mut errors);
    finish(errors)?;
    Ok(pb::UpdateAnalysisSettingsRequest { settings: Some(settings), update_mask: Some(prost_types::FieldMask { paths }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(body: &str) -> String {
        format!("{:?}", read_question(body.as_bytes()).unwrap_err())
    }

    #[test]
    fn a_question_is_read_whole() {
        let body = r#"{"measures": [{"op": "count", "alias": "n"}, {"field": "duration_seconds", "op": "p95",
            "filter": {"status": "failed", "filter": "turn_count > 2"}}], "dimensions": ["agent_id"],
            "filter": {"agent_id": "a"}, "time": {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z", "step": "day",
            "timezone": "Europe/Berlin"}, "order_by": ["-n"], "limit": 5, "formulas": [{"alias": "f", "expression": "n * 2"}]}"#;
        let question = read_question(body.as_bytes()).unwrap();
        assert_eq!(question.measures[1].alias, "p95_duration_seconds");
        let filter = question.measures[1].filter.as_ref().unwrap();
        assert_eq!((filter.statuses.len(), filter.expression.as_str()), (1, "turn_count > 2"));
        assert_eq!(question.time.unwrap().timezone, "Europe/Berlin");
        assert_eq!((question.limit, question.formulas.len()), (5, 1));
    }

    #[test]
    fn everything_wrong_with_a_question_is_named() {
        let body =
            r#"{"measures": [{"field": "x", "opp": 1}], "time": {"from": "yesterday"}, "filter": {"agent": "a"}, "extra": 1}"#;
        let complaints = complaints(body);
        for named in ["measures[0].op", "measures[0].opp", "time.from", "time.to", "filter.agent", "extra"] {
            assert!(complaints.contains(named), "{named} in {complaints}");
        }
        assert!(self::complaints("{}").contains("time"));
    }
}
