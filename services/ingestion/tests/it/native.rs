//! Native events through the API.

use colloquy_proto::ingestion::v1 as pb;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::world::{ACME, World, by};

fn event(event_id: &str, kind: &str, data: &str) -> pb::NativeEvent {
    pb::NativeEvent {
        event_id: event_id.to_owned(),
        conversation_id: "3f1c5d5e-1111-4222-8333-444444444444".to_owned(),
        r#type: kind.to_owned(),
        occurred_at: String::new(),
        data_json: data.to_owned(),
    }
}

fn turn(number: usize) -> pb::NativeEvent {
    event(&format!("turn-{number}"), "turn.added", &format!(r#"{{"role":"user","text":"hello","index":{number}}}"#))
}

async fn ingest(world: &World, key: &str, events: Vec<pb::NativeEvent>) -> Result<pb::IngestEventsResponse, Status> {
    let request = by(key, pb::IngestEventsRequest { events });
    Ok(world.ingestion.clone().ingest_events(request).await?.into_inner())
}

#[tokio::test]
async fn events_are_taken_once_and_a_client_s_own_uuid_is_kept() {
    let world = World::start().await;
    let events = vec![event("start", "conversation.started", r#"{"agent_id":"a"}"#), turn(0)];
    let first = ingest(&world, "acme/events:write", events.clone()).await.unwrap();
    assert_eq!((first.accepted, first.duplicates), (2, 0));
    assert!(first.position > 0);
    let again = ingest(&world, ACME, events).await.unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, 2));
    let partly = ingest(&world, ACME, vec![turn(0), turn(1)]).await.unwrap();
    assert_eq!((partly.accepted, partly.duplicates), (1, 1));
    let kept = world.events(ACME).await;
    assert_eq!(kept.len(), 3);
    for tailed in kept {
        assert_eq!(tailed.event.unwrap().conversation_id, "3f1c5d5e-1111-4222-8333-444444444444");
    }
}

#[tokio::test]
async fn one_bad_event_refuses_all_and_every_bad_field_is_named() {
    let world = World::start().await;
    let events = vec![
        turn(0),
        event("", "turn.added", r#"{"role":"nobody"}"#),
        event("2", "turn.invented", "{}"),
        event("3", "turn.added", r#"{"role":"user","txet":"hello"}"#),
        event("4", "turn.added", "no json"),
    ];
    let status = ingest(&world, ACME, events).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let fields: Vec<&str> = details.bad_request().unwrap().field_violations.iter().map(|bad| bad.field.as_str()).collect();
    for expected in ["events[1].event_id", "events[1].data.role", "events[2].type", "events[3].data.txet", "events[4].data"] {
        assert!(fields.contains(&expected), "{expected} is not among {fields:?}");
    }
    world.assert_nothing_was_stored().await;
}

#[tokio::test]
async fn a_request_has_one_to_a_thousand_events() {
    let world = World::start().await;
    let most = ingest(&world, ACME, (0..1_000).map(turn).collect()).await.unwrap();
    assert_eq!(most.accepted, 1_000);
    for count in [0, 1_001] {
        let status = ingest(&world, ACME, (0..count).map(turn).collect()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{count}");
    }
}

#[tokio::test]
async fn events_need_a_key_with_their_scope() {
    let world = World::start().await;
    let status = ingest(&world, "acme/conversations:read", vec![turn(0)]).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let request = pb::IngestEventsRequest { events: vec![turn(0)] };
    assert_eq!(world.ingestion.clone().ingest_events(request).await.unwrap_err().code(), Code::Unauthenticated);
    world.assert_nothing_was_stored().await;
}
