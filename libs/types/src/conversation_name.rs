//! How a caller names a conversation.

use uuid::Uuid;

use crate::{ConversationId, OrganizationId, Provider, UnknownProvider};

/// No provider's id is longer; a delivery with a longer one goes to quarantine.
const MAX_EXTERNAL_ID_BYTES: usize = 256;

/// A conversation by its canonical id, or by its provider's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConversationName {
    /// The canonical id.
    Id(ConversationId),
    /// The provider and its id.
    External(Provider, String),
}

/// Why a text names no conversation. It does not repeat the text, which may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Neither of the two forms.
    #[error("must be a UUID, or 'provider:external_id'")]
    Malformed,
    /// The provider is unknown.
    #[error("the part before the colon {0}")]
    Provider(UnknownProvider),
    /// No provider's id is that long.
    #[error("the part behind the colon must be at most {MAX_EXTERNAL_ID_BYTES} bytes")]
    TooLong,
}

impl std::str::FromStr for ConversationName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if let Ok(id) = Uuid::try_parse(text) {
            return Ok(Self::Id(ConversationId(id)));
        }
        let (provider, external_id) = text.split_once(':').ok_or(BadName::Malformed)?;
        let provider = provider.parse().map_err(BadName::Provider)?;
        match external_id.len() {
            0 => Err(BadName::Malformed),
            1..=MAX_EXTERNAL_ID_BYTES => Ok(Self::External(provider, external_id.to_owned())),
            _ => Err(BadName::TooLong),
        }
    }
}

impl ConversationName {
    /// Returns the canonical id: derived, not looked up (design decision 4).
    pub fn id(&self, organization_id: &OrganizationId) -> ConversationId {
        match self {
            Self::Id(id) => *id,
            Self::External(provider, external_id) => ConversationId::derive(organization_id, *provider, external_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_named_by_its_id_or_its_providers() {
        let organization: OrganizationId = "acme".parse().unwrap();
        let id = ConversationId::derive(&organization, Provider::Retell, "call:1");
        assert_eq!(id.to_string().parse::<ConversationName>().unwrap().id(&organization), id);
        assert_eq!("retell:call:1".parse::<ConversationName>().unwrap().id(&organization), id);
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("retell:{}", "x".repeat(4096));
        let cases = [
            ("", BadName::Malformed),
            ("call_1", BadName::Malformed),
            ("retell:", BadName::Malformed),
            ("twilio:x", BadName::Provider(UnknownProvider)),
            (&long, BadName::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<ConversationName>(), Err(error));
        }
    }
}
