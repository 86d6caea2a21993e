//! Replays over a list that is made up.

use colloquy_events::{Analysis, Authority, EndStatus, Ended, Facts, Record, Recording, RecordingChannel};
use colloquy_types::{ConversationId, EventId, Provider, RecordId};

use super::*;
use crate::endpoint::{Filter, Kind, SealedSecrets};
use crate::message::Body;
use crate::payload::messages_of;
use crate::store::DeliveryFilter;
use crate::testing::{World, eventually};

const BEGAN: i64 = 1_772_463_600;

fn organization() -> OrganizationId {
    "acme".parse().unwrap()
}

fn endpoint(event_types: &[&str]) -> Endpoint {
    Endpoint {
        organization_id: organization(),
        endpoint_id: Uuid::from_u128(9),
        kind: Kind::Webhook,
        url: "https://198.51.100.7/".to_owned(),
        description: String::new(),
        event_types: event_types.iter().map(|&name| name.to_owned()).collect(),
        filter: Filter::default(),
        ordered: false,
        enabled: true,
        rate_limit: None,
        sealed_headers: None,
        header_names: Vec::new(),
        secrets: SealedSecrets::default(),
        failing_since: None,
        disabled_reason: None,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        revision: 1,
    }
}

/// The events of a conversation as the log has them.
fn events(number: u64) -> Vec<Event> {
    let conversation_id = ConversationId(Uuid::from_u128(1_000 + u128::from(number)));
    let recording = Recording {
        url: None,
        object_key: Some("acme/mixed".to_owned()),
        sha256: Some("00".to_owned()),
        size_bytes: Some(1),
        content_type: None,
        duration_ms: None,
        channel: RecordingChannel::Mixed,
    };
    let data = [
        Data::Started(Facts { agent_id: Some("a".to_owned()), ..Facts::default() }),
        Data::Ended(Ended::new(EndStatus::Completed)),
        Data::Analyzed(Analysis::by(Authority::Provider)),
        Data::RecordingAvailable(recording),
    ];
    let event = |(index, data): (usize, Data)| Event {
        event_id: EventId::derive(conversation_id, &[&index.to_string()]),
        conversation_id,
        provider: Provider::Retell,
        external_id: format!("call_{number}"),
        occurred_at: Timestamp::from_millis((BEGAN + number as i64) * 1_000).unwrap(),
        ordinal: u32::try_from(index).unwrap(),
        data,
    };
    data.into_iter().enumerate().map(event).collect()
}

/// The conversation as conversation-store lists it, with its history: nobody is told where a recording lies.
fn listed_conversation(number: u64) -> (conversation_pb::Conversation, Vec<conversation_pb::ConversationEvent>) {
    let events = events(number);
    let conversation = conversation_pb::Conversation {
        conversation_id: events[0].conversation_id.to_string(),
        external_id: events[0].external_id.clone(),
        provider: "retell".to_owned(),
        organization_id: "acme".to_owned(),
        agent_id: Some(if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned()),
        created_at: Some(timestamp_to_pb(events[0].occurred_at)),
        ..Default::default()
    };
    let entry = |mut event: Event| {
        if let Data::RecordingAvailable(recording) = &mut event.data {
            recording.object_key = None;
        }
        let tagged = serde_json::to_value(&event.data).unwrap();
        conversation_pb::ConversationEvent {
            event_id: event.event_id.to_string(),
            r#type: event.data.kind().to_owned(),
            occurred_at: Some(timestamp_to_pb(event.occurred_at)),
            received_at: None,
            data_json: tagged["data"].to_string(),
        }
    };
    (conversation, events.into_iter().map(entry).collect())
}

async fn world(conversations: u64, endpoint: &Endpoint) -> World {
    let world = World::start().await;
    *world.conversations.all.lock().unwrap() = (0..conversations).map(listed_conversation).collect();
    assert!(world.store.create_endpoint(endpoint, 50).await.unwrap());
    world
}

async fn deliveries(world: &World, endpoint: &Endpoint) -> Vec<Delivery> {
    let filter = DeliveryFilter::default();
    world.store.page_of_deliveries(&endpoint.organization_id, endpoint.endpoint_id, &filter, None, 1_000).await.unwrap()
}

async fn begin(world: &World, endpoint: &Endpoint, request: pb::ReplayWebhookDeliveriesRequest) {
    world.replays.begin(&endpoint.organization_id, endpoint.endpoint_id, request).await.unwrap();
}

/// Runs the worker until no replay is left to claim and so many deliveries are there.
async fn run_until(world: &World, endpoint: &Endpoint, count: usize) -> Vec<Delivery> {
    let stop = CancellationToken::new();
    let worker = tokio::spawn(world.replays.clone().run(stop.clone()));
    let is_done = async || {
        let all = deliveries(world, endpoint).await;
        let later = world.clock.now().saturating_add_millis(10 * HELD_FOR_MILLIS);
        let is_there = all.len() >= count;
        (is_there && world.store.claim_replay(later, later).await.unwrap().is_none()).then_some(all)
    };
    let all = eventually(is_done).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    all
}

#[tokio::test]
async fn a_replay_tells_what_the_log_told_under_the_same_ids() {
    let endpoint = endpoint(&[]);
    let world = world(1, &endpoint).await;
    begin(&world, &endpoint, pb::ReplayWebhookDeliveriesRequest::default()).await;
    let replayed = run_until(&world, &endpoint, 7).await;
    let record = Record {
        record_id: RecordId(Uuid::nil()),
        organization_id: organization(),
        source_id: None,
        received_at: Timestamp::default(),
        events: events(0),
        traceparent: String::new(),
        sequence: 5,
    };
    let mut told: Vec<(Uuid, String)> =
        messages_of(&record).into_iter().map(|message| (message.message_id, message.event_type)).collect();
    let mut again: Vec<(Uuid, String)> =
        replayed.into_iter().map(|delivery| (delivery.message_id, delivery.event_type)).collect();
    told.sort_unstable();
    again.sort_unstable();
    assert_eq!(told, again);
}

#[tokio::test]
async fn a_replay_goes_through_every_page_and_tells_only_what_was_asked_for() {
    let endpoint =
        Endpoint { filter: Filter { agent_id: Some("even".to_owned()), ..Filter::default() }, ..endpoint(&["conversation.*"]) };
    let world = world(50, &endpoint).await;
    let request = pb::ReplayWebhookDeliveriesRequest {
        event_types: vec!["conversation.ended".to_owned(), "recording.*".to_owned()],
        ..Default::default()
    };
    begin(&world, &endpoint, request).await;
    let replayed = run_until(&world, &endpoint, 25).await;
    assert_eq!(replayed.len(), 25);
    assert!(replayed.iter().all(|delivery| delivery.event_type == "conversation.ended"));
    assert!(world.conversations.asked.lock().unwrap().iter().all(|asked| asked.organization_id == "acme"));
}

#[tokio::test]
async fn a_list_that_is_too_old_is_begun_anew_from_where_it_was() {
    let endpoint = endpoint(&["conversation.ended"]);
    let world = world(50, &endpoint).await;
    *world.conversations.stale.lock().unwrap() = Some("20".to_owned());
    begin(&world, &endpoint, pb::ReplayWebhookDeliveriesRequest::default()).await;
    assert_eq!(run_until(&world, &endpoint, 50).await.len(), 50);
    let asked = world.conversations.asked.lock().unwrap();
    let anew = asked.iter().find(|asked| asked.filter.as_ref().unwrap().created_from.is_some()).unwrap();
    // The last conversation told of, once more: others may have begun in the same instant.
    assert_eq!(anew.filter.as_ref().unwrap().created_from.unwrap().seconds, BEGAN + 19);
    assert_eq!(anew.page_token, "");
}

#[tokio::test]
async fn a_filter_that_is_not_one_is_refused_at_once() {
    let endpoint = endpoint(&[]);
    let world = world(1, &endpoint).await;
    let filter = conversation_pb::ConversationFilter { provider: Some("nobody".to_owned()), ..Default::default() };
    let request = pb::ReplayWebhookDeliveriesRequest { filter: Some(filter), ..Default::default() };
    let error = world.replays.begin(&organization(), endpoint.endpoint_id, request).await.unwrap_err();
    assert_eq!(Status::from(error).code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_replay_waits_while_its_endpoint_is_disabled_and_ends_when_it_is_gone() {
    let endpoint = endpoint(&["conversation.ended"]);
    let world = world(1, &endpoint).await;
    begin(&world, &endpoint, pb::ReplayWebhookDeliveriesRequest::default()).await;
    let now = world.clock.now();
    let replay = world.store.claim_replay(now, now).await.unwrap().unwrap();
    let disabled = Endpoint { enabled: false, revision: 2, ..endpoint.clone() };
    assert!(world.store.replace_endpoint(&disabled).await.unwrap());
    assert!(matches!(world.replays.step(&replay, &Place::default()).await.unwrap(), Step::Held));
    assert!(world.store.delete_endpoint(&organization(), endpoint.endpoint_id).await.unwrap());
    assert!(matches!(world.replays.step(&replay, &Place::default()).await.unwrap(), Step::Done));
    assert_eq!(world.store.claim_replay(now, now).await.unwrap(), None);
}

#[test]
fn a_replayed_body_does_not_say_where_it_stands() {
    let (conversation, history) = listed_conversation(0);
    let messages = messages_of_history(&organization(), &conversation, history, |_| true);
    assert!(messages.windows(2).all(|pair| pair[0].position <= pair[1].position));
    let Body::Ready(body) = &messages[0].body else { panic!("the first message tells of an event") };
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body["data"]["position"], Value::Null);
}

#[test]
fn a_place_is_read_as_it_was_written() {
    let at = |millis| Timestamp::from_millis(millis).ok();
    let token = "with spaces and-dashes".to_owned();
    for place in [
        Place::default(),
        Place { from: at(1), token, reached: None },
        Place { from: None, token: String::new(), reached: at(-5) },
    ] {
        assert_eq!(Place::read(&place.write()), place);
    }
    assert_eq!(Place::read(""), Place::default());
}
