//! What the log must be told.

use std::path::PathBuf;

use super::JetStreamSettings;

/// What keeps the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEngine {
    /// A SQLite file in a folder. One process at a time may have it open.
    Embedded {
        /// The folder.
        folder: PathBuf,
    },
    /// A stream on NATS JetStream, for any number of replicas.
    JetStream(JetStreamSettings),
}

/// Bounds of the log, whatever engine keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// How many appends may wait to be written; further ones are refused with a retry hint.
    pub queue_appends: usize,
    /// How many bytes the waiting appends may occupy, encoded.
    pub queue_bytes: usize,
    /// How many bytes of the newest records stay in memory for readers that keep up.
    pub recent_bytes: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { queue_appends: 4_096, queue_bytes: 96 << 20, recent_bytes: 4 << 20 }
    }
}
