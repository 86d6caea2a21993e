//! The service through its own clients: what providers, senders of native events and administrators meet.
#![expect(clippy::unwrap_used, reason = "a test ends where the world is not as it must be")]

mod audio;
mod native;
mod quarantine;
mod secrets;
mod sources;
mod webhooks;
mod world;
