//! Who sent a conversation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A system whose deliveries Colloquy understands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// ElevenLabs Agents.
    #[serde(rename = "elevenlabs")]
    ElevenLabs,
    /// Retell AI.
    Retell,
    /// Vapi.
    Vapi,
    /// The `conversation_agent_session.*` webhook family.
    AgentSession,
    /// An organization's own agents, through `POST /v1/events`.
    Native,
}

/// The text names no provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of elevenlabs, retell, vapi, agent_session, native")]
pub struct UnknownProvider;

impl Provider {
    /// Every provider, in the order documents list them.
    pub const ALL: [Self; 5] = [Self::ElevenLabs, Self::Retell, Self::Vapi, Self::AgentSession, Self::Native];

    /// Returns the name used in JSON, URLs, SQL and ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ElevenLabs => "elevenlabs",
            Self::Retell => "retell",
            Self::Vapi => "vapi",
            Self::AgentSession => "agent_session",
            Self::Native => "native",
        }
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == text).ok_or(UnknownProvider)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
