//! Starts the real binary as a user would, and talks to it over the network.
//!
//! Each server has a data folder, ports and, with PostgreSQL, a database of its own, so that tests run side by side. Nothing here
//! knows anything that is not in the contract.

#![expect(clippy::unwrap_used, reason = "a test helper that fails should end the test")]

mod samples;
mod server;

pub use samples::{Sample, samples};
pub use server::{Engine, Server, Source};
