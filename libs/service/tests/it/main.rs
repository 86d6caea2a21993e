//! Calling services over real sockets: who is called, what is called again, when connections end, and whom TLS lets in.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod aging;
mod balancing;
mod fake;
mod retrying;
mod tls;
