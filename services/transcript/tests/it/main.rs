//! The transcript service from outside: over its gRPC client, and over its store with the providers' samples.

#![allow(clippy::unwrap_used, reason = "these are tests: a failure is what an error should be")]

mod golden;
mod harness;
mod live;
mod permutations;
mod reader;
mod replicas;
mod samples;
mod search;
mod service;
mod unknown;
