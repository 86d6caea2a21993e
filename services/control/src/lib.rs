//! Live control: people step into running conversations, one at a time, on every vendor that allows it.
//!
//! Somebody takes a conversation over and gets a lease; commands need it. A command is taken once its event is durable, and then
//! carried out by the vendor's own means ([`vendor`]); what became of it is an event too. Who does not renew the lease loses it.
//!
//! It runs in the process that runs notification: both speak to the world outside.

mod settings;
pub mod vendor;

pub use settings::{Deps, Settings};

/// What the service's database and its reader are called.
pub const NAME: &str = "control";
