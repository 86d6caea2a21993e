//! The control service from outside: over its gRPC client, with a log, sources, conversations and vendors that are made up.

#![allow(clippy::unwrap_used, reason = "these are tests: a failure is what an error should be")]

mod agents;
mod commands;
mod crashes;
mod harness;
mod leases;
mod log;
mod neighbours;
mod refusals;
mod vendor;
