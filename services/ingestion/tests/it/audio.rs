//! Recordings inside deliveries.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use colloquy_proto::log::v1::event::Data;
use colloquy_proto::log::v1::{RecordingAvailable, TailResponse};
use tonic::Code;
use tonic_types::StatusExt;

use crate::world::{ACME, ELEVENLABS_SECRET, NOW_SECONDS, Sample, StoredObject, World, elevenlabs_headers, sample};

async fn world_and_source() -> (World, String) {
    let world = World::start().await;
    let source = world.source("elevenlabs", "hmac", Some(ELEVENLABS_SECRET)).await;
    (world, source)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

fn audio_body(conversation_id: &str, audio: &[u8]) -> Vec<u8> {
    let data = serde_json::json!({"agent_id": "a", "conversation_id": conversation_id, "full_audio": STANDARD.encode(audio)});
    serde_json::json!({"type": "post_call_audio", "event_timestamp": NOW_SECONDS, "data": data}).to_string().into_bytes()
}

#[tokio::test]
async fn the_sample_recording_is_stored_and_its_event_names_it() {
    let (world, source) = world_and_source().await;
    let Sample { headers, body, .. } = sample("elevenlabs", "post_call_audio");
    let answer = world.deliver(&source, &headers, &body).await.unwrap();
    assert_eq!(answer.accepted, 1);
    let expected = "fa56019d2b85b9cb5b80b45a20f8f61605800f96644fda453076c054ab37ac60";
    let stored = StoredObject { organization_id: "acme".to_owned(), sha256: expected.to_owned(), size_bytes: 1038 };
    assert_eq!(world.recordings.stored(), [stored]);
    let recording = recording_of(&world.events_as_service("acme").await);
    assert_eq!(recording.object_key.as_deref(), Some(&*format!("acme/{expected}")));
    assert_eq!((recording.sha256.as_deref(), recording.size_bytes, recording.url), (Some(expected), Some(1038), None));
    assert_eq!(recording.content_type.as_deref(), Some("audio/mpeg"));
    // Where it is kept is nobody else's business.
    assert_eq!(recording_of(&world.events(ACME).await).object_key, None);
}

fn recording_of(events: &[TailResponse]) -> RecordingAvailable {
    match events[0].event.clone().and_then(|event| event.data) {
        Some(Data::RecordingAvailable(recording)) => recording,
        _ => panic!("not a recording: {events:?}"),
    }
}

#[tokio::test]
async fn a_recording_of_twenty_megabytes_arrives_unchanged() {
    let (world, source) = world_and_source().await;
    let audio: Vec<u8> = (0..20_u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let body = audio_body("conv_large", &audio);
    let answer = world.deliver_signed(&source, &body).await.unwrap();
    assert_eq!((answer.accepted, answer.quarantine_id.as_str()), (1, ""));
    let stored = world.recordings.stored();
    assert_eq!(stored.len(), 1);
    assert_eq!((stored[0].sha256.clone(), stored[0].size_bytes), (sha256(&audio), audio.len() as u64));
    let again = world.deliver_signed(&source, &body).await.unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, 1));
}

#[tokio::test]
async fn a_recording_that_cannot_be_stored_is_asked_for_again() {
    let (world, source) = world_and_source().await;
    world.recordings.set_down(true);
    for audio in [vec![1; 1_000], vec![1; 3 << 20]] {
        let status = world.deliver_signed(&source, &audio_body("conv_1", &audio)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.get_error_details().retry_info().is_some());
    }
    world.assert_nothing_was_stored().await;
    world.recordings.set_down(false);
    let answer = world.deliver_signed(&source, &audio_body("conv_1", &[1; 1_000])).await.unwrap();
    assert_eq!(answer.accepted, 1);
}

#[tokio::test]
async fn a_broken_recording_goes_to_quarantine_whatever_its_size() {
    let (world, source) = world_and_source().await;
    for length in [100, 2 << 20, 9 << 20] {
        let data = serde_json::json!({"agent_id": "a", "conversation_id": "c", "full_audio": "!".repeat(length)});
        let body = serde_json::json!({"type": "post_call_audio", "event_timestamp": NOW_SECONDS, "data": data}).to_string();
        let answer = world.deliver_signed(&source, body.as_bytes()).await.unwrap();
        assert_ne!(answer.quarantine_id, "", "{length}");
        let retried = world.retry(ACME, &answer.quarantine_id).await.unwrap();
        assert_eq!((retried.delivery.unwrap().attempts, retried.position), (2, 0), "{length}");
    }
    assert_eq!(world.events(ACME).await, []);
}

#[tokio::test]
async fn the_recording_of_an_unmappable_delivery_is_kept_beside_it() {
    let (world, source) = world_and_source().await;
    let data = serde_json::json!({"full_audio": STANDARD.encode([5; 100])});
    let body = serde_json::json!({"type": "post_call_audio", "data": data}).to_string();
    let answer = world.deliver_signed(&source, body.as_bytes()).await.unwrap();
    assert_ne!(answer.quarantine_id, "", "a delivery that names no conversation cannot be mapped");
    assert_eq!(world.recordings.stored().len(), 1);
    world.retry(ACME, &answer.quarantine_id).await.unwrap();
    assert_eq!(world.recordings.stored().len(), 1, "a retry takes the recording from where it is");
}

#[tokio::test]
async fn an_empty_recording_is_none() {
    let (world, source) = world_and_source().await;
    let answer = world.deliver_signed(&source, &audio_body("conv_1", b"")).await.unwrap();
    assert_eq!(answer.accepted, 0);
    assert_eq!(world.recordings.stored(), []);
}

#[tokio::test]
async fn a_signature_covers_the_recording() {
    let (world, source) = world_and_source().await;
    let signed = audio_body("conv_1", &vec![1; 2 << 20]);
    let headers = elevenlabs_headers(ELEVENLABS_SECRET, NOW_SECONDS, [&signed[..]]);
    let sent = audio_body("conv_1", &vec![2; 2 << 20]);
    let status = world.deliver(&source, &headers, &sent).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    world.assert_nothing_was_stored().await;
}
