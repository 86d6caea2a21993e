//! Identifiers and their derivation.
//!
//! Ids are UUIDv5 of what names a thing at its provider, so that any process derives the same id from the same delivery
//! without looking anything up (design.md, decision 4). Never derive one from body bytes: signed URLs change on every retry.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{OrganizationId, Provider};

/// The namespace of every id Colloquy derives: UUIDv5 of the DNS namespace and `colloquy.id`.
const NAMESPACE: Uuid = Uuid::from_u128(0x8d6c_9a52_6f1b_5c0e_9d3a_41f0_7be2_5a10);

/// Joins parts with a separator no part can contain unescaped, so that no two lists of parts give one name.
fn derive(namespace: Uuid, parts: &[&str]) -> Uuid {
    let mut name = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&namespace, &name)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Returns a new id that sorts by the time it was made (UUIDv7).
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// Returns the sixteen bytes of the id.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

id!(
    /// One conversation, within its organization.
    ConversationId
);
id!(
    /// One thing that happened in a conversation.
    EventId
);
id!(
    /// One turn of a conversation.
    TurnId
);
id!(
    /// One delivery in the log.
    RecordId
);
id!(
    /// One provider connection.
    SourceId
);
id!(
    /// One API key (not its secret).
    KeyId
);
id!(
    /// One delivery that could not be mapped.
    QuarantineId
);

impl ConversationId {
    /// Derives the id of the conversation that `provider` calls `external_id`.
    ///
    /// A native client's own UUID is kept as it is; conversations are keyed by organization, so two tenants may use one UUID.
    pub fn derive(organization: &OrganizationId, provider: Provider, external_id: &str) -> Self {
        if provider == Provider::Native
            && let Ok(id) = Uuid::try_parse(external_id)
        {
            return Self(id);
        }
        Self(derive(NAMESPACE, &[organization.as_str(), provider.as_str(), external_id]))
    }
}

impl EventId {
    /// Derives the id of an event from its conversation and from what identifies it at the provider.
    pub fn derive(conversation: ConversationId, identity: &[&str]) -> Self {
        Self(derive(conversation.0, identity))
    }
}

impl TurnId {
    /// Derives the id of a turn from its conversation and from what identifies it at the provider (a message id, an index).
    pub fn derive(conversation: ConversationId, identity: &str) -> Self {
        Self(derive(conversation.0, &["turn", identity]))
    }
}

impl RecordId {
    /// Derives the id of a delivery from the organization and the ids of the events it carries, in their order.
    pub fn derive(organization: &OrganizationId, events: impl IntoIterator<Item = EventId>) -> Self {
        let mut name = organization.as_str().as_bytes().to_vec();
        for event in events {
            name.extend_from_slice(event.as_bytes());
        }
        Self(Uuid::new_v5(&NAMESPACE, &name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_native_uuid_is_kept_and_any_other_name_is_derived() {
        let organization: OrganizationId = "acme".parse().unwrap();
        let own = "3f1c5d5e-1111-4222-8333-444444444444";
        assert_eq!(ConversationId::derive(&organization, Provider::Native, own).to_string(), own);
        assert_ne!(ConversationId::derive(&organization, Provider::Vapi, own).to_string(), own);
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        let conversation = ConversationId(Uuid::nil());
        assert_ne!(EventId::derive(conversation, &["ab", "c"]), EventId::derive(conversation, &["a", "bc"]));
    }

    #[test]
    fn derived_ids_never_change() {
        let organization: OrganizationId = "default".parse().unwrap();
        let id = ConversationId::derive(&organization, Provider::ElevenLabs, "conv_1");
        assert_eq!(id.to_string(), ConversationId::derive(&organization, Provider::ElevenLabs, "conv_1").to_string());
        assert_ne!(id, ConversationId::derive(&organization, Provider::Retell, "conv_1"));
    }
}
