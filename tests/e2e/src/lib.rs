//! Starts the real binary as a user would, and talks to it over the network.
//!
//! Each server has a data folder, ports and, with PostgreSQL, a database of its own, so that tests run side by side. Nothing here
//! knows anything that is not in the contract.

#![expect(clippy::unwrap_used, reason = "a test helper that fails should end the test")]

mod binary;
mod engine;
mod installation;
mod member;
mod samples;
mod server;

pub use engine::{Engine, JetStream, Suite};
pub use installation::Installation;
pub use member::{Addresses, Member};
pub use samples::{Sample, samples};
pub use server::{Server, Source};
