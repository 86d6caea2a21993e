//! The edge's own settings: how much it takes and how long it waits.

use std::time::Duration;

use url::Url;

use crate::live::StreamSettings;

/// How much the edge takes and how long it waits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What webhook URLs begin with; without it, the host the request was made to.
    pub public_url: Option<Url>,
    /// How long a request may take whose bodies are small; default 30 s.
    pub request_timeout: Duration,
    /// How long a webhook or a recording may take to arrive as a whole; default 15 min.
    pub upload_timeout: Duration,
    /// How long a streamed body may stand still, and a small one take as a whole; default 20 s, so that it ends before the request
    /// does.
    pub idle_timeout: Duration,
    /// The greatest body of `POST /v1/events`; default 8 MiB.
    pub max_events_bytes: usize,
    /// The greatest recording; default 1 GiB.
    pub max_recording_bytes: u64,
    /// How many live streams there may be, and how patient they are.
    pub streams: StreamSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: None,
            request_timeout: Duration::from_secs(30),
            upload_timeout: Duration::from_secs(15 * 60),
            idle_timeout: Duration::from_secs(20),
            max_events_bytes: 8 << 20,
            max_recording_bytes: 1 << 30,
            streams: StreamSettings::default(),
        }
    }
}
