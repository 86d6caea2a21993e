//! What the tests of rules and alerts share.

use std::collections::{BTreeMap, BTreeSet};

use colloquy_events::{JsonMap, Role, Severity, Turn};
use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_service::FieldErrors;
use colloquy_storage::Database;
use colloquy_storage::engine::{Engine, Value as Bound};
use colloquy_types::{ConversationId, Position, Provider, Timestamp, TurnId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::alert::{About, Alert};
use super::convert;
use super::rule::{Comparison, Condition, Filter, Metric, Needs, NoData, Op, Rule};
use crate::features::Features;

pub(crate) use crate::testing::{acme, at};

/// A rule of [`acme`] on conversations, by its number.
pub(crate) fn rule(number: u128, conditions: Vec<Condition>) -> Rule {
    Rule {
        organization_id: acme(),
        rule_id: Uuid::from_u128(number),
        name: format!("rule {number}"),
        severity: Severity::Warning,
        conditions,
        needs: Needs::All,
        filter: Filter { given: ConversationFilter::default(), expression: None },
        enabled: true,
        metric: None,
        renotify_after_ms: None,
        muted_until: None,
        builtin: None,
        watches_from: at(0),
        created_at: at(0),
        updated_at: at(0),
        revision: 1,
    }
}

/// The rule, of conversations that a filter leaves.
pub(crate) fn filtered(rule: Rule, expression: &str) -> Rule {
    let given = ConversationFilter { expression: expression.to_owned(), ..ConversationFilter::default() };
    let mut errors = FieldErrors::new();
    let filter = convert::filter(given, "filter", &mut errors);
    errors.finish().unwrap();
    Rule { filter: filter.unwrap(), ..rule }
}

/// A condition as people write it.
pub(crate) fn condition(field: &str, op: &str, value: Value) -> Condition {
    let given = colloquy_proto::analytics::v1::AlertCondition {
        field: field.to_owned(),
        op: op.to_owned(),
        value_json: value.to_string(),
    };
    let mut errors = FieldErrors::new();
    let read = convert::condition(&given, false, "condition", &mut errors);
    errors.finish().unwrap();
    read.unwrap()
}

/// A mean length above 60 seconds within ten minutes.
pub(crate) fn metric() -> Metric {
    Metric {
        field: "duration_seconds".to_owned(),
        op: "avg".to_owned(),
        window_ms: 600_000,
        comparison: Comparison::Absolute,
        direction: Op::Gt,
        threshold: 60.0,
        warning_threshold: None,
        recovery_margin: None,
        min_count: 0,
        no_data: NoData::Ignore,
    }
}

/// A rule of [`acme`] over a window, by its number.
pub(crate) fn window_rule(number: u128, metric: Metric) -> Rule {
    Rule { metric: Some(metric), ..rule(number, Vec::new()) }
}

/// A conversation of [`acme`] that is over and of which everything is known, by its number.
pub(crate) fn features(number: u128) -> Features {
    let text = |text: &str| Some(text.to_owned());
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Features {
        organization_id: acme(),
        conversation_id: ConversationId(Uuid::from_u128(number)),
        position: Position(1),
        settled: true,
        provider: "native".to_owned(),
        external_id: number.to_string(),
        agent_id: text("agent-1"),
        agent_version_id: text("version-1"),
        client_id: text("client-1"),
        user_id: text("user-1"),
        caller: text("+15550100"),
        channel: text("phone"),
        direction: text("inbound"),
        status: "completed".to_owned(),
        end_reason: text("user_hangup"),
        failure_code: text("busy"),
        call_successful: "failure".to_owned(),
        outcome: text("callback"),
        resolution_status: "escalated".to_owned(),
        sentiment: text("negative"),
        intent: text("book_appointment"),
        language: text("en"),
        created_at: at(0),
        started_at: Some(at(0)),
        ended_at: Some(at(120_000)),
        duration_ms: Some(120_000),
        turn_count: 12,
        exchanges: Some(6),
        agent_talk_ms: Some(60_000),
        user_talk_ms: Some(40_000),
        talk_ratio: Some(0.6),
        agent_words_per_minute: Some(150.0),
        user_words_per_minute: Some(140.0),
        silence_ms: Some(7_000),
        longest_silence_ms: Some(4_000),
        silence_count: Some(2),
        hold_ms: Some(5_000),
        interruptions_by_user: Some(1),
        interruptions_by_agent: Some(2),
        response_latency_ms: Some(800.0),
        response_latency_p95_ms: Some(1_500.0),
        response_latency_max_ms: Some(2_000.0),
        sentiment_score: Some(-0.5),
        sentiment_shift: Some(-0.4),
        satisfaction_score: Some(2.0),
        caller_rating: Some(2.0),
        inferred_satisfaction: Some(2.2),
        technical_quality: Some(0.9),
        error_count: 2,
        cost_micros: Some(120_000),
        cost_currency: text("USD"),
        topics: words(&["billing", "refund request"]),
        tags: words(&["vip"]),
        keywords: words(&["invoice"]),
        error_codes: words(&["llm_timeout"]),
        custom: BTreeMap::from([
            ("plan".to_owned(), json!("gold")),
            ("seats".to_owned(), json!(3)),
            ("urgent".to_owned(), json!(true)),
        ]),
    }
}

/// A conversation that still runs.
pub(crate) fn live(number: u128) -> Features {
    Features { settled: false, status: "in_progress".to_owned(), ended_at: None, duration_ms: Some(10_000), ..features(number) }
}

/// A final turn, so many milliseconds from the start.
pub(crate) fn turn(number: u128, role: Role, text: &str, start_ms: i64) -> Turn {
    Turn { text: Some(text.to_owned()), start_ms: Some(start_ms), ..Turn::new(TurnId(Uuid::from_u128(number)), role) }
}

/// An alert of rule 1 for a conversation, by the conversation's number.
pub(crate) fn alert(number: u128) -> Alert {
    let rule = rule(1, vec![condition("error_count", "gte", json!(1))]);
    let id = ConversationId(Uuid::from_u128(number));
    let about = About::Conversation { id, provider: Provider::Native, external_id: id.to_string() };
    let opened_at = at(i64::try_from(number).unwrap());
    Alert {
        conversation_count: 1,
        conversation_ids: vec![id],
        ..Alert::open(&rule, super::alert::id_for_conversation(rule.rule_id, id), about, opened_at, evidence())
    }
}

/// An alert of rule 2 over a window.
pub(crate) fn window_alert(number: u128) -> Alert {
    let rule = window_rule(2, metric());
    let opened_at = at(i64::try_from(number).unwrap());
    Alert {
        conversation_count: 2,
        conversation_ids: vec![ConversationId(Uuid::from_u128(8)), ConversationId(Uuid::from_u128(9))],
        ..Alert::open(&rule, super::alert::id_for_instant(rule.rule_id, opened_at), About::Window, opened_at, evidence())
    }
}

fn evidence() -> JsonMap {
    JsonMap::from_iter([("error_count".to_owned(), json!(2.0))])
}

/// Returns the time so many seconds after [`at`]`(0)`.
pub(crate) fn seconds(seconds: i64) -> Timestamp {
    at(seconds * 1_000)
}

/// Writes so many events into the outbox that no release knows, before all others.
pub(crate) async fn garble(database: &Database, count: u128) {
    match database {
        Database::Sqlite(sqlite) => garble_on::<sqlx::Sqlite>(sqlite.writer(), count).await,
        Database::Postgres(pool) => garble_on::<sqlx::Postgres>(pool, count).await,
    }
}

async fn garble_on<E: Engine>(pool: &sqlx::Pool<E>, count: u128) {
    let sql = "insert into alert_outbox (organization_id, event_id, written_at, ordinal, event) values ($1, $2, $3, $4, $5)";
    let mut connection = pool.acquire().await.unwrap();
    for number in 0..count {
        let id = Bound::Id(Uuid::from_u128(number));
        let values = [Bound::Text("acme"), id, Bound::Int(0), Bound::Int(0), Bound::Bytes(&[0xFF, 0x01])];
        E::execute(&mut connection, sql, &values, None).await.unwrap();
    }
}

/// Writes rows as the pipeline would.
pub(crate) async fn write(database: &Database, rows: &[Features]) {
    match database {
        Database::Sqlite(sqlite) => write_on::<sqlx::Sqlite>(sqlite.writer(), rows).await,
        Database::Postgres(pool) => write_on::<sqlx::Postgres>(pool, rows).await,
    }
}

async fn write_on<E: Engine>(pool: &sqlx::Pool<E>, rows: &[Features]) {
    let mut tx = E::begin(pool).await.unwrap();
    let rows: Vec<&Features> = rows.iter().collect();
    crate::store::features::write::<E>(&mut tx, &rows, &rows).await.unwrap();
    // What was heard of them was received a moment after the first rules were made.
    let sql = "insert into analyses (organization_id, conversation_id, heard_at, analysis) values ($1, $2, $3, $4) \
         on conflict do nothing";
    for row in &rows {
        let (organization, id) = (Bound::Text(row.organization_id.as_str()), Bound::Id(row.conversation_id.0));
        let values = [organization, id, Bound::Int(at(1).as_millis()), Bound::Bytes(&[])];
        E::execute(&mut tx, sql, &values, None).await.unwrap();
    }
    let hours: BTreeSet<i64> = rows.iter().map(|row| row.created_at.as_millis().div_euclid(3_600_000)).collect();
    let sql = "insert into rollup_dirty (organization_id, hour, changes) values ($1, $2, 1) on conflict do nothing";
    for hour in hours {
        E::execute(&mut tx, sql, &[Bound::Text(acme().as_str()), Bound::Int(hour)], None).await.unwrap();
    }
    tx.commit().await.unwrap();
}
