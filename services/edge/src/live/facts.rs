//! Which agent and which customer a conversation has, as far as that is known: most events do not say it of themselves.

use std::collections::HashMap;

use colloquy_events::{Change, Data};
use colloquy_types::ConversationId;

/// So many conversations are remembered, twice over.
const GENERATION: usize = 20_000;

/// What streams can be narrowed by.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Facts {
    agent_id: Option<Box<str>>,
    client_id: Option<Box<str>>,
    /// Whether what is missing is known to be missing.
    complete: bool,
}

impl Facts {
    /// Returns what a record says.
    pub(super) fn of_record(agent_id: Option<&str>, client_id: Option<&str>) -> Self {
        Self { agent_id: agent_id.map(Box::from), client_id: client_id.map(Box::from), complete: true }
    }

    fn learn(&mut self, data: &Data) {
        if let Some(facts) = data.facts() {
            if let Some(agent_id) = &facts.agent_id {
                self.agent_id = Some(agent_id.as_str().into());
            }
            if let Some(client_id) = &facts.client_id {
                self.client_id = Some(client_id.as_str().into());
            }
        }
        if let Data::Patched(patch) = data
            && let Change::To(client_id) = &patch.client_id
        {
            self.client_id = client_id.as_deref().map(Box::from);
            self.complete |= client_id.is_none() && self.agent_id.is_some();
        }
    }

    fn tells(data: &Data) -> bool {
        data.facts().is_some_and(|facts| facts.agent_id.is_some() || facts.client_id.is_some())
            || matches!(data, Data::Patched(patch) if !patch.client_id.is_keep())
    }
}

/// What a client wants to see of an organization.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Narrowing {
    /// Only this agent's conversations.
    pub(super) agent_id: Option<Box<str>>,
    /// Only this customer's conversations.
    pub(super) client_id: Option<Box<str>>,
}

impl Narrowing {
    /// Returns whether everything is wanted.
    pub(super) fn is_none(&self) -> bool {
        self.agent_id.is_none() && self.client_id.is_none()
    }

    /// Returns whether a conversation is wanted; `None` when too little is known of it.
    pub(super) fn wants(&self, facts: Option<&Facts>) -> Option<bool> {
        let nothing = Facts::default();
        let facts = facts.unwrap_or(&nothing);
        let fits = |wanted: &Option<Box<str>>, known: &Option<Box<str>>| match (wanted, known) {
            (None, _) => Some(true),
            (Some(_), None) if !facts.complete => None,
            (wanted, known) => Some(wanted == known),
        };
        match (fits(&self.agent_id, &facts.agent_id), fits(&self.client_id, &facts.client_id)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }
}

/// The facts of the conversations that were last of interest. What is not used for a while is forgotten.
#[derive(Default)]
pub(super) struct Memory {
    recent: HashMap<ConversationId, Facts>,
    older: HashMap<ConversationId, Facts>,
}

impl Memory {
    /// Returns what is known of a conversation.
    pub(super) fn get(&mut self, id: ConversationId) -> Option<&Facts> {
        if !self.recent.contains_key(&id) {
            let known = self.older.remove(&id)?;
            self.put(id, known);
        }
        self.recent.get(&id)
    }

    /// Notes what a conversation's record says.
    pub(super) fn put(&mut self, id: ConversationId, facts: Facts) {
        if self.recent.len() >= GENERATION && !self.recent.contains_key(&id) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(id, facts);
    }

    /// Notes what an event says of its conversation.
    pub(super) fn learn(&mut self, id: ConversationId, data: &Data) {
        if !Facts::tells(data) {
            return;
        }
        let mut facts = self.get(id).cloned().unwrap_or_default();
        facts.learn(data);
        self.put(id, facts);
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::{Facts as Said, Patch};

    use super::*;

    fn narrowing(agent: Option<&str>, client: Option<&str>) -> Narrowing {
        Narrowing { agent_id: agent.map(Box::from), client_id: client.map(Box::from) }
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let (id, mut memory) = (ConversationId::generate(), Memory::default());
        assert_eq!(narrowing(Some("a"), None).wants(memory.get(id)), None);
        memory.learn(id, &Data::Started(Said { agent_id: Some("a".to_owned()), ..Said::default() }));
        assert_eq!(narrowing(Some("a"), None).wants(memory.get(id)), Some(true));
        assert_eq!(narrowing(Some("b"), None).wants(memory.get(id)), Some(false));
        assert_eq!(narrowing(Some("a"), Some("c")).wants(memory.get(id)), None);
        assert_eq!(narrowing(Some("b"), Some("c")).wants(memory.get(id)), Some(false));
        memory.put(id, Facts::of_record(Some("a"), None));
        assert_eq!(narrowing(Some("a"), Some("c")).wants(memory.get(id)), Some(false));
        let patch = Patch { client_id: Change::To(Some("c".to_owned())), ..Patch::default() };
        memory.learn(id, &Data::Patched(patch));
        assert_eq!(narrowing(Some("a"), Some("c")).wants(memory.get(id)), Some(true));
    }

    #[test]
    fn what_is_used_is_remembered_and_the_rest_forgotten() {
        let mut memory = Memory::default();
        let used = ConversationId::generate();
        memory.put(used, Facts::of_record(Some("a"), None));
        for _ in 0..3 * GENERATION {
            memory.put(ConversationId::generate(), Facts::default());
            assert!(memory.get(used).is_some());
        }
        assert!(memory.recent.len() + memory.older.len() <= 2 * GENERATION + 1);
    }
}
