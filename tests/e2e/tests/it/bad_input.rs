//! Rubbish: a clear 4xx, or quarantine for authenticated webhooks; never a 5xx, a hang or a changed record.

use colloquy_e2e::{Engine, Server};
use colloquy_types::Provider;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

fn rubbish() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let name = "x".repeat(4_096);
    vec![
        ("empty", Vec::new()),
        ("not JSON", b"not json".to_vec()),
        ("cut off", br#"{"events": [{"event_id": "a""#.to_vec()),
        ("invalid UTF-8", b"{\"events\": \"\xff\xfe\"}".to_vec()),
        ("NaN", br#"{"events": [{"event_id": "a", "conversation_id": "c", "type": "turn.added", "data": {"role": "user", "start_ms": NaN}}]}"#.to_vec()),
        ("an array", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("deep nesting", deep(10_000).into_bytes()),
        ("deep nesting inside", format!(r#"{{"events": {}}}"#, deep(10_000)).into_bytes()),
        ("a NUL", b"{\"events\": \"\\u0000\"}\0".to_vec()),
        ("a lone surrogate", br#"{"event": "\ud800"}"#.to_vec()),
        ("duplicate fields", br#"{"event": "call_started", "event": "call_ended"}"#.to_vec()),
        ("a long id", format!(r#"{{"event": "call_started", "call": {{"call_id": "{name}"}}}}"#).into_bytes()),
        ("an id of another type", br#"{"event": "call_started", "call": {"call_id": {"a": 1}}}"#.to_vec()),
        ("an unknown event", br#"{"event": "call_exploded", "call": {"call_id": "c"}}"#.to_vec()),
    ]
}

#[tokio::test]
async fn an_authenticated_webhook_that_makes_no_sense_is_quarantined() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let sources = [
            server.source(Provider::ElevenLabs).await,
            server.source(Provider::Retell).await,
            server.source(Provider::Vapi).await,
            server.source(Provider::AgentSession).await,
        ];
        for source in &sources {
            for (what, body) in rubbish() {
                let answer = server.deliver(source, &body).await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK, "{}: {what}", source.provider);
                let answer: Value = answer.json().await.unwrap();
                assert!(answer["quarantine_id"].is_string(), "{}: {what}: {answer}", source.provider);
            }
        }
        let listed = server.get("/v1/quarantine?page_size=100").await;
        let entries = listed["deliveries"].as_array().unwrap();
        assert_eq!(entries.len(), rubbish().len() * sources.len());
        assert!(entries.iter().all(|entry| entry["reason"].as_str().is_some_and(|reason| !reason.is_empty())));
        assert_eq!(server.get("/v1/conversations").await["conversations"], json!([]));
    }
}

#[tokio::test]
async fn a_webhook_without_a_good_signature_leaves_no_trace() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        for provider in [Provider::ElevenLabs, Provider::Retell, Provider::Vapi, Provider::AgentSession] {
            let source = server.source(provider).await;
            let sample = colloquy_e2e::samples().into_iter().find(|sample| sample.provider == provider).unwrap();
            let path = format!("/v1/webhooks/{}", source.id);
            let unsigned = server.anonymous(Method::POST, &path).body(sample.body.clone()).send().await.unwrap();
            assert_eq!(unsigned.status(), StatusCode::UNAUTHORIZED, "{provider}");
            let forged = colloquy_e2e::Source { secret: "another-secret".to_owned(), ..source.clone() };
            assert_eq!(server.deliver(&forged, &sample.body).await.unwrap().status(), StatusCode::UNAUTHORIZED, "{provider}");
        }
        assert_eq!(server.get("/v1/quarantine").await["deliveries"], json!([]));
        assert_eq!(server.get("/v1/conversations").await["conversations"], json!([]));
        let nowhere =
            server.anonymous(Method::POST, &format!("/v1/webhooks/{}", Uuid::now_v7())).body("{}").send().await.unwrap();
        assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_under_it_is_not_kept_in_memory() {
    let server = Server::start(Engine::Sqlite).await;
    let retell = server.source(Provider::Retell).await;
    let big = vec![b' '; 9 << 20];
    assert_eq!(server.deliver(&retell, &big).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);

    // 60 MiB of audio, base64 in JSON, as the provider sends it.
    let elevenlabs = server.source(Provider::ElevenLabs).await;
    let audio = "SUQz".repeat(20 << 20 >> 2 << 2);
    let body = format!(
        r#"{{"type": "post_call_audio", "event_timestamp": 1772463645, "data": {{"agent_id": "a", "conversation_id": "conv_big", "full_audio": "{audio}"}}}}"#
    );
    let before = peak_memory(server.pid());
    let answer = server.deliver(&elevenlabs, body.as_bytes()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    let grown = peak_memory(server.pid()) - before;
    assert!(grown < 64 << 10, "memory grew by {grown} KiB for a body of {} KiB", body.len() >> 10);
    let path = "/v1/conversations/elevenlabs:conv_big";
    server.eventually(path, |record| record["recording"]["available"] == true).await;
    let stored = server.request(Method::GET, &format!("{path}/audio")).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(stored.len(), audio.len() / 4 * 3);
}

/// The most memory a process has used, in KiB.
fn peak_memory(pid: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_bad_request_is_a_problem_that_names_the_fault() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let id = Uuid::now_v7();
        let long = "x".repeat(4_096);
        let gets = [
            ("/v1/conversations?page_size=0", "page_size"),
            ("/v1/conversations?page_size=101", "page_size"),
            ("/v1/conversations?page_size=ten", "page_size"),
            ("/v1/conversations?status=done", "status"),
            ("/v1/conversations?sort=colour", "sort"),
            ("/v1/conversations?cursor=abc", "cursor"),
            ("/v1/conversations?colour=red", "colour"),
            ("/v1/conversations?created_after=1", "created_after"),
            ("/v1/conversations?started_after=yesterday", "started_after"),
            ("/v1/conversations?call_start_after_unix=99999999999999999999", "call_start_after_unix"),
            ("/v1/conversations?duration_min_seconds=-1", "duration_min_seconds"),
            ("/v1/conversations?duration_max_seconds=NaN", "duration_max_seconds"),
            ("/v1/conversations?include_total=maybe", "include_total"),
            ("/v1/conversations?sentiment=", "sentiment"),
            (&format!("/v1/conversations?agent_id={long}"), "agent_id"),
        ];
        for (path, field) in gets {
            let answer = server.request(Method::GET, path).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
            let problem: Value = answer.json().await.unwrap();
            let fields: Vec<&str> =
                problem["errors"].as_array().unwrap().iter().map(|bad| bad["field"].as_str().unwrap()).collect();
            assert_eq!(fields, [field], "{path}: {problem}");
        }
        let missing = [
            format!("/v1/conversations/{id}"),
            format!("/v1/conversations/{id}/transcript"),
            format!("/v1/conversations/{id}/audio"),
            "/v1/conversations/retell:nothing".to_owned(),
            "/v1/agents/nobody".to_owned(),
            "/v1/nothing".to_owned(),
        ];
        for path in missing {
            assert_eq!(server.request(Method::GET, &path).send().await.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
        }
        let ids = ["not-an-id", "robot:x", &long, "%00", "%ff", "retell:"];
        for id in ids {
            let status = server.request(Method::GET, &format!("/v1/conversations/{id}")).send().await.unwrap().status();
            assert!(status.is_client_error(), "{id}: {status}");
        }
        for (what, body) in rubbish() {
            for (method, path) in [
                (Method::POST, "/v1/events"),
                (Method::POST, "/v1/sources"),
                (Method::PATCH, &*format!("/v1/conversations/{id}")),
            ] {
                let request = server.request(method, path).header("content-type", "application/json").body(body.clone());
                let answer = request.send().await.unwrap();
                assert!(answer.status().is_client_error(), "{path}: {what}: {}", answer.status());
                assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}: {what}");
            }
        }
        let method = server.request(Method::DELETE, "/v1/events").send().await.unwrap();
        assert_eq!(method.status(), StatusCode::METHOD_NOT_ALLOWED);
        let form =
            server.request(Method::POST, "/v1/events").header("content-type", "text/plain").body("x=1").send().await.unwrap();
        assert!(form.status().is_client_error());
    }
}

#[tokio::test]
async fn emoji_right_to_left_and_control_characters_come_back_as_they_were() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let id = Uuid::now_v7();
        let text = "שלום 👩‍👩‍👧‍👦 \u{202e}abc\u{202c} \u{7} Zoë — fin";
        let body = json!({"events": [
            {"event_id": "t", "conversation_id": id, "type": "turn.added", "data": {"role": "user", "text": text, "start_ms": 0, "end_ms": 2000}}
        ]});
        let written = server.post("/v1/events", &body).await;
        let path = format!("/v1/conversations/{id}/transcript?min_position={}", written["position"]);
        assert_eq!(server.get(&path).await["turns"][0]["text"], text);
        for format in ["text", "srt", "vtt"] {
            let rendered = server.request(Method::GET, &format!("{path}&format={format}")).send().await.unwrap();
            assert_eq!(rendered.status(), StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn absurd_times_and_absent_facts_make_no_5xx() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let source = server.source(Provider::Retell).await;
        for start in [json!(-1), json!(i64::MAX), json!(1e300), json!("soon"), json!(null), json!([]), json!(0)] {
            let call = format!("call_{}", Uuid::now_v7().simple());
            let body = json!({"event": "call_ended", "call": {"call_id": call, "start_timestamp": start, "end_timestamp": 5,
            "duration_ms": start, "transcript_object": [], "call_cost": {"combined_cost": start}}});
            let answer = server.deliver(&source, &serde_json::to_vec(&body).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{start}");
            let answer: Value = answer.json().await.unwrap();
            if answer["quarantine_id"].is_null() {
                let path = format!("/v1/conversations/retell:{call}");
                let record = server.eventually(&path, |_| true).await;
                assert_eq!(record["transcript"], json!([]), "{start}");
            }
        }
        for field in ["start_ms", "end_ms"] {
            for value in [json!(-5), json!(1e300), json!("1"), json!(i64::MAX)] {
                let body = json!({"events": [{"event_id": "x", "conversation_id": "c", "type": "turn.added",
                "data": {"role": "user", "text": "x", field: value}}]});
                let answer = server.request(Method::POST, "/v1/events").json(&body).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{field} = {value}");
            }
        }
    }
}
