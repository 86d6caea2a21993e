//! Alerts that rules raised.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use colloquy_proto::analytics::v1 as pb;

use crate::Edge;
use crate::answer::json;
use crate::clients::Calling;
use crate::path::UuidId;
use crate::problem::Refusal;
use crate::query::{NoQuery, Query};
use crate::shape::alert::{Alert, AlertPage};

const STATES: [&str; 3] = ["open", "acknowledged", "resolved"];
const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];

/// List alerts
///
/// Newest first, a page at a time. Needs the scope `analytics:read`.
#[utoipa::path(get, path = "/alerts", tag = "Alerts", operation_id = "list_alerts",
    params(
        ("rule_id" = Option<String>, Query, description = "Only of this rule."),
        ("conversation_id" = Option<String>, Query, description = "Only of this conversation."),
        ("state" = Option<String>, Query, description = "`open`, `acknowledged` or `resolved`."),
        ("severity" = Option<String>, Query, description = "`info`, `warning` or `critical`."),
        ("page_size" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many at most; default 30."),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the previous page, all else unchanged."),
        ("min_position" = Option<u64>, Query, minimum = 0,
            description = "Wait (at most 5 s) until rules have seen everything up to this position."),
    ),
    responses((status = 200, description = "A page of alerts.", body = AlertPage)))]
pub(super) async fn list(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let request = pb::ListAlertsRequest {
        rule_id: query.text("rule_id").unwrap_or_default(),
        conversation_id: query.text("conversation_id").unwrap_or_default(),
        state: query.word("state", &STATES).unwrap_or_default(),
        severity: query.word("severity", &SEVERITIES).unwrap_or_default(),
        page_size: query.page_size(),
        page_token: query.cursor().unwrap_or_default(),
        min_position: query.min_position(),
    };
    query.finish()?;
    let answer = edge.clients.alerts.clone().list_alerts(calling.call(request)).await?.into_inner();
    json(&AlertPage::from(answer))
}

/// Acknowledge an alert
///
/// Says that somebody looks into it. Needs the scope `admin`.
#[utoipa::path(post, path = "/alerts/{id}/acknowledge", tag = "Alerts", operation_id = "acknowledge_alert",
    params(("id" = String, Path, description = "UUID of the alert.")),
    responses((status = 200, description = "The alert as it is now.", body = Alert)))]
pub(super) async fn acknowledge(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(alert_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::AcknowledgeAlertRequest { alert_id };
    let answer = edge.clients.alerts.clone().acknowledge_alert(calling.call(request)).await?.into_inner();
    json(&Alert::from(answer.alert.ok_or_else(Refusal::internal)?))
}

/// Resolve an alert
///
/// Says that it is dealt with. Needs the scope `admin`.
#[utoipa::path(post, path = "/alerts/{id}/resolve", tag = "Alerts", operation_id = "resolve_alert",
    params(("id" = String, Path, description = "UUID of the alert.")),
    responses((status = 200, description = "The alert as it is now.", body = Alert)))]
pub(super) async fn resolve(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(alert_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::ResolveAlertRequest { alert_id };
    let answer = edge.clients.alerts.clone().resolve_alert(calling.call(request)).await?.into_inner();
    json(&Alert::from(answer.alert.ok_or_else(Refusal::internal)?))
}
