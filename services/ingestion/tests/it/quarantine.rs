//! What cannot be mapped.

use colloquy_ingestion::QuarantineBounds;
use colloquy_proto::ingestion::v1 as pb;
use tonic::Code;
use tonic_types::StatusExt;

use crate::world::{ACME, ELEVENLABS_SECRET, OTHER, World, by};

fn rubbish() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", Vec::new()),
        ("no JSON", b"hello".to_vec()),
        ("invalid UTF-8", vec![b'{', b'"', 0xff, 0xfe, b'"', b'}']),
        ("cut off", br#"{"type": "post_call_transcription", "data": {"#.to_vec()),
        ("ten thousand levels", [vec![b'['; 10_000], vec![b']'; 10_000]].concat()),
        ("ten thousand objects", [br#"{"a":"#.repeat(10_000), b"1".to_vec(), vec![b'}'; 10_000]].concat()),
        ("an array", b"[1, 2]".to_vec()),
        ("a number", b"1e999".to_vec()),
        ("an unknown type", br#"{"type": "post_call_invention", "data": {}}"#.to_vec()),
        ("wrong types", br#"{"type": "post_call_transcription", "data": {"conversation_id": [], "transcript": 7}}"#.to_vec()),
        ("a NUL", b"{\"type\": \"\0\"}".to_vec()),
        ("an id of four kilobytes", {
            let id = "x".repeat(4_096);
            format!(r#"{{"type": "post_call_transcription", "data": {{"conversation_id": "{id}"}}}}"#).into_bytes()
        }),
    ]
}

#[tokio::test]
async fn rubbish_of_a_genuine_sender_is_kept_with_the_reason_and_repeats_count_attempts() {
    let world = World::start().await;
    let source = world.source("elevenlabs", "hmac", Some(ELEVENLABS_SECRET)).await;
    for (case, body) in rubbish() {
        let answer = world.deliver_signed(&source, &body).await.unwrap();
        assert_ne!(answer.quarantine_id, "", "{case}");
        assert_eq!((answer.position, answer.accepted), (0, 0), "{case}");
        let again = world.deliver_signed(&source, &body).await.unwrap();
        assert_eq!(again.quarantine_id, answer.quarantine_id, "{case}");
    }
    let kept = world.quarantined(ACME).await;
    assert_eq!(kept.len(), rubbish().len());
    for delivery in &kept {
        assert_eq!((delivery.attempts, delivery.provider.as_str()), (2, "elevenlabs"));
        assert_eq!(delivery.source_id, source);
        assert_ne!(delivery.reason, "");
        let retried = world.retry(ACME, &delivery.quarantine_id).await.unwrap();
        let now = retried.delivery.unwrap();
        assert_eq!((retried.position, now.attempts, now.resolved_at), (0, 3, None));
    }
    assert_eq!(world.events(ACME).await, []);
}

#[tokio::test]
async fn every_provider_quarantines_rubbish() {
    let world = World::start().await;
    for provider in ["elevenlabs", "retell", "vapi", "agent_session", "native"] {
        let source = world.source(provider, "none", None).await;
        for (case, body) in rubbish() {
            let answer = world.deliver(&source, &[], &body).await.unwrap();
            assert_ne!(answer.quarantine_id, "", "{provider}: {case}");
        }
    }
}

#[tokio::test]
async fn quarantine_is_listed_newest_first_in_pages_and_seen_by_its_organization_alone() {
    let world = World::start().await;
    let source = world.source("retell", "none", None).await;
    let elsewhere = world.source("vapi", "none", None).await;
    for number in 0..5 {
        world.clock.advance_millis(1_000);
        world.deliver(&source, &[], format!("rubbish {number}").as_bytes()).await.unwrap();
        world.deliver(&elsewhere, &[], format!("rubbish {number}").as_bytes()).await.unwrap();
    }
    let mut request =
        pb::ListQuarantineRequest { source_id: source.clone(), page_size: 2, ..pb::ListQuarantineRequest::default() };
    let mut walked = Vec::new();
    loop {
        let page = world.ingestion.clone().list_quarantine(by(ACME, request.clone())).await.unwrap().into_inner();
        walked.extend(page.deliveries);
        if page.next_page_token.is_empty() {
            break;
        }
        let foreign = pb::ListQuarantineRequest { source_id: elsewhere.clone(), ..request.clone() };
        let foreign = pb::ListQuarantineRequest { page_token: page.next_page_token.clone(), ..foreign };
        let status = world.ingestion.clone().list_quarantine(by(ACME, foreign)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        request.page_token = page.next_page_token;
    }
    assert_eq!(walked.len(), 5);
    assert!(walked.is_sorted_by_key(|delivery| std::cmp::Reverse(delivery.received_at.as_ref().unwrap().seconds)));

    assert_eq!(world.quarantined(OTHER).await, []);
    let status = world.retry(OTHER, &walked[0].quarantine_id).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let status = world.retry("acme/conversations:read", &walked[0].quarantine_id).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_full_quarantine_asks_the_provider_to_keep_its_delivery() {
    let world = World::start_with(|settings| settings.quarantine = QuarantineBounds { max_entries: 2, max_bytes: 1 << 20 }).await;
    let source = world.source("retell", "none", None).await;
    for body in ["one", "two", "one"] {
        world.deliver(&source, &[], body.as_bytes()).await.unwrap();
    }
    let status = world.deliver(&source, &[], b"three").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "QUARANTINE_FULL");
    assert!(details.retry_info().is_some());
    assert_eq!(world.quarantined(ACME).await.len(), 2);
}
