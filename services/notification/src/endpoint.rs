//! Endpoints: who is told, of what, and how.

use std::num::NonZeroU32;

use colloquy_types::{OrganizationId, Timestamp};
use uuid::Uuid;

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

/// Of which conversations an endpoint hears; what is `None` does not matter.
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
    /// The one before, after a rotation.
    pub previous: Option<Vec<u8>>,
    /// Until when the one before signs too.
    pub previous_expires_at: Option<Timestamp>,
}
