//! What the JetStream engine must be told.

use std::path::PathBuf;
use std::time::Duration;

/// Where the stream is, and how it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct JetStreamSettings {
    /// Addresses of servers, `nats://[user:password@|token@]host:port` or `tls://…`; the client learns of others from them.
    pub servers: Vec<String>,
    /// The stream's name; subjects begin with it too.
    pub stream: String,
    /// How many servers keep each record.
    pub replicas: usize,
    /// Records older than this are dropped; `None` keeps them.
    pub max_age: Option<Duration>,
    /// The oldest records are dropped beyond this size in bytes; `None` sets no limit.
    pub max_bytes: Option<u64>,
    /// A record that a stream has not acknowledged for this long is handed to another.
    pub ack_wait: Duration,
    /// A file with a user's credentials (`.creds`).
    pub credentials: Option<PathBuf>,
    /// A PEM file of the authorities that sign the servers' certificates.
    pub ca: Option<PathBuf>,
    /// PEM files of the client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl std::fmt::Debug for JetStreamSettings {
    /// Passwords stand in the servers' addresses.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JetStreamSettings")
            .field("stream", &self.stream)
            .field("replicas", &self.replicas)
            .field("max_age", &self.max_age)
            .field("max_bytes", &self.max_bytes)
            .field("ack_wait", &self.ack_wait)
            .finish_non_exhaustive()
    }
}

impl JetStreamSettings {
    /// Returns the settings of a stream on `servers`, with defaults for the rest.
    pub fn on(servers: Vec<String>) -> Self {
        Self {
            servers,
            stream: "COLLOQUY".to_owned(),
            replicas: 1,
            max_age: None,
            max_bytes: None,
            ack_wait: Duration::from_secs(10),
            credentials: None,
            ca: None,
            identity: None,
        }
    }
}
