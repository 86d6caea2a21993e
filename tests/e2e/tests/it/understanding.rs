//! Analytics, search and alerts, as somebody sees them who has just sent conversations.

use std::collections::BTreeMap;
use std::time::Duration;

use colloquy_e2e::{Engine, Server, samples};
use colloquy_testkit::Receiver;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

const ALLOWED: (&str, &str) = ("COLLOQUY_OUTBOUND_ALLOW_NETWORKS", "127.0.0.0/8");
const SOON: Duration = Duration::from_secs(30);

/// What somebody said, from when until when, in milliseconds.
struct Said(&'static str, i64, i64, &'static str);

/// Sends a conversation that began at `started_at` on the 2nd of March 2026 and is over; returns its id and the position of its end.
async fn converse(server: &Server, started_at: &str, agent: &str, said: &[Said], end: Value) -> (String, u64) {
    let id = Uuid::now_v7().to_string();
    let at = format!("2026-03-02T{started_at}Z");
    let event = |kind: &str, name: String, data: Value| json!({"event_id": format!("{id}-{name}"), "conversation_id": id, "type": kind, "occurred_at": at, "data": data});
    let mut events = vec![event("conversation.started", "s".to_owned(), json!({"agent_id": agent, "channel": "phone"}))];
    for (index, Said(role, start_ms, end_ms, text)) in said.iter().enumerate() {
        let data = json!({"index": index, "role": role, "text": text, "start_ms": start_ms, "end_ms": end_ms});
        events.push(event("turn.added", format!("t{index}"), data));
    }
    events.push(event("conversation.ended", "e".to_owned(), end));
    let answer = server.post("/v1/events", &json!({"events": events})).await;
    (id, answer["position"].as_u64().unwrap())
}

fn completed(seconds: u32) -> Value {
    json!({"status": "completed", "end_reason": "user_ended", "duration_seconds": seconds})
}

fn refund() -> [Said; 6] {
    [
        Said("agent", 0, 2_000, "Hello, this is Nia. How can I help you today?"),
        Said("user", 2_500, 6_000, "I am really angry, your delivery was terrible and I want a refund."),
        Said("agent", 7_000, 10_000, "I am sorry to hear that. I can refund your order right away."),
        Said("user", 15_000, 17_000, "Thank you, that is wonderful, you have been very helpful!"),
        Said("agent", 18_000, 19_000, "Is there anything else?"),
        Said("user", 19_500, 21_000, "No, that's all. Thanks, bye."),
    ]
}

async fn refused(server: &Server, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let mut request = server.request(method, path);
    if let Some(body) = &body {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

fn fields(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap_or_else(|| panic!("{problem}")).iter().map(|bad| bad["field"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn figures_follow_the_formulas_and_name_their_turns() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let (id, position) = converse(&server, "15:00:00", "nia", &refund(), completed(21)).await;
        let figures = server.get(&format!("/v1/conversations/{id}/analytics?min_position={position}")).await;
        assert_eq!(figures["settled"], json!(true));
        assert_eq!((&figures["duration_seconds"], &figures["turn_count"]), (&json!(21.0), &json!(6)));
        assert_eq!((&figures["exchanges"], &figures["agent_id"]), (&json!(2), &json!("nia")));
        assert_eq!((&figures["talk"]["agent_ms"], &figures["talk"]["user_ms"]), (&json!(6_000), &json!(7_000)));
        assert_eq!(figures["silence"], json!({"total_ms": 5_000, "longest_ms": 5_000, "count": 1}));
        let response = &figures["latency_ms"]["response"];
        assert_eq!((&response["n"], &response["min"], &response["p50"]), (&json!(2), &json!(1000.0), &json!(1000.0)));
        let moods: Vec<f64> =
            figures["sentiment_by_turn"].as_array().unwrap().iter().map(|turn| turn["score"].as_f64().unwrap()).collect();
        assert!(moods.len() == 3 && moods[0] < -0.3 && moods[1] > 0.3, "{moods:?}");
        assert!(figures["sentiment_course"]["shift"].as_f64().unwrap() > 0.5, "{figures}");
        assert_eq!((&figures["language"], &figures["resolution_status"]), (&json!("en"), &json!("resolved")));
        assert!(!figures["keywords"].as_array().unwrap().is_empty());
        let transcript = server.get(&format!("/v1/conversations/{id}/transcript")).await;
        let known: Vec<&Value> = transcript["turns"].as_array().unwrap().iter().map(|turn| &turn["turn_id"]).collect();
        for (figure, evidence) in figures["evidence"].as_object().unwrap() {
            let analyzer = evidence["analyzer"].as_str().unwrap();
            assert!(analyzer.contains('/') || analyzer == "provider", "{figure} has a version: {evidence}");
            for turn in evidence["turn_ids"].as_array().unwrap() {
                assert!(known.contains(&turn), "{figure} came from a turn there is");
            }
        }
        // What our own analysers say is in the record, where nobody else judged.
        let record =
            server.eventually(&format!("/v1/conversations/{id}"), |record| !record["analytics"]["sentiment"].is_null()).await;
        assert_eq!(record["analytics"]["resolution_status"], "resolved");
        assert_eq!(server.get("/v1/conversations?resolution_status=resolved").await["conversations"][0]["conversation_id"], id);
    }
}

#[tokio::test]
async fn every_sample_has_its_figures_or_the_reason_why_not() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let (mut sources, mut position) = (BTreeMap::new(), 0);
        for sample in samples() {
            if !sources.contains_key(sample.provider.as_str()) {
                sources.insert(sample.provider.as_str(), server.source(sample.provider).await);
            }
            let answer = server.deliver(&sources[sample.provider.as_str()], &sample.body).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            position = position.max(answer.json::<Value>().await.unwrap()["position"].as_u64().unwrap());
        }
        let list = server.get(&format!("/v1/conversations?page_size=100&min_position={position}")).await;
        for conversation in list["conversations"].as_array().unwrap() {
            let id = conversation["conversation_id"].as_str().unwrap();
            let path = format!("/v1/conversations/{id}/analytics");
            let live = ["initiated", "in_progress"].contains(&conversation["status"].as_str().unwrap());
            let figures = server.eventually(&path, |figures| live || figures["settled"] == json!(true)).await;
            assert_eq!(figures["turn_count"], conversation["turn_count"], "{path}");
            let evidence = figures["evidence"].as_object().unwrap();
            assert!(evidence.len() >= 15, "{path}: {evidence:?}");
            for name in ["sentiment", "intent", "language", "keywords"] {
                let absent = figures[name].is_null() || figures[name] == json!([]);
                let reason =
                    &evidence.get(name).unwrap_or_else(|| panic!("{path} says where {name} comes from"))["absent_because"];
                assert!(
                    !absent || reason.is_string() || !conversation["analytics"][name].is_null(),
                    "{path}: {name}: {evidence:?}"
                );
            }
        }
        let question = json!({"measures": [{"op": "count", "alias": "n"}], "dimensions": ["provider"], "min_position": position,
            "time": {"from": "2015-01-01T00:00:00Z", "to": "2035-01-01T00:00:00Z"}});
        let rows = server.post("/v1/analytics/query", &question).await["rows"].clone();
        let counted: i64 = rows.as_array().unwrap().iter().map(|row| row["n"].as_i64().unwrap()).sum();
        assert_eq!(counted, i64::try_from(list["conversations"].as_array().unwrap().len()).unwrap(), "{rows}");
    }
}

#[tokio::test]
async fn questions_are_answered_by_agent_and_hour_with_a_way_to_the_conversations() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let mut last = 0;
        for (at, agent, seconds) in
            [("15:00:00", "a", 10), ("15:20:00", "a", 30), ("15:40:00", "b", 50), ("17:10:00", "a", 20), ("17:59:59", "a", 40)]
        {
            last = converse(&server, at, agent, &refund(), completed(seconds)).await.1;
        }
        let question = json!({
            "measures": [{"op": "count", "alias": "n"}, {"field": "duration_seconds", "op": "p50", "alias": "half"},
                {"field": "resolved", "op": "rate", "alias": "resolved"},
                {"op": "count", "alias": "long", "filter": {"duration_min_seconds": 30}}],
            "formulas": [{"alias": "long_part", "expression": "long / n"}],
            "dimensions": ["agent_id"], "filter": {"filter": "turn_count > 2"}, "order_by": ["bucket", "agent_id"], "min_position": last,
            "time": {"from": "2026-03-02T16:00:00+01:00", "to": "2026-03-02T19:00:00+01:00", "step": "hour", "timezone": "Europe/Berlin"},
        });
        let answer = server.post("/v1/analytics/query", &question).await;
        let row = |bucket: &str, agent: &str| {
            let rows = answer["rows"].as_array().unwrap();
            let found = rows.iter().find(|row| row["bucket"] == bucket && row["agent_id"] == agent);
            found.unwrap_or_else(|| panic!("{bucket} {agent} in {answer}")).clone()
        };
        let first = row("2026-03-02T16:00:00+01:00", "a");
        assert_eq!(
            (&first["n"], &first["half"], &first["long"], &first["long_part"]),
            (&json!(2), &json!(10), &json!(1), &json!(0.5))
        );
        assert_eq!((&first["resolved"], &first["resolved_denominator"]), (&json!(1), &json!(2)));
        assert_eq!(row("2026-03-02T16:00:00+01:00", "b")["half"], 50);
        assert_eq!(row("2026-03-02T18:00:00+01:00", "a")["half"], 20);
        assert!(answer["data_through"].is_string());
        let shown = server.get(first["conversations_url"].as_str().unwrap()).await;
        assert_eq!(shown["conversations"].as_array().unwrap().len(), 2, "{first} leads to {shown}");

        let table =
            server.get("/v1/analytics/agents?started_after=2026-03-01T00:00:00Z&started_before=2026-04-01T00:00:00Z").await;
        assert_eq!((&table["agents"][0]["agent_id"], &table["agents"][0]["conversations"]), (&json!("a"), &json!(4)), "{table}");
        assert_eq!(table["agents"][1]["avg_duration_seconds"], 50.0);
        let segment =
            |agent: &str| json!({"filter": {"agent_id": agent}, "from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"});
        let comparison = json!({"measures": [{"field": "duration_seconds", "op": "avg", "alias": "d"}], "baseline": segment("a"),
            "candidate": segment("b")});
        let compared = &server.post("/v1/analytics/compare", &comparison).await["comparisons"][0];
        assert_eq!(
            (&compared["baseline"], &compared["candidate"], &compared["relative_change"]),
            (&json!(25.0), &json!(50.0), &json!(1.0))
        );
        let patterns =
            server.get("/v1/analytics/patterns?started_after=2026-03-01T00:00:00Z&started_before=2026-04-01T00:00:00Z").await;
        assert!(patterns["paths"][0]["count"].as_u64().unwrap() >= 1, "{patterns}");
    }
}

#[tokio::test]
async fn every_point_leads_to_the_conversations_it_counts() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let (mut sources, mut position) = (BTreeMap::new(), 0);
        for sample in samples() {
            if !sources.contains_key(sample.provider.as_str()) {
                sources.insert(sample.provider.as_str(), server.source(sample.provider).await);
            }
            let answer = server.deliver(&sources[sample.provider.as_str()], &sample.body).await.unwrap();
            position = position.max(answer.json::<Value>().await.unwrap()["position"].as_u64().unwrap());
        }
        position = position.max(converse(&server, "15:00:00", "nia", &refund(), completed(21)).await.1);

        // Those that are over: of others our own analysers tell the record nothing yet.
        let list = server
            .get(&format!("/v1/conversations?page_size=100&min_position={position}&filter=NOT%20status=initiated%20AND%20NOT%20status=in_progress"))
            .await;
        let mut names: Vec<String> = server.get("/v1/analytics/schema").await["dimensions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dimension| dimension["name"].as_str().unwrap().to_owned())
            .filter(|name| name != "custom.NAME")
            .collect();
        assert!(names.len() > 20, "{names:?}");
        for conversation in list["conversations"].as_array().unwrap() {
            let id = conversation["conversation_id"].as_str().unwrap();
            server.eventually(&format!("/v1/conversations/{id}/analytics"), |figures| figures["settled"] == json!(true)).await;
            let custom = conversation["analytics"]["custom_analysis"].as_object();
            names.extend(custom.into_iter().flatten().map(|(name, _)| format!("custom.{name}")));
        }
        names.sort_unstable();
        names.dedup();
        assert!(names.iter().any(|name| name.starts_with("custom.")), "{names:?}");
        let mut followed = 0;
        for name in names {
            // Hours and days are listed as stretches of time, of which a month has few.
            let step = if ["hour_of_day", "day_of_week"].contains(&name.as_str()) { json!("month") } else { Value::Null };
            let question = json!({"measures": [{"op": "count", "alias": "n"}], "dimensions": [name], "min_position": position,
                "filter": {"filter": "status = completed OR status = failed OR status = abandoned"},
                "time": {"from": "2015-01-01T00:00:00Z", "to": "2035-01-01T00:00:00Z", "step": step, "timezone": "Europe/Berlin"}});
            let answer = server.post("/v1/analytics/query", &question).await;
            for row in answer["rows"].as_array().unwrap().iter().filter(|row| row["n"] != json!(0)) {
                let url = row["conversations_url"].as_str().unwrap_or_else(|| panic!("{name}: {row}"));
                server.eventually(&format!("{url}&include_total=true"), |list| list["total"] == row["n"]).await;
                followed += 1;
            }
        }
        assert!(followed > 50, "{followed}");
    }
}

#[tokio::test]
async fn bad_questions_are_refused_by_name() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let march = json!({"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"});
        let count = json!([{"op": "count", "alias": "n"}]);
        let ask = async |body: Value| {
            let (status, problem) = refused(&server, Method::POST, "/v1/analytics/query", Some(body)).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
            problem
        };
        let four = ask(json!({"measures": count, "time": march, "dimensions": ["agent_id", "channel", "status", "topic"]})).await;
        assert!(fields(&four).contains(&"dimensions"), "{four}");
        let unknown = ask(json!({"measures": [{"op": "avg", "field": "happiness", "alias": "h"}], "time": march})).await;
        assert!(unknown.to_string().contains("duration_seconds"), "what is allowed is said: {unknown}");
        let reversed = ask(json!({"measures": count, "time": {"from": march["to"], "to": march["from"]}})).await;
        assert!(fields(&reversed)[0].starts_with("time"), "{reversed}");
        let zone = json!({"from": march["from"], "to": march["to"], "timezone": "Europe/Atlantis"});
        assert_eq!(fields(&ask(json!({"measures": count, "time": zone})).await), ["time.timezone"]);
        let minutes = json!({"from": "2020-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z", "step": "minute"});
        assert_eq!(fields(&ask(json!({"measures": count, "time": minutes})).await), ["time.step"]);
        let filter = ask(json!({"measures": count, "time": march, "filter": {"filter": "agent_id = 'x' AND ("}})).await;
        assert!(filter.to_string().contains("column"), "{filter}");

        for (filter, column) in
            [("status%20=", "column"), ("nope%20=%201", "nope"), ("status%20=%20%22completed%22%20OR", "column")]
        {
            let (status, problem) = refused(&server, Method::GET, &format!("/v1/conversations?filter={filter}"), None).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(problem.to_string().contains(column), "{filter}: {problem}");
        }
        let terms = vec!["turn_count%20%3E%201"; 2_000].join("%20OR%20");
        let (status, _) = refused(&server, Method::GET, &format!("/v1/conversations?filter={terms}"), None).await;
        assert!(status.is_client_error(), "{status}");
        for query in ["%22%22", "-only", "***", ""] {
            let (status, problem) = refused(&server, Method::GET, &format!("/v1/search?q={query}"), None).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {problem}");
        }
    }
}

#[tokio::test]
async fn what_was_said_is_found_where_it_was_said() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let german = [
            Said("agent", 0, 1_000, "Guten Tag, wie kann ich Ihnen helfen?"),
            Said("user", 1_500, 4_000, "Ich möchte meine Bestellung zurückgeben, bitte. Größe M passt nicht."),
        ];
        let (english, _) = converse(&server, "15:00:00", "nia", &refund(), completed(21)).await;
        let (german, position) = converse(&server, "16:00:00", "max", &german, completed(4)).await;
        let search = async |query: &str| server.get(&format!("/v1/search?min_position={position}&{query}")).await;
        let found = search("q=refund&role=user").await;
        assert_eq!(found["hits"].as_array().unwrap().len(), 1, "{found}");
        let hit = &found["hits"][0];
        assert_eq!((&hit["conversation_id"], &hit["start_ms"], &hit["index"]), (&json!(english), &json!(2_500), &json!(1)));
        let snippet: Vec<char> = hit["snippet"].as_str().unwrap().chars().collect();
        let part = &hit["highlights"][0];
        let (from, to) = (part["from"].as_u64().unwrap() as usize, part["to"].as_u64().unwrap() as usize);
        assert_eq!(snippet[from..to].iter().collect::<String>(), "refund");
        for (query, hits) in [
            ("q=zuruckgeben", 1),
            ("q=Grosse", 1),
            ("q=%22meine+Bestellung%22", 1),
            ("q=%22Bestellung+meine%22", 0),
            ("q=bestell*", 1),
            ("q=refund+-angry", 1),
            ("q=refund+angry", 1),
            ("q=refund&agent_id=max", 0),
            ("q=refund%27%20OR%201%3D1%20--", 0),
        ] {
            let found = search(query).await;
            assert_eq!(found["hits"].as_array().unwrap().len(), hits, "{query}: {found}");
        }
        let ids = async |query: &str| {
            let list = server.get(&format!("/v1/conversations?min_position={position}&{query}")).await;
            let ids =
                list["conversations"].as_array().unwrap().iter().map(|one| one["conversation_id"].as_str().unwrap().to_owned());
            ids.collect::<Vec<_>>()
        };
        assert_eq!(ids("search=bestellung").await, std::slice::from_ref(&german));
        assert_eq!(ids("search=refund&agent_id=max").await, Vec::<String>::new());
        assert_eq!(ids("filter=agent_id%20%3D%20%22max%22%20OR%20duration_seconds%20%3E%2020").await, [german, english.clone()]);
        assert_eq!(ids("filter=NOT%20agent_id%20%3D%20max%20AND%20turn_count%20%3E%202&channel=phone").await, [english]);
        // Who may not read transcripts learns nothing of them by searching.
        let key = server.key("default", "conversations:read");
        for path in ["/v1/search?q=refund", "/v1/conversations?search=refund"] {
            let answer = server.anonymous(Method::GET, path).header("x-api-key", &key).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
        }
        let stranger = server.key("elsewhere", "transcripts:read,conversations:read,analytics:read");
        let answer = server.anonymous(Method::GET, "/v1/search?q=refund").header("x-api-key", &stranger).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap()["hits"], json!([]));
    }
}

#[tokio::test]
async fn a_rule_is_tried_on_history_then_fires_once_and_is_told() {
    for engine in Engine::all().await {
        let server = Server::start_with(engine, &[ALLOWED]).await;
        let receiver = Receiver::start().await;
        let (before, position) = converse(&server, "15:00:00", "nia", &refund(), completed(21)).await;
        let rule = json!({"name": "refunds", "severity": "critical", "scope": "conversation", "enabled": false,
            "conditions": [{"field": "user_text", "op": "contains", "value": "want a refund"},
                {"field": "duration_seconds", "op": "gt", "value": 20}]});
        let made = server.post("/v1/alert-rules", &rule).await;
        let rule_id = made["rule_id"].as_str().unwrap();
        let alerts = |more: &str| format!("/v1/alerts?rule_id={rule_id}{more}");
        assert_eq!(server.get(&alerts(&format!("&min_position={position}"))).await["alerts"], json!([]));
        let march = json!({"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"});
        let tried = server.post(&format!("/v1/alert-rules/{rule_id}/backtest"), &march).await;
        assert_eq!((&tried["count"], &tried["conversations"][0]["conversation_id"]), (&json!(1), &json!(before)), "{tried}");

        let hook = json!({"url": receiver.url("/hook"), "event_types": ["alert.*"]});
        server.post("/v1/webhook-endpoints", &hook).await;
        let enabled = server.request(Method::PATCH, &format!("/v1/alert-rules/{rule_id}")).json(&json!({"enabled": true})).send();
        assert_eq!(enabled.await.unwrap().status(), StatusCode::OK);
        let (id, position) = converse(&server, "16:00:00", "nia", &refund(), completed(21)).await;
        converse(&server, "16:10:00", "nia", &refund(), completed(19)).await;
        let raised = server.get(&alerts(&format!("&min_position={position}"))).await;
        assert_eq!(raised["alerts"].as_array().unwrap().len(), 1, "{raised}");
        let alert = &raised["alerts"][0];
        assert_eq!((&alert["conversation_id"], &alert["state"]), (&json!(id), &json!("open")));
        assert!(!alert["evidence"].to_string().contains("delivery was terrible"), "evidence is no transcript: {alert}");
        let is_it = |body: &Value| body["type"] == "alert.opened" && body["data"].to_string().contains(rule_id);
        receiver.until(SOON, "the alert is told", |received| received.iter().any(|one| is_it(&one.json()))).await;

        let path = format!("/v1/alerts/{}", alert["alert_id"].as_str().unwrap());
        assert_eq!(server.post(&format!("{path}/acknowledge"), &json!({})).await["state"], "acknowledged");
        assert_eq!(server.post(&format!("{path}/resolve"), &json!({})).await["state"], "resolved");
        // A later word about the conversation does not open it again.
        server.post(&format!("/v1/conversations/{id}/feedback"), &json!({"rating": 1})).await;
        let figures = format!("/v1/conversations/{id}/analytics");
        server.eventually(&figures, |figures| figures["satisfaction"]["caller"] == 1.0).await;
        let still = server.get(&alerts("")).await;
        assert_eq!((still["alerts"].as_array().unwrap().len(), &still["alerts"][0]["state"]), (1, &json!("resolved")));
        let told = receiver.received().iter().filter(|one| is_it(&one.json())).count();
        assert_eq!(told, 1, "an alert is told once");

        let builtin = server.get("/v1/alert-rules?page_size=100").await;
        for name in ["long_duration", "low_satisfaction", "escalation", "system_errors"] {
            assert!(builtin["rules"].as_array().unwrap().iter().any(|rule| rule["builtin"] == name), "{name} in {builtin}");
        }
        let bad = json!({"name": "", "severity": "loud", "scope": "conversation",
            "conditions": [{"field": "mood", "op": "gt", "value": 1}, {"field": "duration_seconds", "op": "like", "value": "x"}]});
        let (status, problem) = refused(&server, Method::POST, "/v1/alert-rules", Some(bad)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        for field in ["name", "severity", "conditions[0].field", "conditions[1].op"] {
            assert!(fields(&problem).iter().any(|bad| bad.ends_with(field)), "{field} in {problem}");
        }
    }
}

#[tokio::test]
async fn an_organizations_own_topics_count_from_the_next_conversation_on() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let taxonomy = json!({"taxonomy": [{"name": "Angry about delivery", "phrases": ["delivery was terrible"]}]});
        let changed = server.request(Method::PATCH, "/v1/analytics/settings").json(&taxonomy).send().await.unwrap();
        assert_eq!(changed.status(), StatusCode::OK);
        let (id, position) = converse(&server, "15:00:00", "nia", &refund(), completed(21)).await;
        let path = format!("/v1/conversations/{id}/analytics");
        let figures = server.eventually(&format!("{path}?min_position={position}"), |figures| !figures["topics"].is_null()).await;
        let topic = figures["topic_details"].as_array().unwrap().iter().find(|topic| topic["source"] == "taxonomy");
        assert_eq!(topic.unwrap_or_else(|| panic!("{figures}"))["name"], "Angry about delivery");
        let (status, problem) =
            refused(&server, Method::PATCH, "/v1/analytics/settings", Some(json!({"leading": "nobody", "silence_ms": 1}))).await;
        assert_eq!((status, fields(&problem).len()), (StatusCode::BAD_REQUEST, 2), "{problem}");
    }
}

#[tokio::test]
async fn analyzers_can_be_kept_without_a_model_but_not_run() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let analyzer = json!({"name": "sales", "fields": [{"name": "budget", "type": "number"},
            {"name": "mood", "type": "enum", "choices": ["good", "bad"]}],
            "scorecard": [{"name": "greeted", "question": "Did the agent greet?", "weight": 2}]});
        let made = server.post("/v1/analyzers", &analyzer).await;
        let path = format!("/v1/analyzers/{}", made["analyzer_id"].as_str().unwrap());
        assert_eq!(made["version"], 1);
        let changed =
            server.request(Method::PATCH, &path).json(&json!({"fields": [{"name": "budget", "type": "number"}]})).send();
        assert_eq!(changed.await.unwrap().json::<Value>().await.unwrap()["version"], 2);
        assert_eq!(server.get(&format!("{path}?version=1")).await["fields"].as_array().unwrap().len(), 2);
        let run = json!({"conversation_id": Uuid::now_v7().to_string()});
        let (status, problem) = refused(&server, Method::POST, &format!("{path}/run"), Some(run)).await;
        assert!(status.is_client_error() && problem["detail"].as_str().unwrap().contains("model"), "{status}: {problem}");
        let bad = json!({"name": "x", "fields": [{"name": "a b", "type": "enum"}, {"name": "c", "type": "colour"}]});
        let (status, problem) = refused(&server, Method::POST, "/v1/analyzers", Some(bad)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    }
}
