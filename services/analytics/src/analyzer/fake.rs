//! An endpoint that answers as tests want.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::samples;
use crate::ModelSettings;

/// What the endpoint does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The model answers this text.
    Text(String),
    /// The endpoint sends this body, as it is.
    Body(String),
    /// The endpoint answers with a status, and perhaps when to come again.
    Status(u16, Option<&'static str>),
    /// The model takes so long to answer well.
    After(Duration),
}

#[derive(Default)]
struct Shared {
    next: Mutex<VecDeque<Reply>>,
    always: Mutex<Option<Reply>>,
    asked: Mutex<Vec<(HeaderMap, Value)>>,
}

/// The endpoint. What it was not told otherwise it answers well.
pub(crate) struct Fake {
    url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let router = Router::new().route("/v1/chat/completions", axum::routing::post(answer)).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, serving }
    }

    pub(crate) fn settings(&self) -> ModelSettings {
        ModelSettings {
            url: self.url.clone(),
            api_key: "sk-secret".to_owned(),
            model: "small".to_owned(),
            tokens_per_day: 1_000_000,
        }
    }

    /// Replies so to the next requests.
    pub(crate) fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.next.lock().unwrap().extend(replies);
    }

    /// Replies so to every request.
    pub(crate) fn always(&self, reply: Reply) {
        *self.shared.always.lock().unwrap() = Some(reply);
    }

    /// Returns what it was asked.
    pub(crate) fn asked(&self) -> Vec<(HeaderMap, Value)> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Returns how often it was asked about analyzers that are not built in.
    pub(crate) fn asked_of_analyzers(&self) -> usize {
        self.asked().iter().filter(|(_, asked)| !is_insight(asked)).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn is_insight(asked: &Value) -> bool {
    asked["response_format"]["json_schema"]["schema"]["properties"]["fields"]["properties"]["summary"].is_object()
}

pub(crate) fn completion(text: &str) -> Value {
    json!({
        "id": "1", "object": "chat.completion", "created": 1, "model": "small",
        "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": text } }],
        "usage": { "prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000 },
    })
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let good = if is_insight(&asked) { samples::insight() } else { samples::answer() };
    let insight = is_insight(&asked);
    shared.asked.lock().unwrap().push((headers, asked));
    // What tests line up is for their own analyzers.
    let next = if insight { None } else { shared.next.lock().unwrap().pop_front() };
    let reply = next.or_else(|| shared.always.lock().unwrap().clone()).unwrap_or_else(|| Reply::Text(good.to_string()));
    let json = [(header::CONTENT_TYPE, "application/json")];
    match reply {
        Reply::Text(text) => (json, completion(&text).to_string()).into_response(),
        Reply::Body(body) => (json, body).into_response(),
        Reply::Status(status, retry_after) => {
            let status = StatusCode::from_u16(status).unwrap();
            let headers: HeaderMap = retry_after.into_iter().map(|text| (header::RETRY_AFTER, text.parse().unwrap())).collect();
            (status, headers, "what the caller said").into_response()
        }
        Reply::After(wait) => {
            tokio::time::sleep(wait).await;
            (json, completion(&good.to_string()).to_string()).into_response()
        }
    }
}
