//! Filters over conversations, as they were given: the names of the list's parameters.

use colloquy_proto::conversation::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::conversation::status_word;
use super::time::Time;

/// Which conversations: what is `null` does not matter. The names are those of the list's parameters.
#[derive(Serialize, ToSchema)]
pub(crate) struct Filter {
    /// By agent.
    agent_id: Option<String>,
    /// By customer.
    client_id: Option<String>,
    /// By end user.
    user_id: Option<String>,
    /// By the person's number.
    caller: Option<String>,
    /// By provider.
    provider: Option<String>,
    /// By channel.
    channel: Option<String>,
    /// By any of these states; empty means all.
    status: Vec<&'static str>,
    /// `success`, `failure` or `unknown`.
    call_successful: Option<String>,
    /// What became of it.
    resolution_status: Option<String>,
    /// By the outcome's result.
    outcome: Option<String>,
    /// By mood.
    sentiment: Option<String>,
    /// By language.
    language: Option<String>,
    /// By topic.
    topic: Option<String>,
    /// By any of these tags; empty means all.
    tag: Vec<String>,
    /// `created_at` at or after this.
    started_after: Time,
    /// `created_at` before this.
    started_before: Time,
    /// At least this long.
    duration_min_seconds: Option<f64>,
    /// At most this long.
    duration_max_seconds: Option<f64>,
    /// A filter in the language of AIP-160.
    filter: Option<String>,
}

impl From<pb::ConversationFilter> for Filter {
    fn from(given: pb::ConversationFilter) -> Self {
        let status = given.statuses().filter_map(status_word).collect();
        Self {
            status,
            agent_id: given.agent_id,
            client_id: given.client_id,
            user_id: given.user_id,
            caller: given.caller,
            provider: given.provider,
            channel: given.channel,
            call_successful: given.call_successful,
            resolution_status: given.resolution_status,
            outcome: given.outcome,
            sentiment: given.sentiment,
            language: given.language,
            topic: given.topic,
            tag: given.tags,
            started_after: given.created_from.into(),
            started_before: given.created_before.into(),
            duration_min_seconds: super::time::seconds(given.duration_min_ms),
            duration_max_seconds: super::time::seconds(given.duration_max_ms),
            filter: Some(given.expression).filter(|expression| !expression.is_empty()),
        }
    }
}
