//! What an alert is, and the events that tell of it.

use colloquy_events::{self as events, Data, Event, JsonMap, Severity};
use colloquy_types::{ConversationId, EventId, OrganizationId, Provider, Timestamp};
use uuid::Uuid;

use super::rule::Rule;

/// An alert names at most this many conversations.
pub const MOST_CONVERSATIONS: usize = 100;

/// How far an alert is dealt with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handling {
    /// Nobody said anything yet.
    Open,
    /// Somebody looks into it.
    Acknowledged,
    /// It is dealt with.
    Resolved,
}

impl Handling {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Open, Self::Acknowledged, Self::Resolved];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// Returns the one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What an alert is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum About {
    /// One conversation.
    Conversation {
        /// Which.
        id: ConversationId,
        /// Who it runs on.
        provider: Provider,
        /// The provider's own id of it.
        external_id: String,
    },
    /// A window of time.
    Window,
}

impl About {
    /// Returns the provider's own id of the conversation.
    pub fn external_id(&self) -> &str {
        match self {
            Self::Conversation { external_id, .. } => external_id,
            Self::Window => "",
        }
    }
}

/// An alert.
#[derive(Clone, PartialEq, Debug)]
pub struct Alert {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Derived from the rule and what it is about, so that one thing raises one alert, whoever notices.
    pub alert_id: Uuid,
    /// Who raised it.
    pub rule_id: Uuid,
    /// What the rule was called.
    pub rule_name: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub about: About,
    /// How far it is dealt with.
    pub state: Handling,
    /// When it was raised.
    pub opened_at: Timestamp,
    /// What the rule saw.
    pub evidence: JsonMap,
    /// How many conversations it is about.
    pub conversation_count: u64,
    /// Some of them, newest first.
    pub conversation_ids: Vec<ConversationId>,
    /// When somebody said that they look into it.
    pub acknowledged_at: Option<Timestamp>,
    /// When it was dealt with.
    pub resolved_at: Option<Timestamp>,
    /// When it was last told of again.
    pub renotified_at: Option<Timestamp>,
    /// How often it was told of again.
    pub renotified: u32,
}

/// Returns the id of the alert a rule raises for a conversation.
pub fn id_for_conversation(rule: Uuid, conversation: ConversationId) -> Uuid {
    Uuid::new_v5(&rule, conversation.as_bytes())
}

/// Returns the id of the alert a rule raises at an instant.
pub fn id_for_instant(rule: Uuid, at: Timestamp) -> Uuid {
    Uuid::new_v5(&rule, &at.as_millis().to_be_bytes())
}

impl Alert {
    /// Returns an alert that is raised now.
    pub fn open(rule: &Rule, alert_id: Uuid, about: About, opened_at: Timestamp, evidence: JsonMap) -> Self {
        Self {
            organization_id: rule.organization_id.clone(),
            alert_id,
            rule_id: rule.rule_id,
            rule_name: rule.name.clone(),
            severity: rule.severity,
            about,
            state: Handling::Open,
            opened_at,
            evidence,
            conversation_count: 0,
            conversation_ids: Vec::new(),
            acknowledged_at: None,
            resolved_at: None,
            renotified_at: None,
            renotified: 0,
        }
    }

    /// Returns the conversation it is about.
    pub const fn conversation_id(&self) -> Option<ConversationId> {
        match self.about {
            About::Conversation { id, .. } => Some(id),
            About::Window => None,
        }
    }

    fn data(&self, evidence: JsonMap) -> events::Alert {
        events::Alert {
            alert_id: self.alert_id,
            rule_id: self.rule_id,
            rule_name: self.rule_name.clone(),
            severity: self.severity,
            evidence: Some(evidence),
        }
    }

    /// Events stand in conversations. What is about none stands in one of the rule's own, that nobody ever had.
    fn place(&self) -> (ConversationId, Provider, String) {
        match &self.about {
            About::Conversation { id, provider, external_id } => (*id, *provider, external_id.clone()),
            About::Window => {
                let name = Event::external_id_of_alert_rule(self.rule_id);
                (ConversationId::derive(&self.organization_id, Provider::Native, &name), Provider::Native, name)
            }
        }
    }

    fn event(&self, occurred_at: Timestamp, ordinal: u32, what: &[&str], data: Data) -> Event {
        let (conversation_id, provider, external_id) = self.place();
        let id = self.alert_id.to_string();
        let identity: Vec<&str> = ["alert", &id].into_iter().chain(what.iter().copied()).collect();
        let event_id = EventId::derive(conversation_id, &identity);
        Event { event_id, conversation_id, provider, external_id, occurred_at, ordinal, data }
    }

    /// Returns the event that tells that it was raised.
    pub fn opened(&self) -> Event {
        self.event(self.opened_at, 0, &["opened"], Data::AlertOpened(self.data(self.evidence.clone())))
    }

    /// Returns the event that tells of it again, for the `number`th time. It is an event of its own, so that whoever is told is told
    /// once more; its evidence says the number as `renotified`.
    pub fn renotified(&self, number: u32, at: Timestamp) -> Event {
        let mut evidence = self.evidence.clone();
        evidence.insert("renotified".to_owned(), number.into());
        self.event(at, 0, &["opened", &number.to_string()], Data::AlertOpened(self.data(evidence)))
    }

    /// Returns the event that tells that somebody looks into it.
    pub fn acknowledged(&self, at: Timestamp) -> Event {
        self.event(at, 1, &["acknowledged"], Data::AlertAcknowledged(self.data(self.evidence.clone())))
    }

    /// Returns the event that tells that it is dealt with.
    pub fn resolved(&self, at: Timestamp) -> Event {
        self.event(at, 2, &["resolved"], Data::AlertResolved(self.data(self.evidence.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::samples::{alert, at, window_alert};

    #[test]
    fn every_time_it_is_told_of_is_an_event_of_its_own_and_the_same_for_everybody() {
        let alert = alert(1);
        let mut ids = vec![
            alert.opened().event_id,
            alert.renotified(1, at(5)).event_id,
            alert.renotified(2, at(9)).event_id,
            alert.acknowledged(at(6)).event_id,
            alert.resolved(at(7)).event_id,
        ];
        assert_eq!(ids[1], alert.renotified(1, at(6)).event_id);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 5);
    }

    #[test]
    fn an_event_of_a_window_is_readable_like_any_other() {
        let event = window_alert(1).opened();
        assert_eq!(
            event.conversation_id,
            ConversationId::derive(&window_alert(1).organization_id, event.provider, &event.external_id)
        );
        assert!(event.is_about_no_conversation());
        let written = colloquy_proto::log::v1::Event::from(event.clone());
        assert_eq!(Event::try_from(written).unwrap(), event);
    }
}
