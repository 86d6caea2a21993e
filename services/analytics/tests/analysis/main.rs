//! The analysis from outside: the providers' samples, and what no provider should send.

#![allow(clippy::unwrap_used, reason = "these are tests: a failure is what an error should be")]

mod golden;
mod harsh;
mod samples;
