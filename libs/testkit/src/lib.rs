//! What tests of several crates share: databases of their own, processes and engines that can be hurt, and a network that can be.
//!
//! Everything here is for tests: it panics when the world is not as it must be.

#![expect(clippy::unwrap_used, reason = "a test helper that fails should end the test")]

mod http;
pub mod nats;
pub mod ports;
pub mod postgres;
mod postgres_server;
mod process;
mod proxy;
mod receiver;
pub mod s3;

pub use nats::{Nats, NatsCluster};
pub use postgres_server::PostgresServer;
pub use process::Process;
pub use proxy::{Fault, FaultProxy};
pub use receiver::{Received, Receiver};

use std::time::{Duration, Instant};

/// Polls until `holds` holds, and says what was waited for when it does not within `limit`.
///
/// # Panics
/// When the limit passes.
pub async fn until<Held: Future<Output = bool>>(limit: Duration, what: &str, mut holds: impl FnMut() -> Held) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
