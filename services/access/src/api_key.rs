//! API keys: how they look, and what is kept of them.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use colloquy_types::{KeyId, OrganizationId, ScopeSet, Timestamp};

/// What every made key begins with, so that secret scanners can find one that leaked.
const MARK: &str = "cqy_";
/// How much of a key is kept to tell keys apart.
const PREFIX_CHARS: usize = 10;

/// A key as its owner holds it. Prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes a random key with 256 bits of entropy.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn generate() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes)?;
        Ok(Self(format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// Takes a key that somebody else made.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the key itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns what is kept of the key to recognise it: its SHA-256. Keys are random, so no salt is needed.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref());
        hash
    }

    /// Returns its first characters; never more than a third of it.
    pub fn prefix(&self) -> String {
        self.0.chars().take(PREFIX_CHARS.min(self.0.chars().count() / 3)).collect()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key to keep.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What it will be called in the API.
    pub key_id: KeyId,
    /// The organization it acts for.
    pub organization_id: OrganizationId,
    /// What people call it.
    pub name: String,
    /// The key.
    pub secret: Secret,
    /// What it may do.
    pub scopes: ScopeSet,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// What it is called in the API.
    pub key_id: KeyId,
    /// The organization it acts for.
    pub organization_id: OrganizationId,
    /// What people call it.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// What it may do.
    pub scopes: ScopeSet,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// Returns whether the key opens anything at `now`.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

impl From<NewApiKey> for ApiKey {
    fn from(key: NewApiKey) -> Self {
        Self {
            key_id: key.key_id,
            organization_id: key.organization_id,
            name: key.name,
            prefix: key.secret.prefix(),
            scopes: key.scopes,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_prints_itself() {
        let secret = Secret::generate().unwrap();
        assert!(!format!("{secret:?}").contains(secret.expose()));
        assert!(secret.expose().starts_with(MARK));
        assert_eq!(secret.prefix().len(), PREFIX_CHARS);
        assert_eq!(Secret::from_text("abc").prefix(), "a");
    }
}
