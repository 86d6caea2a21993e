//! Finding what was said.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use colloquy_proto::transcript::v1 as pb;
use tonic::Status;

use super::listing::MAX_SEARCH_BYTES;
use crate::Edge;
use crate::answer::json;
use crate::clients::Calling;
use crate::naming::Naming;
use crate::problem::Refusal;
use crate::query::Query;
use crate::shape::search::SearchPage;
use crate::shape::time::to_message;

const NAMING: Naming =
    Naming::of(&[("query", "q"), ("roles", "role"), ("from", "said_after"), ("before", "said_before"), ("order_by", "sort")]);
const SORTS: [&str; 2] = ["newest", "relevance"];
const ROLES: [(&str, pb::TurnRole); 3] =
    [("agent", pb::TurnRole::Agent), ("user", pb::TurnRole::User), ("human_agent", pb::TurnRole::HumanAgent)];

/// Search what was said
///
/// Turns in which all words were said, in any order, case and accents ignored; `"a phrase"`, `prefix*`, `-excluded`. Needs the scope
/// `transcripts:read`.
#[utoipa::path(get, path = "/search", tag = "Search", operation_id = "search",
    params(
        ("q" = String, Query, max_length = 500, description = "What was said."),
        ("role" = Option<Vec<String>>, Query, style = Form, explode = true,
            description = "By `agent`, `user` or `human_agent`; repeat it for any of several."),
        ("agent_id" = Option<String>, Query, description = "Only in conversations this agent led."),
        ("conversation_id" = Option<String>, Query, description = "Only in this conversation."),
        ("said_after" = Option<String>, Query, format = DateTime, description = "Said at or after this time (RFC 3339)."),
        ("said_before" = Option<String>, Query, format = DateTime, description = "Said before this time (RFC 3339)."),
        ("sort" = Option<String>, Query, description = "`newest` (default) or `relevance`."),
        ("page_size" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many at most; default 30."),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the previous page, all else unchanged."),
        ("min_position" = Option<u64>, Query, minimum = 0, description = "Wait (at most 5 s) until this position was indexed."),
    ),
    responses((status = 200, description = "A page of turns.", body = SearchPage)))]
pub(super) async fn search(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let request = read(&mut query);
    query.finish()?;
    let answer = edge.clients.transcripts.clone().search_turns(calling.call(request)).await.map_err(refuse)?.into_inner();
    json(&SearchPage::from(answer))
}

fn refuse(status: Status) -> Refusal {
    // What is said of the end names the beginning.
    NAMING.refuse(status).renaming(|bad| bad.message = bad.message.replace("'from'", "said_after"))
}

fn read(query: &mut Query) -> pb::SearchTurnsRequest {
    let said = query.long_text("q", MAX_SEARCH_BYTES);
    if said.is_none() {
        query.complain_of_missing("q", "is required: what was said");
    }
    let words = query.texts("role");
    let mut roles = Vec::new();
    for word in words {
        match ROLES.iter().find(|(known, _)| *known == word) {
            Some((_, role)) => roles.push(*role as i32),
            None => query.complain("role", "must be one of agent, user, human_agent"),
        }
    }
    pb::SearchTurnsRequest {
        query: said.unwrap_or_default(),
        roles,
        agent_id: query.text("agent_id"),
        conversation_id: query.text("conversation_id"),
        from: query.time("said_after").map(to_message),
        before: query.time("said_before").map(to_message),
        order_by: query.word("sort", &SORTS).unwrap_or_default(),
        page_size: query.page_size(),
        page_token: query.cursor().unwrap_or_default(),
        min_position: query.min_position(),
        organization_id: String::new(),
    }
}
