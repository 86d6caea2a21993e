//! Hurts a running installation while deliveries come in, and proves that nothing was lost, repeated or changed by it.
//!
//! A test takes a [`Scene`]: real processes on a PostgreSQL (and a NATS) of their own. It lets a [`Stream`] of known deliveries
//! in, as vendors send them: refused ones again, acknowledged ones never again. In the middle it does its damage and undoes it.
//! Then [`Scene::holds`] compares every record with those of an installation that nobody disturbed.

#![expect(clippy::unwrap_used, reason = "a test helper that fails should end the test")]

mod chance;
mod deliveries;
mod everything;
mod scene;
mod small_disk;
mod stream;

pub use chance::Chance;
pub use deliveries::{Delivery, deliveries};
pub use scene::{Link, Log, Scene};
pub use small_disk::SmallDisk;
pub use stream::Stream;
