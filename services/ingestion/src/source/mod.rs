//! Sources: the connections providers deliver through.

mod access;
mod convert;
mod grpc;
mod live;
mod registry;
mod secret;

use colloquy_providers::verify::Verification;
use colloquy_types::{OrganizationId, Provider, SourceId, Timestamp};

pub(crate) use access::{Access, AccessChange, SealedAccess};
pub(crate) use grpc::SourceGrpc;
pub(crate) use live::{LiveSource, LiveSources};
pub(crate) use registry::{Change, Draft, Sources, VerificationChange};
pub(crate) use secret::{Secret, SecretBox};

/// The most characters of a name.
pub(crate) const MAX_NAME_CHARS: usize = 200;
/// The most characters of a client's id: what every reader's index takes.
pub(crate) const MAX_CLIENT_ID_CHARS: usize = 200;
/// The longest time a replaced secret stays valid, in seconds.
pub(crate) const MAX_PREVIOUS_VALID_SECONDS: u32 = 30 * 24 * 60 * 60;

/// A connection to a provider, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Whose it is.
    pub(crate) organization_id: OrganizationId,
    /// Part of the webhook URL; random, since the URL is all that protects a source without verification.
    pub(crate) source_id: SourceId,
    /// Who delivers through it; never changes, since ids are derived from it.
    pub(crate) provider: Provider,
    /// What people call it.
    pub(crate) name: String,
    /// The client of its conversations, when the provider does not say.
    pub(crate) client_id: Option<String>,
    /// How deliveries prove where they come from.
    pub(crate) verification: Verification,
    /// With what.
    pub(crate) secrets: SealedSecrets,
    /// How its provider is called.
    pub(crate) control: SealedAccess,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// When it was last changed.
    pub(crate) updated_at: Timestamp,
    /// How often it was changed.
    pub(crate) revision: i64,
}

/// A source's secrets, encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SealedSecrets {
    /// The secret; none when the scheme needs none.
    pub(crate) current: Option<Vec<u8>>,
    /// The one before, after a rotation.
    pub(crate) previous: Option<Vec<u8>>,
    /// Until when the one before is accepted.
    pub(crate) previous_expires_at: Option<Timestamp>,
}

impl SealedSecrets {
    /// Returns until when the previous secret is accepted, when it still is at `now`.
    pub(crate) fn previous_valid_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.previous.as_ref().and(self.previous_expires_at).filter(|expires_at| *expires_at > now)
    }
}
