//! The notification service: tells other systems what happened, and goes on until they have heard it.
//!
//! A reader of the log makes messages of events and a delivery of each for every endpoint that listens, in one transaction
//! ([`store`]); workers claim deliveries and attempt them ([`send`]), on a schedule that gives up after more than a day. What a
//! body looks like is in [`payload`].

pub mod delivery;
pub mod endpoint;
pub mod message;
pub mod payload;
pub mod send;
mod settings;
pub mod store;

pub use settings::{Deps, Settings, Smtp};

/// What the service and its database are called.
pub const NAME: &str = "notification";
