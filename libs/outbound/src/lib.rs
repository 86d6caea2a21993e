//! The one place from which Colloquy sends HTTP requests to addresses that others chose: recordings to fetch, webhooks to
//! deliver, vendors to call.
//!
//! Whoever may name a URL could otherwise make the server read its own network for them (server-side request forgery). A
//! [`Policy`] says which addresses may be reached; a [`Client`] applies it to every address it connects to, not only to the
//! one that was looked up when the URL was given, and again at each redirect.

mod address;
mod client;
mod download;
mod error;
mod policy;
mod resolver;

pub use client::{Client, Limits};
pub use download::Download;
pub use error::{Error, Refused};
pub use policy::{BadNetwork, Policy};
