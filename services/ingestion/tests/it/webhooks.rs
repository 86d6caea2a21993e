//! Providers' deliveries.

use std::collections::BTreeSet;

use colloquy_types::Clock;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use colloquy_proto::ingestion::v1 as pb;

use crate::world::{ACME, ELEVENLABS_SECRET, NOW_SECONDS, OTHER, Sample, World, elevenlabs_headers, sample, samples};

/// Every provider with the secret its samples are signed with.
const PROVIDERS: [(&str, &str, &str); 4] = [
    ("elevenlabs", "hmac", ELEVENLABS_SECRET),
    ("retell", "hmac", "key_test_0123456789abcdef01234567"),
    ("vapi", "shared_secret", "vapi-test-shared-secret"),
    ("agent_session", "hmac", "agent-session-test-api-key"),
];

async fn every_sample_is_taken_once(world: &World) {
    let mut delivered = 0;
    let mut accepted = 0;
    for (provider, scheme, secret) in PROVIDERS {
        let source = world.source(provider, scheme, Some(secret)).await;
        for Sample { name, headers, body } in samples(provider) {
            let first = world.deliver(&source, &headers, &body).await.unwrap();
            assert_eq!(first.quarantine_id, "", "{provider}/{name}");
            assert!(first.accepted > 0 && first.position > 0, "{provider}/{name}: {first:?}");
            let again = world.deliver(&source, &headers, &body).await.unwrap();
            assert_eq!(again.accepted, 0, "{provider}/{name}");
            assert_eq!(again.duplicates, first.accepted + first.duplicates, "{provider}/{name}");
            delivered += 1;
            accepted += first.accepted as usize;
        }
    }
    assert_eq!(delivered, 24);
    let events = world.events(ACME).await;
    // Where Vapi's call can be steered is told to services alone.
    assert_eq!(events.len(), accepted - 1);
    assert!(events.iter().all(|event| event.organization_id == "acme"));
    assert_eq!(world.events(OTHER).await, []);
    assert_eq!(world.quarantined(ACME).await, []);
}

#[tokio::test]
async fn every_signed_sample_is_taken_and_a_repeat_changes_nothing() {
    let world = World::start().await;
    every_sample_is_taken_once(&world).await;
}

#[tokio::test]
async fn every_signed_sample_is_taken_on_postgres_too() {
    // Absent only where tests may run without a server; `tests/run` requires one.
    if let Some(world) = World::on_postgres().await {
        every_sample_is_taken_once(&world).await;
    }
}

#[tokio::test]
async fn the_sources_client_stands_where_the_provider_names_none() {
    let world = World::start().await;
    let source = world.source("elevenlabs", "hmac", Some(ELEVENLABS_SECRET)).await;
    let Sample { headers, body, .. } = sample("elevenlabs", "post_call_transcription");
    world.deliver(&source, &headers, &body).await.unwrap();
    let events = world.events(ACME).await;
    let text = format!("{events:?}");
    assert!(text.contains(r#"client_id: Some("client-7")"#), "{text}");
}

#[tokio::test]
async fn a_forged_or_stale_delivery_is_refused_and_nothing_is_stored() {
    let world = World::start().await;
    let source = world.source("elevenlabs", "hmac", Some(ELEVENLABS_SECRET)).await;
    let Sample { headers, body, .. } = sample("elevenlabs", "post_call_audio");

    let longer = [&body[..], b" "].concat();
    let by_another_secret = elevenlabs_headers("wsec_other", NOW_SECONDS, [&body[..]]);
    let stale = elevenlabs_headers(ELEVENLABS_SECRET, NOW_SECONDS - 30 * 60 - 1, [&body[..]]);
    let early = elevenlabs_headers(ELEVENLABS_SECRET, NOW_SECONDS + 30 * 60 + 1, [&body[..]]);
    let cases = [
        ("a changed body", &headers, &longer),
        ("another secret", &by_another_secret, &body),
        ("a stale signature", &stale, &body),
        ("a signature from the future", &early, &body),
        ("no signature", &Vec::new(), &body),
    ];
    for (case, headers, body) in cases {
        let status = world.deliver(&source, headers, body).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{case}");
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "SIGNATURE_INVALID", "{case}");
    }
    world.assert_nothing_was_stored().await;
}

#[tokio::test]
async fn a_large_forged_delivery_stores_no_recording() {
    let world = World::start().await;
    let source = world.source("elevenlabs", "hmac", Some(ELEVENLABS_SECRET)).await;
    let body = format!(r#"{{"type":"post_call_audio","data":{{"full_audio":"{}"}}}}"#, "AAAA".repeat(1 << 20));
    let headers = elevenlabs_headers("wsec_other", NOW_SECONDS, [body.as_bytes()]);
    let status = world.deliver(&source, &headers, body.as_bytes()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    world.assert_nothing_was_stored().await;
}

#[tokio::test]
async fn an_unknown_source_is_not_found() {
    let world = World::start().await;
    for source in ["3f1c5d5e-1111-4222-8333-444444444444", "", "none", "💥"] {
        let status = world.deliver(source, &[], b"{}").await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{source}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_below_it_is_not() {
    let world = World::start_with(|settings| {
        settings.max_body_bytes = 50_000;
        settings.max_audio_body_bytes = 100_000;
    })
    .await;
    for (provider, limit) in [("retell", 50_000), ("elevenlabs", 100_000)] {
        let source = world.source(provider, "none", None).await;
        let status = world.deliver(&source, &[], &vec![b' '; limit + 1]).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{provider}");
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "BODY_TOO_LARGE", "{provider}");
        assert_eq!(world.quarantined(ACME).await, [], "{provider}");
    }
    for (provider, limit) in [("retell", 50_000), ("elevenlabs", 100_000)] {
        let source = world.source(provider, "none", None).await;
        let answer = world.deliver(&source, &[], &vec![b' '; limit]).await.unwrap();
        assert_ne!(answer.quarantine_id, "", "{provider}");
    }
}

#[tokio::test]
async fn a_delivery_must_begin_with_its_head_and_have_only_one() {
    let world = World::start().await;
    let source_id = world.source("retell", "none", None).await;
    let head = || pb::receive_webhook_request::Part::Head(pb::WebhookHead { source_id: source_id.clone(), headers: Vec::new() });
    let chunk = |length| pb::receive_webhook_request::Part::Chunk(vec![b' '; length].into());
    let cases = [vec![], vec![chunk(1), head()], vec![head(), head()], vec![head(), chunk((1 << 20) + 1)]];
    for (case, parts) in cases.into_iter().enumerate() {
        let parts = parts.into_iter().map(|part| pb::ReceiveWebhookRequest { part: Some(part) });
        let request = Request::new(futures::stream::iter(parts.collect::<Vec<_>>()));
        let status = world.ingestion.clone().receive_webhook(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "case {case}");
    }
    world.assert_nothing_was_stored().await;
}

#[tokio::test]
async fn a_native_source_takes_the_body_of_the_events_route() {
    let world = World::start().await;
    let source = world.source("native", "bearer", Some("native-token")).await;
    let body = br#"{"events": [
        {"event_id": "1", "conversation_id": "c", "type": "conversation.started", "data": {"agent_id": "a"}},
        {"event_id": "2", "conversation_id": "c", "type": "turn.added", "data": {"role": "user", "text": "hi", "index": 0}}
    ]}"#;
    let token = [("authorization".to_owned(), "Bearer native-token".to_owned())];
    let answer = world.deliver(&source, &token, body).await.unwrap();
    assert_eq!((answer.accepted, answer.duplicates), (2, 0));
    let wrong = [("authorization".to_owned(), "Bearer other".to_owned())];
    assert_eq!(world.deliver(&source, &wrong, body).await.unwrap_err().code(), Code::Unauthenticated);
    let kinds: BTreeSet<String> = world.events(ACME).await.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, BTreeSet::from(["conversation.started".to_owned(), "turn.added".to_owned()]));
}

#[tokio::test]
async fn a_body_of_a_few_megabytes_goes_through_a_file_and_arrives_whole() {
    let world = World::start().await;
    let source = world.source("native", "none", None).await;
    let text = "ä".repeat(1_000);
    let event = |number: usize| {
        let data = serde_json::json!({"role": "user", "text": text, "index": number});
        serde_json::json!({"event_id": number.to_string(), "conversation_id": "c", "type": "turn.added", "data": data})
    };
    let body = serde_json::json!({"events": (0..1_500).map(event).collect::<Vec<_>>()}).to_string();
    assert!(body.len() > 3 << 20);
    let answer = world.deliver(&source, &[], body.as_bytes()).await.unwrap();
    assert_eq!((answer.accepted, answer.quarantine_id.as_str()), (1_500, ""));
    assert_eq!(world.events(ACME).await.len(), 1_500);
    assert!(std::fs::read_dir(world.folder.path().join("spool")).unwrap().next().is_none(), "spool files have no names");
    assert_eq!(world.clock.now().as_seconds(), NOW_SECONDS);
}

/// Changes a body somewhere: cut off, a byte replaced, a piece repeated or left out.
fn mutated(body: &[u8], number: usize) -> Vec<u8> {
    let at = number.wrapping_mul(2_654_435_761) % body.len();
    let end = body.len().min(at + 1 + number % 40);
    match number % 4 {
        0 => body[..at].to_vec(),
        1 => [&body[..at], &[(number * 31) as u8], &body[at + 1..]].concat(),
        2 => [&body[..end], &body[at..]].concat(),
        _ => [&body[..at], &body[end..]].concat(),
    }
}

#[tokio::test]
async fn every_damaged_sample_is_either_understood_or_in_quarantine() {
    let world = World::start().await;
    let (mut understood, mut quarantined) = (0, 0);
    for (provider, ..) in PROVIDERS {
        let source = world.source(provider, "none", None).await;
        for Sample { name, body, .. } in samples(provider) {
            for number in 1..=12 {
                let answer = world.deliver(&source, &[], &mutated(&body, number)).await;
                let answer = answer.unwrap_or_else(|status| panic!("{provider}/{name} {number}: {status:?}"));
                if answer.quarantine_id.is_empty() { understood += 1 } else { quarantined += 1 }
            }
        }
    }
    assert!(understood > 0 && quarantined > 0, "{understood} understood, {quarantined} in quarantine");
}
