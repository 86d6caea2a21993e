use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_service::transport::LocalSlot;
use colloquy_service::{Identity as Key, Progress};
use colloquy_types::{KeyId, ManualClock, Position};
use prost_types::{Duration, FieldMask};
use tonic::Code;
use tonic_types::StatusExt;

use super::*;
use crate::alert::samples::{alert, at, features, window_alert, write};
use crate::alert::store::open;
use crate::alert::transcripts::{Remote, Transcripts};
use crate::testing::Fixture;

struct Served {
    handler: Handler,
    fixture: Fixture,
    clock: ManualClock,
}

async fn served() -> Served {
    let fixture = Fixture::sqlite().await.unwrap();
    let store = open(&fixture.database);
    let manual = ManualClock::at(at(1_000));
    let clock: Arc<dyn Clock> = Arc::new(manual.clone());
    let slot = LocalSlot::new();
    let transcripts: Arc<dyn Transcripts> = Arc::new(Remote::new(slot.transport()));
    let progress = Progress::starting_at(Position::START);
    let handler = Handler {
        book: Book::new(Arc::clone(&store), Arc::clone(&clock)),
        backtests: Backtests::new(Arc::clone(&store), transcripts, Arc::clone(&clock)),
        store,
        page_tokens: PageTokens::new(b"tests"),
        frontier: Frontier::new(fixture.store.clone(), progress, slot.transport(), Arc::clone(&clock), Arc::default()),
        clock,
        bell: Arc::default(),
    };
    Served { handler, fixture, clock: manual }
}

fn of<T>(organization: &str, scopes: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let key = Key { key_id: KeyId::generate(), organization_id: organization.parse().unwrap(), scopes: scopes.parse().unwrap() };
    request.extensions_mut().insert(Caller::Key(Arc::new(key)));
    request
}

fn by_admin<T>(message: T) -> Request<T> {
    of("acme", "admin", message)
}

fn condition(field: &str, op: &str, value: &str) -> pb::AlertCondition {
    pb::AlertCondition { field: field.to_owned(), op: op.to_owned(), value_json: value.to_owned() }
}

fn given() -> pb::AlertRule {
    pb::AlertRule {
        name: "Errors".to_owned(),
        severity: "critical".to_owned(),
        scope: "conversation".to_owned(),
        conditions: vec![condition("error_count", "gte", "1")],
        enabled: true,
        ..pb::AlertRule::default()
    }
}

fn over_a_window() -> pb::AlertRule {
    pb::AlertRule {
        scope: "metric".to_owned(),
        conditions: Vec::new(),
        metric: Some(pb::AlertMetric {
            field: "duration_seconds".to_owned(),
            op: "p95".to_owned(),
            window: Some(Duration { seconds: 3_600, nanos: 0 }),
            threshold: 600.0,
            ..pb::AlertMetric::default()
        }),
        ..given()
    }
}

impl Served {
    async fn create(&self, rule: pb::AlertRule) -> Result<pb::AlertRule, Status> {
        let answer = self.handler.create_alert_rule(by_admin(pb::CreateAlertRuleRequest { rule: Some(rule) })).await?;
        Ok(answer.into_inner().rule.unwrap())
    }

    async fn update(&self, rule: pb::AlertRule, mask: Option<&[&str]>) -> Result<pb::AlertRule, Status> {
        let update_mask = mask.map(|paths| FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });
        let answer =
            self.handler.update_alert_rule(by_admin(pb::UpdateAlertRuleRequest { rule: Some(rule), update_mask })).await?;
        Ok(answer.into_inner().rule.unwrap())
    }

    async fn rules(&self) -> Vec<pb::AlertRule> {
        let (mut page_token, mut rules) = (String::new(), Vec::new());
        loop {
            let request = pb::ListAlertRulesRequest { page_size: 2, page_token };
            let answer = self.handler.list_alert_rules(of("acme", "analytics:read", request)).await.unwrap().into_inner();
            rules.extend(answer.rules);
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return rules;
            }
        }
    }

    async fn backtest(
        &self,
        scopes: &str,
        request: pb::BacktestAlertRuleRequest,
    ) -> Result<pb::BacktestAlertRuleResponse, Status> {
        Ok(self.handler.backtest_alert_rule(of("acme", scopes, request)).await?.into_inner())
    }

    async fn alerts(&self, request: pb::ListAlertsRequest) -> Result<pb::ListAlertsResponse, Status> {
        Ok(self.handler.list_alerts(of("acme", "analytics:read", request)).await?.into_inner())
    }
}

fn bad_fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    violations.iter().map(|bad| bad.field.clone()).collect()
}

#[tokio::test]
async fn an_organization_begins_with_four_rules_and_adds_its_own() {
    let served = served().await;
    let made = served.create(over_a_window()).await.unwrap();
    assert_eq!((made.state.as_str(), made.metric.as_ref().unwrap().comparison.as_str()), ("unknown", "absolute"));
    let rules = served.rules().await;
    let mut builtin: Vec<&str> = rules.iter().map(|rule| rule.builtin.as_str()).collect();
    builtin.sort_unstable();
    assert_eq!(builtin, ["", "escalation", "long_duration", "low_satisfaction", "system_errors"]);
    let request = pb::GetAlertRuleRequest { rule_id: made.rule_id.clone() };
    let got = served.handler.get_alert_rule(of("acme", "analytics:read", request)).await.unwrap().into_inner();
    assert_eq!(got.rule, Some(made));
}

#[tokio::test]
async fn a_removed_rule_stays_removed_and_one_of_another_organization_is_not_there() {
    let served = served().await;
    let first = served.rules().await.remove(0);
    let request = || pb::DeleteAlertRuleRequest { rule_id: first.rule_id.clone() };
    served.handler.delete_alert_rule(by_admin(request())).await.unwrap();
    assert_eq!(served.rules().await.len(), 3);
    let again = served.handler.delete_alert_rule(by_admin(request())).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    let rule_id = served.rules().await.remove(0).rule_id;
    let other = served.handler.get_alert_rule(of("other", "admin", pb::GetAlertRuleRequest { rule_id })).await.unwrap_err();
    assert_eq!(other.code(), Code::NotFound);
}

#[tokio::test]
async fn every_bad_field_of_a_rule_is_named() {
    let served = served().await;
    let rule = pb::AlertRule {
        name: "\n".to_owned(),
        severity: "loud".to_owned(),
        conditions: vec![
            condition("mood", "eq", "1"),
            condition("error_count", "is", "1"),
            condition("error_count", "gt", "\"many\""),
            condition("status", "eq", "\"done\""),
            condition("status", "gt", "\"completed\""),
            condition("user_text", "eq", "\"hello\""),
            condition("user_text", "contains", "\"...\""),
            condition("topic", "eq", "{}"),
            condition("duration_seconds", "gt", "[1, 2]"),
            condition("custom.", "eq", "1"),
            condition("error_count", "gte", "nonsense"),
        ],
        filter: Some(ConversationFilter { expression: "agent_id = (".to_owned(), ..ConversationFilter::default() }),
        renotify_after: Some(Duration { seconds: 1, nanos: 0 }),
        r#match: "some".to_owned(),
        ..given()
    };
    let fields = bad_fields(&served.create(rule).await.unwrap_err());
    assert_eq!(
        fields,
        [
            "rule.name",
            "rule.name",
            "rule.severity",
            "rule.conditions[0].field",
            "rule.conditions[1].op",
            "rule.conditions[2].value",
            "rule.conditions[3].value",
            "rule.conditions[4].op",
            "rule.conditions[5].op",
            "rule.conditions[6].value",
            "rule.conditions[7].value",
            "rule.conditions[8].value",
            "rule.conditions[9].field",
            "rule.conditions[10].value",
            "rule.match",
            "rule.filter.filter",
            "rule.renotify_after",
        ]
    );
    assert_eq!(
        bad_fields(&served.create(pb::AlertRule { conditions: Vec::new(), ..given() }).await.unwrap_err()),
        ["rule.conditions"]
    );
    let twenty_one = vec![condition("error_count", "gte", "1"); 21];
    assert_eq!(
        bad_fields(&served.create(pb::AlertRule { conditions: twenty_one, ..given() }).await.unwrap_err()),
        ["rule.conditions"]
    );
}

#[tokio::test]
async fn every_bad_field_of_a_window_is_named() {
    let served = served().await;
    let with = |metric: pb::AlertMetric| pb::AlertRule { metric: Some(metric), ..over_a_window() };
    let good = over_a_window().metric.unwrap();
    let cases = [
        (pb::AlertMetric { window: None, ..good.clone() }, "rule.metric.window"),
        (pb::AlertMetric { window: Some(Duration { seconds: 59, nanos: 0 }), ..good.clone() }, "rule.metric.window"),
        (pb::AlertMetric { window: Some(Duration { seconds: i64::MAX, nanos: 0 }), ..good.clone() }, "rule.metric.window"),
        (pb::AlertMetric { field: "lenght".to_owned(), ..good.clone() }, "rule.metric.field"),
        (pb::AlertMetric { op: "histogram".to_owned(), ..good.clone() }, "rule.metric.op"),
        (pb::AlertMetric { field: String::new(), op: String::new(), ..good.clone() }, "rule.metric.op"),
        (pb::AlertMetric { threshold: f64::NAN, ..good.clone() }, "rule.metric.threshold"),
        (pb::AlertMetric { warning_threshold: Some(700.0), ..good.clone() }, "rule.metric.warning_threshold"),
        (pb::AlertMetric { recovery_margin: Some(2.0), ..good.clone() }, "rule.metric.recovery_margin"),
        (pb::AlertMetric { direction: "eq".to_owned(), ..good.clone() }, "rule.metric.direction"),
        (pb::AlertMetric { no_data: "panic".to_owned(), ..good.clone() }, "rule.metric.no_data"),
        (pb::AlertMetric { comparison: "share".to_owned(), threshold: 0.5, ..good }, "rule.metric.comparison"),
    ];
    for (metric, field) in cases {
        assert_eq!(bad_fields(&served.create(with(metric)).await.unwrap_err()), [field]);
    }
    let said = vec![condition("text", "contains", "\"hello\"")];
    let status = served.create(pb::AlertRule { conditions: said, ..over_a_window() }).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["rule.conditions[0].field"]);
}

#[tokio::test]
async fn a_rule_says_how_many_of_its_conditions_must_hold() {
    let served = served().await;
    let matches: std::collections::BTreeMap<String, String> =
        served.rules().await.into_iter().map(|rule| (rule.builtin, rule.r#match)).collect();
    let of = |builtin: &str| matches[builtin].as_str();
    assert_eq!(["long_duration", "low_satisfaction", "escalation", "system_errors"].map(of), ["all", "all", "any", "any"]);
    let made = served.create(given()).await.unwrap();
    assert_eq!(made.r#match, "all", "unless somebody says otherwise");
    let any = served.create(pb::AlertRule { r#match: "any".to_owned(), ..given() }).await.unwrap();
    assert_eq!(any.r#match, "any");
    let change =
        |word: &str| pb::AlertRule { rule_id: made.rule_id.clone(), r#match: word.to_owned(), ..pb::AlertRule::default() };
    assert_eq!(served.update(change("any"), None).await.unwrap().r#match, "any");
    let renamed = pb::AlertRule { name: "Other".to_owned(), ..change("") };
    assert_eq!(served.update(renamed, None).await.unwrap().r#match, "any");
    assert_eq!(bad_fields(&served.update(change("most"), Some(&["match"])).await.unwrap_err()), ["rule.match"]);
    assert_eq!(served.update(change(""), Some(&["match"])).await.unwrap().r#match, "all");
    assert_eq!(served.update(change("any"), Some(&["*"])).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names() {
    let served = served().await;
    let made = served.create(given()).await.unwrap();
    let change = pb::AlertRule { rule_id: made.rule_id.clone(), name: "Other".to_owned(), ..pb::AlertRule::default() };
    let disabled = served.update(change.clone(), Some(&["enabled"])).await.unwrap();
    assert_eq!((disabled.name.as_str(), disabled.enabled), ("Errors", false));
    let renamed = served.update(change.clone(), None).await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.enabled, renamed.conditions.len()), ("Other", false, 1));
    assert_eq!(bad_fields(&served.update(change.clone(), Some(&["builtin"])).await.unwrap_err()), ["update_mask"]);
    assert_eq!(bad_fields(&served.update(change, Some(&["conditions"])).await.unwrap_err()), ["rule.conditions"]);
    let window = served.create(over_a_window()).await.unwrap();
    let off = pb::AlertRule { rule_id: window.rule_id, ..pb::AlertRule::default() };
    assert_eq!(served.update(off, Some(&["enabled"])).await.unwrap().state, "paused");
}

#[tokio::test]
async fn the_parts_of_a_window_are_changed_one_by_one_and_taken_away() {
    let served = served().await;
    let metric = pb::AlertMetric {
        warning_threshold: Some(500.0),
        recovery_margin: Some(0.2),
        comparison: "absolute".to_owned(),
        direction: "gt".to_owned(),
        no_data: "ignore".to_owned(),
        min_count: 3,
        ..over_a_window().metric.unwrap()
    };
    let made = served.create(pb::AlertRule { metric: Some(metric.clone()), ..over_a_window() }).await.unwrap();
    let with = |metric: pb::AlertMetric| pb::AlertRule {
        rule_id: made.rule_id.clone(),
        metric: Some(metric),
        ..pb::AlertRule::default()
    };
    let two_hours = Some(Duration { seconds: 7_200, nanos: 0 });
    let empty = pb::AlertMetric::default;
    let cases: [(&[&str], pb::AlertMetric, pb::AlertMetric); 5] = [
        (
            &["metric.window"],
            pb::AlertMetric { window: two_hours, ..empty() },
            pb::AlertMetric { window: two_hours, ..metric.clone() },
        ),
        (
            &["metric.field", "metric.op", "metric.threshold", "metric.warning_threshold"],
            pb::AlertMetric { op: "count".to_owned(), threshold: 9.0, ..empty() },
            pb::AlertMetric {
                field: String::new(),
                op: "count".to_owned(),
                threshold: 9.0,
                warning_threshold: None,
                window: two_hours,
                ..metric.clone()
            },
        ),
        (
            &["metric.recovery_margin", "metric.min_count"],
            empty(),
            pb::AlertMetric {
                field: String::new(),
                op: "count".to_owned(),
                threshold: 9.0,
                warning_threshold: None,
                recovery_margin: None,
                min_count: 0,
                window: two_hours,
                ..metric.clone()
            },
        ),
        (&["metric.direction", "metric.no_data", "metric.comparison"], empty(), {
            let defaults = ("gt".to_owned(), "ignore".to_owned(), "absolute".to_owned());
            pb::AlertMetric {
                field: String::new(),
                op: "count".to_owned(),
                threshold: 9.0,
                warning_threshold: None,
                recovery_margin: None,
                min_count: 0,
                window: two_hours,
                direction: defaults.0,
                no_data: defaults.1,
                comparison: defaults.2,
            }
        }),
        (&["metric"], metric.clone(), metric.clone()),
    ];
    for (mask, change, expected) in cases {
        assert_eq!(served.update(with(change), Some(mask)).await.unwrap().metric, Some(expected), "{mask:?}");
    }
    let without_window = served.update(with(empty()), Some(&["metric.window"])).await.unwrap_err();
    assert_eq!(bad_fields(&without_window), ["rule.metric.window"]);
    let on_conversations = served.create(given()).await.unwrap();
    let change = pb::AlertRule { rule_id: on_conversations.rule_id, ..with(pb::AlertMetric { threshold: 1.0, ..empty() }) };
    assert_eq!(bad_fields(&served.update(change.clone(), Some(&["metric.threshold"])).await.unwrap_err()), ["rule.metric"]);
    assert!(served.update(pb::AlertRule { metric: None, ..change }, Some(&["metric.field", "metric.op"])).await.is_ok());
}

#[tokio::test]
async fn a_rule_becomes_one_over_a_window_and_one_on_conversations_again() {
    let served = served().await;
    let made = served.create(given()).await.unwrap();
    let window = pb::AlertRule { rule_id: made.rule_id.clone(), conditions: Vec::new(), ..over_a_window() };
    let paths = ["scope", "conditions", "metric.field", "metric.op", "metric.window", "metric.threshold"];
    assert_eq!(served.update(window, Some(&paths)).await.unwrap().state, "unknown");
    let back = pb::AlertRule { rule_id: made.rule_id, metric: None, ..given() };
    let back = served.update(back, Some(&["scope", "conditions", "metric.field", "metric.op"])).await.unwrap();
    assert_eq!((back.scope.as_str(), back.metric, back.state.as_str()), ("conversation", None, ""));
}

#[tokio::test]
async fn a_change_of_what_is_watched_begins_anew_and_a_name_does_not() {
    let served = served().await;
    let made = served.create(given()).await.unwrap();
    let id = Uuid::try_parse(&made.rule_id).unwrap();
    let organization = "acme".parse().unwrap();
    let watches_from = || async { served.handler.store.rule(&organization, id).await.unwrap().unwrap().0.watches_from };
    let change = pb::AlertRule { rule_id: made.rule_id.clone(), name: "Other".to_owned(), ..given() };
    served.clock.advance_millis(1_000);
    served.update(change.clone(), Some(&["name"])).await.unwrap();
    assert_eq!(watches_from().await, at(1_000));
    let wider = pb::AlertRule { conditions: vec![condition("error_count", "gte", "0")], ..change.clone() };
    served.update(wider, Some(&["conditions"])).await.unwrap();
    assert_eq!(watches_from().await, at(2_000));
    served.clock.advance_millis(1_000);
    served.update(pb::AlertRule { enabled: false, ..change.clone() }, Some(&["enabled"])).await.unwrap();
    served.clock.advance_millis(1_000);
    served.update(change, Some(&["enabled"])).await.unwrap();
    assert_eq!(watches_from().await, at(4_000));
}

#[tokio::test]
async fn alerts_are_paged_acknowledged_and_resolved() {
    let served = served().await;
    served.handler.store.raise(&[alert(1), alert(2), window_alert(3)]).await.unwrap();
    let request = |page_token: &str| pb::ListAlertsRequest {
        page_size: 2,
        state: "open".to_owned(),
        page_token: page_token.to_owned(),
        ..pb::ListAlertsRequest::default()
    };
    let first = served.alerts(request("")).await.unwrap();
    assert_eq!((first.alerts.len(), first.alerts[0].conversation_id.as_str()), (2, ""));
    let token = first.next_page_token;
    assert_eq!(served.alerts(request(&token)).await.unwrap().alerts.len(), 1);
    let other = pb::ListAlertsRequest { severity: "critical".to_owned(), ..request(&token) };
    assert_eq!(bad_fields(&served.alerts(other).await.unwrap_err()), ["page_token"]);
    let bad = pb::ListAlertsRequest {
        state: "shut".to_owned(),
        rule_id: "1".to_owned(),
        conversation_id: "x".to_owned(),
        severity: "loud".to_owned(),
        page_size: -1,
        ..pb::ListAlertsRequest::default()
    };
    assert_eq!(bad_fields(&served.alerts(bad).await.unwrap_err()).len(), 5);

    let alert_id = alert(1).alert_id.to_string();
    let acknowledge = || by_admin(pb::AcknowledgeAlertRequest { alert_id: alert_id.clone() });
    let done = served.handler.acknowledge_alert(acknowledge()).await.unwrap().into_inner().alert.unwrap();
    assert_eq!((done.state.as_str(), done.acknowledged_at.is_some()), ("acknowledged", true));
    let resolve = by_admin(pb::ResolveAlertRequest { alert_id: alert_id.clone() });
    assert_eq!(served.handler.resolve_alert(resolve).await.unwrap().into_inner().alert.unwrap().state, "resolved");
    let late = served.handler.acknowledge_alert(acknowledge()).await.unwrap_err();
    assert_eq!(
        (late.code(), late.get_error_details().error_info().unwrap().reason.clone()),
        (Code::FailedPrecondition, "ALERT_RESOLVED".to_owned())
    );
    let nobody = by_admin(pb::ResolveAlertRequest { alert_id: Uuid::nil().to_string() });
    assert_eq!(served.handler.resolve_alert(nobody).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_rule_is_tried_by_its_id_or_as_it_is_given() {
    let served = served().await;
    write(&served.fixture.database, &(1..=3).map(features).collect::<Vec<_>>()).await;
    let made = served.create(pb::AlertRule { enabled: false, ..given() }).await.unwrap();
    let kept = pb::BacktestAlertRuleRequest { rule_id: made.rule_id.clone(), ..pb::BacktestAlertRuleRequest::default() };
    let answer = served.backtest("analytics:read", kept.clone()).await.unwrap();
    assert_eq!((answer.count, answer.examined, answer.conversations.len()), (3, 3, 3));
    assert!(answer.conversations[0].evidence_json.contains("error_count"));
    let nameless = pb::AlertRule { name: String::new(), severity: String::new(), ..given() };
    let inline = pb::BacktestAlertRuleRequest { rule: Some(nameless), ..pb::BacktestAlertRuleRequest::default() };
    assert_eq!(served.backtest("analytics:read", inline.clone()).await.unwrap().count, 3);

    let both = pb::BacktestAlertRuleRequest { rule_id: made.rule_id, ..inline };
    assert_eq!(bad_fields(&served.backtest("analytics:read", both).await.unwrap_err()), ["rule"]);
    let backwards =
        pb::BacktestAlertRuleRequest { from: Some(timestamp_to_pb(at(5))), to: Some(timestamp_to_pb(at(5))), ..kept.clone() };
    assert_eq!(bad_fields(&served.backtest("analytics:read", backwards).await.unwrap_err()), ["to"]);
    let forever = pb::BacktestAlertRuleRequest { from: Some(timestamp_to_pb(Timestamp::MIN)), ..kept };
    assert_eq!(bad_fields(&served.backtest("analytics:read", forever).await.unwrap_err()), ["from"]);
    let nothing = pb::BacktestAlertRuleRequest::default();
    assert_eq!(bad_fields(&served.backtest("analytics:read", nothing).await.unwrap_err()), ["rule_id"]);
}

#[tokio::test]
async fn scopes_are_asked_for() {
    let served = served().await;
    let create = pb::CreateAlertRuleRequest { rule: Some(given()) };
    let denied = served.handler.create_alert_rule(of("acme", "analytics:read", create)).await.unwrap_err();
    let list = served.handler.list_alerts(of("acme", "conversations:read", pb::ListAlertsRequest::default())).await.unwrap_err();
    let resolve = pb::ResolveAlertRequest { alert_id: Uuid::nil().to_string() };
    let resolve = served.handler.resolve_alert(of("acme", "analytics:read", resolve)).await.unwrap_err();
    assert_eq!([denied.code(), list.code(), resolve.code()], [Code::PermissionDenied; 3]);
    // To ask what was said needs the right to read it.
    let rule = pb::AlertRule { conditions: vec![condition("text", "contains", "\"secret\"")], ..given() };
    let listening = pb::BacktestAlertRuleRequest { rule: Some(rule), ..pb::BacktestAlertRuleRequest::default() };
    let status = served.backtest("analytics:read", listening.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(served.backtest("analytics:read,transcripts:read", listening).await.is_ok());
}
