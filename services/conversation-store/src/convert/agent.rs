//! Agents.

use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::conversation::v1 as pb;

use crate::store::{AgentSeen, AgentVersionSeen};

/// Returns an agent as the wire has it.
pub(crate) fn agent_to_pb(agent: AgentSeen) -> pb::Agent {
    pb::Agent {
        agent_id: agent.agent_id,
        provider: agent.provider,
        name: agent.name,
        first_seen_at: Some(timestamp_to_pb(agent.first_seen_at)),
        last_seen_at: Some(timestamp_to_pb(agent.last_seen_at)),
        conversation_count: agent.conversation_count,
        versions: agent.versions.into_iter().map(version).collect(),
    }
}

fn version(version: AgentVersionSeen) -> pb::AgentVersion {
    pb::AgentVersion {
        agent_version_id: version.agent_version_id,
        first_seen_at: Some(timestamp_to_pb(version.first_seen_at)),
        last_seen_at: Some(timestamp_to_pb(version.last_seen_at)),
        snapshot_json: version.snapshot_json,
    }
}

/// Returns a page of agents, of which there is one more than fits when another page follows.
pub(crate) fn agents_page(
    mut agents: Vec<AgentSeen>,
    page_size: usize,
    seal: impl Fn(&(String, String)) -> String,
) -> pb::ListAgentsResponse {
    let has_more = agents.len() > page_size;
    agents.truncate(page_size);
    let last = agents.last().filter(|_| has_more);
    let next_page_token = last.map(|last| seal(&(last.agent_id.clone(), last.provider.clone()))).unwrap_or_default();
    pb::ListAgentsResponse { agents: agents.into_iter().map(agent_to_pb).collect(), next_page_token }
}
