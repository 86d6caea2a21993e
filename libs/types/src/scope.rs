//! What an API key may do.

use std::fmt;
use std::str::FromStr;

/// One permission of an API key. `admin` includes all others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Scope {
    /// Read conversations, lists and agents.
    ConversationsRead,
    /// Change conversations, tags, recordings and feedback.
    ConversationsWrite,
    /// Read what was said, and summaries of it.
    TranscriptsRead,
    /// Read recordings.
    AudioRead,
    /// Read analytics.
    AnalyticsRead,
    /// Send native events.
    EventsWrite,
    /// Manage outbound webhooks.
    WebhooksWrite,
    /// Everything, including sources, keys and quarantine.
    Admin,
}

/// The text names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown scope '{0}'; allowed: conversations:read, conversations:write, transcripts:read, audio:read, analytics:read, \
     events:write, webhooks:write, admin"
)]
pub struct UnknownScope(pub String);

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 8] = [
        Self::ConversationsRead,
        Self::ConversationsWrite,
        Self::TranscriptsRead,
        Self::AudioRead,
        Self::AnalyticsRead,
        Self::EventsWrite,
        Self::WebhooksWrite,
        Self::Admin,
    ];

    /// Returns the name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConversationsRead => "conversations:read",
            Self::ConversationsWrite => "conversations:write",
            Self::TranscriptsRead => "transcripts:read",
            Self::AudioRead => "audio:read",
            Self::AnalyticsRead => "analytics:read",
            Self::EventsWrite => "events:write",
            Self::WebhooksWrite => "webhooks:write",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeSet(u8);

impl ScopeSet {
    /// Returns whether the set allows `scope`; `admin` allows everything.
    pub const fn allows(self, scope: Scope) -> bool {
        self.0 & (1 << Scope::Admin as u8 | 1 << scope as u8) != 0
    }

    /// Returns the scopes in the set, as they were given.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & (1 << *scope as u8) != 0)
    }

    /// Returns whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u8))
    }
}

impl fmt::Display for ScopeSet {
    /// Writes the scopes with commas between, the form they are stored in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

impl FromStr for ScopeSet {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Scope::from_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_allows_everything_and_others_only_themselves() {
        let admin: ScopeSet = "admin".parse().unwrap();
        let reader: ScopeSet = "conversations:read, audio:read".parse().unwrap();
        for scope in Scope::ALL {
            assert!(admin.allows(scope));
        }
        assert!(reader.allows(Scope::AudioRead));
        assert!(!reader.allows(Scope::TranscriptsRead));
        assert_eq!(reader.to_string(), "conversations:read,audio:read");
    }
}
