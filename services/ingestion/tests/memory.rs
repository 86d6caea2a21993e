//! Memory while a large recording passes through. A test binary of its own, since the peak is the whole process's.
#![expect(clippy::unwrap_used, reason = "a test ends where the world is not as it must be")]
#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "shared with the other test binary, which uses all of it")]
#[path = "it/world.rs"]
mod world;

use bytes::Bytes;
use futures::stream;

use crate::world::{ELEVENLABS_SECRET, NOW_SECONDS, World, elevenlabs_headers, sample};

/// Returns the most memory this process ever held, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn a_recording_of_ninety_megabytes_never_is_in_memory_as_a_whole() {
    let world = World::start().await;
    let source = world.source("elevenlabs", "hmac", Some(ELEVENLABS_SECRET)).await;
    let small = sample("elevenlabs", "post_call_audio");
    world.deliver(&source, &small.headers, &small.body).await.unwrap();
    let before = peak_memory();

    let head =
        Bytes::from_static(br#"{"type":"post_call_audio","event_timestamp":1772463600,"data":{"agent_id":"a","full_audio":""#);
    let middle = Bytes::from(b"Abcd".repeat(16 << 10));
    let tail = Bytes::from_static(br#"","conversation_id":"conv_large"}}"#);
    let count = (120 << 20) / middle.len();
    let pieces = || [head.clone()].into_iter().chain(std::iter::repeat_n(middle.clone(), count)).chain([tail.clone()]);
    let all: Vec<Bytes> = pieces().collect();
    let headers = elevenlabs_headers(ELEVENLABS_SECRET, NOW_SECONDS, all.iter().map(|piece| &piece[..]));
    let answer = world.deliver_in_pieces(&source, &headers, stream::iter(all)).await.unwrap();

    assert_eq!((answer.accepted, answer.quarantine_id.as_str()), (1, ""));
    let stored = world.recordings.stored().pop().unwrap();
    assert_eq!(stored.size_bytes as usize, count * middle.len() / 4 * 3);
    let grown = peak_memory() - before;
    assert!(grown < 16 << 20, "memory grew by {} MiB for a body of 120 MiB", grown >> 20);
}
