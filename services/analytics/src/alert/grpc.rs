//! `colloquy.analytics.v1.AlertService`.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use colloquy_events::Severity;
use colloquy_events::convert::{timestamp_from_pb, timestamp_to_pb};
use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::analytics::v1::alert_service_server::{AlertService, AlertServiceServer};
use colloquy_service::{Caller, Describe, FieldErrors, Problem};
use colloquy_storage::PageTokens;
use colloquy_types::{Clock, ConversationName, OrganizationId, Scope, Timestamp};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Notify;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::alert::{Alert, Handling};
use super::backtest::{Backtests, Hit, MOST_DAYS};
use super::book::Book;
use super::convert::{self, Identity};
use super::rule::{MOST_RULES, Rule, Scope as Scoped, Side};
use super::state::Standing;
use super::store::{AlertStore, Place, Wanted};
use crate::analysed::Frontier;

const USUAL_PAGE: u32 = 30;
const GREATEST_PAGE: u32 = 100;
/// What people change of a rule.
const CHANGEABLE: [&str; 10] =
    ["name", "severity", "scope", "conditions", "match", "filter", "enabled", "metric", "renotify_after", "muted_until"];
/// What people change of a rule over a window without saying the rest of it again.
const CHANGEABLE_OF_METRIC: [&str; 10] = [
    "metric.field",
    "metric.op",
    "metric.window",
    "metric.comparison",
    "metric.threshold",
    "metric.direction",
    "metric.warning_threshold",
    "metric.min_count",
    "metric.no_data",
    "metric.recovery_margin",
];
/// How often a change that comes too late is tried again.
const TRIES: u32 = 5;
/// A day, in milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Without a beginning of its own a back-test goes back this many days.
const USUAL_DAYS: i64 = 7;

/// Answers calls.
pub struct Handler {
    pub(super) store: Arc<dyn AlertStore>,
    pub(super) book: Book,
    pub(super) backtests: Backtests,
    pub(super) page_tokens: PageTokens,
    pub(super) frontier: Frontier,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) bell: Arc<Notify>,
}

fn reader<T>(request: &Request<T>) -> Result<OrganizationId, Problem> {
    Caller::of(request).require(Scope::AnalyticsRead)
}

fn admin<T>(request: &Request<T>) -> Result<OrganizationId, Problem> {
    Caller::of(request).require(Scope::Admin)
}

fn failed(error: impl Describe) -> Problem {
    error.describe()
}

fn no_rule(id: Uuid) -> Problem {
    Problem::not_found("ALERT_RULE_NOT_FOUND", format!("alert rule {id} does not exist"))
}

fn no_alert(id: Uuid) -> Problem {
    Problem::not_found("ALERT_NOT_FOUND", format!("alert {id} does not exist"))
}

fn finish<T>(errors: FieldErrors, read: Option<T>) -> Result<T, Problem> {
    errors.finish()?;
    read.ok_or_else(|| Problem::invalid_field("request", "cannot be read"))
}

fn id_of(field: &str, text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| Problem::invalid_field(field, "must be a UUID"))
}

fn optional<T>(errors: &mut FieldErrors, field: &str, text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
    if text.is_empty() { None } else { errors.check(field, read(text)) }
}

fn page_size(errors: &mut FieldErrors, given: i32) -> u32 {
    match u32::try_from(given) {
        Ok(0) => USUAL_PAGE,
        Ok(size) => size.min(GREATEST_PAGE),
        Err(_) => {
            errors.add("page_size", "must be 0 to 100");
            USUAL_PAGE
        }
    }
}

impl Handler {
    /// Returns the server over this handler.
    pub fn into_server(self) -> AlertServiceServer<Self> {
        AlertServiceServer::new(self)
    }

    fn after(&self, list: &impl Serialize, token: &str) -> Result<Option<Place>, Problem> {
        if token.is_empty() {
            return Ok(None);
        }
        let bad = |message: String| Problem::invalid_field("page_token", message);
        let (millis, id): (i64, Uuid) = self.page_tokens.open(list, token).map_err(|error| bad(error.to_string()))?;
        let at = Timestamp::from_millis(millis).map_err(|error| bad(error.to_string()))?;
        Ok(Some(Place { at, id }))
    }

    /// Cuts what was read with one more than a page has, and returns the token of the next page.
    fn cut<T>(&self, list: &impl Serialize, found: &mut Vec<T>, size: u32, place: impl Fn(&T) -> Place) -> String {
        let size = size as usize;
        if found.len() <= size {
            return String::new();
        }
        found.truncate(size);
        let place = found.last().map(place);
        place.map(|Place { at, id }| self.page_tokens.seal(list, &(at.as_millis(), id))).unwrap_or_default()
    }

    async fn rule(&self, organization: &OrganizationId, id: Uuid) -> Result<(Rule, Option<Standing>), Problem> {
        self.book.begun(organization).await.map_err(failed)?;
        self.store.rule(organization, id).await.map_err(failed)?.ok_or_else(|| no_rule(id))
    }

    async fn create(&self, organization: OrganizationId, given: Option<pb::AlertRule>) -> Result<pb::AlertRule, Problem> {
        let given = given.ok_or_else(|| Problem::invalid_field("rule", "is required"))?;
        let now = self.clock.now();
        let identity = Identity {
            organization_id: organization.clone(),
            rule_id: Uuid::now_v7(),
            builtin: None,
            watches_from: now,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let mut errors = FieldErrors::new();
        let rule = convert::rule(given, identity, "rule", &mut errors);
        let rule = finish(errors, rule)?;
        self.book.begun(&organization).await.map_err(failed)?;
        if !self.store.create_rule(&rule, MOST_RULES).await.map_err(failed)? {
            let message = format!("an organization has at most {MOST_RULES} alert rules; remove one first");
            return Err(Problem::exhausted("TOO_MANY_ALERT_RULES", message));
        }
        self.book.forget(&organization).await;
        let (rule, standing) = self.rule(&organization, rule.rule_id).await?;
        Ok(convert::rule_to_pb(&rule, standing.as_ref()))
    }

    async fn update(&self, organization: OrganizationId, request: pb::UpdateAlertRuleRequest) -> Result<pb::AlertRule, Problem> {
        let given = request.rule.ok_or_else(|| Problem::invalid_field("rule", "is required"))?;
        let id = id_of("rule.rule_id", &given.rule_id)?;
        let mask = mask(request.update_mask, &given)?;
        for _ in 0..TRIES {
            let (before, _) = self.rule(&organization, id).await?;
            let now = self.clock.now();
            let identity = Identity {
                organization_id: organization.clone(),
                rule_id: id,
                builtin: before.builtin,
                watches_from: before.watches_from,
                created_at: before.created_at,
                updated_at: now,
                revision: before.revision + 1,
            };
            let changed = change(convert::definition(&before), &given, &mask);
            let mut errors = FieldErrors::new();
            let rule = convert::rule(changed, identity, "rule", &mut errors);
            let mut rule = finish(errors, rule)?;
            if !before.enabled || !rule.watches_as(&before) {
                rule.watches_from = now;
            }
            if self.store.replace_rule(&before, &rule).await.map_err(failed)? {
                self.book.forget(&organization).await;
                let (rule, standing) = self.rule(&organization, id).await?;
                return Ok(convert::rule_to_pb(&rule, standing.as_ref()));
            }
        }
        Err(Problem::unavailable(
            "ALERT_RULE_CHANGES",
            "others change the rule at the same time; try again",
            std::time::Duration::from_secs(1),
        ))
    }

    async fn handle(&self, organization: &OrganizationId, id: &str, to: Handling) -> Result<Alert, Problem> {
        let id = id_of("alert_id", id)?;
        let alert = self.store.handle(organization, id, to, self.clock.now()).await.map_err(failed)?;
        let alert = alert.ok_or_else(|| no_alert(id))?;
        self.bell.notify_one();
        if to == Handling::Acknowledged && alert.state == Handling::Resolved {
            return Err(Problem::failed_precondition("ALERT_RESOLVED", format!("alert {id} is resolved already")));
        }
        Ok(alert)
    }

    async fn list(
        &self,
        organization: OrganizationId,
        request: pb::ListAlertsRequest,
    ) -> Result<pb::ListAlertsResponse, Problem> {
        let mut errors = FieldErrors::new();
        let wanted = Wanted {
            rule_id: optional(&mut errors, "rule_id", &request.rule_id, |text| {
                Uuid::try_parse(text).map_err(|_| "must be a UUID".to_owned())
            }),
            state: optional(&mut errors, "state", &request.state, |text| {
                Handling::named(text).ok_or_else(|| "must be one of open, acknowledged, resolved".to_owned())
            }),
            conversation_id: optional(&mut errors, "conversation_id", &request.conversation_id, |text| {
                text.parse::<ConversationName>().map(|name| name.id(&organization)).map_err(|bad| bad.to_string())
            }),
            severity: optional(&mut errors, "severity", &request.severity, |text| {
                text.parse::<Severity>().map_err(|bad| bad.to_string())
            }),
        };
        let size = page_size(&mut errors, request.page_size);
        errors.finish()?;
        let list = (
            "alerts",
            &organization,
            wanted.rule_id,
            wanted.state.map(Handling::as_str),
            wanted.conversation_id,
            wanted.severity.map(Severity::as_str),
        );
        let after = self.after(&list, &request.page_token)?;
        self.frontier.wait_for(&organization, request.min_position).await.map_err(failed)?;
        let mut found = self.store.page_of_alerts(&organization, &wanted, after, size + 1).await.map_err(failed)?;
        let next_page_token = self.cut(&list, &mut found, size, |alert| Place { at: alert.opened_at, id: alert.alert_id });
        Ok(pb::ListAlertsResponse { alerts: found.iter().map(convert::alert_to_pb).collect(), next_page_token })
    }

    async fn try_rule(
        &self,
        organization: OrganizationId,
        request: pb::BacktestAlertRuleRequest,
    ) -> Result<pb::BacktestAlertRuleResponse, Problem> {
        let now = self.clock.now();
        let mut errors = FieldErrors::new();
        let mut time = |field: &str, at: Option<prost_types::Timestamp>| {
            at.map(|at| errors.check(field, timestamp_from_pb(field, at).map_err(|bad| bad.message)))
        };
        let (from, to) = (time("from", request.from), time("to", request.to));
        let to = to.map_or(Some(now), |to| to);
        let from = from.map_or(to.map(|to| to.saturating_add_millis(-USUAL_DAYS * DAY_MS)), |from| from);
        if let (Some(from), Some(to)) = (from, to) {
            if from >= to {
                errors.add("to", "must be after from");
            } else if to.millis_since(from) > MOST_DAYS * DAY_MS {
                errors.add("from", format!("must be at most {MOST_DAYS} days before to"));
            }
        }
        let rule = match (request.rule, request.rule_id.as_str()) {
            (Some(_), id) if !id.is_empty() => {
                errors.add("rule", "is given instead of rule_id, not beside it");
                None
            }
            (Some(given), _) => {
                let identity = Identity {
                    organization_id: organization,
                    rule_id: Uuid::nil(),
                    builtin: None,
                    watches_from: now,
                    created_at: now,
                    updated_at: now,
                    revision: 1,
                };
                // It is tried, whatever it will be called.
                let given = pb::AlertRule {
                    name: if given.name.is_empty() { "rule".to_owned() } else { given.name.clone() },
                    severity: if given.severity.is_empty() { Severity::Info.as_str().to_owned() } else { given.severity.clone() },
                    ..given
                };
                convert::rule(given, identity, "rule", &mut errors)
            }
            (None, "") => {
                errors.add("rule_id", "is required, or a rule");
                None
            }
            (None, id) => match errors.check("rule_id", Uuid::try_parse(id).map_err(|_| "must be a UUID")) {
                Some(id) => Some(self.rule(&organization, id).await?.0),
                None => None,
            },
        };
        let (rule, (from, to)) = finish(errors, rule.zip(from.zip(to)))?;
        let outcome = self.backtests.run(rule, from, to).await?;
        Ok(pb::BacktestAlertRuleResponse {
            count: outcome.count,
            conversations: outcome.hits.into_iter().map(hit_to_pb).collect(),
            examined: outcome.examined,
            warnings: outcome.warnings,
        })
    }
}

fn hit_to_pb(hit: Hit) -> pb::BacktestHit {
    let (conversation_id, external_id) =
        hit.conversation.map(|(id, external_id)| (id.to_string(), external_id)).unwrap_or_default();
    pb::BacktestHit {
        conversation_id,
        external_id,
        at: Some(timestamp_to_pb(hit.at)),
        evidence_json: Value::Object(hit.evidence).to_string(),
    }
}

/// Reads what to change; absent means what is set.
fn mask(mask: Option<prost_types::FieldMask>, given: &pb::AlertRule) -> Result<Vec<&'static str>, Problem> {
    let Some(mask) = mask else {
        let set = [
            !given.name.is_empty(),
            !given.severity.is_empty(),
            !given.scope.is_empty(),
            !given.conditions.is_empty(),
            !given.r#match.is_empty(),
            given.filter.is_some(),
            given.enabled,
            given.metric.is_some(),
            given.renotify_after.is_some(),
            given.muted_until.is_some(),
        ];
        return Ok(CHANGEABLE.into_iter().zip(set).filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect());
    };
    let mut errors = FieldErrors::new();
    let mut changes = Vec::with_capacity(mask.paths.len());
    for path in &mask.paths {
        match CHANGEABLE.into_iter().chain(CHANGEABLE_OF_METRIC).find(|name| name == path) {
            Some(name) => changes.push(name),
            None if path == "*" => changes.extend(CHANGEABLE),
            None => {
                let shown: String = path.chars().filter(|letter| !letter.is_control()).take(64).collect();
                errors.add("update_mask", format!("'{shown}' cannot be changed; allowed: {}", CHANGEABLE.join(", ")));
            }
        }
    }
    errors.finish()?;
    Ok(changes)
}

fn change(mut rule: pb::AlertRule, given: &pb::AlertRule, mask: &[&str]) -> pb::AlertRule {
    // What watches each conversation from now on compares nothing over a window any more, unless it is said here that it does.
    if mask.contains(&"scope") && given.scope == Scoped::Conversation.as_str() {
        rule.metric = None;
    }
    for name in mask {
        match *name {
            "name" => rule.name.clone_from(&given.name),
            "severity" => rule.severity.clone_from(&given.severity),
            "scope" => rule.scope.clone_from(&given.scope),
            "conditions" => rule.conditions.clone_from(&given.conditions),
            "match" => rule.r#match.clone_from(&given.r#match),
            "filter" => rule.filter.clone_from(&given.filter),
            "enabled" => rule.enabled = given.enabled,
            "metric" => rule.metric.clone_from(&given.metric),
            "renotify_after" => rule.renotify_after = given.renotify_after,
            "muted_until" => rule.muted_until = given.muted_until,
            of_metric => {
                let given = given.metric.clone().unwrap_or_default();
                // A part that is taken away from what there is nothing of leaves nothing.
                if rule.metric.is_some() || given != pb::AlertMetric::default() {
                    change_metric(rule.metric.get_or_insert_default(), &given, of_metric);
                }
            }
        }
    }
    rule
}

fn change_metric(metric: &mut pb::AlertMetric, given: &pb::AlertMetric, path: &str) {
    match path {
        "metric.field" => metric.field.clone_from(&given.field),
        "metric.op" => metric.op.clone_from(&given.op),
        "metric.window" => metric.window = given.window,
        "metric.comparison" => metric.comparison.clone_from(&given.comparison),
        "metric.threshold" => metric.threshold = given.threshold,
        "metric.direction" => metric.direction.clone_from(&given.direction),
        "metric.warning_threshold" => metric.warning_threshold = given.warning_threshold,
        "metric.min_count" => metric.min_count = given.min_count,
        "metric.no_data" => metric.no_data.clone_from(&given.no_data),
        "metric.recovery_margin" => metric.recovery_margin = given.recovery_margin,
        _ => {}
    }
}

#[tonic::async_trait]
impl AlertService for Handler {
    async fn create_alert_rule(
        &self,
        request: Request<pb::CreateAlertRuleRequest>,
    ) -> Result<Response<pb::CreateAlertRuleResponse>, Status> {
        let organization = admin(&request)?;
        let rule = self.create(organization, request.into_inner().rule).await?;
        Ok(Response::new(pb::CreateAlertRuleResponse { rule: Some(rule) }))
    }

    async fn get_alert_rule(
        &self,
        request: Request<pb::GetAlertRuleRequest>,
    ) -> Result<Response<pb::GetAlertRuleResponse>, Status> {
        let organization = reader(&request)?;
        let id = id_of("rule_id", &request.into_inner().rule_id)?;
        let (rule, standing) = self.rule(&organization, id).await?;
        Ok(Response::new(pb::GetAlertRuleResponse { rule: Some(convert::rule_to_pb(&rule, standing.as_ref())) }))
    }

    async fn list_alert_rules(
        &self,
        request: Request<pb::ListAlertRulesRequest>,
    ) -> Result<Response<pb::ListAlertRulesResponse>, Status> {
        let organization = reader(&request)?;
        let request = request.into_inner();
        let mut errors = FieldErrors::new();
        let size = page_size(&mut errors, request.page_size);
        errors.finish()?;
        let list = ("alert rules", &organization);
        let after = self.after(&list, &request.page_token)?;
        self.book.begun(&organization).await.map_err(failed)?;
        let mut found = self.store.page_of_rules(&organization, after, size + 1).await.map_err(failed)?;
        let place = |(rule, _): &(Rule, Option<Standing>)| Place { at: rule.created_at, id: rule.rule_id };
        let next_page_token = self.cut(&list, &mut found, size, place);
        let rules = found.iter().map(|(rule, standing)| convert::rule_to_pb(rule, standing.as_ref())).collect();
        Ok(Response::new(pb::ListAlertRulesResponse { rules, next_page_token }))
    }

    async fn update_alert_rule(
        &self,
        request: Request<pb::UpdateAlertRuleRequest>,
    ) -> Result<Response<pb::UpdateAlertRuleResponse>, Status> {
        let organization = admin(&request)?;
        let rule = self.update(organization, request.into_inner()).await?;
        Ok(Response::new(pb::UpdateAlertRuleResponse { rule: Some(rule) }))
    }

    async fn delete_alert_rule(
        &self,
        request: Request<pb::DeleteAlertRuleRequest>,
    ) -> Result<Response<pb::DeleteAlertRuleResponse>, Status> {
        let organization = admin(&request)?;
        let id = id_of("rule_id", &request.into_inner().rule_id)?;
        self.book.begun(&organization).await.map_err(failed)?;
        if !self.store.delete_rule(&organization, id).await.map_err(failed)? {
            return Err(no_rule(id).into());
        }
        self.book.forget(&organization).await;
        Ok(Response::new(pb::DeleteAlertRuleResponse {}))
    }

    async fn backtest_alert_rule(
        &self,
        request: Request<pb::BacktestAlertRuleRequest>,
    ) -> Result<Response<pb::BacktestAlertRuleResponse>, Status> {
        let organization = reader(&request)?;
        // Whoever may choose the phrases of a rule learns from its hits what was said.
        let listens = |rule: &pb::AlertRule| rule.conditions.iter().any(|condition| Side::named(&condition.field).is_some());
        if request.get_ref().rule.as_ref().is_some_and(listens) {
            Caller::of(&request).require(Scope::TranscriptsRead)?;
        }
        Ok(Response::new(self.try_rule(organization, request.into_inner()).await?))
    }

    async fn list_alerts(&self, request: Request<pb::ListAlertsRequest>) -> Result<Response<pb::ListAlertsResponse>, Status> {
        let organization = reader(&request)?;
        Ok(Response::new(self.list(organization, request.into_inner()).await?))
    }

    async fn acknowledge_alert(
        &self,
        request: Request<pb::AcknowledgeAlertRequest>,
    ) -> Result<Response<pb::AcknowledgeAlertResponse>, Status> {
        let organization = admin(&request)?;
        let alert = self.handle(&organization, &request.into_inner().alert_id, Handling::Acknowledged).await?;
        Ok(Response::new(pb::AcknowledgeAlertResponse { alert: Some(convert::alert_to_pb(&alert)) }))
    }

    async fn resolve_alert(
        &self,
        request: Request<pb::ResolveAlertRequest>,
    ) -> Result<Response<pb::ResolveAlertResponse>, Status> {
        let organization = admin(&request)?;
        let alert = self.handle(&organization, &request.into_inner().alert_id, Handling::Resolved).await?;
        Ok(Response::new(pb::ResolveAlertResponse { alert: Some(convert::alert_to_pb(&alert)) }))
    }
}
