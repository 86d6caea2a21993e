//! The parts agents had in a conversation. A transfer between agents gives several.

use std::collections::BTreeMap;

use colloquy_events::{Data, Event};
use colloquy_types::Timestamp;

use super::set;
use crate::conversation::{Agent, Session};

/// Returns the sessions the events speak of, in time order; `None` when they speak of none.
pub(super) fn fold(ordered: &[&Event]) -> Option<Vec<Session>> {
    let mut sessions: BTreeMap<&str, Session> = BTreeMap::new();
    for event in ordered {
        let (session, reason, ended) = match &event.data {
            Data::SessionStarted(session) => (session, &None, false),
            Data::SessionEnded(end) => (&end.session, &end.reason, true),
            _ => continue,
        };
        let known =
            sessions.entry(&session.session_id).or_insert_with(|| only(&session.session_id, &Agent::default(), None, None, None));
        set(&mut known.agent_id, &session.agent_id);
        set(&mut known.agent_version_id, &session.agent_version_id);
        set(&mut known.reason, reason);
        if ended {
            known.ended_at = Some(event.occurred_at);
        } else {
            known.started_at = Some(known.started_at.map_or(event.occurred_at, |first| first.min(event.occurred_at)));
        }
    }
    let mut sessions: Vec<Session> = sessions.into_values().collect();
    sessions.sort_by(|a, b| place_of(a).cmp(&place_of(b)));
    (!sessions.is_empty()).then_some(sessions)
}

fn place_of(session: &Session) -> (Option<Timestamp>, Option<Timestamp>, &str) {
    (session.started_at.or(session.ended_at), session.ended_at, &session.session_id)
}

/// Returns a session of the whole length of a conversation.
pub(super) fn only(
    session_id: &str,
    agent: &Agent,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    reason: Option<String>,
) -> Session {
    Session {
        session_id: session_id.to_owned(),
        agent_id: agent.id.clone(),
        agent_version_id: agent.version_id.clone(),
        started_at,
        ended_at,
        reason,
    }
}
