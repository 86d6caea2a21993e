//! Agents that were seen.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use colloquy_proto::conversation::v1 as pb;

use crate::Edge;
use crate::answer::json;
use crate::clients::Calling;
use crate::naming::Naming;
use crate::path::Id;
use crate::problem::Refusal;
use crate::query::{NoQuery, Query};
use crate::shape::agent::{Agent, AgentDetail, AgentPage};

const OF_AGENT: Naming = Naming::of(&[("agent_id", "id")]);

/// List agents
///
/// The agents that were seen, by id, a page at a time. Needs the scope `conversations:read`.
#[utoipa::path(get, path = "/agents", tag = "Agents", operation_id = "list_agents",
    params(
        ("page_size" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many at most; default 30."),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the previous page."),
        ("min_position" = Option<u64>, Query, minimum = 0, description = "Wait (at most 5 s) until this position has been read."),
    ),
    responses((status = 200, description = "A page of agents.", body = AgentPage)))]
pub(super) async fn list(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let request = pb::ListAgentsRequest {
        page_size: query.page_size(),
        page_token: query.cursor().unwrap_or_default(),
        min_position: query.min_position(),
    };
    query.finish()?;
    let answer = edge.clients.conversations.clone().list_agents(calling.call(request)).await?.into_inner();
    json(&AgentPage {
        agents: answer.agents.into_iter().map(Agent::from).collect(),
        has_more: !answer.next_page_token.is_empty(),
        cursor: Some(answer.next_page_token).filter(|cursor| !cursor.is_empty()),
    })
}

/// Read an agent
///
/// With its versions, newest first. Needs the scope `conversations:read`.
#[utoipa::path(get, path = "/agents/{id}", tag = "Agents", operation_id = "get_agent",
    params(("id" = String, Path, description = "The provider's id of it.")),
    responses((status = 200, description = "The agent.", body = AgentDetail)))]
pub(super) async fn read(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(agent_id): Id,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::GetAgentRequest { agent_id, organization_id: String::new() };
    let answer = edge.clients.conversations.clone().get_agent(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_AGENT.refuse(status))?.into_inner();
    json(&AgentDetail::from(answer.agent.ok_or_else(Refusal::internal)?))
}
