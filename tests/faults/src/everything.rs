//! Everything an installation has to say, read over REST, in a form that can be compared.

use std::collections::BTreeMap;

use colloquy_e2e::{Engine, Server};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::deliveries::deliveries;
use crate::scene::send_all;

/// Each conversation's record, history and transcript by its id.
pub(crate) type Everything = BTreeMap<String, Value>;

/// Returns what comes of the deliveries where nothing goes wrong: one process, files, in order.
pub(crate) async fn undisturbed() -> &'static Everything {
    static UNDISTURBED: OnceCell<Everything> = OnceCell::const_new();
    let make = || async {
        let server = Server::start(Engine::Sqlite).await;
        send_all(&server, deliveries()).await;
        // A write after all others tells how far to wait; once that is analysed, what our own analysers say has been written too.
        let position = crate::scene::probe_position(&server).await;
        while get(&server, &format!("/v1/alerts?min_position={position}")).await.is_err() {}
        let position = crate::scene::probe_position(&server).await;
        server.get(&format!("/v1/conversations?page_size=1&min_position={position}")).await;
        read(&server).await.unwrap_or_else(|why| panic!("an undisturbed installation cannot be read: {why}"))
    };
    UNDISTURBED.get_or_init(make).await
}

/// Reads everything; tells what was not readable.
pub(crate) async fn read(server: &Server) -> Result<Everything, String> {
    let mut everything = Everything::new();
    let mut cursor = String::new();
    loop {
        let page = get(server, &format!("/v1/conversations?page_size=100{cursor}")).await?;
        for listed in page["conversations"].as_array().unwrap() {
            let id = listed["conversation_id"].as_str().unwrap();
            if crate::scene::is_probe(listed) {
                continue;
            }
            let mut record = get(server, &format!("/v1/conversations/{id}")).await?;
            let transcript = get(server, &format!("/v1/conversations/{id}/transcript")).await?;
            record["listed"] = listed.clone();
            record["transcript_alone"] = transcript;
            forget_when_it_was_heard(&mut record);
            assert!(everything.insert(id.to_owned(), record).is_none(), "{id} is listed twice");
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(everything),
        }
    }
}

/// When Colloquy heard of something is the one thing that really differs; it also dates what the provider does not.
fn forget_when_it_was_heard(record: &mut Value) {
    for event in record["history"].as_array_mut().into_iter().flatten() {
        event["received_at"] = Value::Null;
        if event["type"] == "transfer.updated" {
            event["occurred_at"] = Value::Null;
        }
    }
}

async fn get(server: &Server, path: &str) -> Result<Value, String> {
    let answer = server.request(Method::GET, path).send().await.map_err(|error| format!("{path}: {error}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| format!("{path}: {error}"))?;
    if status != StatusCode::OK {
        return Err(format!("{path}: {status}: {text}"));
    }
    serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))
}

/// Tells the first few differences; `None` when there are none.
pub(crate) fn difference(expected: &Everything, found: &Everything) -> Option<String> {
    let missing = expected.keys().filter(|id| !found.contains_key(*id)).map(|id| format!("{id} is missing"));
    let strange = found.keys().filter(|id| !expected.contains_key(*id)).map(|id| format!("{id} should not be there"));
    let mut changed = Vec::new();
    for (id, record) in expected {
        if let Some(found) = found.get(id) {
            compare(id, record, found, &mut changed);
        }
    }
    let all: Vec<String> = missing.chain(strange).chain(changed).collect();
    (!all.is_empty()).then(|| format!("{} differences:\n{}", all.len(), all.into_iter().take(12).collect::<Vec<_>>().join("\n")))
}

fn compare(path: &str, expected: &Value, found: &Value, differences: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(left), Value::Object(right)) if left.len() == right.len() => {
            for (key, left) in left {
                compare(&format!("{path}.{key}"), left, right.get(key).unwrap_or(&Value::Null), differences);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                compare(&format!("{path}[{index}]"), left, right, differences);
            }
        }
        (left, right) if left == right => {}
        (left, right) => differences.push(format!("{path} is {right} instead of {left}")),
    }
}
