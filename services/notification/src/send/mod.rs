//! Attempts: how an endpoint is told, and when it is tried again.

mod answer;
mod email;
pub mod schedule;
mod sender;
mod slack;
#[cfg(test)]
mod tests;
mod text;
mod webhook;

use std::time::Duration;

use bytes::Bytes;
use colloquy_types::Timestamp;
use uuid::Uuid;

use crate::delivery::Attempt;
use crate::endpoint::Kind;

pub use email::BadSmtp;
pub use sender::{ATTEMPT_TIMEOUT, BadSettings, Sender};
pub use webhook::is_reserved_header;

/// One attempt to make.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// How.
    pub kind: Kind,
    /// Where to.
    pub url: String,
    /// What the receiver knows the message by: `webhook-id` is `msg_` and this in hex.
    pub message_id: Uuid,
    /// The message's type.
    pub event_type: String,
    /// When the attempt is made: `webhook-timestamp`.
    pub at: Timestamp,
    /// The message's body, JSON.
    pub body: Bytes,
    /// Headers of the endpoint's own.
    pub headers: Vec<(String, Secret)>,
    /// What to sign with: the current secret, and while it is valid the one before. Without the prefix `whsec_`, in base64.
    pub secrets: Vec<Secret>,
}

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    /// Shows nothing.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// What an attempt came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// For the log of attempts.
    pub attempt: Attempt,
    /// What follows from it.
    pub verdict: Verdict,
}

/// What follows from an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The endpoint took it (any 2xx).
    Taken,
    /// It may be tried again, not before the time the endpoint asked for, if it asked (already clamped).
    Again(Option<Duration>),
    /// The endpoint is gone for good (410).
    Gone,
}
