//! The description for people: `/`, `/docs` and `/openapi.json`, written once at the start and self-contained.

use std::fmt::Write;

use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use serde_json::Value;
use utoipa::openapi::OpenApi;

use crate::openapi;

/// The page loads nothing from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}\
code{background:#f2f2f2;padding:.1em .3em;border-radius:3px;font-size:.9em}section{border-top:1px solid #ddd;margin-top:2rem}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px \
solid #eee}h3 b{display:inline-block;min-width:4.5rem}nav li{list-style:none}nav ul{padding:0}\
@media(prefers-color-scheme:dark){body{background:#161616;color:#e4e4e4}code{background:#2a2a2a}a{color:#8ab4f8}\
td,th,section{border-color:#333}}";

/// Returns the pages.
pub(crate) fn routes(document: &OpenApi) -> Router {
    let document = openapi::finished(document);
    let json = Bytes::from(serde_json::to_vec(&document).unwrap_or_default());
    let (docs, index) = (Bytes::from(page(&document)), Bytes::from(index(&document)));
    Router::new()
        .route("/", get(async move || answer("text/html; charset=utf-8", index.clone())))
        .route("/docs", get(async move || answer("text/html; charset=utf-8", docs.clone())))
        .route("/openapi.json", get(async move || answer("application/json", json.clone())))
}

fn answer(content_type: &'static str, body: Bytes) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "public, max-age=300"), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, body).into_response()
}

fn index(document: &Value) -> String {
    let body = format!(
        "<h1>Colloquy</h1><p>{}</p><ul><li><a href=\"/docs\">Documentation</a></li>\
         <li><a href=\"/openapi.json\">OpenAPI</a></li><li><a href=\"/readyz\">Readiness</a></li></ul>",
        prose(&document["info"]["description"])
    );
    html("Colloquy", &body)
}

fn html(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )
}

/// Writing to a `String` cannot fail.
macro_rules! put {
    ($to:expr, $($format:tt)+) => { let _ = write!($to, $($format)+); };
}

fn page(document: &Value) -> String {
    let mut body = format!(
        "<h1>Colloquy {}</h1><p>{}</p>",
        escaped(document["info"]["version"].as_str().unwrap_or_default()),
        prose(&document["info"]["description"])
    );
    let mut links = String::new();
    let mut operations = String::new();
    let mut group = String::new();
    for (tag, method, path, operation) in sorted_operations(document) {
        if tag != group {
            put!(links, "<h3>{}</h3>", escaped(tag));
            put!(operations, "<h2>{}</h2>", escaped(tag));
            group = tag.to_owned();
        }
        let id = escaped(operation["operationId"].as_str().unwrap_or_default());
        let method = method.to_ascii_uppercase();
        put!(links, "<li><a href=\"#{id}\">{method} {}</a></li>", escaped(path));
        write_operation(&mut operations, &id, &method, path, operation);
    }
    put!(body, "<nav><ul>{links}</ul></nav>{operations}<h2>Objects</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        write_schema(&mut body, name, schema);
    }
    html("Colloquy: documentation", &body)
}

fn sorted_operations(document: &Value) -> Vec<(&str, &str, &str, &Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let tag = operation["tags"][0].as_str().unwrap_or_default();
            all.push((tag, method.as_str(), path.as_str(), operation));
        }
    }
    let order = |tag: &str| ["Conversations", "Agents", "Ingestion"].iter().position(|known| *known == tag).unwrap_or(usize::MAX);
    all.sort_by_key(|(tag, ..)| order(tag));
    all
}

fn write_operation(out: &mut String, id: &str, method: &str, path: &str, operation: &Value) {
    put!(out, "<section id=\"{id}\"><h3><b>{method}</b> <code>{}</code></h3>", escaped(path));
    put!(out, "<p><strong>{}.</strong> {}</p>", prose(&operation["summary"]), prose(&operation["description"]));
    let parameters = operation["parameters"].as_array();
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
        out.push_str("<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>");
        for parameter in parameters {
            put!(
                out,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escaped(parameter["name"].as_str().unwrap_or_default()),
                escaped(parameter["in"].as_str().unwrap_or_default()),
                kind(&parameter["schema"]),
                prose(&parameter["description"])
            );
        }
        out.push_str("</table>");
    }
    for (content_type, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        put!(out, "<p>Body: <code>{}</code> {}</p>", escaped(content_type), kind(&content["schema"]));
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        if status == "default" {
            continue;
        }
        put!(out, "<p>{}: {}", escaped(status), prose(&response["description"]));
        for (content_type, content) in response["content"].as_object().into_iter().flatten() {
            put!(out, " <code>{}</code> {}", escaped(content_type), kind(&content["schema"]));
        }
        out.push_str("</p>");
    }
    out.push_str("</section>");
}

fn write_schema(out: &mut String, name: &str, schema: &Value) {
    put!(out, "<section id=\"schema-{0}\"><h3>{0}</h3><p>{1}</p>", escaped(name), prose(&schema["description"]));
    let parts = schema["allOf"].as_array().map_or_else(|| vec![schema], |parts| parts.iter().collect());
    for part in parts {
        if part["$ref"].is_string() {
            put!(out, "<p>All of {}, and:</p>", kind(part));
        }
        let Some(properties) = part["properties"].as_object() else { continue };
        out.push_str("<table>");
        for (name, property) in properties {
            let described = prose(&property["description"]);
            put!(out, "<tr><td><code>{}</code></td><td>{}</td><td>{described}</td></tr>", escaped(name), kind(property));
        }
        out.push_str("</table>");
    }
    out.push_str("</section>");
}

/// The type of a value in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escaped(name));
    }
    for joined in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[joined].as_array() {
            return parts.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    let words: Vec<&str> = match &schema["type"] {
        Value::String(word) => vec![word],
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        _ => vec!["any"],
    };
    let words = words.join(" or ");
    if words.starts_with("array") && !schema["items"].is_null() {
        return format!("{words} of {}", kind(&schema["items"]));
    }
    escaped(&words)
}

/// Text with its `code` marked up.
fn prose(text: &Value) -> String {
    let mut out = String::new();
    for (index, part) in text.as_str().unwrap_or_default().split('`').enumerate() {
        match index % 2 {
            0 => out.push_str(&escaped(part)),
            _ => put_code(&mut out, part),
        }
    }
    out
}

fn put_code(out: &mut String, code: &str) {
    put!(out, "<code>{}</code>", escaped(code));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(prose(&Value::from("a `<b>` & \"c\"")), "a <code>&lt;b&gt;</code> &amp; &quot;c&quot;");
    }
}
