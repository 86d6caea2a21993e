//! To and from `colloquy.conversation.v1`. Reading collects every bad field, so that a caller mends a request once.

mod agent;
mod change;
mod history;
mod list;
pub(crate) mod record;

pub(crate) use agent::{agent_to_pb, agents_page};
pub(crate) use change::{feedback_from_pb, patch_from_pb, removal_of_metadata};
pub(crate) use history::history_to_pb;
pub(crate) use list::{ListRequest, list_from_pb, page_size};

use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{ConversationId, ConversationName, OrganizationId};

/// Reads the name of a conversation.
pub(crate) fn conversation_id(fields: &mut FieldErrors, text: &str, organization: &OrganizationId) -> Option<ConversationId> {
    fields.parse::<ConversationName>("conversation_id", text).map(|name| name.id(organization))
}

/// Ends reading a request: its value, or everything that was wrong with it.
pub(crate) fn finish<T>(fields: FieldErrors, value: Option<T>) -> Result<T, Problem> {
    fields.finish()?;
    // A field that is missing was noted as bad.
    value.ok_or_else(|| Problem::invalid_field("request", "is incomplete"))
}
