//! The description of the API: committed, complete, and true.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::fake::Fake;

fn operations(document: &Value) -> Vec<(&String, &String, &Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((path, method, operation));
        }
    }
    all
}

#[test]
fn the_committed_description_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&colloquy_edge::openapi_document()).unwrap());
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "openapi.json is stale: run the tests with UPDATE_OPENAPI=1 and commit what changed");
}

#[test]
fn everything_in_it_is_described() {
    let document = colloquy_edge::openapi_document();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(!document.to_string().contains(":null"), "a key without a value is no OpenAPI");
    for (path, method, operation) in operations(&document) {
        for key in ["summary", "description", "operationId"] {
            assert!(operation[key].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} has no {key}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let described = parameter["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(described, "{method} {path}: {} is not described", parameter["name"]);
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let inner = schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        for (field, property) in inner.iter().filter_map(|part| part["properties"].as_object()).flatten() {
            let described = property["description"].is_string() || property["$ref"].is_string();
            assert!(described, "{name}.{field} is not described: {property}");
        }
    }
}

#[test]
fn a_change_requires_nothing_and_may_take_values_away() {
    let document = colloquy_edge::openapi_document();
    let mut changes = 0;
    for (path, method, operation) in operations(&document) {
        for content in operation["requestBody"]["content"].as_object().into_iter().flatten().map(|(_, content)| content) {
            if method != "patch" {
                continue;
            }
            changes += 1;
            let name = content["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            let schema = &document["components"]["schemas"][&name];
            assert!(schema.get("required").is_none(), "{method} {path}: {name}");
            for (field, property) in schema["properties"].as_object().unwrap() {
                let text = property.to_string();
                assert!(text.contains("\"null\""), "{method} {path}: {name}.{field} may be null: {text}");
            }
        }
    }
    assert!(changes >= 12, "{changes}");
}

#[test]
fn every_name_is_there_once() {
    let document = colloquy_edge::openapi_document();
    let ids: Vec<&str> = operations(&document).iter().map(|(.., operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    // Two structs of one name would silently share a schema: one of them would then be wrong, so the names in the source are counted.
    let mut names = Vec::new();
    collect_schema_names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    assert!(names.len() > 30, "the names are found: {names:?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    // And every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is not there");
    }
}

/// Collects the names of the structs that are schemas.
fn collect_schema_names(directory: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_schema_names(&path, names);
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let mut is_schema = false;
        for line in source.lines() {
            is_schema |= line.starts_with("#[derive(") && line.contains("ToSchema");
            if let Some((_, rest)) = line.split_once("struct ").filter(|_| is_schema) {
                names.push(rest.chars().take_while(|letter| letter.is_alphanumeric()).collect());
                is_schema = false;
            }
        }
    }
}

#[tokio::test]
async fn every_described_query_parameter_is_taken_and_no_other() {
    let fake = Fake::default();
    let document = colloquy_edge::openapi_document();
    for (path, method, operation) in operations(&document) {
        if method != "get" {
            continue;
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let named = parameters.iter().filter(|parameter| parameter["in"] == "query");
        let mut described: Vec<String> = named.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
        let path = path.replace("{id}", crate::fake::KNOWN);
        let answer = fake.get(&format!("{path}?no_such_parameter=1")).await;
        assert_eq!(answer.status, 400, "{path}");
        let json = answer.json();
        // The last complaint: those before it name parameters that are required.
        let message = json["errors"].as_array().unwrap().last().unwrap()["message"].as_str().unwrap();
        let allowed = message.split("allowed: ").nth(1).unwrap_or_else(|| panic!("{path}: {message}"));
        let mut allowed: Vec<&str> = allowed.split(", ").filter(|name| *name != "none").collect();
        described.sort_unstable();
        allowed.sort_unstable();
        assert_eq!(described, allowed, "{path}");
    }
}

#[tokio::test]
async fn it_can_be_read_by_people_and_programs_without_a_key() {
    let fake = Fake::default();
    for (path, content_type) in
        [("/", "text/html; charset=utf-8"), ("/docs", "text/html; charset=utf-8"), ("/openapi.json", "application/json")]
    {
        let answer = fake.get_with(path, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, content_type), "{path}");
        assert!(!answer.header("x-request-id").is_empty());
    }
    let docs = fake.get("/docs").await;
    let page = String::from_utf8(docs.body).unwrap();
    assert!(page.contains("GET /v1/conversations/{id}/transcript") && !page.contains("<script") && !page.contains("src="));
    assert_eq!(fake.get("/openapi.json").await.json(), colloquy_edge::openapi_document());
}
