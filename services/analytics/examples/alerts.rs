//! Says how long it takes to apply 1,000 rules to an analysed conversation: `cargo run --release --example alerts`.

use std::sync::Arc;
use std::time::Instant;

use colloquy_analytics::alert::convert::{self, Identity};
use colloquy_analytics::alert::evaluate::{Compiled, Conversation};
use colloquy_analytics::alert::rule::Rule;
use colloquy_analytics::features::Features;
use colloquy_events::{Role, Turn};
use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_service::FieldErrors;
use colloquy_types::{ConversationId, Position, Timestamp, TurnId};
use uuid::Uuid;

const RULES: usize = 1_000;
const TURNS: usize = 40;
const ROUNDS: u32 = 2_000;

fn condition(field: &str, op: &str, value: &str) -> pb::AlertCondition {
    pb::AlertCondition { field: field.to_owned(), op: op.to_owned(), value_json: value.to_owned() }
}

/// A third asks for figures, a third what was said, a third both, of conversations that a filter leaves.
fn rule(number: usize) -> anyhow::Result<Arc<Rule>> {
    let figure = condition("duration_seconds", "gt", &(number % 900 + 100).to_string());
    let phrase = condition("user_text", "contains", &format!("\"phrase number {number} of many\""));
    let (conditions, expression) = match number % 3 {
        0 => (vec![figure, condition("error_count", "gte", "3")], String::new()),
        1 => (vec![phrase], String::new()),
        _ => (vec![figure, phrase], format!("agent_id = \"agent-{}\" AND channel = \"phone\"", number % 7)),
    };
    let given = pb::AlertRule {
        name: format!("rule {number}"),
        severity: "warning".to_owned(),
        conditions,
        filter: Some(ConversationFilter { expression, ..ConversationFilter::default() }),
        enabled: true,
        ..pb::AlertRule::default()
    };
    let identity = Identity {
        organization_id: "acme".parse()?,
        rule_id: Uuid::from_u128(number as u128),
        builtin: None,
        watches_from: Timestamp::default(),
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        revision: 1,
    };
    let mut errors = FieldErrors::new();
    let rule = convert::rule(given, identity, "rule", &mut errors);
    errors.finish().map_err(|problem| anyhow::anyhow!(problem.message))?;
    rule.map(Arc::new).ok_or_else(|| anyhow::anyhow!("a rule that cannot be read"))
}

fn row() -> anyhow::Result<Features> {
    let text = |text: &str| Some(text.to_owned());
    Ok(Features {
        organization_id: "acme".parse()?,
        conversation_id: ConversationId(Uuid::from_u128(1)),
        position: Position(1),
        settled: true,
        provider: "native".to_owned(),
        external_id: "1".to_owned(),
        agent_id: text("agent-3"),
        agent_version_id: None,
        client_id: None,
        user_id: None,
        caller: None,
        channel: text("phone"),
        direction: None,
        status: "completed".to_owned(),
        end_reason: None,
        failure_code: None,
        call_successful: "unknown".to_owned(),
        outcome: None,
        resolution_status: "resolved".to_owned(),
        sentiment: None,
        intent: None,
        language: None,
        created_at: Timestamp::default(),
        started_at: None,
        ended_at: None,
        duration_ms: Some(600_000),
        turn_count: 40,
        exchanges: None,
        agent_talk_ms: None,
        user_talk_ms: None,
        talk_ratio: None,
        agent_words_per_minute: None,
        user_words_per_minute: None,
        silence_ms: None,
        longest_silence_ms: None,
        silence_count: None,
        hold_ms: None,
        interruptions_by_user: None,
        interruptions_by_agent: None,
        response_latency_ms: None,
        response_latency_p95_ms: None,
        response_latency_max_ms: None,
        sentiment_score: None,
        sentiment_shift: None,
        satisfaction_score: None,
        caller_rating: None,
        inferred_satisfaction: None,
        technical_quality: None,
        error_count: 1,
        cost_micros: None,
        cost_currency: None,
        topics: Vec::new(),
        tags: Vec::new(),
        keywords: Vec::new(),
        error_codes: Vec::new(),
        custom: Default::default(),
    })
}

fn turns() -> Vec<Turn> {
    let said = "I would like to move the appointment that I have on Tuesday, and there was a phrase number 301 of many in it";
    (0..TURNS)
        .map(|number| {
            let role = if number % 2 == 0 { Role::User } else { Role::Agent };
            Turn { text: Some(said.to_owned()), ..Turn::new(TurnId(Uuid::from_u128(number as u128)), role) }
        })
        .collect()
}

fn main() -> anyhow::Result<()> {
    let rules = (0..RULES).map(rule).collect::<anyhow::Result<Vec<_>>>()?;
    let compiled = Compiled::of(&rules, true);
    let (row, turns) = (row()?, turns());
    let conversation = Conversation { row: &row, turns: Some(&turns), now: Timestamp::default() };
    let fired = compiled.evaluate(&conversation).fired.len();
    let started = Instant::now();
    let mut total = 0;
    for _ in 0..ROUNDS {
        total += compiled.evaluate(&conversation).fired.len();
    }
    let micros = started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    anyhow::ensure!(total == fired * ROUNDS as usize, "the same conversation came under other rules");
    println!("{RULES} rules, {TURNS} turns, {fired} of them fire: {micros:.1} µs a conversation");
    Ok(())
}
