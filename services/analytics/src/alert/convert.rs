//! Rules and alerts, to and from the messages of the service.

use std::sync::Arc;

use colloquy_events::Severity;
use colloquy_events::convert::{timestamp_from_pb, timestamp_to_pb};
use colloquy_filter::fields::{EXTRACTED, View};
use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_service::FieldErrors;
use colloquy_types::{OrganizationId, Timestamp, normalize_phone_number};
use serde_json::Value;
use uuid::Uuid;

use super::alert::Alert;
use super::fields::{Figure, Kind};
use super::measure;
use super::phrases::Words;
use super::rule::{
    Builtin, Comparison, Condition, Filter, LONGEST_MS, LONGEST_NAME, LONGEST_VALUE, MOST_CONDITIONS, MOST_VALUES, Metric, Needs,
    NoData, Op, Rule, SHORTEST_MS, Scope, Side, Subject, Test,
};
use super::state::Standing;

/// What people do not choose of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its id.
    pub rule_id: Uuid,
    /// Which of those every organization begins with.
    pub builtin: Option<Builtin>,
    /// It watches what is received from then on.
    pub watches_from: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub revision: i64,
}

/// Reads a rule; `at` is where it stands in the request. Every bad field is noted, and then there is no rule.
pub fn rule(given: pb::AlertRule, identity: Identity, at: &str, errors: &mut FieldErrors) -> Option<Rule> {
    let mut found = FieldErrors::new();
    let field = |name: &str| format!("{at}.{name}");
    name_of(&mut found, &field("name"), &given.name);
    let severity = found.parse::<Severity>(&field("severity"), &given.severity);
    let scope = scope_of(&mut found, &field("scope"), &given);
    if given.conditions.len() > MOST_CONDITIONS {
        found.add(field("conditions"), format!("must be at most {MOST_CONDITIONS}"));
    }
    let is_metric = scope == Some(Scope::Metric);
    let conditions: Vec<Option<Condition>> = (given.conditions.iter().take(MOST_CONDITIONS).enumerate())
        .map(|(number, given)| condition(given, is_metric, &field(&format!("conditions[{number}]")), &mut found))
        .collect();
    if !is_metric && given.conditions.is_empty() {
        found.add(field("conditions"), "a rule on conversations needs at least one");
    }
    let needs = match given.r#match.as_str() {
        // Rules that an earlier release kept do not say it.
        "" => Some(identity.builtin.map_or(Needs::All, Builtin::needs)),
        name => choose(&mut found, &field("match"), name, &Needs::ALL, Needs::as_str),
    };
    let filter = filter(given.filter.unwrap_or_default(), &field("filter"), &mut found);
    let metric = match (scope, given.metric) {
        (Some(Scope::Metric), Some(given)) => metric(&given, !conditions.is_empty(), &field("metric"), &mut found).map(Some),
        (Some(Scope::Metric), None) => {
            found.add(field("metric"), "a rule over a window needs one");
            None
        }
        (Some(Scope::Conversation), Some(_)) => {
            found.add(
                field("metric"),
                "a rule on conversations has none, and neither window, threshold nor what else belongs to it",
            );
            None
        }
        (_, _) => Some(None),
    };
    let renotify_after_ms = given.renotify_after.map(|after| millis(&mut found, &field("renotify_after"), &after));
    let muted_until = given
        .muted_until
        .map(|until| found.check(&field("muted_until"), timestamp_from_pb("muted_until", until).map_err(|bad| bad.message)));

    if !found.is_empty() {
        merge(errors, found);
        return None;
    }
    let Identity { organization_id, rule_id, builtin, watches_from, created_at, updated_at, revision } = identity;
    Some(Rule {
        organization_id,
        rule_id,
        name: given.name,
        severity: severity?,
        conditions: conditions.into_iter().collect::<Option<_>>()?,
        needs: needs?,
        filter: filter?,
        enabled: given.enabled,
        metric: metric?,
        renotify_after_ms: renotify_after_ms.flatten(),
        muted_until: muted_until.flatten(),
        builtin,
        watches_from,
        created_at,
        updated_at,
        revision,
    })
}

fn merge(errors: &mut FieldErrors, found: FieldErrors) {
    if let Err(problem) = found.finish() {
        for bad in problem.fields {
            errors.add(bad.field, bad.message);
        }
    }
}

fn name_of(errors: &mut FieldErrors, field: &str, name: &str) {
    errors.max_chars(field, name, LONGEST_NAME);
    if name.trim().is_empty() {
        errors.add(field, "is required");
    }
    if name.chars().any(char::is_control) {
        errors.add(field, "must not contain control characters");
    }
}

fn scope_of(errors: &mut FieldErrors, field: &str, given: &pb::AlertRule) -> Option<Scope> {
    match given.scope.as_str() {
        "conversation" => Some(Scope::Conversation),
        "metric" => Some(Scope::Metric),
        // What it compares says what it watches.
        "" => Some(if given.metric.is_some() { Scope::Metric } else { Scope::Conversation }),
        _ => {
            errors.add(field, "must be conversation or metric");
            None
        }
    }
}

pub(super) fn condition(given: &pb::AlertCondition, is_metric: bool, at: &str, errors: &mut FieldErrors) -> Option<Condition> {
    let op = Op::named(&given.op);
    if op.is_none() {
        errors.add(format!("{at}.op"), format!("must be one of {}", Op::ALL.map(Op::as_str).join(", ")));
    }
    let value = match serde_json::from_str::<Value>(&given.value_json) {
        Ok(value) => Some(value),
        Err(_) => {
            errors.add(format!("{at}.value"), "must be a JSON value");
            None
        }
    };
    let subject = subject(&given.field, at, errors);
    let (op, value, subject) = (op?, value?, subject?);
    let bad_value = format!("{at}.value");
    let values = values(&value, &bad_value, errors)?;
    let test = match subject {
        Named::Words(_) if is_metric => {
            errors.add(format!("{at}.field"), "rules over a window do not ask what was said");
            return None;
        }
        Named::Words(_) if op != Op::Contains => {
            errors.add(format!("{at}.op"), "what was said can only be asked for with contains");
            return None;
        }
        Named::Words(side) => {
            let texts: Option<Vec<String>> = values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
            let Some(phrases) = texts.filter(|phrases| phrases.iter().all(|phrase| !Words::of(phrase).is_empty())) else {
                errors.add(bad_value, "must be a phrase of at least one word, or an array of them of which one must be said");
                return None;
            };
            Test::Says { side, phrases }
        }
        Named::Subject(subject) => compare(subject, op, values, is_metric, at, errors)?,
    };
    Some(Condition { field: given.field.clone(), op, value, test })
}

/// What the name of a field means.
enum Named {
    Subject(Subject),
    Words(Side),
}

fn subject(name: &str, at: &str, errors: &mut FieldErrors) -> Option<Named> {
    if let Some(side) = Side::named(name) {
        return Some(Named::Words(side));
    }
    if let Some(figure) = Figure::named(name) {
        return Some(Named::Subject(Subject::Figure(figure)));
    }
    if let Some(custom) = name.strip_prefix(EXTRACTED)
        && colloquy_filter::fields::find(name, View::Analytics).is_ok()
    {
        return Some(Named::Subject(Subject::Custom(custom.to_owned())));
    }
    let allowed = format!("must be one of text, user_text, agent_text, {}, or custom.NAME", Figure::names());
    errors.add(format!("{at}.field"), allowed);
    None
}

/// Reads a value, or an array of values of which one is meant.
fn values(value: &Value, field: &str, errors: &mut FieldErrors) -> Option<Vec<Value>> {
    let values = match value {
        Value::Array(values) => values.clone(),
        one => vec![one.clone()],
    };
    let fits = |value: &Value| match value {
        Value::String(text) => text.chars().count() <= LONGEST_VALUE && !text.contains('\0'),
        Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
        Value::Bool(_) => true,
        _ => false,
    };
    if values.is_empty() || values.len() > MOST_VALUES || !values.iter().all(fits) {
        let message = format!(
            "must be a text of at most {LONGEST_VALUE} characters, a number or a truth, or an array of 1 to {MOST_VALUES} of them"
        );
        errors.add(field, message);
        return None;
    }
    Some(values)
}

fn compare(
    subject: Subject,
    op: Op,
    mut values: Vec<Value>,
    is_metric: bool,
    at: &str,
    errors: &mut FieldErrors,
) -> Option<Test> {
    let has_order = matches!(op, Op::Gt | Op::Gte | Op::Lt | Op::Lte);
    let field = format!("{at}.value");
    if has_order && values.len() > 1 {
        errors.add(field, "must be one number for gt, gte, lt and lte");
        return None;
    }
    if op == Op::Contains && is_metric {
        errors.add(format!("{at}.op"), "rules over a window compare with eq, ne, gt, gte, lt or lte");
        return None;
    }
    match &subject {
        Subject::Figure(figure) => match figure.kind {
            Kind::Number if op == Op::Contains => {
                errors.add(format!("{at}.op"), format!("{} is a number, which contains nothing", figure.name));
                return None;
            }
            Kind::Number if !values.iter().all(Value::is_number) => {
                errors.add(field, format!("must be a number: {} is one", figure.name));
                return None;
            }
            Kind::Number => {}
            Kind::Word(_) | Kind::Words if has_order => {
                errors.add(format!("{at}.op"), format!("{} has no order: eq, ne or contains", figure.name));
                return None;
            }
            Kind::Word(_) | Kind::Words if !values.iter().all(Value::is_string) => {
                errors.add(field, format!("must be a text, or an array of texts: {} is one", figure.name));
                return None;
            }
            Kind::Word(words) => {
                let words = words();
                let known = |value: &Value| value.as_str().is_some_and(|word| words.contains(&word));
                if !words.is_empty() && op != Op::Contains && !values.iter().all(known) {
                    errors.add(field, format!("must be one of {}", words.join(", ")));
                    return None;
                }
            }
            Kind::Words => {}
        },
        Subject::Custom(_) if has_order && !values.iter().all(Value::is_number) => {
            errors.add(field, "must be a number for gt, gte, lt and lte");
            return None;
        }
        Subject::Custom(_) => {}
    }
    if op == Op::Contains && !values.iter().all(|value| value.as_str().is_some_and(|text| !Words::of(text).is_empty())) {
        errors.add(format!("{at}.value"), "must be a text of at least one word for contains");
        return None;
    }
    if matches!(&subject, Subject::Figure(figure) if figure.name == "caller") {
        for value in &mut values {
            if let Some(number) = value.as_str().and_then(normalize_phone_number) {
                *value = Value::String(number);
            }
        }
    }
    Some(Test::Compare { subject, op, values })
}

/// Reads which conversations are watched.
pub fn filter(given: ConversationFilter, at: &str, errors: &mut FieldErrors) -> Option<Filter> {
    match colloquy_filter::conversations::read(&given, View::Analytics) {
        Ok(expression) => {
            let is_empty = given == ConversationFilter::default();
            Some(Filter { given, expression: (!is_empty).then(|| Arc::new(expression)) })
        }
        Err(found) => {
            if let Err(problem) = found.finish() {
                for bad in problem.fields {
                    errors.add(format!("{at}.{}", bad.field), bad.message);
                }
            }
            None
        }
    }
}

fn metric(given: &pb::AlertMetric, has_conditions: bool, at: &str, errors: &mut FieldErrors) -> Option<Metric> {
    let mut found = FieldErrors::new();
    let field = |name: &str| format!("{at}.{name}");
    let comparison = match given.comparison.as_str() {
        "" => Some(Comparison::Absolute),
        name => choose(&mut found, &field("comparison"), name, &Comparison::ALL, Comparison::as_str),
    };
    let no_data = match given.no_data.as_str() {
        "" => Some(NoData::Ignore),
        name => choose(&mut found, &field("no_data"), name, &NoData::ALL, NoData::as_str),
    };
    let direction = match given.direction.as_str() {
        "" => Some(Op::Gt),
        name => choose(&mut found, &field("direction"), name, &[Op::Gt, Op::Gte, Op::Lt, Op::Lte], Op::as_str),
    };
    let window_ms = match &given.window {
        Some(window) => millis(&mut found, &field("window"), window),
        None => {
            found.add(field("window"), "is required");
            None
        }
    };
    if comparison == Some(Comparison::Share) {
        if !(0.0..=1.0).contains(&given.threshold) {
            found.add(field("threshold"), "must be from 0 to 1 for a share");
        }
        if !has_conditions {
            found.add(field("comparison"), "a share needs conditions: it is the part of the conversations that meet them");
        }
    } else if let Err(bad) = measure::read(&given.field, &given.op) {
        found.add(field(bad.part), bad.message);
    }
    if !given.threshold.is_finite() {
        found.add(field("threshold"), "must be a finite number");
    }
    if let (Some(warning), Some(direction)) = (given.warning_threshold, direction) {
        let is_nearer = match direction {
            Op::Gt | Op::Gte => warning <= given.threshold,
            _ => warning >= given.threshold,
        };
        if !warning.is_finite() || !is_nearer {
            found.add(field("warning_threshold"), "must be a finite number, nearer to the good than the threshold");
        }
    }
    if given.recovery_margin.is_some_and(|margin| !(0.0..=1.0).contains(&margin)) {
        found.add(field("recovery_margin"), "must be from 0 to 1");
    }
    if !found.is_empty() {
        merge(errors, found);
        return None;
    }
    Some(Metric {
        field: given.field.clone(),
        op: given.op.clone(),
        window_ms: window_ms?,
        comparison: comparison?,
        direction: direction?,
        threshold: given.threshold,
        warning_threshold: given.warning_threshold,
        recovery_margin: given.recovery_margin,
        min_count: given.min_count,
        no_data: no_data?,
    })
}

fn choose<T: Copy>(errors: &mut FieldErrors, field: &str, name: &str, all: &[T], word: impl Fn(T) -> &'static str) -> Option<T> {
    let found = all.iter().copied().find(|one| word(*one) == name);
    if found.is_none() {
        errors.add(field, format!("must be one of {}", all.iter().map(|one| word(*one)).collect::<Vec<_>>().join(", ")));
    }
    found
}

/// Reads a minute to 30 days.
fn millis(errors: &mut FieldErrors, field: &str, given: &prost_types::Duration) -> Option<i64> {
    let millis = given.seconds.checked_mul(1000).and_then(|millis| millis.checked_add(i64::from(given.nanos) / 1_000_000));
    let found = millis.filter(|millis| (SHORTEST_MS..=LONGEST_MS).contains(millis));
    if found.is_none() {
        errors.add(field, "must be from one minute to 30 days");
    }
    found
}

fn duration(millis: i64) -> prost_types::Duration {
    let nanos = i32::try_from(millis.rem_euclid(1000) * 1_000_000).unwrap_or_default();
    prost_types::Duration { seconds: millis.div_euclid(1000), nanos }
}

/// Returns what people chose of a rule.
pub fn definition(rule: &Rule) -> pb::AlertRule {
    let conditions = rule.conditions.iter().map(|condition| pb::AlertCondition {
        field: condition.field.clone(),
        op: condition.op.as_str().to_owned(),
        value_json: condition.value.to_string(),
    });
    pb::AlertRule {
        name: rule.name.clone(),
        severity: rule.severity.as_str().to_owned(),
        scope: rule.scope().as_str().to_owned(),
        conditions: conditions.collect(),
        r#match: rule.needs.as_str().to_owned(),
        filter: (rule.filter.given != ConversationFilter::default()).then(|| rule.filter.given.clone()),
        enabled: rule.enabled,
        metric: rule.metric.as_ref().map(metric_to_pb),
        renotify_after: rule.renotify_after_ms.map(duration),
        muted_until: rule.muted_until.map(timestamp_to_pb),
        ..pb::AlertRule::default()
    }
}

fn metric_to_pb(metric: &Metric) -> pb::AlertMetric {
    pb::AlertMetric {
        field: metric.field.clone(),
        op: metric.op.clone(),
        window: Some(duration(metric.window_ms)),
        comparison: metric.comparison.as_str().to_owned(),
        threshold: metric.threshold,
        min_count: metric.min_count,
        no_data: metric.no_data.as_str().to_owned(),
        direction: metric.direction.as_str().to_owned(),
        warning_threshold: metric.warning_threshold,
        recovery_margin: metric.recovery_margin,
    }
}

/// Returns a rule, and where it stands, as its organization sees it.
pub fn rule_to_pb(rule: &Rule, standing: Option<&Standing>) -> pb::AlertRule {
    pb::AlertRule {
        rule_id: rule.rule_id.to_string(),
        created_at: Some(timestamp_to_pb(rule.created_at)),
        updated_at: Some(timestamp_to_pb(rule.updated_at)),
        state: standing.map(|standing| standing.state.as_str().to_owned()).unwrap_or_default(),
        state_since: standing.map(|standing| timestamp_to_pb(standing.since)),
        last_value: standing.and_then(|standing| standing.last_value),
        builtin: rule.builtin.map(|builtin| builtin.as_str().to_owned()).unwrap_or_default(),
        ..definition(rule)
    }
}

/// Returns an alert as its organization sees it.
pub fn alert_to_pb(alert: &Alert) -> pb::Alert {
    pb::Alert {
        alert_id: alert.alert_id.to_string(),
        rule_id: alert.rule_id.to_string(),
        conversation_id: alert.conversation_id().map(|id| id.to_string()).unwrap_or_default(),
        severity: alert.severity.as_str().to_owned(),
        state: alert.state.as_str().to_owned(),
        opened_at: Some(timestamp_to_pb(alert.opened_at)),
        evidence_json: Value::Object(alert.evidence.clone()).to_string(),
        rule_name: alert.rule_name.clone(),
        external_id: alert.about.external_id().to_owned(),
        acknowledged_at: alert.acknowledged_at.map(timestamp_to_pb),
        resolved_at: alert.resolved_at.map(timestamp_to_pb),
        conversation_count: alert.conversation_count,
        conversation_ids: alert.conversation_ids.iter().map(ToString::to_string).collect(),
        renotified_at: alert.renotified_at.map(timestamp_to_pb),
    }
}
