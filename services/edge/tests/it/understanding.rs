//! Search, analytics and alerts: what is passed on, and what is shown.

use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::analytics::v1::alert_service_server::AlertService;
use colloquy_proto::analytics::v1::analytics_service_server::AnalyticsService;
use colloquy_proto::conversation::v1::Analytics as Judged;
use http::Method;
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use crate::fake::{Fake, KNOWN};

type Answer<T> = Result<Response<T>, Status>;

/// The analytics service.
pub(crate) struct Analytics(pub(crate) Fake);

fn unasked<T>() -> Answer<T> {
    Err(Status::unimplemented("no test asks"))
}

#[tonic::async_trait]
impl AnalyticsService for Analytics {
    async fn get_conversation_analytics(
        &self,
        request: Request<pb::GetConversationAnalyticsRequest>,
    ) -> Answer<pb::GetConversationAnalyticsResponse> {
        self.0.note("GetConversationAnalytics", &request)?;
        let key = request.metadata().get("x-api-key").map(|key| key.to_str().unwrap());
        if !self.0.access().allows(key, "analytics:read") {
            return Err(Status::permission_denied("this API key lacks the scope 'analytics:read'"));
        }
        let (position, sentiment) = self.0.analysed();
        let evidence = pb::Evidence { analyzer: "talk/1".to_owned(), turn_count: 2, ..Default::default() };
        let custom = pb::CustomValue { value_json: Some("true".to_owned()), ..Default::default() };
        let unknown = pb::CustomValue { not_established_because: "nobody said".to_owned(), ..Default::default() };
        let analytics = pb::ConversationAnalytics {
            conversation_id: KNOWN.to_owned(),
            position,
            duration_ms: Some(61_500),
            judgement: Some(Judged { sentiment: Some(sentiment), topics: vec!["billing".to_owned()], ..Default::default() }),
            talk: Some(pb::Talk { agent_ms: 10, user_ms: 30, ratio: Some(0.25), ..Default::default() }),
            evidence: [("talk".to_owned(), evidence)].into(),
            latency_stages: [("model".to_owned(), pb::Distribution { mean: Some(412.0), ..Default::default() })].into(),
            custom: [("booked".to_owned(), custom), ("budget".to_owned(), unknown)].into(),
            ..Default::default()
        };
        Ok(Response::new(pb::GetConversationAnalyticsResponse { analytics: Some(analytics) }))
    }

    async fn query_analytics(&self, request: Request<pb::QueryAnalyticsRequest>) -> Answer<pb::QueryAnalyticsResponse> {
        self.0.note("QueryAnalytics", &request)?;
        let row = pb::Row {
            dimensions: [("agent_id".to_owned(), "a".to_owned())].into(),
            values: [("n".to_owned(), pb::Value { number: 3.0, ..Default::default() })].into(),
            ..Default::default()
        };
        Ok(Response::new(pb::QueryAnalyticsResponse { rows: vec![row], step: "day".to_owned(), ..Default::default() }))
    }

    async fn get_analytics_schema(&self, _: Request<pb::GetAnalyticsSchemaRequest>) -> Answer<pb::GetAnalyticsSchemaResponse> {
        unasked()
    }

    async fn compare_analytics(&self, _: Request<pb::CompareAnalyticsRequest>) -> Answer<pb::CompareAnalyticsResponse> {
        unasked()
    }

    async fn list_agent_performance(
        &self,
        request: Request<pb::ListAgentPerformanceRequest>,
    ) -> Answer<pb::ListAgentPerformanceResponse> {
        self.0.note("ListAgentPerformance", &request)?;
        Ok(Response::new(pb::ListAgentPerformanceResponse::default()))
    }

    async fn find_patterns(&self, _: Request<pb::FindPatternsRequest>) -> Answer<pb::FindPatternsResponse> {
        unasked()
    }

    async fn get_analysis_settings(&self, _: Request<pb::GetAnalysisSettingsRequest>) -> Answer<pb::GetAnalysisSettingsResponse> {
        unasked()
    }

    async fn update_analysis_settings(
        &self,
        request: Request<pb::UpdateAnalysisSettingsRequest>,
    ) -> Answer<pb::UpdateAnalysisSettingsResponse> {
        self.0.note("UpdateAnalysisSettings", &request)?;
        Ok(Response::new(pb::UpdateAnalysisSettingsResponse { settings: request.into_inner().settings }))
    }
}

#[tonic::async_trait]
impl AlertService for Analytics {
    async fn create_alert_rule(&self, request: Request<pb::CreateAlertRuleRequest>) -> Answer<pb::CreateAlertRuleResponse> {
        self.0.note("CreateAlertRule", &request)?;
        let rule = request.into_inner().rule.map(|rule| pb::AlertRule { rule_id: KNOWN.to_owned(), ..rule });
        Ok(Response::new(pb::CreateAlertRuleResponse { rule }))
    }

    async fn get_alert_rule(&self, _: Request<pb::GetAlertRuleRequest>) -> Answer<pb::GetAlertRuleResponse> {
        unasked()
    }

    async fn list_alert_rules(&self, _: Request<pb::ListAlertRulesRequest>) -> Answer<pb::ListAlertRulesResponse> {
        unasked()
    }

    async fn update_alert_rule(&self, request: Request<pb::UpdateAlertRuleRequest>) -> Answer<pb::UpdateAlertRuleResponse> {
        self.0.note("UpdateAlertRule", &request)?;
        Ok(Response::new(pb::UpdateAlertRuleResponse { rule: request.into_inner().rule }))
    }

    async fn delete_alert_rule(&self, _: Request<pb::DeleteAlertRuleRequest>) -> Answer<pb::DeleteAlertRuleResponse> {
        unasked()
    }

    async fn backtest_alert_rule(&self, request: Request<pb::BacktestAlertRuleRequest>) -> Answer<pb::BacktestAlertRuleResponse> {
        self.0.note("BacktestAlertRule", &request)?;
        let hit = pb::BacktestHit {
            conversation_id: KNOWN.to_owned(),
            external_id: "conv_1".to_owned(),
            evidence_json: "{\"duration_seconds\": 901}".to_owned(),
            ..Default::default()
        };
        Ok(Response::new(pb::BacktestAlertRuleResponse { count: 1, conversations: vec![hit], examined: 7, warnings: Vec::new() }))
    }

    async fn list_alerts(&self, request: Request<pb::ListAlertsRequest>) -> Answer<pb::ListAlertsResponse> {
        self.0.note("ListAlerts", &request)?;
        Ok(Response::new(pb::ListAlertsResponse::default()))
    }

    async fn acknowledge_alert(&self, _: Request<pb::AcknowledgeAlertRequest>) -> Answer<pb::AcknowledgeAlertResponse> {
        unasked()
    }

    async fn resolve_alert(&self, _: Request<pb::ResolveAlertRequest>) -> Answer<pb::ResolveAlertResponse> {
        unasked()
    }
}

fn fields(answer: &Value) -> Vec<String> {
    answer["errors"].as_array().unwrap().iter().map(|bad| bad["field"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn figures_are_shown_with_what_they_were_made_from() {
    let fake = Fake::default();
    let answer = fake.get(&format!("/v1/conversations/{KNOWN}/analytics?min_position=7")).await.json();
    assert_eq!(answer["duration_seconds"], 61.5);
    assert_eq!(answer["talk"]["ratio"], 0.25);
    assert_eq!(answer["silence"]["total_ms"], Value::Null);
    let (untold, model) = (Value::Null, &answer["latency_ms"]["stages"]["model"]);
    assert_eq!((&model["mean"], &model["n"], &model["p50"], &model["max"]), (&json!(412.0), &untold, &untold, &untold));
    assert_eq!(answer["resolution_status"], "unknown");
    assert_eq!(answer["custom_analysis"], json!({"booked": true, "budget": null}));
    assert_eq!(answer["custom_details"]["budget"]["not_established_because"], "nobody said");
    assert_eq!(answer["analyzers"]["talk"], "talk/1");
    assert_eq!(answer["evidence"]["talk"]["turn_count"], 2);
    assert!(fake.calls()[0].message.contains("min_position: 7"));
}

#[tokio::test]
async fn a_question_is_passed_on_and_its_rows_are_flat() {
    let fake = Fake::default();
    let question = r#"{"measures": [{"op": "count", "alias": "n"}, {"op": "avg", "field": "duration_seconds"}],
        "dimensions": ["agent_id", "outcome"], "filter": {"tag": ["vip", "new"], "filter": "turn_count > 3"},
        "time": {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z", "step": "day", "timezone": "Europe/Berlin"}}"#;
    let answer = fake.json(Method::POST, "/v1/analytics/query", question).await;
    assert_eq!(answer.status, 200);
    let row = json!({"bucket": null, "agent_id": "a", "outcome": null, "n": 3, "avg_duration_seconds": null,
        "conversations_url": null});
    assert_eq!(answer.json()["rows"], json!([row]));
    let message = &fake.calls()[0].message;
    for part in ["\"vip\", \"new\"", "turn_count > 3", "Europe/Berlin", "avg_duration_seconds"] {
        assert!(message.contains(part), "{part} in {message}");
    }
    let answer = fake.json(Method::POST, "/v1/analytics/query", r#"{"measure": [], "filter": {"nope": 1}}"#).await;
    assert_eq!(answer.status, 400);
    assert_eq!(fields(&answer.json()), ["time", "filter.nope", "measure"]);
    let allowed = answer.json()["errors"][2]["message"].as_str().unwrap().to_owned();
    assert_eq!(allowed.matches("time").count(), 1, "{allowed}");
}

#[tokio::test]
async fn a_table_of_agents_is_bounded_by_the_filters_times() {
    let fake = Fake::default();
    let path = "/v1/analytics/agents?started_after=2026-03-01T00:00:00Z&started_before=2026-04-01T00:00:00Z&channel=phone";
    assert_eq!(fake.get(path).await.status, 200);
    let message = &fake.calls()[0].message;
    assert!(message.contains("created_from: None") && message.contains("phone") && message.contains("to: Some"), "{message}");
}

#[tokio::test]
async fn what_was_said_is_found_and_marked() {
    let fake = Fake::default();
    let answer = fake.get("/v1/search?q=%22refund+please%22&role=user&role=agent&sort=relevance").await.json();
    assert_eq!(answer["hits"][0]["highlights"], json!([{"from": 2, "to": 8}]));
    assert_eq!((&answer["hits"][0]["role"], &answer["has_more"]), (&json!("user"), &json!(true)));
    let bad = fake.get("/v1/search?role=nobody&sort=x").await;
    assert_eq!(bad.status, 400);
    assert_eq!(fields(&bad.json()), ["q", "role", "sort"]);
}

#[tokio::test]
async fn a_rule_comes_back_as_it_was_given() {
    let fake = Fake::default();
    let rule = json!({"name": "slow", "severity": "warning", "scope": "metric", "metric": {"field": "response_latency_ms", "op": "p95"},
        "window": "15m", "comparison": "absolute", "threshold": 1500, "min_count": 5, "no_data": "ok",
        "filter": {"agent_id": "a"}, "conditions": [{"field": "channel", "op": "eq", "value": "phone"}], "match": "any"});
    let answer = fake.json(Method::POST, "/v1/alert-rules", rule.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (201, format!("/v1/alert-rules/{KNOWN}").as_str()));
    let shown = answer.json();
    for name in ["name", "severity", "scope", "metric", "window", "comparison", "min_count", "no_data", "conditions", "match"] {
        assert_eq!(shown[name], rule[name], "{name}");
    }
    assert_eq!((&shown["threshold"], &shown["enabled"]), (&json!(1500.0), &json!(true)));
    assert_eq!(shown["filter"]["agent_id"], "a");

    let path = format!("/v1/alert-rules/{KNOWN}");
    let change = r#"{"window": "1h", "enabled": false, "muted_until": null, "match": "all"}"#;
    let answer = fake.json(Method::PATCH, &path, change).await;
    assert_eq!(answer.status, 200);
    let message = &fake.calls()[1].message;
    assert!(message.contains(r#"paths: ["match", "enabled", "muted_until", "metric.window"]"#), "{message}");
    assert!(message.contains(r#"match: "all""#), "{message}");
}

#[tokio::test]
async fn a_switch_that_is_taken_away_is_on_as_if_nobody_had_said_anything() {
    let fake = Fake::default();
    let rule = r#"{"name": "n", "severity": "info", "scope": "conversation", "enabled": null}"#;
    assert_eq!(fake.json(Method::POST, "/v1/alert-rules", rule).await.json()["enabled"], true);
    let path = format!("/v1/alert-rules/{KNOWN}");
    for (change, enabled) in [(r#"{"enabled": null}"#, true), (r#"{"enabled": false}"#, false)] {
        assert_eq!(fake.json(Method::PATCH, &path, change).await.status, 200);
        let message = fake.last("UpdateAlertRule").message;
        assert!(message.contains(r#"paths: ["enabled"]"#) && message.contains(&format!("enabled: {enabled}")), "{message}");
    }
}

#[tokio::test]
async fn a_rule_is_tried_on_history() {
    let fake = Fake::default();
    let stretch = r#"{"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}"#;
    let answer = fake.json(Method::POST, &format!("/v1/alert-rules/{KNOWN}/backtest"), stretch).await.json();
    assert_eq!((&answer["count"], &answer["examined"]), (&json!(1), &json!(7)));
    assert_eq!(answer["conversations"][0]["external_id"], "conv_1");
    assert_eq!(answer["conversations"][0]["evidence"]["duration_seconds"], 901);
    let answer = fake.json(Method::POST, "/v1/alert-rules/backtest", r#"{"rule": {"name": "n"}}"#).await;
    assert_eq!(fields(&answer.json()), ["rule.severity", "rule.scope", "from", "to"]);
    assert_eq!(fake.get("/v1/alerts?state=open&rule_id=x&severity=loud").await.status, 400);
}

#[tokio::test]
async fn only_what_is_named_of_the_settings_changes() {
    let fake = Fake::default();
    let change = r#"{"taxonomy": [{"name": "Billing", "phrases": ["my invoice"]}]}"#;
    let answer = fake.json(Method::PATCH, "/v1/analytics/settings", change).await;
    assert_eq!(answer.json()["taxonomy"], json!([{"name": "Billing", "phrases": ["my invoice"]}]));
    assert!(fake.calls()[0].message.contains(r#"paths: ["taxonomy"]"#));
    let answer = fake.json(Method::PATCH, "/v1/analytics/settings", r#"{"insight_enabled": false}"#).await;
    assert_eq!(answer.json()["insight_enabled"], false);
    assert!(fake.calls()[1].message.contains(r#"paths: ["insight_enabled"]"#));
    let bad = fake.json(Method::PATCH, "/v1/analytics/settings", r#"{"insight_enabled": "no"}"#).await;
    assert_eq!(fields(&bad.json()), ["insight_enabled"]);
    let bad = fake.json(Method::PATCH, "/v1/analytics/settings", r#"{"taxonomy": [{"phrases": "x"}]}"#).await;
    assert_eq!(fields(&bad.json()), ["taxonomy[0].name", "taxonomy[0].phrases"]);
}
