//! To and from the messages of other services and of callers.

pub mod conversation;
pub(crate) mod input;
pub mod settings;
