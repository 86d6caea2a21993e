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
    client: Client,
    /// Whether an agent that is missing is known to be missing.
    complete: bool,
}

/// The customer a conversation belongs to, and who says so. A source names its own with every delivery, but what a person made of it
/// counts, as in the record, whatever sources say before or later.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
enum Client {
    /// Nobody whose word would do: a person may have changed what a source says before anything was heard here. The record tells.
    #[default]
    Unknown,
    /// A source, ever since the conversation was first heard of.
    Said(Box<str>),
    /// The record, in which it does not stand whether a person or a source said it.
    OfRecord(Option<Box<str>>),
    /// A person, who set it or took it away.
    Set(Option<Box<str>>),
}

impl Client {
    /// Takes in what a source says; `is_new` when nothing was heard of the conversation before.
    fn hear(&mut self, said: &str, is_new: bool) {
        match self {
            Self::Set(_) => {}
            Self::OfRecord(Some(known)) if **known == *said => {}
            Self::Said(known) => *known = said.into(),
            Self::Unknown if is_new => *self = Self::Said(said.into()),
            Self::Unknown | Self::OfRecord(_) => *self = Self::Unknown,
        }
    }

    /// Returns whether it is this one; `None` when it is not known.
    fn is(&self, wanted: &str) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Said(known) => Some(**known == *wanted),
            Self::OfRecord(known) | Self::Set(known) => Some(known.as_deref() == Some(wanted)),
        }
    }
}

impl Facts {
    /// Returns what a record says.
    pub(super) fn of_record(agent_id: Option<&str>, client_id: Option<&str>) -> Self {
        let client = Client::OfRecord(client_id.map(Box::from));
        Self { agent_id: agent_id.map(Box::from), client, complete: true }
    }

    fn learn(&mut self, data: &Data, is_first: bool) {
        if let Some(facts) = data.facts() {
            if let Some(agent_id) = &facts.agent_id {
                self.agent_id = Some(agent_id.as_str().into());
            }
            if let Some(client_id) = &facts.client_id {
                self.client.hear(client_id, is_first && matches!(data, Data::Started(_)));
            }
        }
        if let Data::Patched(patch) = data
            && let Change::To(client_id) = &patch.client_id
        {
            self.client = Client::Set(client_id.as_deref().map(Box::from));
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
        let agent = match (&self.agent_id, &facts.agent_id) {
            (None, _) => Some(true),
            (Some(_), None) if !facts.complete => None,
            (wanted, known) => Some(wanted == known),
        };
        let client = self.client_id.as_deref().map_or(Some(true), |wanted| facts.client.is(wanted));
        match (agent, client) {
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
            self.keep(id, known);
        }
        self.recent.get(&id)
    }

    /// Notes what a conversation's record says. What a person was heard to set stays: the record may be from before.
    pub(super) fn put(&mut self, id: ConversationId, mut facts: Facts) {
        if let Some(Facts { client: client @ Client::Set(_), .. }) = self.get(id) {
            facts.client = client.clone();
        }
        self.keep(id, facts);
    }

    fn keep(&mut self, id: ConversationId, facts: Facts) {
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
        let known = self.get(id).cloned();
        let is_first = known.is_none();
        let mut facts = known.unwrap_or_default();
        facts.learn(data, is_first);
        self.keep(id, facts);
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::{Facts as Said, Patch, Update};

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
        memory.learn(id, &set(Some("c")));
        assert_eq!(narrowing(Some("a"), Some("c")).wants(memory.get(id)), Some(true));
    }

    fn set(client: Option<&str>) -> Data {
        Data::Patched(Patch { client_id: Change::To(client.map(str::to_owned)), ..Patch::default() })
    }

    fn said(client: &str) -> Said {
        Said { client_id: Some(client.to_owned()), ..Said::default() }
    }

    fn updated(client: &str) -> Data {
        Data::Updated(Update { facts: said(client), status: None })
    }

    /// Returns whether a conversation is wanted of whom it was said to be, and of whom a person says it is.
    fn wanted(memory: &mut Memory, id: ConversationId) -> [Option<bool>; 2] {
        ["acme", "beta"].map(|client| narrowing(None, Some(client)).wants(memory.get(id)))
    }

    #[test]
    fn what_a_person_sets_stays_whatever_sources_and_older_records_say() {
        for (to, expected) in [(Some("beta"), [Some(false), Some(true)]), (None, [Some(false), Some(false)])] {
            let (id, mut memory) = (ConversationId::generate(), Memory::default());
            memory.learn(id, &Data::Started(said("acme")));
            assert_eq!(wanted(&mut memory, id), [Some(true), Some(false)]);
            memory.learn(id, &set(to));
            memory.learn(id, &updated("acme"));
            assert_eq!(wanted(&mut memory, id), expected);
            memory.put(id, Facts::of_record(Some("a"), Some("acme")));
            assert_eq!(wanted(&mut memory, id), expected);
            assert_eq!(narrowing(Some("a"), to).wants(memory.get(id)), Some(true));
        }
    }

    #[test]
    fn a_source_that_contradicts_the_record_makes_it_be_read_again() {
        let (id, mut memory) = (ConversationId::generate(), Memory::default());
        // A person may have set it before anybody listened.
        memory.learn(id, &updated("acme"));
        assert_eq!(wanted(&mut memory, id), [None, None]);
        memory.put(id, Facts::of_record(None, Some("beta")));
        assert_eq!(wanted(&mut memory, id), [Some(false), Some(true)]);
        memory.learn(id, &updated("beta"));
        assert_eq!(wanted(&mut memory, id), [Some(false), Some(true)]);
        memory.learn(id, &Data::Started(said("acme")));
        assert_eq!(wanted(&mut memory, id), [None, None]);
        memory.learn(id, &Data::Started(said("acme")));
        assert_eq!(wanted(&mut memory, id), [None, None]);
        memory.put(id, Facts::of_record(None, None));
        assert_eq!(wanted(&mut memory, id), [Some(false), Some(false)]);
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
