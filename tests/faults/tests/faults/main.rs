//! What an installation survives. Each test starts real processes and engines of its own: `tests/run faults` runs them.

#![expect(clippy::unwrap_used, reason = "tests")]

mod killed;
mod live;
mod nats;
mod network;
mod notified;
mod paused;
mod poison;
mod postgres;
mod small_disk;
