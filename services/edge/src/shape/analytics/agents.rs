//! What agents come to.

use colloquy_proto::analytics::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use crate::shape::word;

/// The agents, busiest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentTable {
    /// The agents.
    agents: Vec<AgentPerformance>,
    /// Whether there are more.
    truncated: bool,
}

/// What an agent's conversations come to.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentPerformance {
    /// The agent; `null` for conversations without one.
    agent_id: Option<String>,
    /// How many conversations.
    conversations: u64,
    /// Their mean length.
    avg_duration_seconds: Option<f64>,
    /// The part that was resolved, of those that were judged.
    resolution_rate: Option<f64>,
    /// The part that was successful, of those that were judged.
    success_rate: Option<f64>,
    /// The part that was escalated or transferred.
    escalation_rate: Option<f64>,
    /// The part that failed.
    failure_rate: Option<f64>,
    /// From 1 to 5.
    avg_satisfaction: Option<f64>,
    /// Ratings of 4 and 5, of all ratings from 1 to 5; of several of one conversation the last counts.
    csat: Option<f64>,
    /// From -1 to 1.
    avg_sentiment: Option<f64>,
    /// Nine of ten conversations answer within this on average, in milliseconds.
    p90_response_latency_ms: Option<f64>,
    /// Mean interruptions by the agent.
    avg_interruptions_by_agent: Option<f64>,
}

impl From<pb::ListAgentPerformanceResponse> for AgentTable {
    fn from(given: pb::ListAgentPerformanceResponse) -> Self {
        let agent = |given: pb::AgentPerformance| AgentPerformance {
            agent_id: word(given.agent_id),
            conversations: given.conversations,
            avg_duration_seconds: given.avg_duration_ms.map(|millis| millis / 1000.0),
            resolution_rate: given.resolution_rate,
            success_rate: given.success_rate,
            escalation_rate: given.escalation_rate,
            failure_rate: given.failure_rate,
            avg_satisfaction: given.avg_satisfaction,
            csat: given.csat,
            avg_sentiment: given.avg_sentiment,
            p90_response_latency_ms: given.p90_response_latency_ms,
            avg_interruptions_by_agent: given.avg_interruptions_by_agent,
        };
        Self { agents: given.agents.into_iter().map(agent).collect(), truncated: given.truncated }
    }
}
