//! What the edge measures of live streams.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, UpDownCounter};

use super::{counter, meter};

fn open(change: i64, subject: &'static str, transport: &'static str) {
    static OPEN: OnceLock<UpDownCounter<i64>> = OnceLock::new();
    let make = || meter().i64_up_down_counter("colloquy_streams_open").with_description("Live streams that are open.").build();
    let labels = [KeyValue::new("subject", subject), KeyValue::new("transport", transport)];
    OPEN.get_or_init(make).add(change, &labels);
}

/// Notes that a stream of `subject` (`conversation` or `organization`) began over `transport` (`websocket` or `sse`).
pub fn stream_opened(subject: &'static str, transport: &'static str) {
    open(1, subject, transport);
}

/// Notes that it ended.
pub fn stream_closed(subject: &'static str, transport: &'static str) {
    open(-1, subject, transport);
}

/// Notes frames that were sent.
pub fn stream_frames(transport: &'static str, frames: u64) {
    static FRAMES: OnceLock<Counter<u64>> = OnceLock::new();
    let sent = FRAMES.get_or_init(|| counter("colloquy_stream_frames", "Frames sent on live streams."));
    sent.add(frames, &[KeyValue::new("transport", transport)]);
}

/// Notes that a client was too slow.
pub fn stream_lagged(subject: &'static str) {
    static LAGGED: OnceLock<Counter<u64>> = OnceLock::new();
    let lagged = LAGGED.get_or_init(|| counter("colloquy_stream_lagged", "Times a client was too slow for its live stream."));
    lagged.add(1, &[KeyValue::new("subject", subject)]);
}
