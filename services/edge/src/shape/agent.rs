//! Agents that were seen.

use colloquy_proto::conversation::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::json::Json;
use super::time::Time;

/// An agent that was seen.
#[derive(Serialize, ToSchema)]
pub(crate) struct Agent {
    /// The provider's id of it.
    agent_id: String,
    /// Where it runs.
    provider: String,
    /// Its latest known name.
    name: Option<String>,
    /// When it was first seen.
    first_seen_at: Time,
    /// When it was last seen.
    last_seen_at: Time,
    /// How many conversations it led.
    conversation_count: u64,
}

/// An agent and its versions.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentDetail {
    #[serde(flatten)]
    agent: Agent,
    /// Newest first.
    versions: Vec<AgentVersion>,
}

/// One version of an agent.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentVersion {
    /// The provider's id of it.
    agent_version_id: String,
    /// When it was first seen.
    first_seen_at: Time,
    /// When it was last seen.
    last_seen_at: Time,
    /// Its settings as the provider sent them; `null` when it never did.
    #[schema(value_type = Option<Object>)]
    snapshot: Json,
}

/// A page of agents.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentPage {
    /// By id.
    pub(crate) agents: Vec<Agent>,
    /// Whether there are more.
    pub(crate) has_more: bool,
    /// Where the next page begins; `null` on the last.
    pub(crate) cursor: Option<String>,
}

impl From<pb::Agent> for Agent {
    fn from(given: pb::Agent) -> Self {
        Self {
            agent_id: given.agent_id,
            provider: given.provider,
            name: given.name,
            first_seen_at: given.first_seen_at.into(),
            last_seen_at: given.last_seen_at.into(),
            conversation_count: given.conversation_count,
        }
    }
}

impl From<pb::Agent> for AgentDetail {
    fn from(mut given: pb::Agent) -> Self {
        let versions = std::mem::take(&mut given.versions);
        let version = |version: pb::AgentVersion| AgentVersion {
            agent_version_id: version.agent_version_id,
            first_seen_at: version.first_seen_at.into(),
            last_seen_at: version.last_seen_at.into(),
            snapshot: Json::any(Some(version.snapshot_json)),
        };
        Self { agent: given.into(), versions: versions.into_iter().map(version).collect() }
    }
}
