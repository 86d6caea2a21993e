//! Bad input: always a clear 4xx, never a 5xx, a panic or a hang.

use axum::body::Body;
use http::{Method, Request};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::fake::{Fake, KNOWN};

/// Every route that takes a body of JSON.
fn bodies() -> Vec<(Method, String)> {
    vec![
        (Method::PATCH, format!("/v1/conversations/{KNOWN}")),
        (Method::POST, format!("/v1/conversations/{KNOWN}/feedback")),
        (Method::POST, "/v1/sources".to_owned()),
        (Method::PATCH, format!("/v1/sources/{KNOWN}")),
        (Method::POST, "/v1/events".to_owned()),
    ]
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let fake = Fake::default();
    let deep = format!("{{\"events\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let bodies_of: [&[u8]; 12] = [
        b"",
        b"{",
        b"nonsense",
        b"null",
        b"[]",
        b"\"text\"",
        b"{\"name\": NaN}",
        b"{\"name\": 1e999}",
        b"{\"name\": \"\xff\xfe\"}",
        b"\xef\xbb\xbf{}",
        b"{\"tags\": [], \"tags\": []}",
        deep.as_bytes(),
    ];
    for (method, path) in bodies() {
        for body in bodies_of {
            let answer = fake.json(method.clone(), &path, body.to_vec()).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert_eq!(answer.status, 400, "{method} {path} {shown}");
            assert!(!answer.bad_fields().is_empty(), "{method} {path} {shown}");
        }
    }
    assert!(fake.calls().is_empty(), "nothing reached a service");
}

#[tokio::test]
async fn paths_and_queries_that_are_no_text_are_refused() {
    let fake = Fake::default();
    let long = "x".repeat(4_096);
    let paths = [
        "/v1/conversations/%ff".to_owned(),
        "/v1/conversations/a%00b".to_owned(),
        "/v1/conversations/a%0Ab/events".to_owned(),
        format!("/v1/conversations/{long}"),
        format!("/v1/agents/{long}"),
        format!("/v1/convai/conversations/{long}"),
        "/v1/conversations?agent_id=%ff".to_owned(),
        "/v1/conversations?agent_id=a%00".to_owned(),
        "/v1/conversations?%ff=1".to_owned(),
        format!("/v1/conversations?agent_id={long}"),
        format!("/v1/conversations?cursor={long}{long}"),
        format!("/v1/conversations?{long}=1"),
        format!("/v1/conversations?{}", "tag=a&".repeat(101)),
    ];
    for path in paths {
        let answer = fake.get(&path).await;
        assert_eq!(answer.status, 400, "{}", &path[..path.len().min(80)]);
        assert!(!answer.bad_fields().is_empty(), "{}", &path[..path.len().min(80)]);
    }
    assert!(fake.calls().is_empty(), "nothing reached a service");
}

#[tokio::test]
async fn emoji_and_right_to_left_text_arrive_as_they_are() {
    let fake = Fake::default();
    let answer = fake.get("/v1/conversations?tag=%F0%9F%98%80&topic=%D7%A9%D7%9C%D7%95%D7%9D").await;
    assert_eq!(answer.status, 200);
    assert!(fake.last("ListConversations").message.contains("😀"));
}

/// Names that exist and names that do not, values that are meant and values that are not.
fn query() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("page_size".to_owned()),
        Just("started_after".to_owned()),
        Just("call_start_before_unix".to_owned()),
        Just("duration_max_seconds".to_owned()),
        Just("cursor".to_owned()),
        Just("tag".to_owned()),
        Just("as_of".to_owned()),
        Just("min_position".to_owned()),
        "[ -~]{0,12}",
    ];
    let value = prop_oneof!["[ -~]{0,20}", "-?[0-9]{0,25}(\\.[0-9]{0,5})?(e[0-9]{1,3})?", "%[0-9a-f]{2}%[0-9a-f]{2}"];
    proptest::collection::vec((name, value), 0..6).prop_map(|pairs| {
        let pairs = pairs.into_iter().map(|(name, value)| format!("{name}={value}"));
        let text: String = pairs.collect::<Vec<_>>().join("&");
        text.replace([' ', '#', '"', '<', '>', '`', '\\', '^', '{', '|', '}'], "+")
    })
}

/// JSON that nearly is what it should be.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| value.to_string()),
        ".{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let name = prop_oneof![
        Just("events"),
        Just("event_id"),
        Just("conversation_id"),
        Just("type"),
        Just("data"),
        Just("occurred_at"),
        Just("tags"),
        Just("metadata"),
        Just("rating"),
        Just("verification"),
        Just("scheme"),
        Just("name"),
        Just("provider"),
        Just("other"),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((name.clone(), inner), 0..6).prop_map(|members| {
                let members = members.into_iter().map(|(name, value)| format!("\"{name}\":{value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

/// Runs `check` over many values with one edge.
fn for_many<T: std::fmt::Debug>(values: impl Strategy<Value = T>, check: impl AsyncFn(&Fake, &T)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fake = Fake::default();
    let mut runner = TestRunner::new(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() });
    let outcome = runner.run(&values, |value| {
        runtime.block_on(check(&fake, &value));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn no_query_makes_the_edge_fail() {
    for_many(query(), async |fake, query| {
        let paths = ["/v1/conversations", "/v1/conversations/active", "/v1/agents", "/v1/convai/conversations", "/v1/sources"];
        let with_id = ["", "/events", "/transcript", "/audio"].map(|rest| format!("/v1/conversations/{KNOWN}{rest}"));
        for path in paths.into_iter().map(str::to_owned).chain(with_id) {
            let Ok(request) = Request::get(format!("{path}?{query}")).body(Body::empty()) else { continue };
            let answer = fake.send(request).await;
            assert!(!answer.status.is_server_error(), "{path}?{query}: {answer:?}");
        }
    });
}

#[test]
fn no_body_makes_the_edge_fail() {
    let bodies_of = prop_oneof![json().prop_map(String::into_bytes), any::<Vec<u8>>()];
    for_many(bodies_of, async |fake, body| {
        for (method, path) in bodies() {
            let answer = fake.json(method, &path, body.clone()).await;
            assert!(!answer.status.is_server_error(), "{path}: {answer:?}");
        }
    });
}

#[test]
fn no_header_makes_the_edge_fail() {
    let name = proptest::sample::select(vec![
        "accept",
        "accept-encoding",
        "authorization",
        "content-type",
        "host",
        "if-none-match",
        "if-range",
        "range",
        "traceparent",
        "x-api-key",
        "x-request-id",
    ]);
    for_many((name, "[ -~]{0,40}"), async |fake, (name, value)| {
        for path in ["/audio", "/transcript"].map(|rest| format!("/v1/conversations/{KNOWN}{rest}")) {
            let answer = fake.get_with(&path, &[(name, value.as_str())]).await;
            assert!(!answer.status.is_server_error(), "{name}: {value}: {answer:?}");
        }
    });
}
