//! The list of conversations as the SDKs know it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use colloquy_proto::conversation::v1 as pb;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::super::listing::{SUCCESS, SUMMARY_MODES};
use super::{dollars, duration_seconds, external_id, start_seconds, status_word, success_word};
use crate::Edge;
use crate::answer::json_with_room;
use crate::clients::Calling;
use crate::naming::Naming;
use crate::problem::Refusal;
use crate::query::Query;
use crate::shape::time::to_message;

/// What the SDKs can send and no filter here can honour. Naming it beats an answer that only looks filtered.
const NOT_SERVED: [&str; 35] = [
    "branch_id",
    "conversation_initiation_source",
    "conversation_product_type",
    "custom_guardrail_names",
    "data_collection_filter",
    "data_collection_ids",
    "data_collection_params",
    "dynamic_variable_filter",
    "dynamic_variable_params",
    "evaluation_criteria_ids",
    "evaluation_params",
    "exclude_statuses",
    "guardrail_types",
    "has_feedback_comment",
    "parent_conversation_id",
    "phone_number_ids",
    "rating_max",
    "rating_min",
    "search",
    "tag_ids",
    "termination_reasons",
    "text_only",
    "tool_ids",
    "tool_ids_errored",
    "tool_ids_successful",
    "tool_names",
    "tool_names_errored",
    "tool_names_successful",
    "topic_ids",
    "triggered_procedure_ids",
    "version_id",
    "visited_agent_branch_ids",
    "visited_agent_ids",
    "whatsapp_phone_number_ids",
    "workflow_node_entered_id",
];

const OF_LIST: Naming = Naming::of(&[
    ("language", "main_languages"),
    ("created_from", "call_start_after_unix"),
    ("created_before", "call_start_before_unix"),
    ("duration_min_ms", "call_duration_min_secs"),
    ("duration_max_ms", "call_duration_max_secs"),
    ("order_by", "sort_direction"),
]);

/// The parameters that are served of those the SDKs know.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `read` reads, and a test compares the two")]
pub(crate) struct ConvaiListParameters {
    /// By agent.
    agent_id: Option<String>,
    /// By end user.
    user_id: Option<String>,
    /// `success`, `failure` or `unknown`.
    call_successful: Option<String>,
    /// Started at or after this time, in seconds since 1970.
    call_start_after_unix: Option<i64>,
    /// Started before this time, in seconds since 1970.
    call_start_before_unix: Option<i64>,
    /// At least this long.
    call_duration_min_secs: Option<f64>,
    /// At most this long.
    call_duration_max_secs: Option<f64>,
    /// By the language spoken: one.
    main_languages: Option<String>,
    /// `include` returns summaries; default `exclude`.
    summary_mode: Option<String>,
    /// By start: `asc` or `desc`; default `desc`.
    sort_direction: Option<String>,
    /// Only `false` can be honoured.
    include_invalid_tool_calls: Option<bool>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 30)]
    page_size: Option<i32>,
    /// The `next_cursor` of the previous page, with all other parameters unchanged.
    cursor: Option<String>,
}

/// A page of conversations in the shape of ElevenLabs.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConvaiPage {
    /// The conversations.
    conversations: Vec<ConvaiEntry>,
    /// Whether there are more.
    has_more: bool,
    /// Where the next page begins; `null` on the last.
    next_cursor: Option<String>,
}

/// One entry of the list.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConvaiEntry {
    /// The agent; empty when it is not known.
    agent_id: String,
    /// The agent's name.
    agent_name: Option<String>,
    /// The agent's version.
    version_id: Option<String>,
    /// The provider's own id.
    conversation_id: String,
    /// When it started, in seconds since 1970.
    start_time_unix_secs: i64,
    /// How long it lasted; 0 when it is not known.
    call_duration_secs: i64,
    /// How often the speaker changed, and one.
    message_count: u32,
    /// `initiated`, `in-progress`, `processing`, `done` or `failed`.
    status: &'static str,
    /// `success`, `failure` or `unknown`.
    call_successful: String,
    /// In prose; `null` unless `summary_mode=include`.
    transcript_summary: Option<String>,
    /// In dollars.
    cost_fiat: Option<f64>,
    /// Why it ended, in the provider's words.
    termination_reason: Option<String>,
    /// The language spoken.
    main_language: Option<String>,
    /// `inbound` or `outbound`.
    direction: Option<String>,
    /// What a person gave it, from 1 to 5.
    rating: Option<u32>,
    /// Tags.
    tag_ids: Vec<String>,
}

/// List conversations
///
/// Of every provider, newest first. Parameters the SDKs know and that cannot be honoured are a 400. Needs the scope
/// `conversations:read`.
#[utoipa::path(get, path = "/convai/conversations", tag = "ElevenLabs-shaped", operation_id = "convai_list_conversations",
    params(ConvaiListParameters), responses((status = 200, description = "A page of conversations.", body = ConvaiPage)))]
pub(crate) async fn list(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let request = read(&mut query);
    query.finish()?;
    let answer = edge.clients.conversations.clone().list_conversations(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_LIST.refuse(status))?.into_inner();
    let page = ConvaiPage {
        has_more: !answer.next_page_token.is_empty(),
        next_cursor: Some(answer.next_page_token).filter(|cursor| !cursor.is_empty()),
        conversations: answer.conversations.into_iter().map(ConvaiEntry::from).collect(),
    };
    json_with_room(&page, 16 << 10)
}

fn read(query: &mut Query) -> pb::ListConversationsRequest {
    for name in NOT_SERVED {
        query.refuse(name, "is not served here");
    }
    if query.flag("include_invalid_tool_calls") {
        query.complain("include_invalid_tool_calls", "must be false: invalid tool calls are not kept apart");
    }
    let mut languages = query.texts("main_languages");
    if languages.len() > 1 {
        query.complain("main_languages", "must be one language");
    }
    let filter = pb::ConversationFilter {
        agent_id: query.text("agent_id"),
        user_id: query.text("user_id"),
        call_successful: query.word("call_successful", &SUCCESS),
        language: languages.pop(),
        created_from: query.unix_time("call_start_after_unix").map(to_message),
        created_before: query.unix_time("call_start_before_unix").map(to_message),
        duration_min_ms: query.seconds_as_ms("call_duration_min_secs"),
        duration_max_ms: query.seconds_as_ms("call_duration_max_secs"),
        ..Default::default()
    };
    let ascending = query.word("sort_direction", &["asc", "desc"]).is_some_and(|direction| direction == "asc");
    pb::ListConversationsRequest {
        filter: Some(filter),
        order_by: if ascending { "created_at" } else { "-created_at" }.to_owned(),
        include_summary: query.word("summary_mode", &SUMMARY_MODES).is_some_and(|mode| mode == "include"),
        page_size: query.page_size(),
        page_token: query.cursor().unwrap_or_default(),
        ..Default::default()
    }
}

impl From<pb::Conversation> for ConvaiEntry {
    fn from(given: pb::Conversation) -> Self {
        Self {
            conversation_id: external_id(&given),
            start_time_unix_secs: start_seconds(&given),
            call_duration_secs: duration_seconds(&given),
            status: status_word(&given),
            call_successful: success_word(&given),
            cost_fiat: dollars(&given),
            rating: given.feedback.iter().rev().find_map(|feedback| feedback.rating),
            agent_id: given.agent_id.unwrap_or_default(),
            agent_name: given.agent_name,
            version_id: given.agent_version_id,
            message_count: given.turn_count,
            transcript_summary: given.summary,
            termination_reason: given.end_reason_detail,
            main_language: given.language,
            direction: given.direction,
            tag_ids: given.tags,
        }
    }
}
