//! What goes out, as JSON: the contract's objects, made from the services' messages without copying their texts.

pub(crate) mod agent;
pub(crate) mod alert;
pub(crate) mod analytics;
pub(crate) mod analyzer;
pub(crate) mod control;
pub(crate) mod conversation;
pub(crate) mod event;
pub(crate) mod filter;
pub(crate) mod ingestion;
pub(crate) mod json;
pub(crate) mod metrics;
pub(crate) mod search;
pub(crate) mod source;
pub(crate) mod time;
pub(crate) mod turn;
pub(crate) mod webhook_endpoint;

/// Returns a text that messages have empty where there is none.
pub(crate) fn word(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
