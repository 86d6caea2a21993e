//! What is told: the catalogue of event types, which messages an event makes, and their bodies.
//!
//! - [`messages_of`]: the messages of a record, and [`known_of`] what it says that filters ask for.
//! - [`agent_session`]: the bodies of `conversation_agent_session.*`, which [`Snapshots`] makes of what the views say.
//! - [`own`]: what the service itself has to say: tests, and that it disabled an endpoint.
//! - [`catalogue`]: every event type with its schema.
//! - [`text_of`]: a body in words, for people.

pub mod agent_session;
pub mod catalogue;
mod event;
mod known;
mod messages;
pub mod own;
#[cfg(test)]
mod samples;
mod snapshots;
mod text;

pub use known::known_of;
pub use messages::{messages_of, messages_of_event, wanted_messages_of};
pub use snapshots::{SnapshotError, Snapshots, Views};
pub use text::{Text, text_of};
