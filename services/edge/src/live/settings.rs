//! How many live streams there may be, and how patient they are.

use std::time::Duration;

/// How many live streams there may be, and how patient they are.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// How many streams one API key may have open at one edge; default 1,000.
    pub max_per_key: usize,
    /// How many streams one edge holds; default 20,000.
    pub max_streams: usize,
    /// How many frames wait for one client before it counts as too slow; default 256.
    pub queue_frames: usize,
    /// How many bytes wait for one client before it counts as too slow; default 1 MiB. A single greater frame still passes.
    pub queue_bytes: usize,
    /// How many snapshots are read at once; default 64.
    pub max_snapshots_at_once: usize,
    /// How many streams read at once what they missed; default 64. One key has at most half of them.
    pub max_catch_ups_at_once: usize,
    /// How often it is asked whether the keys of open streams still count; default 5 s.
    pub key_check_interval: Duration,
    /// How long the log is still followed when nobody listens any more; default 60 s.
    pub idle_after: Duration,
    /// How often a WebSocket is pinged; default 20 s. A client that answers none of two is gone.
    pub ping_interval: Duration,
    /// How often Server-Sent Events get a comment; default 15 s.
    pub comment_interval: Duration,
    /// How long a client may read nothing while there is something to read; default 30 s.
    pub send_timeout: Duration,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            max_per_key: 1_000,
            max_streams: 20_000,
            queue_frames: 256,
            queue_bytes: 1 << 20,
            max_snapshots_at_once: 64,
            max_catch_ups_at_once: 64,
            key_check_interval: Duration::from_secs(5),
            idle_after: Duration::from_secs(60),
            ping_interval: Duration::from_secs(20),
            comment_interval: Duration::from_secs(15),
            send_timeout: Duration::from_secs(30),
        }
    }
}
