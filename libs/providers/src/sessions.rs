//! The parts that agents took in a conversation: one that handed over to another leaves two sessions.

use std::collections::HashMap;

use colloquy_events::{Data, Session, SessionEnd, end_reason};
use colloquy_types::Timestamp;

use crate::delivery::Delivery;

/// The more agents take part, the more events; nobody hands over this often.
const MAX_PARTS: usize = 1000;

/// One agent's part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    /// The agent.
    pub(crate) agent_id: String,
    /// When it began, where that is known.
    pub(crate) began_at: Option<Timestamp>,
}

/// The parts in the order they were taken.
#[derive(Default)]
pub(crate) struct Parts(Vec<Part>);

impl Parts {
    /// Notes that `agent_id` was at work at `at`; a new part begins when it is not the agent who was at work before.
    pub(crate) fn saw(&mut self, agent_id: Option<String>, at: Option<Timestamp>) {
        let Some(agent_id) = agent_id else { return };
        if self.0.last().is_none_or(|part| part.agent_id != agent_id) && self.0.len() < MAX_PARTS {
            self.0.push(Part { agent_id, began_at: at });
        }
    }

    /// Returns whether more than one agent took part.
    pub(crate) fn are_several(&self) -> bool {
        self.0.iter().any(|part| part.agent_id != self.0[0].agent_id)
    }

    /// Returns whether nobody is known to have taken part.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes down the beginning and end of every part. The first begins with the conversation, the last ends with it.
    pub(crate) fn push(
        self,
        delivery: &mut Delivery,
        agent_version_id: Option<&str>,
        started_at: Option<Timestamp>,
        ended_at: Option<Timestamp>,
        reason: &str,
    ) {
        let mut visits: HashMap<String, usize> = HashMap::new();
        let parts = self.0;
        for (index, part) in parts.iter().enumerate() {
            let visit = visits.entry(part.agent_id.clone()).or_default();
            *visit += 1;
            let session_id = if *visit == 1 { part.agent_id.clone() } else { format!("{}#{visit}", part.agent_id) };
            let session = Session {
                session_id: session_id.clone(),
                agent_id: Some(part.agent_id.clone()),
                agent_version_id: if index == 0 { agent_version_id.map(str::to_owned) } else { None },
            };
            let began_at = if index == 0 { started_at.or(part.began_at) } else { part.began_at.or(started_at) };
            let next = parts.get(index + 1);
            let (left_at, reason) = match next {
                Some(next) => (next.began_at.or(ended_at), end_reason::TRANSFERRED),
                None => (ended_at, reason),
            };
            delivery.push_named(&[&session_id], began_at, Data::SessionStarted(session.clone()));
            let end = SessionEnd { session, reason: Some(reason.to_owned()) };
            delivery.push_named(&[&session_id], left_at, Data::SessionEnded(end));
        }
    }
}
