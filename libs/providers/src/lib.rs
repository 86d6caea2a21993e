//! What the providers' wire formats mean: is a delivery genuine, and what happened according to it.
//!
//! Everything here is a pure function; the time is an argument and nothing does I/O.
//!
//! - [`verify`]: whether a delivery comes from whom it says, over its raw bytes.
//! - [`map`]: a delivery as canonical events, one module a provider.
//! - [`native`]: events sent by an organization's own agents, checked field by field.
//! - [`redact`]: a body without the secrets providers put into it, fit to be stored.
//! - [`splice`]: a recording taken out of a JSON body while it streams by.
//!
//! A new provider is one module, one line in [`map`], and its samples. Numbers in comments such as "1.3" are sections of the
//! wire-format notes, `providers.md`.

mod agent_session;
mod analysis;
mod delivery;
mod elevenlabs;
mod latency;
mod mapping;
pub mod native;
mod recording;
mod redaction;
mod retell;
mod sessions;
pub mod sign;
pub mod splice;
mod time;
mod value;
mod vapi;
pub mod verify;

use colloquy_types::Provider;

pub use mapping::{Context, MapError, Mapped};
pub use redaction::redact;

/// Returns what happened according to `body`, a genuine delivery of `provider`.
///
/// Apart from [`Context::received_at`], which dates what the provider does not, the result depends on the body alone.
///
/// # Errors
/// [`MapError`], whose text says why the delivery has to be put in quarantine.
pub fn map(provider: Provider, body: &[u8], context: &Context<'_>) -> Result<Mapped, MapError> {
    match provider {
        Provider::ElevenLabs => elevenlabs::map(&value::parse(body)?, context),
        Provider::Retell => retell::map(&value::parse(body)?, context),
        Provider::Vapi => vapi::map(body, context),
        Provider::AgentSession => agent_session::map(&value::parse(body)?, context),
        Provider::Native => native::map_body(body, context),
    }
}

/// Returns the path of the JSON string that may hold a whole recording in deliveries of `provider`; see [`splice::Splicer`].
///
/// [`map`] takes the rest of such a body, and answers with a `recording.available` that has neither URL nor object key: whoever
/// stored the decoded bytes completes it.
pub const fn spliced_field(provider: Provider) -> Option<&'static [&'static str]> {
    match provider {
        // 1.1: `post_call_audio` carries base64 MP3, about 77 MB an hour.
        Provider::ElevenLabs => Some(&["data", "full_audio"]),
        Provider::Retell | Provider::Vapi | Provider::AgentSession | Provider::Native => None,
    }
}
