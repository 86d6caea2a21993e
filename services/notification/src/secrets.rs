//! Secrets of endpoints, in the clear and sealed.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use colloquy_storage::{MasterKey, SealError, Sealer};
use colloquy_types::{OrganizationId, Timestamp};
use uuid::Uuid;

use crate::endpoint::{Endpoint, SealedSecrets};
use crate::send::Secret;

/// How a secret begins when it is shown (Standard Webhooks).
pub const PREFIX: &str = "whsec_";
/// Standard Webhooks asks for 24 to 64 bytes.
const SECRET_BYTES: usize = 32;
/// How long a secret signs after another took its place.
pub const PREVIOUS_SIGNS_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// How many secrets may sign beside the present one.
pub const MOST_PREVIOUS: usize = 5;

/// A secret that signs.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The secret.
    pub secret: Secret,
    /// Until when; `None` while nothing took its place.
    pub expires_at: Option<Timestamp>,
}

impl Signing {
    /// Returns whether it signs what is sent at `at`.
    pub fn is_valid(&self, at: Timestamp) -> bool {
        self.expires_at.is_none_or(|until| at < until)
    }
}

/// Makes a secret: base64, without the prefix.
///
/// # Errors
/// When the random generator fails.
pub fn generate() -> Result<Secret, SealError> {
    let mut bytes = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::Encrypt)?;
    Ok(Secret(STANDARD.encode(bytes)))
}

/// Seals and opens what endpoints keep secret.
#[derive(Clone)]
pub struct SecretBox(Sealer);

impl SecretBox {
    /// Returns a box under a key derived from `master`.
    pub fn new(master: &MasterKey) -> Self {
        Self(Sealer::new(master, "colloquy webhook secrets"))
    }

    /// Seals what an endpoint's deliveries are signed with.
    ///
    /// # Errors
    /// When the cipher fails.
    pub fn seal_secret(&self, organization: &OrganizationId, endpoint: Uuid, secret: &Secret) -> Result<Vec<u8>, SealError> {
        self.0.seal(&place(organization, &endpoint, b"secret"), secret.0.clone().into_bytes())
    }

    /// Seals an endpoint's headers.
    ///
    /// # Errors
    /// When the cipher fails.
    pub fn seal_headers(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        headers: &[(String, Secret)],
    ) -> Result<Vec<u8>, SealError> {
        let plain: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.0.as_str())).collect();
        let plain = serde_json::to_vec(&plain).map_err(|_| SealError::Encrypt)?;
        self.0.seal(&place(organization, &endpoint, b"headers"), plain)
    }

    /// Returns what to sign an endpoint's deliveries with: the present secret, then those before it, the newest first. Nothing for
    /// endpoints that are not signed for.
    ///
    /// # Errors
    /// When they were sealed under another master key, or changed.
    pub fn open_secrets(&self, endpoint: &Endpoint) -> Result<Vec<Signing>, SealError> {
        let SealedSecrets { current, previous } = &endpoint.secrets;
        let current = Some((current, None)).filter(|(sealed, _)| !sealed.is_empty());
        let previous = previous.iter().map(|previous| (&previous.sealed, Some(previous.expires_at)));
        let open = |(sealed, expires_at): (&Vec<u8>, _)| {
            let secret = self.open(endpoint, b"secret", sealed).and_then(text)?;
            Ok(Signing { secret, expires_at })
        };
        current.into_iter().chain(previous).map(open).collect()
    }

    /// Returns an endpoint's headers.
    ///
    /// # Errors
    /// As [`SecretBox::open_secrets`].
    pub fn open_headers(&self, endpoint: &Endpoint) -> Result<Vec<(String, Secret)>, SealError> {
        let Some(sealed) = &endpoint.sealed_headers else { return Ok(Vec::new()) };
        let plain = self.open(endpoint, b"headers", sealed)?;
        let headers: Vec<(String, String)> = serde_json::from_slice(&plain).map_err(|_| SealError::Decrypt)?;
        Ok(headers.into_iter().map(|(name, value)| (name, Secret(value))).collect())
    }

    fn open(&self, endpoint: &Endpoint, purpose: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.open(&place(&endpoint.organization_id, &endpoint.endpoint_id, purpose), sealed)
    }
}

fn place<'a>(organization: &'a OrganizationId, endpoint: &'a Uuid, purpose: &'a [u8]) -> [&'a [u8]; 3] {
    [organization.as_str().as_bytes(), endpoint.as_bytes(), purpose]
}

fn text(plain: Vec<u8>) -> Result<Secret, SealError> {
    String::from_utf8(plain).map(Secret).map_err(|_| SealError::Decrypt)
}
