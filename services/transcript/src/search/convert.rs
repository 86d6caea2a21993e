//! Searches from and to `colloquy.transcript.v1`.

use colloquy_events::Role;
use colloquy_events::convert::{timestamp_from_pb, timestamp_to_pb};
use colloquy_proto::transcript::v1 as pb;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{ConversationId, ConversationName, Timestamp};
use uuid::Uuid;

use super::query::Query;
use super::store::{Matching, Order};
use super::{Hit, Page, SPOKEN};
use crate::convert::role_to_pb;

const USUAL_PAGE: u32 = 30;
const LARGEST_PAGE: u32 = 100;
/// No agent's id is longer.
const MAX_AGENT_ID_CHARS: usize = 512;
/// How many conversations may be asked about at once.
pub const MAX_AMONG: usize = 1_000;
/// How many conversations are answered at once.
pub const MAX_MATCHES: u32 = 10_000;

/// The turns to find.
#[derive(Clone, Debug)]
pub struct SearchTurns {
    /// What was said.
    pub query: Query,
    /// By whom.
    pub roles: Vec<Role>,
    /// Only in conversations this agent leads.
    pub agent_id: Option<String>,
    /// Only in this conversation.
    pub conversation: Option<ConversationName>,
    /// Only at or after this.
    pub from: Option<Timestamp>,
    /// Only before this.
    pub before: Option<Timestamp>,
    /// In which order.
    pub order: Order,
    /// How many at most.
    pub page_size: u32,
    /// Where to go on; empty at the beginning.
    pub page_token: String,
    /// Wait until this position was indexed.
    pub min_position: u64,
}

/// The conversations to find.
#[derive(Clone, Debug)]
pub struct Matches {
    /// What was said.
    pub query: Query,
    /// Which of these; empty for any.
    pub among: Vec<ConversationId>,
    /// How many at most.
    pub limit: u32,
    /// Wait until this position was indexed.
    pub min_position: u64,
}

/// A field has no value only when it was noted as bad, so this is never seen.
fn incomplete() -> Problem {
    Problem::invalid(Vec::new())
}

impl TryFrom<pb::SearchTurnsRequest> for SearchTurns {
    type Error = Problem;

    fn try_from(request: pb::SearchTurnsRequest) -> Result<Self, Problem> {
        let mut errors = FieldErrors::new();
        let query = errors.parse("query", &request.query);
        let mut roles = Vec::new();
        for (number, role) in request.roles().enumerate() {
            match role_of(role) {
                Some(role) => roles.push(role),
                None => errors.add(format!("roles[{number}]"), "must be agent, user, human_agent, tool or system"),
            }
        }
        // `roles()` passes over numbers it does not know.
        if request.roles.iter().any(|role| pb::TurnRole::try_from(*role).is_err()) {
            errors.add("roles", "must be agent, user, human_agent, tool or system");
        }
        roles.sort_unstable();
        roles.dedup();
        if roles.is_empty() {
            roles = SPOKEN.to_vec();
        }
        if let Some(agent_id) = &request.agent_id {
            errors.max_chars("agent_id", agent_id, MAX_AGENT_ID_CHARS);
            if agent_id.contains('\0') {
                errors.add("agent_id", "must not hold NUL");
            }
        }
        let conversation: Option<Option<ConversationName>> = match &request.conversation_id {
            Some(name) => errors.parse("conversation_id", name).map(Some),
            None => Some(None),
        };
        let from = request.from.and_then(|at| errors.check("from", timestamp_from_pb("from", at)));
        let before = request.before.and_then(|at| errors.check("before", timestamp_from_pb("before", at)));
        if let (Some(from), Some(before)) = (from, before)
            && from >= before
        {
            errors.add("before", "must be after 'from'");
        }
        let order = match request.order_by.as_str() {
            "" | "newest" => Order::Newest,
            "relevance" => Order::Relevance,
            _ => {
                errors.add("order_by", "must be 'relevance' or 'newest'");
                Order::Newest
            }
        };
        let page_size = match u32::try_from(request.page_size) {
            Ok(0) => USUAL_PAGE,
            Ok(size) => size.min(LARGEST_PAGE),
            Err(_) => {
                errors.add("page_size", "must not be negative");
                USUAL_PAGE
            }
        };
        errors.finish()?;
        let (Some(query), Some(conversation)) = (query, conversation) else { return Err(incomplete()) };
        Ok(Self {
            query,
            roles,
            agent_id: request.agent_id,
            conversation,
            from,
            before,
            order,
            page_size,
            page_token: request.page_token,
            min_position: request.min_position,
        })
    }
}

impl TryFrom<pb::MatchConversationsRequest> for Matches {
    type Error = Problem;

    fn try_from(request: pb::MatchConversationsRequest) -> Result<Self, Problem> {
        let mut errors = FieldErrors::new();
        let query = errors.parse("query", &request.query);
        if request.conversation_ids.len() > MAX_AMONG {
            errors.add("conversation_ids", format!("must be at most {MAX_AMONG}"));
        }
        let mut among = Vec::new();
        for (number, id) in request.conversation_ids.iter().take(MAX_AMONG).enumerate() {
            match Uuid::try_parse(id) {
                Ok(id) => among.push(ConversationId(id)),
                Err(_) => errors.add(format!("conversation_ids[{number}]"), "must be a UUID"),
            }
        }
        let limit = match request.limit {
            0 => MAX_MATCHES,
            limit if limit > MAX_MATCHES => {
                errors.add("limit", format!("must be at most {MAX_MATCHES}"));
                MAX_MATCHES
            }
            limit => limit,
        };
        errors.finish()?;
        let Some(query) = query else { return Err(incomplete()) };
        Ok(Self { query, among, limit, min_position: request.min_position })
    }
}

impl From<Page> for pb::SearchTurnsResponse {
    fn from(page: Page) -> Self {
        Self { hits: page.hits.into_iter().map(Into::into).collect(), next_page_token: page.next_page_token }
    }
}

impl From<Hit> for pb::SearchHit {
    fn from(hit: Hit) -> Self {
        let at = Some(timestamp_to_pb(hit.at()));
        let place = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let highlights = hit.snippet.highlights.into_iter();
        Self {
            conversation_id: hit.found.conversation_id.to_string(),
            turn_id: hit.found.turn_id.to_string(),
            index: hit.found.number,
            role: role_to_pb(hit.found.role).into(),
            agent_id: hit.found.agent_id,
            snippet: hit.snippet.text,
            highlights: highlights.map(|span| pb::Highlight { from: place(span.start), to: place(span.end) }).collect(),
            start_ms: hit.start_ms,
            at,
            relevance: hit.relevance,
        }
    }
}

impl From<Matching> for pb::MatchConversationsResponse {
    fn from(matching: Matching) -> Self {
        let conversation_ids = matching.conversations.iter().map(ToString::to_string).collect();
        Self { conversation_ids, truncated: matching.truncated }
    }
}

const fn role_of(role: pb::TurnRole) -> Option<Role> {
    Some(match role {
        pb::TurnRole::Unspecified => return None,
        pb::TurnRole::Agent => Role::Agent,
        pb::TurnRole::User => Role::User,
        pb::TurnRole::HumanAgent => Role::HumanAgent,
        pb::TurnRole::Tool => Role::Tool,
        pb::TurnRole::System => Role::System,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad_fields(problem: Problem) -> Vec<String> {
        problem.fields.into_iter().map(|bad| format!("{}: {}", bad.field, bad.message)).collect()
    }

    #[test]
    fn every_bad_field_of_a_search_is_named() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let request = pb::SearchTurnsRequest {
            query: "\"open".to_owned(),
            roles: vec![1, 0, 99],
            conversation_id: Some("?".to_owned()),
            agent_id: Some("a\0".to_owned()),
            from: at(10),
            before: at(10),
            order_by: "oldest".to_owned(),
            page_size: -1,
            ..Default::default()
        };
        let fields = bad_fields(SearchTurns::try_from(request).err().unwrap());
        let names: Vec<&str> = fields.iter().filter_map(|field| field.split(':').next()).collect();
        assert_eq!(names, ["query", "roles[1]", "roles", "agent_id", "conversation_id", "before", "order_by", "page_size"]);
        assert_eq!(fields[0], "query: column 1: the phrase that begins here has no closing quotation mark");
    }

    #[test]
    fn a_query_of_ten_thousand_words_is_refused() {
        let query = "word ".repeat(10_000);
        let fields = bad_fields(SearchTurns::try_from(pb::SearchTurnsRequest { query, ..Default::default() }).err().unwrap());
        assert_eq!(fields, ["query: must be 1 to 500 characters"]);
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let request = pb::SearchTurnsRequest { query: "hello".to_owned(), page_size: 500, ..Default::default() };
        let search = SearchTurns::try_from(request).unwrap();
        assert_eq!((search.roles, search.order, search.page_size), (SPOKEN.to_vec(), Order::Newest, 100));
        let matches =
            Matches::try_from(pb::MatchConversationsRequest { query: "hello".to_owned(), ..Default::default() }).unwrap();
        assert_eq!(matches.limit, MAX_MATCHES);
    }

    #[test]
    fn every_bad_field_of_a_match_is_named() {
        let request = pb::MatchConversationsRequest {
            query: "!".to_owned(),
            conversation_ids: vec!["vapi:1".to_owned(); 1_001],
            limit: 10_001,
            ..Default::default()
        };
        let fields = bad_fields(Matches::try_from(request).err().unwrap());
        assert_eq!(fields.len(), 2 + 1_000 + 1);
        assert_eq!(fields.last().unwrap(), "limit: must be at most 10000");
    }
}
