//! What the tests of analysers share: conversations in which this and that is said.

use std::collections::BTreeMap;

use colloquy_events::{JsonMap, Role, Status, Turn};
use colloquy_types::{ConversationId, Provider, Timestamp, TurnId};

use super::said::{Said, Side};
use super::{Analysis, Rules, Taxonomy, analyse};
use crate::input::{Input, Record};

/// Returns the record of a conversation that took place and of which nothing else is known.
pub(super) fn record() -> Record {
    let organization_id = "acme".parse().unwrap();
    Record {
        conversation_id: ConversationId::derive(&organization_id, Provider::Native, "c"),
        organization_id,
        provider: Provider::Native,
        external_id: "c".to_owned(),
        agent_id: None,
        agent_version_id: None,
        client_id: None,
        user_id: None,
        caller: None,
        channel: None,
        direction: None,
        status: Status::Completed,
        end_reason: None,
        failure_code: None,
        created_at: Timestamp::from_millis(1_772_463_600_000).unwrap(),
        started_at: None,
        ended_at: None,
        duration_ms: None,
        language: None,
        outcome: None,
        tags: Vec::new(),
        latency_ms: JsonMap::new(),
        quality: JsonMap::new(),
        network: JsonMap::new(),
        errors: Vec::new(),
        cost: None,
        feedback: Vec::new(),
        judgements: BTreeMap::new(),
    }
}

/// Returns a turn.
pub(super) fn turn(role: Role, text: &str) -> Turn {
    let turn_id = TurnId::derive(record().conversation_id, text);
    Turn { text: (!text.is_empty()).then(|| text.to_owned()), ..Turn::new(turn_id, role) }
}

/// Returns a turn of the person.
pub(super) fn user(text: &str) -> Turn {
    turn(Role::User, text)
}

/// Returns a turn of the agent.
pub(super) fn agent(text: &str) -> Turn {
    turn(Role::Agent, text)
}

/// Returns a conversation with these turns.
pub(super) fn input(turns: Vec<Turn>) -> Input {
    Input { record: record(), turns }
}

/// Returns the rules of an organization with topics of its own.
pub(super) fn rules_with(taxonomy: Taxonomy) -> Rules {
    Rules { taxonomy, ..Rules::default() }
}

/// Returns the analysis of these turns.
pub(super) fn analysed(turns: Vec<Turn>) -> Analysis {
    analyse(&input(turns), &Rules::default())
}

/// Returns what these sides said, a turn each.
pub(super) fn said_by<'t>(said: &[(Side, &'t str)]) -> Vec<Said<'t>> {
    let said = said.iter().zip(0..);
    said.map(|((side, text), turn)| Said { turn, side: *side, by_human_agent: false, text }).collect()
}
