//! Analyzers and conversations for tests.

use std::collections::BTreeMap;

use colloquy_events::{Role, Status, Turn};
use colloquy_types::{ConversationId, OrganizationId, Provider, Timestamp, TurnId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::definition::{Analyzer, Definition, Field, Kind, Question};
use crate::input::{Input, Record};

/// 2026-03-02T15:00:00Z.
pub(crate) const START: i64 = 1_772_463_600_000;

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis).unwrap()
}

pub(crate) fn organization(name: &str) -> OrganizationId {
    name.parse().unwrap()
}

pub(crate) fn conversation(number: u128) -> ConversationId {
    ConversationId(Uuid::from_u128(number))
}

pub(crate) fn turn_id(conversation_number: u128, index: usize) -> TurnId {
    TurnId::derive(conversation(conversation_number), &index.to_string())
}

pub(crate) fn definition() -> Definition {
    let field = |name: &str, kind: Kind| Field { name: name.to_owned(), kind, description: "what was said".to_owned() };
    let question =
        |name: &str, weight: f64| Question { name: name.to_owned(), question: format!("Was the agent {name}?"), weight };
    Definition {
        fields: vec![
            field("contact", Kind::Enum { choices: vec!["SMS".to_owned(), "Email".to_owned()] }),
            field("heard", Kind::String { examples: vec!["radio".to_owned()] }),
            field("working", Kind::Boolean),
            field("comfort", Kind::Number),
            field("available", Kind::Date),
        ],
        scorecard: vec![question("greeted", 3.0), question("polite", 1.0)],
    }
}

pub(crate) fn analyzer(organization_name: &str, number: u128) -> Analyzer {
    Analyzer {
        organization_id: organization(organization_name),
        analyzer_id: Uuid::from_u128(number),
        name: "Interviews".to_owned(),
        agent_ids: Vec::new(),
        enabled: true,
        definition: definition(),
        version: 1,
        created_at: at(i64::try_from(number).unwrap()),
        updated_at: at(i64::try_from(number).unwrap()),
        revision: 1,
    }
}

/// What a model would answer to [`definition`], given a transcript of two turns.
pub(crate) fn answer() -> Value {
    let entry =
        |value: Value| json!({ "established": true, "value": value, "confidence": 0.5, "turns": [2], "reason": "said so" });
    json!({
        "fields": {
            "contact": entry(json!("Email")),
            "heard": { "established": false, "value": null, "confidence": 0, "turns": [], "reason": "not mentioned" },
            "working": entry(json!(true)),
            "comfort": entry(json!(3.5)),
            "available": entry(json!("2026-03-09")),
        },
        "scorecard": { "greeted": entry(json!("no")), "polite": entry(json!("yes")) },
    })
}

/// What a model would answer to the built-in analyzer.
pub(crate) fn insight() -> Value {
    let entry =
        |value: Value| json!({ "established": true, "value": value, "confidence": 0.5, "turns": [], "reason": "all of it" });
    json!({ "fields": {
        "summary": entry(json!("A person asked for a call back.")),
        "topics": entry(json!(["Call back", "opening hours"])),
        "intent": entry(json!("ask_call_back")),
        "resolution_status": entry(json!("resolved")),
        "satisfaction_score": entry(json!(4)),
    } })
}

/// A conversation that is over, in which agent and person said these in turns.
pub(crate) fn input(organization_name: &str, number: u128, texts: &[&str]) -> Input {
    let turn = |(index, text): (usize, &&str)| Turn {
        text: Some((*text).to_owned()),
        ..Turn::new(turn_id(number, index), if index % 2 == 0 { Role::Agent } else { Role::User })
    };
    let record = Record {
        organization_id: organization(organization_name),
        conversation_id: conversation(number),
        provider: Provider::Native,
        external_id: conversation(number).to_string(),
        agent_id: Some("agent".to_owned()),
        agent_version_id: None,
        client_id: None,
        user_id: None,
        caller: None,
        channel: None,
        direction: None,
        status: Status::Completed,
        end_reason: None,
        failure_code: None,
        created_at: at(0),
        started_at: Some(at(0)),
        ended_at: Some(at(60_000)),
        duration_ms: Some(60_000),
        language: None,
        outcome: None,
        tags: Vec::new(),
        latency_ms: serde_json::Map::new(),
        quality: serde_json::Map::new(),
        network: serde_json::Map::new(),
        errors: Vec::new(),
        cost: None,
        feedback: Vec::new(),
        judgements: BTreeMap::new(),
    };
    Input { record, turns: texts.iter().enumerate().map(turn).collect() }
}
