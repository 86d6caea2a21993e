//! The vendors' own means to steer a running conversation.

mod attempt;
mod destination;
mod elevenlabs;
mod message;
mod monitor;
pub mod native;
mod rest;
mod retell;
mod timing;
mod unsupported;
mod vapi;

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use colloquy_events::CommandKind;
use colloquy_outbound::{Courier, Policy};
use colloquy_types::Provider;
use url::Url;

pub use elevenlabs::ElevenLabs;
pub use retell::Retell;
pub use timing::Timing;
pub use unsupported::Unsupported;
pub use vapi::Vapi;

/// Returns the vendors that are reached over the network, and those that cannot be. An organization's own agents are not among
/// them: they come to us.
///
/// # Errors
/// When TLS cannot be set up.
pub fn all(policy: Policy) -> anyhow::Result<Vec<(Provider, Arc<dyn Vendor>)>> {
    let courier = Courier::new(policy).context("cannot prepare for calling vendors")?;
    let timing = Timing::default();
    Ok(vec![
        (Provider::Vapi, Arc::new(Vapi::new(courier.clone(), timing))),
        (Provider::Retell, Arc::new(Retell::new(courier.clone(), timing))),
        (Provider::ElevenLabs, Arc::new(ElevenLabs::new(courier, timing))),
        (Provider::AgentSession, Arc::new(Unsupported::new(AGENT_SESSION))),
    ])
}

const AGENT_SESSION: &str = "agent sessions are only reported, by webhook: there is no way to steer them";

/// What is known of how a conversation can be reached at its vendor.
#[derive(Clone)]
pub struct Target {
    /// Who it runs on.
    pub provider: Provider,
    /// The vendor's own id of the conversation.
    pub external_id: String,
    /// How it is carried: `phone`, `web`, `chat`, …
    pub channel: Option<String>,
    /// The address for commands that the vendor offered for this conversation (Vapi).
    pub control_url: Option<Url>,
    /// The vendor's API key, from the conversation's source.
    pub api_key: Option<ApiKey>,
    /// Where the vendor's API stands, when it is not the usual address.
    pub base_url: Option<Url>,
}

impl std::fmt::Debug for Target {
    /// Shows no address: who knows that for commands can steer the call.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("provider", &self.provider).field("channel", &self.channel).finish_non_exhaustive()
    }
}

/// A vendor's API key. Shows nothing when printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(pub String);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey")
    }
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Silence the agent: a person takes over.
    TakeOver,
    /// Give the conversation back to the agent.
    Release,
    /// Have a text spoken or sent to the person.
    Say(String),
    /// Tell the agent something that the person does not hear.
    InjectContext(String),
    /// Connect the person to a number (E.164) or a `sip:` address.
    Transfer(String),
    /// Silence the agent, or let it be heard again.
    Mute(bool),
    /// End the conversation.
    End,
}

impl Action {
    /// Returns the command this carries out.
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::TakeOver => CommandKind::TakeOver,
            Self::Release => CommandKind::Release,
            Self::Say(_) => CommandKind::Say,
            Self::InjectContext(_) => CommandKind::InjectContext,
            Self::Transfer(_) => CommandKind::Transfer,
            Self::Mute(_) => CommandKind::Mute,
            Self::End => CommandKind::End,
        }
    }
}

/// Why a vendor did not do it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The vendor refused: trying again does not help. The detail is for people, at most 500 characters.
    #[error("the vendor refused: {0}")]
    Refused(String),
    /// The vendor says that the conversation is over, or does not know it.
    #[error("the conversation is over at the vendor")]
    Ended,
    /// The vendor could not be reached, or failed, and surely did nothing.
    #[error("the vendor cannot be reached: {0}")]
    Unavailable(String),
    /// Nobody knows whether it was done: the connection broke after the command was sent.
    #[error("nobody knows whether it was done: {0}")]
    Unknown(String),
}

/// One vendor's means.
#[async_trait]
pub trait Vendor: Send + Sync + 'static {
    /// Returns the commands that can be given to `target` as things stand, and why others cannot, for people (empty when all
    /// can): from the provider, the channel, and whether a key or control address is known. Asks nobody.
    fn capabilities(&self, target: &Target) -> (Vec<CommandKind>, String);

    /// Carries out one command: within 15 s, trying again by itself only where that is safe.
    ///
    /// # Errors
    /// What went wrong, and whether it may have been done all the same.
    async fn perform(&self, target: &Target, action: &Action) -> Result<(), Failure>;
}
