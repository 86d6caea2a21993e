//! What is bad is called what the caller called it, whichever service finds out.

use colloquy_service::Problem;
use http::Method;
use serde_json::json;

use crate::fake::{Fake, KNOWN};

/// A request, what the service that is asked complains of, and what the caller is to read.
struct Case {
    method: Method,
    path: String,
    body: &'static str,
    asked: &'static str,
    complaint: (&'static str, &'static str),
    told: (&'static str, &'static str),
}

fn get(path: &str, asked: &'static str, field: &'static str, told: &'static str) -> Case {
    Case { method: Method::GET, path: path.to_owned(), body: "", asked, complaint: (field, "bad"), told: (told, "bad") }
}

fn sent(method: Method, path: &str, body: &'static str, asked: &'static str, field: &'static str, told: &'static str) -> Case {
    Case { method, path: path.to_owned(), body, asked, complaint: (field, "bad"), told: (told, "bad") }
}

fn told(case: Case, complaint: &'static str, told: &'static str) -> Case {
    Case { complaint: (case.complaint.0, complaint), told: (case.told.0, told), ..case }
}

const QUESTION: &str = r#"{"measures": [{"op": "count", "filter": {"caller": "x"}}], "filter": {"caller": "x"},
    "time": {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}}"#;
const COMPARISON: &str = r#"{"measures": [{"op": "count"}],
    "baseline": {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"},
    "candidate": {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}}"#;
const RULE: &str = r#"{"name": "n", "severity": "info", "scope": "conversation"}"#;
const BACKTEST: &str = r#"{"rule": {"name": "n", "severity": "info", "scope": "conversation"},
    "from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}"#;
const ENDPOINT: &str = r#"{"url": "https://example.com", "headers": {"x-first": "1", "x-second": ""}}"#;
const EVENTS: &str = r#"{"events": [{"event_id": "e", "conversation_id": "c", "type": "turn.added"}]}"#;
const SOURCE: &str = r#"{"provider": "vapi", "name": "n", "verification": {"scheme": "none"}}"#;

fn reads() -> Vec<Case> {
    let one = format!("/v1/conversations/{KNOWN}");
    let (analyzer, endpoint) = (format!("/v1/analyzers/{KNOWN}"), format!("/v1/webhook-endpoints/{KNOWN}"));
    let after_before = "after=2026-03-02T00:00:00Z&started_before=2026-03-01T00:00:00Z";
    let unix = "call_start_after_unix=2&call_start_before_unix=1";
    vec![
        get("/v1/conversations?cursor=x", "ListConversations", "page_token", "cursor"),
        get("/v1/conversations?sort=turn_count", "ListConversations", "order_by", "sort"),
        get("/v1/conversations?search=-x", "ListConversations", "query", "search"),
        get("/v1/conversations?filter=x", "ListConversations", "filter", "filter"),
        get("/v1/conversations/active?tag=x", "ListConversations", "tags", "tag"),
        get("/v1/convai/conversations?main_languages=x", "ListConversations", "language", "main_languages"),
        get(&one, "GetConversation", "conversation_id", "id"),
        get(&one, "ListConversationEvents", "conversation_id", "id"),
        get(&one, "GetTranscript", "conversation_id", "id"),
        get(&format!("{one}/events"), "ListConversationEvents", "conversation_id", "id"),
        get(&format!("{one}/transcript"), "GetTranscript", "conversation_id", "id"),
        get(&format!("{one}/transcript?format=srt"), "RenderTranscript", "conversation_id", "id"),
        get(&format!("{one}/transcript?format=srt&language=x"), "RenderTranscript", "language", "language"),
        get(&format!("{one}/audio"), "ReadRecording", "conversation_id", "id"),
        get(&format!("{one}/analytics"), "GetConversationAnalytics", "conversation_id", "id"),
        get(&format!("{one}/control"), "GetControl", "conversation_id", "id"),
        get(&format!("{one}/analyzer-runs"), "ListAnalyzerRuns", "conversation_id", "id"),
        get("/v1/convai/conversations/x", "GetConversation", "conversation_id", "id"),
        get("/v1/agents/x", "GetAgent", "agent_id", "id"),
        get("/v1/alerts?conversation_id=:", "ListAlerts", "conversation_id", "conversation_id"),
        get("/v1/alerts?rule_id=x", "ListAlerts", "rule_id", "rule_id"),
        get("/v1/quarantine?source_id=x", "ListQuarantine", "source_id", "source_id"),
        get(&format!("{analyzer}/runs?conversation_id=:"), "ListAnalyzerRuns", "conversation_id", "conversation_id"),
        get(&format!("{endpoint}/deliveries?conversation_id=x"), "ListWebhookDeliveries", "conversation_id", "conversation_id"),
        get("/v1/search?q=a&conversation_id=:", "SearchTurns", "conversation_id", "conversation_id"),
        get("/v1/search?q=-a", "SearchTurns", "query", "q"),
        get("/v1/search?q=a&sort=newest", "SearchTurns", "order_by", "sort"),
        told(
            get("/v1/search?q=a&said_before=2026-03-01T00:00:00Z", "SearchTurns", "before", "said_before"),
            "must be after 'from'",
            "must be after said_after",
        ),
        told(
            get(&format!("/v1/analytics/agents?started_{after_before}"), "ListAgentPerformance", "from", "started_after"),
            "must lie before to",
            "must lie before started_before",
        ),
        told(
            get(&format!("/v1/analytics/patterns?{unix}"), "FindPatterns", "from", "call_start_after_unix"),
            "must lie before to",
            "must lie before call_start_before_unix",
        ),
        get("/v1/analytics/agents?caller=x", "ListAgentPerformance", "filter.caller", "caller"),
        get("/v1/analytics/patterns?filter=x", "FindPatterns", "filter.filter", "filter"),
        get("/v1/analytics/patterns?tag=x", "FindPatterns", "filter.tags", "tag"),
    ]
}

fn writes() -> Vec<Case> {
    let (post, patch) = (Method::POST, Method::PATCH);
    let one = format!("/v1/conversations/{KNOWN}");
    let (rule, analyzer, endpoint) =
        (format!("/v1/alert-rules/{KNOWN}"), format!("/v1/analyzers/{KNOWN}"), format!("/v1/webhook-endpoints/{KNOWN}"));
    let asks = |field, told| sent(Method::POST, "/v1/analytics/query", QUESTION, "QueryAnalytics", field, told);
    let makes = |field, told| sent(Method::POST, "/v1/alert-rules", RULE, "CreateAlertRule", field, told);
    let tries = |field, told| sent(Method::POST, "/v1/alert-rules/backtest", BACKTEST, "BacktestAlertRule", field, told);
    let fills = |field, told| sent(Method::POST, &format!("{analyzer}/backfill"), "{}", "BackfillAnalyzer", field, told);
    let replays = |field, told| sent(Method::POST, &format!("{endpoint}/replay"), "{}", "ReplayWebhookDeliveries", field, told);
    vec![
        asks("filter.caller", "filter.caller"),
        asks("filter.filter", "filter.filter"),
        asks("filter.tags", "filter.tag"),
        asks("measures[0].filter.duration_min_ms", "measures[0].filter.duration_min_seconds"),
        asks("order_by", "order_by"),
        asks("order_by[0]", "order_by[0]"),
        asks("time.from", "time.from"),
        sent(
            post.clone(),
            "/v1/analytics/compare",
            COMPARISON,
            "CompareAnalytics",
            "baseline.filter.tags",
            "baseline.filter.tag",
        ),
        sent(patch.clone(), "/v1/analytics/settings", "{}", "UpdateAnalysisSettings", "settings.silence_ms", "silence_ms"),
        makes("rule.filter.tags", "filter.tag"),
        makes("rule.metric.window", "window"),
        makes("rule.metric.field", "metric.field"),
        makes("rule.metric", "metric"),
        makes("rule.conditions[0].op", "conditions[0].op"),
        sent(patch.clone(), &rule, "{}", "UpdateAlertRule", "rule.metric.threshold", "threshold"),
        tries("rule.metric.window", "rule.window"),
        tries("rule.metric.op", "rule.metric.op"),
        tries("rule.filter.caller", "rule.filter.caller"),
        tries("to", "to"),
        sent(post.clone(), "/v1/analyzers", r#"{"name": "n"}"#, "CreateAnalyzer", "analyzer.fields[0].name", "fields[0].name"),
        sent(patch.clone(), &analyzer, "{}", "UpdateAnalyzer", "analyzer.name", "name"),
        sent(
            post.clone(),
            &format!("{analyzer}/run"),
            r#"{"conversation_id": ":"}"#,
            "RunAnalyzer",
            "conversation_id",
            "conversation_id",
        ),
        fills("caller", "filter.caller"),
        fills("filter", "filter.filter"),
        fills("tags", "filter.tag"),
        replays("statuses", "filter.status"),
        replays("filter", "filter.filter"),
        replays("event_types[0]", "event_types[0]"),
        sent(post.clone(), "/v1/webhook-endpoints", ENDPOINT, "CreateWebhookEndpoint", "endpoint.url", "url"),
        sent(
            post.clone(),
            "/v1/webhook-endpoints",
            ENDPOINT,
            "CreateWebhookEndpoint",
            "endpoint.headers[1].value",
            "headers.x-second",
        ),
        sent(patch.clone(), &endpoint, ENDPOINT, "UpdateWebhookEndpoint", "endpoint.headers[0].name", "headers.x-first"),
        sent(patch.clone(), &one, "{}", "UpdateConversation", "metadata_patch_json", "metadata"),
        sent(patch, &one, "{}", "UpdateConversation", "tags[0]", "tags[0]"),
        sent(post.clone(), &format!("{one}/feedback"), "{}", "GiveFeedback", "conversation_id", "id"),
        sent(post.clone(), &format!("{one}/control"), r#"{"command": "end"}"#, "SendCommand", "conversation_id", "id"),
        sent(post.clone(), "/v1/sources", SOURCE, "CreateSource", "source.verification.secret", "verification.secret"),
        sent(post, "/v1/events", EVENTS, "IngestEvents", "events[0].data_json.role", "events[0].data.role"),
    ]
}

#[tokio::test]
async fn what_a_service_complains_of_is_called_what_the_caller_called_it() {
    for case in reads().into_iter().chain(writes()) {
        let fake = Fake::default();
        fake.fail(case.asked, Problem::invalid_field(case.complaint.0, case.complaint.1).into());
        let answer = fake.json(case.method.clone(), &case.path, case.body).await;
        let shown = format!("{} {} for {}", case.method, case.path, case.complaint.0);
        assert_eq!(answer.status, 400, "{shown}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.json()["errors"], json!([{"field": case.told.0, "message": case.told.1}]), "{shown}");
    }
}

#[tokio::test]
async fn as_many_tags_as_a_filter_may_name_are_taken_and_no_more() {
    let fake = Fake::default();
    let tags = |count: usize| (0..count).map(|number| format!("tag={number}")).collect::<Vec<_>>().join("&");
    assert_eq!(fake.get(&format!("/v1/conversations?{}&tag=0", tags(20))).await.status, 200);
    for path in ["/v1/conversations", "/v1/analytics/agents"] {
        let answer = fake.get(&format!("{path}?{}", tags(21))).await;
        assert_eq!((answer.status.as_u16(), answer.bad_fields()), (400, vec!["tag".to_owned()]), "{path}");
    }
    let named: Vec<String> = (0..21).map(|number| number.to_string()).collect();
    let rule = json!({"name": "n", "severity": "info", "scope": "conversation", "filter": {"tag": named}});
    let answer = fake.json(Method::POST, "/v1/alert-rules", rule.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.bad_fields()), (400, vec!["filter.tag".to_owned()]));
}
