//! Provider connections.

use colloquy_proto::ingestion::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;

/// A connection to a provider. Secrets are never shown.
#[derive(Serialize, ToSchema)]
pub(crate) struct Source {
    /// UUID; part of the webhook URL.
    source_id: String,
    /// `elevenlabs`, `retell`, `vapi`, `agent_session` or `native`.
    provider: String,
    /// What people call it.
    name: String,
    /// The organization's customer that its conversations belong to, when the provider does not say.
    client_id: Option<String>,
    /// How deliveries prove where they come from.
    verification: Verification,
    /// How the provider is called, to steer running conversations.
    control: ProviderAccess,
    /// Where the provider sends its deliveries.
    webhook_url: String,
    /// When it was made.
    created_at: Time,
    /// When it was last changed.
    updated_at: Time,
}

/// How deliveries prove where they come from.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verification {
    /// `hmac`, `standard_webhooks`, `shared_secret`, `bearer` or `none`.
    scheme: String,
    /// Whether a secret is set.
    has_secret: bool,
    /// Until when the previous secret is accepted too.
    previous_secret_expires_at: Time,
    /// The header that carries the signature or secret, when it is not the provider's usual one.
    header: Option<String>,
    /// The header that carries the time.
    timestamp_header: Option<String>,
    /// What is signed, with `{timestamp}`, `{body}` and `{id}`.
    format: Option<String>,
    /// `hex` or `base64`.
    encoding: Option<String>,
    /// What stands before the signature, for example `sha256=`.
    prefix: Option<String>,
    /// `sha256`, `sha512` or `sha1`.
    algorithm: Option<String>,
    /// Whether the secret is base64 of the key.
    secret_is_base64: Option<bool>,
}

/// How a provider is called, to steer running conversations. The key is never shown.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProviderAccess {
    /// Whether an API key is set. Where there is none, Retell is called with the key it signs its webhooks with.
    has_api_key: bool,
    /// Where the provider's API stands; `null` means its usual address.
    base_url: Option<String>,
}

/// A page of sources.
#[derive(Serialize, ToSchema)]
pub(crate) struct SourcePage {
    /// Newest first.
    pub(crate) sources: Vec<Source>,
    /// Whether there are more.
    pub(crate) has_more: bool,
    /// Where the next page begins; `null` on the last.
    pub(crate) cursor: Option<String>,
}

impl Source {
    /// Returns the source; `base` is what its webhook URL begins with.
    pub(crate) fn new(given: pb::Source, base: &str) -> Self {
        Self {
            webhook_url: format!("{base}{}", given.webhook_path),
            source_id: given.source_id,
            provider: given.provider,
            name: given.name,
            client_id: given.client_id,
            verification: given.verification.unwrap_or_default().into(),
            control: given.control.unwrap_or_default().into(),
            created_at: given.created_at.into(),
            updated_at: given.updated_at.into(),
        }
    }
}

impl From<pb::ProviderAccess> for ProviderAccess {
    fn from(given: pb::ProviderAccess) -> Self {
        Self { has_api_key: given.has_api_key, base_url: given.base_url }
    }
}

impl From<pb::Verification> for Verification {
    fn from(given: pb::Verification) -> Self {
        Self {
            scheme: given.scheme,
            has_secret: given.has_secret,
            previous_secret_expires_at: given.previous_secret_expires_at.into(),
            header: given.header,
            timestamp_header: given.timestamp_header,
            format: given.format,
            encoding: given.encoding,
            prefix: given.prefix,
            algorithm: given.algorithm,
            secret_is_base64: given.secret_is_base64,
        }
    }
}
