//! The work: what is due is attempted, and what becomes of it is written down.
//!
//! A delivery comes in two ways. The reader hands over what it has just made ([`Dispatch`](crate::reader::Dispatch)), claimed in the transaction
//! that made it as far as there is room here, so that an idle process sends it at once; everything else (the rest of a burst,
//! retries, what another replica left behind) is claimed from the store, for each endpoint as many as it has room for (`lane`). Of the
//! places that all attempts share, endpoints of which nothing good is known have half at most (`state`). An attempt's result is written
//! together with others' (`finisher`). Between the receiver's answer and that, a crash means a repeat, never a loss: the claim runs
//! out, and the delivery is due again.
//!
//! Replicas share the queue through claims and nothing else. Rate limits and shares are counted by each of them for itself.

mod attempts;
mod backlog;
mod bodies;
mod dispatcher;
mod examine;
mod finisher;
mod lane;
mod notices;
mod rate;
mod state;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use colloquy_types::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::payload::Snapshots;
use crate::secrets::SecretBox;
use crate::send::Sender;
use crate::store::Store;

pub use dispatcher::{Dispatcher, build};

/// For how long a delivery is claimed: to wait a little, to make its body, to be attempted, and to be written down.
pub const CLAIM: Duration = Duration::from_secs(60);
/// How much of that it may wait in memory.
const START_WITHIN: Duration = Duration::from_secs(15);

/// What the work needs.
pub struct Parts {
    /// Where deliveries are.
    pub store: Arc<dyn Store>,
    /// Makes attempts.
    pub sender: Sender,
    /// Makes bodies.
    pub snapshots: Arc<dyn Snapshots>,
    /// Opens what is sealed in endpoints.
    pub secrets: SecretBox,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ends the work.
    pub stop: CancellationToken,
}

/// Returns until when something is claimed at `now`.
pub fn claimed_until(now: Timestamp) -> Timestamp {
    later(now, CLAIM)
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add_millis(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}
