//! The description of the API, as OpenAPI 3.1: what the routes say of themselves, and what is true of all of them.

use serde_json::{Value, json};
use utoipa::openapi::{ComponentsBuilder, Info, InfoBuilder, License, OpenApi, OpenApiBuilder, PathsBuilder};

use crate::{problem, routes};

const ABOUT: &str = "The system of record for conversations that AI agents have with people. Send an API key as `x-api-key: KEY` \
or `Authorization: Bearer KEY` (on `/v1/convai` also `xi-api-key: KEY`). Times are RFC 3339 UTC with milliseconds unless a name \
ends in `_unix` (seconds) or `_ms`; what is not known is `null`. Errors are `application/problem+json` (RFC 9457); unknown query \
parameters are a 400. Every response carries `x-request-id`. Every write answers with a position (`x-colloquy-position`), and a \
read with `min_position` waits until it has seen that position. Everything under `/v1/conversations` and `/v1/agents` also stands \
under `/v1/voiceai/conversations` and `/v1/voiceai/agents`.";

/// Joins the descriptions of the routes under `/v1`, and adds the rest.
pub(crate) fn complete(one: OpenApi, other: OpenApi) -> OpenApi {
    let mut routes = one;
    routes.merge(other);
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
    }
    require_every_key(&mut document);
    for schema in document["components"]["schemas"].as_object_mut().into_iter().flat_map(|schemas| schemas.values_mut()) {
        describe_optional_objects(schema);
    }
    document
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    paths.flat_map(|item| item.as_object_mut().into_iter().flat_map(|item| item.values_mut())).filter(|value| value.is_object())
}

/// What is said of a field that is an object or `null` belongs to the field, not to one of the two.
fn describe_optional_objects(schema: &mut Value) {
    for property in schema["properties"].as_object_mut().into_iter().flat_map(|properties| properties.values_mut()) {
        let parts = property["oneOf"].as_array_mut().into_iter().flatten();
        let described = parts.filter_map(Value::as_object_mut).find_map(|part| part.remove("description"));
        if let Some(description) = described {
            property["description"] = description;
        }
    }
}

/// Every key of an answer is there, be it `null`; only what is sent can leave some out.
fn require_every_key(document: &mut Value) {
    const SENT: [&str; 7] =
        ["ConversationChange", "NativeEvent", "NativeEvents", "NewFeedback", "NewSource", "NewVerification", "SourceChange"];
    const OPTIONAL: [(&str, &str); 2] = [("ConversationPage", "total"), ("Problem", "errors")];
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
    for (name, schema) in schemas.iter_mut().filter(|(name, _)| !SENT.contains(&name.as_str())) {
        require(name, schema, &OPTIONAL);
        for part in schema["allOf"].as_array_mut().into_iter().flatten() {
            require(name, part, &OPTIONAL);
        }
    }
}

fn require(name: &str, schema: &mut Value, optional: &[(&str, &str)]) {
    let Some(properties) = schema["properties"].as_object() else { return };
    let keys: Vec<&String> = properties.keys().filter(|key| !optional.contains(&(name, key.as_str()))).collect();
    schema["required"] = json!(keys);
}
