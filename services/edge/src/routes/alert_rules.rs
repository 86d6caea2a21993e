//! Rules that watch conversations.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use colloquy_proto::analytics::v1 as pb;
use colloquy_service::FieldErrors;
use http::StatusCode;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::analytics::{elements, filter, instant};
use crate::Edge;
use crate::answer::{created, json};
use crate::body::{self, JSON, MAX_SMALL_BODY_BYTES, MERGE_PATCH, Member, Object};
use crate::clients::Calling;
use crate::naming::Naming;
use crate::path::UuidId;
use crate::problem::{Refusal, finish};
use crate::query::{NoQuery, Query};
use crate::shape::alert::{AlertRule, AlertRulePage, Backtest};
use crate::shape::time::to_message;

const LONGEST_S: i64 = 3_660 * 86_400;
const A_LENGTH: &str = "a length of time such as 90s, 15m, 2h or 7d, or a number of seconds";

/// The parts of a rule over a window stand beside it; only what it looks at is one.
const OF_RULE: Naming =
    Naming::of(&[("rule.metric.field", "metric.field"), ("rule.metric.op", "metric.op"), ("rule.metric.", ""), ("rule.", "")]);
/// The same, of a rule that is a part of the body.
const OF_BACKTEST: Naming =
    Naming::of(&[("rule.metric.field", "rule.metric.field"), ("rule.metric.op", "rule.metric.op"), ("rule.metric.", "rule.")]);

/// A rule to make. One on a single conversation has `conditions`; one over a window has `metric`, `window`, `comparison` and
/// `threshold` too.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `read_rule` reads")]
pub(super) struct NewAlertRule {
    /// What people call it.
    #[schema(max_length = 200)]
    name: String,
    /// `info`, `warning` or `critical`.
    severity: String,
    /// `conversation` or `metric`.
    scope: String,
    /// What must hold; at most 20.
    conditions: Option<Vec<NewAlertCondition>>,
    /// How many of the conditions must hold: `all` (default) or `any` of them.
    r#match: Option<String>,
    /// Which conversations it watches: the list's parameter names.
    #[schema(value_type = Option<Object>)]
    filter: Option<()>,
    /// Whether it watches at all; default true.
    enabled: Option<bool>,
    /// What a rule over a window looks at.
    metric: Option<NewAlertMetric>,
    /// How long the window is: `15m`, `2h`, `7d`, or seconds.
    #[schema(value_type = Option<String>)]
    window: Option<String>,
    /// `absolute` (default), `relative` (to the window before) or `share` (of conversations).
    comparison: Option<String>,
    /// What the value is compared with.
    threshold: Option<f64>,
    /// `gt` (default), `gte`, `lt` or `lte`: how the value stands to the threshold when it is too bad.
    direction: Option<String>,
    /// A threshold that only warns.
    warning_threshold: Option<f64>,
    /// Fewer conversations than this say nothing.
    min_count: Option<u32>,
    /// What no data means: `ignore` (default), `ok` or `alert`.
    no_data: Option<String>,
    /// How far on the good side of the threshold the value must be to be good again, as a part of the threshold; default 0.05.
    recovery_margin: Option<f64>,
    /// How often to tell again while an alert stays open and nobody has acknowledged it.
    #[schema(value_type = Option<String>)]
    renotify_after: Option<String>,
    /// Raises nothing until then (RFC 3339).
    #[schema(format = DateTime)]
    muted_until: Option<String>,
}

/// A change of a rule: a JSON merge patch (RFC 7396). What is absent stays; `null` takes a value away, and its default counts again.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `read_parts` reads")]
pub(super) struct AlertRuleChange {
    /// What people call it; cannot be taken away.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// `info`, `warning` or `critical`; cannot be taken away.
    severity: Option<String>,
    /// `conversation` or `metric`.
    scope: Option<String>,
    /// What must hold, all of it; at most 20.
    conditions: Option<Vec<NewAlertCondition>>,
    /// How many of the conditions must hold: `all` (default) or `any` of them.
    r#match: Option<String>,
    /// Which conversations it watches, all of it: the list's parameter names.
    #[schema(value_type = Option<Object>)]
    filter: Option<()>,
    /// Whether it watches at all; default true.
    enabled: Option<bool>,
    /// What a rule over a window looks at.
    metric: Option<NewAlertMetric>,
    /// How long the window is: `15m`, `2h`, `7d`, or seconds.
    #[schema(value_type = Option<String>)]
    window: Option<String>,
    /// `absolute` (default), `relative` (to the window before) or `share` (of conversations).
    comparison: Option<String>,
    /// What the value is compared with; cannot be taken away.
    threshold: Option<f64>,
    /// `gt` (default), `gte`, `lt` or `lte`: how the value stands to the threshold when it is too bad.
    direction: Option<String>,
    /// A threshold that only warns.
    warning_threshold: Option<f64>,
    /// Fewer conversations than this say nothing.
    min_count: Option<u32>,
    /// What no data means: `ignore` (default), `ok` or `alert`.
    no_data: Option<String>,
    /// How far on the good side of the threshold the value must be to be good again, as a part of the threshold; default 0.05.
    recovery_margin: Option<f64>,
    /// How often to tell again while an alert stays open and nobody has acknowledged it.
    #[schema(value_type = Option<String>)]
    renotify_after: Option<String>,
    /// Raises nothing until then (RFC 3339).
    #[schema(format = DateTime)]
    muted_until: Option<String>,
}

/// What must hold.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `read_rule` reads")]
pub(super) struct NewAlertCondition {
    /// A figure, a name of the list filters, or `text`, `user_text`, `agent_text`.
    field: String,
    /// `eq`, `ne`, `gt`, `gte`, `lt`, `lte` or `contains` (these words in this order, case ignored).
    op: String,
    /// With what it is compared.
    value: Value,
}

/// What a rule over a window looks at.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `read_rule` reads")]
pub(super) struct NewAlertMetric {
    /// A measure of `GET /v1/analytics/schema`; absent for counts.
    field: Option<String>,
    /// An operation of that measure.
    op: String,
}

/// A stretch of history to try a rule on.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `backtest` reads")]
pub(super) struct BacktestStretch {
    /// `created_at` from here, inclusive (RFC 3339).
    #[schema(format = DateTime)]
    from: String,
    /// `created_at` until here, exclusive (RFC 3339).
    #[schema(format = DateTime)]
    to: String,
}

/// A rule that is not kept, and a stretch of history to try it on.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `backtest_new` reads")]
pub(super) struct NewBacktest {
    /// The rule.
    rule: NewAlertRule,
    /// `created_at` from here, inclusive (RFC 3339).
    #[schema(format = DateTime)]
    from: String,
    /// `created_at` until here, exclusive (RFC 3339).
    #[schema(format = DateTime)]
    to: String,
}

/// Make an alert rule
///
/// It watches from now on; `backtest` tries it on history first. Needs the scope `admin`.
#[utoipa::path(post, path = "/alert-rules", tag = "Alerts", operation_id = "create_alert_rule", request_body = NewAlertRule,
    responses((status = 201, description = "The rule.", body = AlertRule,
        headers(("location" = String, description = "The path of the rule.")))))]
pub(super) async fn create(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let mut errors = FieldErrors::new();
    let (rule, _) = read_rule(Object::from_body(&body)?, &mut errors);
    finish(errors)?;
    let request = pb::CreateAlertRuleRequest { rule: Some(rule) };
    let answer = edge.clients.alerts.clone().create_alert_rule(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_RULE.refuse(status))?.into_inner();
    let rule = answer.rule.ok_or_else(Refusal::internal)?;
    let location = format!("/v1/alert-rules/{}", rule.rule_id);
    created(&AlertRule::from(rule), Some(&location))
}

/// List alert rules
///
/// Newest first, a page at a time; every organization begins with four. Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/alert-rules", tag = "Alerts", operation_id = "list_alert_rules",
    params(
        ("page_size" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many at most; default 30."),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the previous page."),
    ),
    responses((status = 200, description = "A page of rules.", body = AlertRulePage)))]
pub(super) async fn list(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let request = pb::ListAlertRulesRequest { page_size: query.page_size(), page_token: query.cursor().unwrap_or_default() };
    query.finish()?;
    let answer = edge.clients.alerts.clone().list_alert_rules(calling.call(request)).await?.into_inner();
    json(&AlertRulePage::from(answer))
}

/// Read an alert rule
///
/// Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/alert-rules/{id}", tag = "Alerts", operation_id = "get_alert_rule",
    params(("id" = String, Path, description = "UUID of the rule.")),
    responses((status = 200, description = "The rule.", body = AlertRule)))]
pub(super) async fn read(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(rule_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::GetAlertRuleRequest { rule_id };
    let answer = edge.clients.alerts.clone().get_alert_rule(calling.call(request)).await?.into_inner();
    json(&AlertRule::from(answer.rule.ok_or_else(Refusal::internal)?))
}

/// Change an alert rule
///
/// What is absent stays; `conditions` and `filter` are replaced as a whole; `null` takes a value away. Needs the scope `admin`.
#[utoipa::path(patch, path = "/alert-rules/{id}", tag = "Alerts", operation_id = "update_alert_rule",
    params(("id" = String, Path, description = "UUID of the rule.")),
    request_body(content((AlertRuleChange = "application/json"), (AlertRuleChange = "application/merge-patch+json"))),
    responses((status = 200, description = "The rule as it is now.", body = AlertRule)))]
pub(super) async fn update(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(rule_id): UuidId,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, MERGE_PATCH, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let mut errors = FieldErrors::new();
    let (mut rule, paths) = read_parts(Object::from_body(&body)?, &mut errors);
    finish(errors)?;
    rule.rule_id = rule_id;
    let request = pb::UpdateAlertRuleRequest { rule: Some(rule), update_mask: Some(prost_types::FieldMask { paths }) };
    let answer = edge.clients.alerts.clone().update_alert_rule(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_RULE.refuse(status))?.into_inner();
    json(&AlertRule::from(answer.rule.ok_or_else(Refusal::internal)?))
}

/// Remove an alert rule
///
/// Its alerts stay. Needs the scope `admin`.
#[utoipa::path(delete, path = "/alert-rules/{id}", tag = "Alerts", operation_id = "delete_alert_rule",
    params(("id" = String, Path, description = "UUID of the rule.")),
    responses((status = 204, description = "It is removed.")))]
pub(super) async fn delete(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(rule_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::DeleteAlertRuleRequest { rule_id };
    edge.clients.alerts.clone().delete_alert_rule(calling.call(request)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Try an alert rule on history
///
/// Lists when and for what it would have raised an alert, and raises none; the rule may be disabled. Needs the scope `analytics:read`.
#[utoipa::path(post, path = "/alert-rules/{id}/backtest", tag = "Alerts", operation_id = "backtest_alert_rule",
    params(("id" = String, Path, description = "UUID of the rule.")), request_body = BacktestStretch,
    responses((status = 200, description = "What it would have raised.", body = Backtest)))]
pub(super) async fn backtest(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(rule_id): UuidId,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(&body)?;
    let (from, to) = (instant(&mut object, "from", &mut errors), instant(&mut object, "to", &mut errors));
    object.finish(&mut errors);
    finish(errors)?;
    try_on_history(&edge, &calling, pb::BacktestAlertRuleRequest { rule_id, from, to, rule: None }).await
}

/// Try a new alert rule on history
///
/// The same, of a rule that is not kept. Needs the scope `analytics:read`, and `transcripts:read` too when the rule listens for words
/// (`text`, `user_text` or `agent_text`): who may not read words may not ask for them.
#[utoipa::path(post, path = "/alert-rules/backtest", tag = "Alerts", operation_id = "backtest_new_alert_rule",
    request_body = NewBacktest,
    responses((status = 200, description = "What it would have raised.", body = Backtest)))]
pub(super) async fn backtest_new(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(&body)?;
    if !object.raw("rule").is_given() {
        errors.add("rule", "is required");
    }
    let rule = object.object("rule", &mut errors).value().map(|rule| read_rule(rule, &mut errors).0);
    let (from, to) = (instant(&mut object, "from", &mut errors), instant(&mut object, "to", &mut errors));
    object.finish(&mut errors);
    finish(errors)?;
    try_on_history(&edge, &calling, pb::BacktestAlertRuleRequest { rule_id: String::new(), from, to, rule }).await
}

async fn try_on_history(edge: &Edge, calling: &Calling, request: pb::BacktestAlertRuleRequest) -> Result<Response, Refusal> {
    let answer = edge.clients.alerts.clone().backtest_alert_rule(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_BACKTEST.refuse(status))?.into_inner();
    json(&Backtest::from(answer))
}

/// Reads a whole rule.
fn read_rule(mut object: Object<'_>, errors: &mut FieldErrors) -> (pb::AlertRule, Vec<String>) {
    for name in ["name", "severity", "scope"] {
        if !object.raw(name).is_given() {
            errors.add(object.path_of(name), "is required");
        }
    }
    if object.raw("metric").value().is_some() && !object.raw("threshold").is_given() {
        errors.add(object.path_of("threshold"), "is required: with it the value is compared");
    }
    read_parts(object, errors)
}

/// The parts of a rule over a window, which are one in the service's message.
const OF_METRIC: [&str; 9] =
    ["metric", "window", "comparison", "threshold", "direction", "warning_threshold", "min_count", "no_data", "recovery_margin"];

/// Reads the parts of a rule that are there, and names them as a field mask does.
fn read_parts(mut object: Object<'_>, errors: &mut FieldErrors) -> (pb::AlertRule, Vec<String>) {
    let mut paths = Vec::new();
    for name in ["name", "severity", "scope", "conditions", "match", "filter", "enabled", "renotify_after", "muted_until"] {
        if object.raw(name).is_given() {
            paths.push(name.to_owned());
        }
    }
    let metric = read_metric(&mut object, &mut paths, errors);
    let rule = pb::AlertRule {
        name: object.text("name", errors).value().unwrap_or_default(),
        severity: object.text("severity", errors).value().unwrap_or_default(),
        scope: object.text("scope", errors).value().unwrap_or_default(),
        conditions: elements(&mut object, "conditions", errors, read_condition),
        r#match: object.text("match", errors).value().unwrap_or_default(),
        filter: filter(&mut object, errors),
        // What is taken away is its default, as if it had never been said.
        enabled: object.read("enabled", "true or false", errors).value().unwrap_or(true),
        renotify_after: length(&mut object, "renotify_after", errors),
        muted_until: time(&mut object, "muted_until", errors),
        metric,
        ..Default::default()
    };
    object.finish(errors);
    (rule, paths)
}

fn read_metric(object: &mut Object<'_>, paths: &mut Vec<String>, errors: &mut FieldErrors) -> Option<pb::AlertMetric> {
    // A rule on conversations is shown with `null` for each of them, and may be sent back so.
    let is_without = OF_METRIC.iter().all(|name| object.raw(name).value().is_none());
    let is_shown_without = is_without && OF_METRIC.iter().all(|name| object.raw(name).is_given());
    for name in OF_METRIC {
        if object.raw(name).is_given() {
            match name {
                // Nothing cannot be told from 0 behind here.
                "threshold" if object.raw(name).value().is_none() && !is_shown_without => {
                    errors.add(object.path_of(name), "cannot be taken away");
                }
                "metric" => paths.extend(["metric.field".to_owned(), "metric.op".to_owned()]),
                name => paths.push(format!("metric.{name}")),
            }
        }
    }
    let (mut field, mut op) = (String::new(), String::new());
    if let Member::Value(mut metric) = object.object("metric", errors) {
        field = metric.text("field", errors).value().unwrap_or_default();
        op = metric.required_text("op", errors).unwrap_or_default();
        metric.finish(errors);
    }
    let metric = pb::AlertMetric {
        field,
        op,
        window: length(object, "window", errors),
        comparison: object.text("comparison", errors).value().unwrap_or_default(),
        threshold: object.read("threshold", "a number", errors).value().unwrap_or_default(),
        direction: object.text("direction", errors).value().unwrap_or_default(),
        warning_threshold: object.read("warning_threshold", "a number", errors).value(),
        min_count: object.read("min_count", "a whole number", errors).value().unwrap_or_default(),
        no_data: object.text("no_data", errors).value().unwrap_or_default(),
        recovery_margin: object.read("recovery_margin", "a number from 0 to 1", errors).value(),
    };
    (!is_without).then_some(metric)
}

fn read_condition(mut object: Object<'_>, errors: &mut FieldErrors) -> pb::AlertCondition {
    let field = object.required_text("field", errors).unwrap_or_default();
    let op = object.required_text("op", errors).unwrap_or_default();
    let value_json = object.raw("value").value().map(RawValue::get).unwrap_or("null").to_owned();
    object.finish(errors);
    pb::AlertCondition { field, op, value_json }
}

fn time(object: &mut Object<'_>, name: &'static str, errors: &mut FieldErrors) -> Option<prost_types::Timestamp> {
    let text = object.text(name, errors).value()?;
    errors.parse(&object.path_of(name), &text).map(to_message)
}

/// Reads a length of time: `15m`, or a number of seconds.
fn length(object: &mut Object<'_>, name: &'static str, errors: &mut FieldErrors) -> Option<prost_types::Duration> {
    let given: Value = object.read(name, A_LENGTH, errors).value()?;
    let seconds = match &given {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => seconds_of(text),
        _ => None,
    };
    match seconds {
        // How long it may be, the service says.
        Some(seconds) if (0..=LONGEST_S).contains(&seconds) => Some(prost_types::Duration { seconds, nanos: 0 }),
        Some(_) => {
            errors.add(object.path_of(name), "must be from one minute to 30 days");
            None
        }
        None => {
            errors.add(object.path_of(name), format!("must be {A_LENGTH}"));
            None
        }
    }
}

fn seconds_of(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<(pb::AlertRule, Vec<String>), String> {
        let mut errors = FieldErrors::new();
        let read = read_rule(Object::from_body(body.as_bytes()).unwrap(), &mut errors);
        finish(errors).map(|()| read).map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn a_rule_on_a_conversation_is_read() {
        let (rule, _) = read(
            r#"{"name": "n", "severity": "warning", "scope": "conversation",
                "conditions": [{"field": "user_text", "op": "contains", "value": "human please"}]}"#,
        )
        .unwrap();
        assert_eq!(rule.conditions[0].value_json, "\"human please\"");
        assert!(rule.enabled && rule.metric.is_none());
    }

    #[test]
    fn a_rule_over_a_window_is_read_flat() {
        let (rule, paths) = read(
            r#"{"name": "n", "severity": "critical", "scope": "metric", "metric": {"field": "duration_seconds", "op": "p95"},
                "window": "15m", "comparison": "relative", "threshold": 0.5, "min_count": 10, "no_data": "ok", "enabled": false}"#,
        )
        .unwrap();
        let metric = rule.metric.unwrap();
        assert_eq!((metric.window.unwrap().seconds, metric.op.as_str(), metric.min_count), (900, "p95", 10));
        assert!(!rule.enabled && paths.contains(&"metric.window".to_owned()));
    }

    #[test]
    fn a_rule_over_a_window_compares_with_something() {
        let without = r#"{"name": "n", "severity": "critical", "scope": "metric", "metric": {"op": "count"}, "window": "15m"}"#;
        assert!(read(without).unwrap_err().contains("threshold"));
        let mut errors = FieldErrors::new();
        read_parts(Object::from_body(br#"{"threshold": null}"#).unwrap(), &mut errors);
        assert!(finish(errors).is_err());
    }

    #[test]
    fn a_rule_on_conversations_may_be_sent_as_it_is_shown() {
        let shown = r#"{"name": "n", "severity": "info", "scope": "conversation", "conditions": [{"field": "error_count", "op": "gt",
            "value": 1}], "metric": null, "window": null, "comparison": null, "threshold": null, "direction": null,
            "warning_threshold": null, "min_count": null, "no_data": null, "recovery_margin": null}"#;
        assert_eq!(read(shown).unwrap().0.metric, None);
    }

    #[test]
    fn everything_wrong_with_a_rule_is_named() {
        let complaints = read(r#"{"severity": 5, "window": "soon", "conditions": [{"field": "x"}], "what": 1}"#).unwrap_err();
        for named in ["name", "severity", "scope", "window", "conditions[0].op", "what"] {
            assert!(complaints.contains(named), "{named} in {complaints}");
        }
    }
}
