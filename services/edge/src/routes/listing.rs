//! The parameters of the list of conversations.

use std::collections::HashSet;

use colloquy_proto::conversation::v1 as pb;
use colloquy_service::FieldErrors;
use colloquy_types::{Provider, Timestamp};
use serde_json::value::RawValue;
use utoipa::IntoParams;

use crate::query::Query;
use crate::shape::time::to_message;

const STATUSES: [(&str, pb::ConversationStatus); 5] = [
    ("initiated", pb::ConversationStatus::Initiated),
    ("in_progress", pb::ConversationStatus::InProgress),
    ("completed", pb::ConversationStatus::Completed),
    ("failed", pb::ConversationStatus::Failed),
    ("abandoned", pb::ConversationStatus::Abandoned),
];
pub(super) const SUCCESS: [&str; 3] = ["success", "failure", "unknown"];
const RESOLUTIONS: [&str; 5] = ["resolved", "unresolved", "escalated", "transferred", "unknown"];
const SENTIMENTS: [&str; 3] = ["positive", "neutral", "negative"];
pub(super) const SUMMARY_MODES: [&str; 2] = ["include", "exclude"];
const SORTS: [&str; 8] = [
    "created_at",
    "-created_at",
    "duration_seconds",
    "-duration_seconds",
    "turn_count",
    "-turn_count",
    "satisfaction_score",
    "-satisfaction_score",
];

/// The parameters that narrow a list of conversations; all of them can be combined.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `read_filter` reads, and a test compares the two")]
pub(super) struct FilterParameters {
    /// By agent.
    agent_id: Option<String>,
    /// By customer.
    client_id: Option<String>,
    /// By end user.
    user_id: Option<String>,
    /// By the person's number, in any form that can be normalised to E.164.
    caller: Option<String>,
    /// By provider: `elevenlabs`, `retell`, `vapi`, `agent_session` or `native`.
    provider: Option<String>,
    /// By channel, for example `phone`.
    channel: Option<String>,
    /// By state: `initiated`, `in_progress`, `completed`, `failed` or `abandoned`.
    status: Option<String>,
    /// `success`, `failure` or `unknown`.
    call_successful: Option<String>,
    /// `resolved`, `unresolved`, `escalated`, `transferred` or `unknown`.
    resolution_status: Option<String>,
    /// By the outcome's result.
    outcome: Option<String>,
    /// `positive`, `neutral` or `negative`.
    sentiment: Option<String>,
    /// By the language spoken.
    language: Option<String>,
    /// By topic.
    topic: Option<String>,
    /// By tag; repeat it for conversations that have any of several, at most 20.
    #[param(style = Form, explode = true)]
    tag: Option<Vec<String>>,
    /// `created_at` at or after this time, in seconds since 1970.
    call_start_after_unix: Option<i64>,
    /// `created_at` before this time, in seconds since 1970.
    call_start_before_unix: Option<i64>,
    /// `created_at` at or after this time (RFC 3339).
    #[param(format = DateTime)]
    started_after: Option<String>,
    /// `created_at` before this time (RFC 3339).
    #[param(format = DateTime)]
    started_before: Option<String>,
    /// At least this long.
    duration_min_seconds: Option<f64>,
    /// At most this long.
    duration_max_seconds: Option<f64>,
    /// A filter in the language of AIP-160, for example `duration_seconds > 60 AND tags:"vip"`. It narrows what the other parameters
    /// leave. Beside what they name it knows `agent_version_id`, `external_id`, `direction`, `end_reason`, `failure_code`,
    /// `error_code`, `intent`, `keyword`, `turn_count`, `satisfaction_score`, `cost`, `cost_currency`, `created_at`, `started_at`,
    /// `ended_at` and values extracted by name, for example `custom.plan = "gold"` or `custom.paid = true`. What is asked of a
    /// conversation that is not over is what its provider and people have said of it so far.
    filter: Option<String>,
}

/// The other parameters of a list of conversations.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `read` reads, and a test compares the two")]
pub(super) struct ListParameters {
    /// Words said within one turn, in any order; `"a phrase"`, `prefix*`, `-excluded`. Needs the scope `transcripts:read` too.
    search: Option<String>,
    /// `include` returns summaries, which needs the scope `transcripts:read` too; default `exclude`.
    summary_mode: Option<String>,
    /// `created_at`, `duration_seconds`, `turn_count` or `satisfaction_score`, with `-` before it for descending; default
    /// `-created_at`. Ties are ordered by id.
    sort: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 30)]
    page_size: Option<i32>,
    /// The `cursor` of the previous page, with all other parameters unchanged.
    cursor: Option<String>,
    /// Whether to count all that match.
    #[param(default = false)]
    include_total: Option<bool>,
    /// Wait (at most 5 s) until this position has been read: the `x-colloquy-position` of a write.
    #[param(minimum = 0)]
    min_position: Option<u64>,
}

/// 500 characters of any script: how many are allowed is for the service to say.
pub(super) const MAX_SEARCH_BYTES: usize = 2_000;
/// 8,192 characters, likewise.
const MAX_FILTER_BYTES: usize = 32_768;
/// So many different tags a filter may name.
const MOST_TAGS: usize = 20;

/// Reads the parameters.
pub(super) fn read(query: &mut Query) -> pb::ListConversationsRequest {
    let filter = read_filter(query);
    pb::ListConversationsRequest {
        filter: Some(filter),
        include_summary: query.word("summary_mode", &SUMMARY_MODES).is_some_and(|mode| mode == "include"),
        order_by: query.word("sort", &SORTS).unwrap_or_default(),
        page_size: query.page_size(),
        page_token: query.cursor().unwrap_or_default(),
        include_total: query.flag("include_total"),
        min_position: query.min_position(),
        organization_id: String::new(),
        search: query.long_text("search", MAX_SEARCH_BYTES).unwrap_or_default(),
    }
}

/// Reads those that narrow.
pub(super) fn read_filter(query: &mut Query) -> pb::ConversationFilter {
    let providers: Vec<&str> = Provider::ALL.iter().map(|provider| provider.as_str()).collect();
    let words = STATUSES.map(|(word, _)| word);
    pb::ConversationFilter {
        agent_id: query.text("agent_id"),
        client_id: query.text("client_id"),
        user_id: query.text("user_id"),
        caller: query.text("caller"),
        provider: query.word("provider", &providers),
        channel: query.text("channel"),
        statuses: query.word("status", &words).into_iter().filter_map(|word| status(&word)).collect(),
        call_successful: query.word("call_successful", &SUCCESS),
        resolution_status: query.word("resolution_status", &RESOLUTIONS),
        outcome: query.text("outcome"),
        sentiment: query.word("sentiment", &SENTIMENTS),
        language: query.text("language"),
        topic: query.text("topic"),
        tags: tags(query),
        created_from: later(query.unix_time("call_start_after_unix"), query.time("started_after")).map(to_message),
        created_before: earlier(query.unix_time("call_start_before_unix"), query.time("started_before")).map(to_message),
        duration_min_ms: query.seconds_as_ms("duration_min_seconds"),
        duration_max_ms: query.seconds_as_ms("duration_max_seconds"),
        expression: query.long_text("filter", MAX_FILTER_BYTES).unwrap_or_default(),
    }
}

/// Reads a filter that is an object of JSON: its members have the names and values of the parameters above that narrow the list.
pub(super) fn read_filter_object(path: &str, raw: &RawValue, errors: &mut FieldErrors) -> Option<pb::ConversationFilter> {
    let mut query = Query::of_object(path, raw, errors)?;
    let filter = read_filter(&mut query);
    query.finish_within(path, errors).then_some(filter)
}

fn tags(query: &mut Query) -> Vec<String> {
    let tags = query.texts("tag");
    if tags.iter().collect::<HashSet<_>>().len() > MOST_TAGS {
        query.complain("tag", format!("must be at most {MOST_TAGS} different tags"));
    }
    tags
}

fn status(word: &str) -> Option<i32> {
    STATUSES.iter().find(|(known, _)| *known == word).map(|(_, status)| *status as i32)
}

/// Both bounds hold, so the later one counts.
fn later(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.max(other)
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
