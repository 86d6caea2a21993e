//! Endpoints: who is told, of what, and how.

use std::num::NonZeroU32;

use colloquy_types::{OrganizationId, Timestamp};
use uuid::Uuid;

use crate::store::Known;

/// How an endpoint is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A signed HTTP request (Standard Webhooks).
    Webhook,
    /// A message for people, to a Slack-shaped incoming webhook.
    Slack,
    /// A message for people, by SMTP.
    Email,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Webhook, Self::Slack, Self::Email];

    /// Returns the name used in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Email => "email",
        }
    }
}

/// Why the server disabled an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisabledReason {
    /// It answered 410.
    Gone,
    /// Every attempt of five days failed.
    Failing,
}

impl DisabledReason {
    /// Returns the name used in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

/// Of which conversations an endpoint hears; what is `None` does not matter. What is about no conversation is told whatever it says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// The agent that leads it.
    pub agent_id: Option<String>,
    /// The organization's customer.
    pub client_id: Option<String>,
    /// How it is carried.
    pub channel: Option<String>,
}

/// Somebody who is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Random.
    pub endpoint_id: Uuid,
    /// How it is told; never changes.
    pub kind: Kind,
    /// Where to: an `http` or `https` URL, or `mailto:address`.
    pub url: String,
    /// What it is for.
    pub description: String,
    /// Names of the catalogue, or groups (`turn.*`); empty means all but `turn.*` and `speech.*`.
    pub event_types: Vec<String>,
    /// Of which conversations.
    pub filter: Filter,
    /// Whether later events of a conversation wait for earlier ones.
    pub ordered: bool,
    /// Whether anything is sent.
    pub enabled: bool,
    /// At most this many attempts a second.
    pub rate_limit: Option<NonZeroU32>,
    /// Headers to send, sealed: a JSON array of `[name, value]`. Their names are in `header_names`.
    pub sealed_headers: Option<Vec<u8>>,
    /// The names of the headers to send.
    pub header_names: Vec<String>,
    /// What deliveries are signed with, sealed.
    pub secrets: SealedSecrets,
    /// Since when every attempt failed; `None` when the latest one succeeded, or there was none.
    pub failing_since: Option<Timestamp>,
    /// Why the server disabled it; `None` when nobody or a person did.
    pub disabled_reason: Option<DisabledReason>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a person last changed it.
    pub updated_at: Timestamp,
    /// How often a person changed it; for optimistic updates. What the server notes by itself (`failing_since`,
    /// `disabled_reason`, and `enabled` with it) does not count.
    pub revision: i64,
}

/// An endpoint's secrets, encrypted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SealedSecrets {
    /// The secret.
    pub current: Vec<u8>,
    /// Those before, after rotations, the newest first. Some may have expired.
    pub previous: Vec<PreviousSecret>,
}

/// A secret that another took the place of, encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreviousSecret {
    /// The secret.
    pub sealed: Vec<u8>,
    /// Until when it signs too.
    pub expires_at: Timestamp,
}

/// What endpoints that name no event types do not hear: there are too many of them.
const NOT_UNASKED: [&str; 2] = ["turn.*", "speech.*"];

impl Endpoint {
    /// Returns whether the endpoint hears of events of this type, whichever conversation they are about.
    pub fn listens_to(&self, event_type: &str) -> bool {
        if self.event_types.is_empty() {
            return !NOT_UNASKED.iter().any(|group| is_in(group, event_type));
        }
        self.event_types.iter().any(|listed| is_in(listed, event_type))
    }
}

/// Returns whether a type is the one listed, or one of the group listed.
pub(crate) fn is_in(listed: &str, event_type: &str) -> bool {
    match listed.strip_suffix(".*") {
        Some(group) => event_type.strip_prefix(group).is_some_and(|rest| rest.starts_with('.')),
        None => listed == event_type,
    }
}

impl Filter {
    /// Returns whether a conversation of which this is known passes. What is not known does not.
    pub fn admits(&self, known: &Known) -> bool {
        let passes = |wanted: &Option<String>, known: Option<&str>| wanted.is_none() || wanted.as_deref() == known;
        passes(&self.agent_id, known.agent_id.as_deref())
            && passes(&self.client_id, known.client_id())
            && passes(&self.channel, known.channel.as_deref())
    }

    /// Returns whether a conversation of which this is known may pass once more of it is.
    pub fn may_admit(&self, known: &Known) -> bool {
        let may =
            |wanted: &Option<String>, known: Option<&str>| wanted.is_none() || known.is_none() || wanted.as_deref() == known;
        // A customer that a person took away is known to be none.
        let is_taken_away = known.set_client_id.is_some() && known.client_id().is_none();
        may(&self.agent_id, known.agent_id.as_deref())
            && may(&self.client_id, known.client_id())
            && !(is_taken_away && self.client_id.is_some())
            && may(&self.channel, known.channel.as_deref())
            && !self.admits(known)
    }

    /// Returns whether every conversation passes.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SetClientId;

    #[test]
    fn a_group_holds_its_own_types_only() {
        assert!(is_in("turn.*", "turn.added"));
        assert!(is_in("conversation.ended", "conversation.ended"));
        for (listed, event_type) in
            [("conversation.*", "conversation_agent_session.ended"), ("turn", "turn.added"), ("turn.*", "turn")]
        {
            assert!(!is_in(listed, event_type), "{listed} {event_type}");
        }
    }

    #[test]
    fn a_filter_passes_over_what_is_not_known() {
        let filter = Filter { agent_id: Some("a".to_owned()), ..Filter::default() };
        let client_id = Some("c".to_owned());
        let known = Known { agent_id: Some("a".to_owned()), client_id, ..Known::default() };
        assert!(filter.admits(&known) && !filter.is_open());
        assert!(!filter.admits(&Known::default()) && filter.may_admit(&Known::default()));
        let other = Known { agent_id: Some("b".to_owned()), ..Known::default() };
        assert!(!filter.may_admit(&known) && !filter.may_admit(&other));
        assert!(Filter::default().admits(&Known::default()));
    }

    #[test]
    fn a_filter_asks_for_the_customer_a_person_set() {
        let filter = |client: &str| Filter { client_id: Some(client.to_owned()), ..Filter::default() };
        let set = |to: Option<&str>| Known {
            client_id: Some("acme".to_owned()),
            set_client_id: Some(SetClientId { client_id: to.map(str::to_owned), at: Timestamp::default() }),
            ..Known::default()
        };
        assert!(filter("beta").admits(&set(Some("beta"))) && !filter("acme").admits(&set(Some("beta"))));
        for client in ["acme", "beta"] {
            assert!(!filter(client).admits(&set(None)) && !filter(client).may_admit(&set(None)));
        }
        assert!(Filter::default().admits(&set(None)));
    }
}
