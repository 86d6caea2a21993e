//! Secrets of sources, in the clear and sealed.

use std::fmt;

use colloquy_types::{OrganizationId, SourceId};

use colloquy_storage::{MasterKey, SealError, Sealer};

/// A shared secret in the clear. Shows nothing when printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Returns the secret `text`.
    pub(crate) const fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the secret's text.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Seals and opens the secrets of sources.
#[derive(Clone)]
pub(crate) struct SecretBox(Sealer);

impl SecretBox {
    /// Returns a box under a key derived from `master`.
    pub(crate) fn new(master: &MasterKey) -> Self {
        Self(Sealer::new(master, "colloquy source secrets"))
    }

    /// Seals a secret for its source.
    pub(crate) fn seal(&self, organization: &OrganizationId, source: SourceId, secret: &Secret) -> Result<Vec<u8>, SealError> {
        self.0.seal(&[organization.as_str().as_bytes(), source.as_bytes()], secret.0.clone().into_bytes())
    }

    /// Opens a secret of its source.
    pub(crate) fn open(&self, organization: &OrganizationId, source: SourceId, sealed: &[u8]) -> Result<Secret, SealError> {
        let plain = self.0.open(&[organization.as_str().as_bytes(), source.as_bytes()], sealed)?;
        String::from_utf8(plain).map(Secret).map_err(|_| SealError::Decrypt)
    }
}
