//! The one place from which Colloquy sends HTTP requests to addresses that others chose: recordings to fetch, webhooks to
//! deliver, vendors to call.
//!
//! Whoever may name a URL could otherwise make the server read its own network for them (server-side request forgery). A
//! [`Policy`] says which addresses may be reached; a [`Client`] applies it to every address it connects to, not only to the
//! one that was looked up when the URL was given, and again at each redirect.
//!
//! A [`Client`] fetches what may be large; a [`Courier`] sends small requests, many of them, and reads the beginning of their
//! answers.

mod address;
mod client;
mod courier;
mod download;
mod error;
mod policy;
mod resolver;
mod retry_after;

pub use client::{Client, Limits};
pub use courier::{Answer, Bounds, Connection, Courier, Failure, Request, Upgrade};
pub use download::Download;
pub use error::{Error, Refused};
pub use policy::{BadNetwork, Policy};
