//! The description of the API, as OpenAPI 3.1: what the routes say of themselves, and what is true of all of them.

use serde_json::{Value, json};
use utoipa::openapi::{ComponentsBuilder, Info, InfoBuilder, License, OpenApi, OpenApiBuilder, PathsBuilder};

use crate::{problem, routes};

const ABOUT: &str = "The system of record for conversations that AI agents have with people. Send an API key as `x-api-key: KEY` \
or `Authorization: Bearer KEY` (on `/v1/convai` also `xi-api-key: KEY`). Times are RFC 3339 UTC with milliseconds unless a name \
ends in `_unix` (seconds) or `_ms`; what is not known is `null`. Errors are `application/problem+json` (RFC 9457); unknown query \
parameters are a 400. Every response carries `x-request-id`. What is written of conversations (events, webhooks and their retries \
from quarantine, changes, recordings, feedback and commands) is answered with a position (`x-colloquy-position`), and a read with \
`min_position` waits until it has seen that position. Everything under `/v1/conversations` and `/v1/agents` also stands \
under `/v1/voiceai/conversations` and `/v1/voiceai/agents`.";

/// Joins the descriptions of the routes under `/v1`, and adds the rest.
pub(crate) fn complete(groups: [OpenApi; 4]) -> OpenApi {
    let [mut routes, others @ ..] = groups;
    others.into_iter().for_each(|other| routes.merge(other));
    let mut paths = PathsBuilder::new();
    for (path, item) in routes.paths.paths {
        paths = paths.path(format!("/v1{path}"), item);
    }
    OpenApiBuilder::new().info(info()).paths(paths.build()).components(routes.components).build()
}

fn info() -> Info {
    InfoBuilder::new()
        .title("Colloquy")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(License::new("Apache-2.0")))
        .build()
}

/// Returns the description as JSON.
pub fn document() -> Value {
    finished(&routes::document())
}

/// Adds what is true of every route, where utoipa has no place to say it once.
pub(crate) fn finished(document: &OpenApi) -> Value {
    let mut schemas =
        ComponentsBuilder::new().schema_from::<problem::Problem<'_>>().schema_from::<problem::FieldProblem<'_>>().build();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    for (name, schema) in std::mem::take(&mut schemas.schemas) {
        document["components"]["schemas"][name] = serde_json::to_value(schema).unwrap_or_default();
    }
    document["components"]["securitySchemes"] = json!({
        "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "An API key."},
        "bearer": {"type": "http", "scheme": "bearer", "description": "The same API key."},
    });
    document["components"]["responses"] = json!({
        "Problem": {
            "description": "What went wrong (RFC 9457).",
            "headers": {"x-request-id": {"description": "Names the request in our logs.", "schema": {"type": "string"}}},
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        },
    });
    document["security"] = json!([{"api_key": []}, {"bearer": []}]);
    for operation in operations(&mut document) {
        operation["responses"]["default"] = json!({"$ref": "#/components/responses/Problem"});
        describe_bytes(operation);
    }
    require_every_key(&mut document);
    members(document.pointer_mut("/components/schemas")).for_each(describe_optional_objects);
    document
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    members(document.get_mut("paths")).flat_map(|item| members(Some(item))).filter(|value| value.is_object())
}

fn members(value: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    value.and_then(Value::as_object_mut).into_iter().flat_map(|object| object.values_mut())
}

fn items<'a>(value: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Bytes are bytes, not arrays of numbers: in OpenAPI 3.1 their media type says it all.
fn describe_bytes(operation: &mut Value) {
    let forget_schema = |body: &mut Value| {
        let contents = body.get_mut("content").and_then(Value::as_object_mut);
        for (_, content) in contents.into_iter().flatten().filter(|(media_type, _)| media_type.ends_with("/*")) {
            *content = json!({});
        }
    };
    members(operation.get_mut("responses")).for_each(forget_schema);
    operation.get_mut("requestBody").into_iter().for_each(forget_schema);
}

/// What is said of a field that is an object or `null` belongs to the field, not to one of the two.
fn describe_optional_objects(schema: &mut Value) {
    for property in members(schema.get_mut("properties")) {
        let described = items(property, "oneOf").filter_map(Value::as_object_mut).find_map(|part| part.remove("description"));
        if let Some(description) = described {
            property["description"] = description;
        }
    }
}

/// Every key of an answer is there, be it `null`; only what is sent can leave some out.
fn require_every_key(document: &mut Value) {
    const SENT: [&str; 34] = [
        "AlertRuleChange",
        "AnalysisSettingsChange",
        "AnalyticsComparison",
        "AnalyticsFormula",
        "AnalyticsMeasure",
        "AnalyticsQuestion",
        "AnalyticsSegment",
        "AnalyticsTime",
        "AnalyzerChange",
        "BacktestStretch",
        "ConversationChange",
        "NativeEvent",
        "NativeEvents",
        "NewAlertCondition",
        "NewAlertMetric",
        "NewAlertRule",
        "NewAnalyzer",
        "NewAnalyzerField",
        "NewBackfill",
        "NewBacktest",
        "NewCommand",
        "NewEndpointFilter",
        "NewFeedback",
        "NewProviderAccess",
        "NewReplay",
        "NewRun",
        "NewScorecardQuestion",
        "NewSource",
        "NewTaxonomyTopic",
        "NewVerification",
        "NewWebhookEndpoint",
        "SourceChange",
        "Stretch",
        "WebhookEndpointChange",
    ];
    const OPTIONAL: [(&str, &str); 2] = [("ConversationPage", "total"), ("Problem", "errors")];
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    for (name, schema) in schemas.into_iter().flatten().filter(|(name, _)| !SENT.contains(&name.as_str())) {
        require(name, schema, &OPTIONAL);
        items(schema, "allOf").for_each(|part| require(name, part, &OPTIONAL));
    }
}

fn require(name: &str, schema: &mut Value, optional: &[(&str, &str)]) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let keys: Vec<&String> = properties.keys().filter(|key| !optional.contains(&(name, key.as_str()))).collect();
    schema["required"] = json!(keys);
}
