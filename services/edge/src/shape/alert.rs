//! Alert rules, and what they raised.

use colloquy_proto::analytics::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::filter::Filter;
use super::json::Json;
use super::time::Time;
use super::word;

/// A rule that watches conversations.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertRule {
    /// UUID.
    rule_id: String,
    /// What people call it.
    name: String,
    /// `info`, `warning` or `critical`.
    severity: String,
    /// `conversation` or `metric`.
    scope: String,
    /// What must hold.
    conditions: Vec<AlertCondition>,
    /// How many of the conditions must hold: `all` or `any` of them.
    r#match: String,
    /// Which conversations it watches.
    filter: Option<Filter>,
    /// Whether it watches at all.
    enabled: bool,
    /// What a rule over a window looks at; `null` for rules on one conversation, as all that follows down to `recovery_margin`.
    metric: Option<AlertMetric>,
    /// How long the window is, for example `15m`.
    window: Option<String>,
    /// `absolute`, `relative` (to the window before) or `share` (of conversations).
    comparison: Option<String>,
    /// What the value is compared with.
    threshold: Option<f64>,
    /// `gt`, `gte`, `lt` or `lte`: how the value stands to the threshold when it is too bad.
    direction: Option<String>,
    /// A threshold that only warns.
    warning_threshold: Option<f64>,
    /// Fewer conversations than this say nothing.
    min_count: Option<u32>,
    /// What no data means: `ignore`, `ok` or `alert`.
    no_data: Option<String>,
    /// How far on the good side of the threshold the value must be to be good again, as a part of the threshold.
    recovery_margin: Option<f64>,
    /// How often to tell again while an alert stays open; `null` means never.
    renotify_after: Option<String>,
    /// Raises nothing until then.
    muted_until: Time,
    /// Where a rule over a window stands: `unknown`, `ok`, `warning`, `alert`, `no_data` or `paused`.
    state: Option<String>,
    /// Since when it stands there.
    state_since: Time,
    /// The value when it was last looked at.
    last_value: Option<f64>,
    /// Which of the rules every organization begins with it is; `null` for rules people made.
    builtin: Option<String>,
    /// When it was made.
    created_at: Time,
    /// When it was last changed.
    updated_at: Time,
}

/// What must hold.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertCondition {
    /// A figure, a name of the list filters, or `text`, `user_text`, `agent_text`.
    field: String,
    /// `eq`, `ne`, `gt`, `gte`, `lt`, `lte` or `contains`.
    op: String,
    /// With what it is compared.
    #[schema(value_type = Value)]
    value: Json,
}

/// What a rule over a window looks at.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertMetric {
    /// A measure of the analytics schema; `null` for counts.
    field: Option<String>,
    /// An operation of that measure.
    op: String,
}

/// A page of rules.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertRulePage {
    /// Newest first.
    rules: Vec<AlertRule>,
    /// Whether there are more.
    has_more: bool,
    /// Where the next page begins; `null` on the last.
    cursor: Option<String>,
}

/// An alert a rule raised.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alert {
    /// UUID.
    alert_id: String,
    /// UUID of the rule.
    rule_id: String,
    /// What the rule was called when it was raised.
    rule_name: String,
    /// UUID of the conversation; `null` for rules over a window.
    conversation_id: Option<String>,
    /// The provider's id of the conversation.
    external_id: Option<String>,
    /// `info`, `warning` or `critical`.
    severity: String,
    /// `open`, `acknowledged` or `resolved`.
    state: String,
    /// When it was raised.
    opened_at: Time,
    /// When somebody said that they look into it.
    acknowledged_at: Time,
    /// When it was dealt with.
    resolved_at: Time,
    /// When it was last told of again.
    renotified_at: Time,
    /// What the rule saw.
    #[schema(value_type = Object)]
    evidence: Json,
    /// How many conversations it is about.
    conversation_count: u64,
    /// Some of them, newest first.
    conversation_ids: Vec<String>,
}

/// A page of alerts.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertPage {
    /// Newest first.
    alerts: Vec<Alert>,
    /// Whether there are more.
    has_more: bool,
    /// Where the next page begins; `null` on the last.
    cursor: Option<String>,
}

/// What a rule would have raised.
#[derive(Serialize, ToSchema)]
pub(crate) struct Backtest {
    /// How often.
    count: u64,
    /// For what; the first 1,000.
    conversations: Vec<BacktestHit>,
    /// How many conversations were looked at.
    examined: u64,
    /// What a person should know of the rule.
    warnings: Vec<String>,
}

/// One alert that would have been.
#[derive(Serialize, ToSchema)]
pub(crate) struct BacktestHit {
    /// UUID of the conversation; `null` for rules over a window.
    conversation_id: Option<String>,
    /// The provider's id of it.
    external_id: Option<String>,
    /// When.
    at: Time,
    /// What the rule saw.
    #[schema(value_type = Object)]
    evidence: Json,
}

/// Writes a length of time as people do: `90s`, `15m`, `2h`, `7d`.
fn length(given: prost_types::Duration) -> String {
    let seconds = given.seconds;
    match [("d", 86_400), ("h", 3_600), ("m", 60)].into_iter().find(|(_, unit)| seconds >= *unit && seconds % unit == 0) {
        Some((name, unit)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

impl From<pb::AlertRule> for AlertRule {
    fn from(given: pb::AlertRule) -> Self {
        let metric = given.metric;
        let text = |read: fn(&pb::AlertMetric) -> &String| metric.as_ref().and_then(|metric| word(read(metric).clone()));
        Self {
            window: metric.as_ref().and_then(|metric| metric.window).map(length),
            comparison: text(|metric| &metric.comparison),
            threshold: metric.as_ref().map(|metric| metric.threshold),
            direction: text(|metric| &metric.direction),
            warning_threshold: metric.as_ref().and_then(|metric| metric.warning_threshold),
            min_count: metric.as_ref().map(|metric| metric.min_count),
            no_data: text(|metric| &metric.no_data),
            recovery_margin: metric.as_ref().and_then(|metric| metric.recovery_margin),
            metric: metric.map(|metric| AlertMetric { field: word(metric.field), op: metric.op }),
            rule_id: given.rule_id,
            name: given.name,
            severity: given.severity,
            scope: given.scope,
            conditions: given.conditions.into_iter().map(Into::into).collect(),
            // Replicas of an earlier release do not say it.
            r#match: word(given.r#match).unwrap_or_else(|| "all".to_owned()),
            filter: given.filter.map(Into::into),
            enabled: given.enabled,
            renotify_after: given.renotify_after.map(length),
            muted_until: given.muted_until.into(),
            state: word(given.state),
            state_since: given.state_since.into(),
            last_value: given.last_value,
            builtin: word(given.builtin),
            created_at: given.created_at.into(),
            updated_at: given.updated_at.into(),
        }
    }
}

impl From<pb::AlertCondition> for AlertCondition {
    fn from(given: pb::AlertCondition) -> Self {
        Self { field: given.field, op: given.op, value: Json::any(Some(given.value_json)) }
    }
}

impl From<pb::ListAlertRulesResponse> for AlertRulePage {
    fn from(given: pb::ListAlertRulesResponse) -> Self {
        let cursor = word(given.next_page_token);
        Self { rules: given.rules.into_iter().map(Into::into).collect(), has_more: cursor.is_some(), cursor }
    }
}

impl From<pb::Alert> for Alert {
    fn from(given: pb::Alert) -> Self {
        Self {
            alert_id: given.alert_id,
            rule_id: given.rule_id,
            rule_name: given.rule_name,
            conversation_id: word(given.conversation_id),
            external_id: word(given.external_id),
            severity: given.severity,
            state: given.state,
            opened_at: given.opened_at.into(),
            acknowledged_at: given.acknowledged_at.into(),
            resolved_at: given.resolved_at.into(),
            renotified_at: given.renotified_at.into(),
            evidence: Json::object(given.evidence_json),
            conversation_count: given.conversation_count,
            conversation_ids: given.conversation_ids,
        }
    }
}

impl From<pb::ListAlertsResponse> for AlertPage {
    fn from(given: pb::ListAlertsResponse) -> Self {
        let cursor = word(given.next_page_token);
        Self { alerts: given.alerts.into_iter().map(Into::into).collect(), has_more: cursor.is_some(), cursor }
    }
}

impl From<pb::BacktestAlertRuleResponse> for Backtest {
    fn from(given: pb::BacktestAlertRuleResponse) -> Self {
        let hit = |given: pb::BacktestHit| BacktestHit {
            conversation_id: word(given.conversation_id),
            external_id: word(given.external_id),
            at: given.at.into(),
            evidence: Json::object(given.evidence_json),
        };
        Self {
            count: given.count,
            conversations: given.conversations.into_iter().map(hit).collect(),
            examined: given.examined,
            warnings: given.warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_written_as_people_do() {
        let lengths = [45, 90, 900, 3_600, 5_400, 86_400, 7 * 86_400];
        let written = lengths.map(|seconds| length(prost_types::Duration { seconds, nanos: 0 }));
        assert_eq!(written, ["45s", "90s", "15m", "1h", "90m", "1d", "7d"]);
    }
}
