//! The methods, as callers meet them.

use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_service::Caller;
use tonic::Code;
use tonic_types::StatusExt;

use super::*;
use crate::delivery::Attempt;
use crate::endpoint::DisabledReason;
use crate::matching;
use crate::payload::own;
use crate::store::Finished;
use crate::testing::{Client, World, eventually};

const URL: &str = "https://198.51.100.7/hook";
const SCOPE: &str = "webhooks:write";

fn wanted() -> pb::WebhookEndpoint {
    pb::WebhookEndpoint { url: URL.to_owned(), enabled: true, ..Default::default() }
}

async fn try_create(client: &mut Client, endpoint: pb::WebhookEndpoint) -> Result<pb::CreateWebhookEndpointResponse, Status> {
    let request = pb::CreateWebhookEndpointRequest { endpoint: Some(endpoint) };
    client.create_webhook_endpoint(request).await.map(Response::into_inner)
}

async fn create(client: &mut Client, endpoint: pb::WebhookEndpoint) -> (pb::WebhookEndpoint, String) {
    let answer = try_create(client, endpoint).await.unwrap();
    (answer.endpoint.unwrap(), answer.secret)
}

async fn update(client: &mut Client, endpoint: pb::WebhookEndpoint, paths: &[&str]) -> Result<pb::WebhookEndpoint, Status> {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    let request =
        pb::UpdateWebhookEndpointRequest { endpoint: Some(endpoint), update_mask: Some(prost_types::FieldMask { paths }) };
    client.update_webhook_endpoint(request).await.map(|answer| answer.into_inner().endpoint.unwrap())
}

async fn get(client: &mut Client, endpoint_id: &str) -> Result<pb::WebhookEndpoint, Status> {
    let request = pb::GetWebhookEndpointRequest { endpoint_id: endpoint_id.to_owned() };
    client.get_webhook_endpoint(request).await.map(|answer| answer.into_inner().endpoint.unwrap())
}

async fn stored(world: &World, endpoint_id: &str) -> Endpoint {
    world.store.endpoint(&"acme".parse().unwrap(), endpoint_id.parse().unwrap()).await.unwrap().unwrap()
}

fn bad_fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    violations.iter().map(|bad| bad.field.clone()).collect()
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}

fn header(name: &str, value: &str) -> pb::WebhookHeader {
    pb::WebhookHeader { name: name.to_owned(), value: value.to_owned() }
}

/// Adds a test's delivery to an endpoint, which ended so.
async fn add_ended(world: &World, endpoint: &Endpoint, status: DeliveryStatus) -> Delivery {
    let now = world.clock.now();
    let message = own::test(endpoint, now);
    let delivery = matching::delivery(&message, endpoint, now);
    world.store.add(&[message], std::slice::from_ref(&delivery), now).await.unwrap();
    finish(world, endpoint, status).await;
    delivery
}

/// Ends whatever is due for an endpoint. Returns how much there was.
async fn finish(world: &World, endpoint: &Endpoint, status: DeliveryStatus) -> usize {
    let now = world.clock.now();
    let claimed = world.store.claim(endpoint, now, now.saturating_add_millis(60_000), 100).await.unwrap();
    let finished: Vec<Finished> = claimed
        .iter()
        .map(|claimed| Finished {
            organization_id: endpoint.organization_id.clone(),
            delivery_id: claimed.delivery.delivery_id,
            endpoint_id: endpoint.endpoint_id,
            attempt_count: claimed.delivery.attempt_count,
            attempt: Some(Attempt { at: now, status_code: Some(200), duration_ms: 3, error: None, response: None }),
            status,
            next_attempt_at: None,
        })
        .collect();
    world.store.finish(&finished).await.unwrap();
    finished.len()
}

#[tokio::test]
async fn an_endpoint_is_made_shown_changed_and_removed() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let filter = ConversationFilter { agent_id: Some("a".to_owned()), ..Default::default() };
    let given = pb::WebhookEndpoint {
        description: "Tickets".to_owned(),
        event_types: vec!["turn.*".to_owned(), "alert.opened".to_owned(), "turn.*".to_owned()],
        filter: Some(filter.clone()),
        ordered: true,
        rate_limit: 10,
        headers: vec![header("X-Team", "red")],
        ..wanted()
    };
    let (made, secret) = create(&mut client, given).await;
    assert_eq!((made.url.as_str(), made.kind.as_str(), made.enabled), (URL, "webhook", true));
    assert_eq!(made.event_types, ["alert.opened", "turn.*"]);
    assert_eq!((made.filter.clone(), made.rate_limit), (Some(filter), 10));
    // Only the name is shown.
    assert_eq!(made.headers, [header("X-Team", "")]);
    assert_eq!(STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
    assert_eq!(get(&mut client, &made.endpoint_id).await.unwrap(), made);

    let change = pb::WebhookEndpoint { endpoint_id: made.endpoint_id.clone(), description: "Desk".to_owned(), ..wanted() };
    let changed = update(&mut client, change, &["description", "event_types", "rate_limit"]).await.unwrap();
    assert_eq!((changed.description.as_str(), changed.event_types.len(), changed.rate_limit), ("Desk", 0, 0));
    assert!(changed.ordered, "what is not in the mask stays");

    let request = pb::DeleteWebhookEndpointRequest { endpoint_id: made.endpoint_id.clone() };
    client.delete_webhook_endpoint(request.clone()).await.unwrap();
    assert_eq!(client.delete_webhook_endpoint(request).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(reason(&get(&mut client, &made.endpoint_id).await.unwrap_err()), "WEBHOOK_ENDPOINT_NOT_FOUND");
}

#[tokio::test]
async fn all_that_is_wrong_with_an_endpoint_is_told_at_once() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let filter = ConversationFilter {
        agent_id: Some(String::new()),
        user_id: Some("u".to_owned()),
        tags: vec!["vip".to_owned()],
        expression: "agent_id = a".to_owned(),
        ..Default::default()
    };
    let given = pb::WebhookEndpoint {
        url: "http://127.0.0.1/".to_owned(),
        kind: "pigeon".to_owned(),
        description: "x".repeat(501),
        event_types: vec!["turn.added".to_owned(), "control.offered".to_owned(), "turn".to_owned()],
        filter: Some(filter),
        rate_limit: 10_001,
        headers: vec![
            header("webhook-id", "x"),
            header("Content-Length", "1"),
            header("bad name", "x"),
            header("X-A", "line\nbreak"),
            header("x-a", "again"),
            header("X-B", ""),
        ],
        ..wanted()
    };
    let status = try_create(&mut client, given).await.unwrap_err();
    let expected = [
        "endpoint.kind",
        "endpoint.url",
        "endpoint.description",
        "endpoint.event_types[1]",
        "endpoint.event_types[2]",
        "endpoint.filter.user_id",
        "endpoint.filter.tags",
        "endpoint.filter.expression",
        "endpoint.filter.agent_id",
        "endpoint.rate_limit",
        "endpoint.headers[0].name",
        "endpoint.headers[1].name",
        "endpoint.headers[2].name",
        "endpoint.headers[3].value",
        "endpoint.headers[4].name",
        "endpoint.headers[5].value",
    ];
    assert_eq!(bad_fields(&status), expected);
    let nothing = client.create_webhook_endpoint(pb::CreateWebhookEndpointRequest { endpoint: None }).await.unwrap_err();
    assert_eq!(bad_fields(&nothing), ["endpoint"]);
}

#[tokio::test]
async fn targets_that_must_not_be_reached_are_refused() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let refused = [
        "",
        "ftp://198.51.100.7/",
        "https://user:pass@198.51.100.7/",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://2130706433/",
        "mailto:alerts@example.com",
        "not a url",
    ];
    for url in refused {
        let status = try_create(&mut client, pb::WebhookEndpoint { url: url.to_owned(), ..wanted() }).await.unwrap_err();
        assert_eq!(bad_fields(&status), ["endpoint.url"], "{url}");
    }
}

#[tokio::test]
async fn each_kind_has_its_own_form() {
    let email = |url: &str| pb::WebhookEndpoint { kind: "email".to_owned(), url: url.to_owned(), ..wanted() };
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let status = try_create(&mut client, email("mailto:alerts@example.com")).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["endpoint.kind"]);

    let world = World::with_smtp(true).await;
    let mut client = world.client("acme", SCOPE);
    let (made, secret) = create(&mut client, email("mailto:alerts@example.com")).await;
    assert_eq!((made.kind.as_str(), secret.as_str()), ("email", ""));
    for url in [
        URL,
        "mailto:",
        "mailto:a@example.com,b@example.com",
        "mailto:a@example.com?bcc=b@example.com",
        "mailto:a?bcc=b@example.com",
        "a@example.com",
    ] {
        let status = try_create(&mut client, email(url)).await.unwrap_err();
        assert_eq!(bad_fields(&status), ["endpoint.url"], "{url}");
    }
    let (slack, secret) = create(&mut client, pb::WebhookEndpoint { kind: "slack".to_owned(), ..wanted() }).await;
    assert!(secret.is_empty());
    let request = pb::RotateWebhookSecretRequest { endpoint_id: slack.endpoint_id.clone() };
    assert_eq!(reason(&client.rotate_webhook_secret(request).await.unwrap_err()), "WEBHOOK_ENDPOINT_NOT_SIGNED");
    let other_kind = pb::WebhookEndpoint { kind: "webhook".to_owned(), ..slack };
    assert_eq!(bad_fields(&update(&mut client, other_kind, &["kind"]).await.unwrap_err()), ["endpoint.kind"]);
}

#[tokio::test]
async fn an_update_without_a_mask_changes_what_is_set() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let (made, _) = create(&mut client, pb::WebhookEndpoint { rate_limit: 5, ..wanted() }).await;
    let change = pb::WebhookEndpoint { endpoint_id: made.endpoint_id.clone(), ordered: true, ..Default::default() };
    let request = pb::UpdateWebhookEndpointRequest { endpoint: Some(change.clone()), update_mask: None };
    let changed = client.update_webhook_endpoint(request).await.unwrap().into_inner().endpoint.unwrap();
    assert_eq!((changed.ordered, changed.rate_limit, changed.url.as_str()), (true, 5, URL));
    let status = update(&mut client, change, &["created_at", "url"]).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["update_mask"]);
}

#[tokio::test]
async fn headers_are_sealed_and_keep_their_values_when_what_was_read_is_sent_back() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let headers = vec![header("Authorization", "Bearer hush"), header("X-Team", "red")];
    let (made, _) = create(&mut client, pb::WebhookEndpoint { headers, ..wanted() }).await;
    let kept = stored(&world, &made.endpoint_id).await;
    assert!(!kept.sealed_headers.as_ref().unwrap().windows(4).any(|window| window == b"hush"));

    let back = pb::WebhookEndpoint { headers: vec![header("authorization", ""), header("X-New", "1")], ..made };
    update(&mut client, back.clone(), &["headers"]).await.unwrap();
    let kept = world.secrets.open_headers(&stored(&world, &back.endpoint_id).await).unwrap();
    let kept: Vec<(&str, &str)> = kept.iter().map(|(name, value)| (name.as_str(), value.0.as_str())).collect();
    assert_eq!(kept, [("authorization", "Bearer hush"), ("X-New", "1")]);

    let unknown = pb::WebhookEndpoint { headers: vec![header("X-Team", "")], ..back.clone() };
    assert_eq!(bad_fields(&update(&mut client, unknown, &["headers"]).await.unwrap_err()), ["endpoint.headers[0].value"]);
    update(&mut client, pb::WebhookEndpoint { headers: Vec::new(), ..back.clone() }, &["headers"]).await.unwrap();
    assert_eq!(stored(&world, &back.endpoint_id).await.sealed_headers, None);
}

#[tokio::test]
async fn after_a_rotation_both_secrets_sign_for_a_day() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let (made, first) = create(&mut client, wanted()).await;
    let request = pb::RotateWebhookSecretRequest { endpoint_id: made.endpoint_id.clone() };
    let answer = client.rotate_webhook_secret(request).await.unwrap().into_inner();
    assert_ne!(answer.secret, first);
    let now = world.clock.now();
    assert_eq!(answer.previous_secret_expires_at.unwrap().seconds, now.as_seconds() + 86_400);
    let endpoint = stored(&world, &made.endpoint_id).await;
    assert_eq!(signing(&world, &endpoint, now), [answer.secret.clone(), first]);
    assert_eq!(signing(&world, &endpoint, now.saturating_add_millis(86_400_000)), [answer.secret]);
}

/// Returns what signs at an instant, as it is shown.
fn signing(world: &World, endpoint: &Endpoint, at: Timestamp) -> Vec<String> {
    let secrets = world.secrets.open_secrets(endpoint).unwrap();
    secrets.into_iter().filter(|signing| signing.is_valid(at)).map(|signing| shown(signing.secret)).collect()
}

#[tokio::test]
async fn whoever_rotates_again_within_a_day_leaves_every_secret_its_day() {
    const HOUR: i64 = 60 * 60 * 1_000;
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let (made, first) = create(&mut client, wanted()).await;
    let began = world.clock.now();
    let request = || pb::RotateWebhookSecretRequest { endpoint_id: made.endpoint_id.clone() };
    let mut newest_first = vec![first];
    for _ in 0..crate::secrets::MOST_PREVIOUS {
        let answer = client.rotate_webhook_secret(request()).await.unwrap().into_inner();
        let expires_at = answer.previous_secret_expires_at.unwrap().seconds;
        assert_eq!(expires_at, world.clock.now().as_seconds() + 86_400, "it is that of the secret rotated now");
        newest_first.insert(0, answer.secret);
        world.clock.advance_millis(HOUR);
    }
    assert_eq!(signing(&world, &stored(&world, &made.endpoint_id).await, world.clock.now()), newest_first);
    let status = client.rotate_webhook_secret(request()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "TOO_MANY_WEBHOOK_SECRETS"));
    let first_end = began.saturating_add_millis(24 * HOUR);
    assert!(status.message().contains(&first_end.to_string()), "{}", status.message());
    // Each ends a day after another took its place, and then there is room again.
    let endpoint = stored(&world, &made.endpoint_id).await;
    for ended in 1..newest_first.len() {
        let at = began.saturating_add_millis((24 + ended as i64 - 1) * HOUR);
        assert_eq!(signing(&world, &endpoint, at), newest_first[..newest_first.len() - ended]);
    }
    world.clock.advance_millis(first_end.as_millis() - world.clock.now().as_millis());
    client.rotate_webhook_secret(request()).await.unwrap();
    assert_eq!(stored(&world, &made.endpoint_id).await.secrets.previous.len(), crate::secrets::MOST_PREVIOUS);
}

#[tokio::test]
async fn what_no_history_has_is_refused_when_it_is_to_be_replayed() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let (made, _) = create(&mut client, wanted()).await;
    let mut replay = async |event_types: &[&str]| {
        let event_types = event_types.iter().map(|&name| name.to_owned()).collect();
        let request = pb::ReplayWebhookDeliveriesRequest { endpoint_id: made.endpoint_id.clone(), event_types, filter: None };
        client.replay_webhook_deliveries(request).await
    };
    let named = ["turn.added", "conversation.*", "alert.*", "nothing", "webhook.test", "speech.updated", "transcript.*"];
    let mut fields = bad_fields(&replay(&named).await.unwrap_err());
    fields.sort_unstable();
    assert_eq!(fields, [0, 2, 3, 4, 5, 6].map(|index| format!("event_types[{index}]")));
    for event_types in [&["conversation_agent_session.*", "recording.available", "control.*"][..], &[]] {
        replay(event_types).await.unwrap();
    }
}

#[tokio::test]
async fn enabling_an_endpoint_again_lets_it_be_tried_anew() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let (made, _) = create(&mut client, wanted()).await;
    let (organization, id) = ("acme".parse().unwrap(), made.endpoint_id.parse().unwrap());
    let now = world.clock.now();
    assert!(world.store.disable_endpoint(&organization, id, DisabledReason::Gone, now).await.unwrap());
    let disabled = get(&mut client, &made.endpoint_id).await.unwrap();
    assert_eq!((disabled.enabled, disabled.disabled_reason.as_deref()), (false, Some("gone")));

    let endpoint_id = made.endpoint_id.clone();
    let refused = [
        client.test_webhook_endpoint(pb::TestWebhookEndpointRequest { endpoint_id: endpoint_id.clone() }).await.err(),
        client
            .recover_webhook_deliveries(pb::RecoverWebhookDeliveriesRequest {
                endpoint_id: endpoint_id.clone(),
                since: Some(prost_types::Timestamp::default()),
                until: None,
            })
            .await
            .err(),
        client
            .replay_webhook_deliveries(pb::ReplayWebhookDeliveriesRequest {
                endpoint_id: endpoint_id.clone(),
                ..Default::default()
            })
            .await
            .err(),
    ];
    for status in refused {
        assert_eq!(reason(&status.unwrap()), "WEBHOOK_ENDPOINT_DISABLED");
    }
    let enabled = update(&mut client, pb::WebhookEndpoint { endpoint_id, ..wanted() }, &["enabled"]).await.unwrap();
    assert_eq!((enabled.enabled, enabled.disabled_reason, enabled.failing_since), (true, None, None));
}

#[tokio::test]
async fn no_organization_has_more_endpoints_than_it_may() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    for _ in 0..crate::endpoints::MOST_ENDPOINTS {
        create(&mut client, wanted()).await;
    }
    let status = try_create(&mut client, wanted()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "TOO_MANY_WEBHOOK_ENDPOINTS"));
    create(&mut world.client("other", SCOPE), wanted()).await;
}

#[tokio::test]
async fn pages_go_on_where_they_ended_and_tokens_are_of_their_list_only() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let mut made = Vec::new();
    for _ in 0..5 {
        world.clock.advance_millis(1);
        made.insert(0, create(&mut client, wanted()).await.0.endpoint_id);
    }
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListWebhookEndpointsRequest { page_size: 2, page_token };
        let page = client.list_webhook_endpoints(request).await.unwrap().into_inner();
        assert!(page.endpoints.len() <= 2);
        listed.extend(page.endpoints.into_iter().map(|endpoint| endpoint.endpoint_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        let stolen = pb::ListWebhookEndpointsRequest { page_size: 2, page_token: page_token.clone() };
        let status = world.client("other", SCOPE).list_webhook_endpoints(stolen).await.unwrap_err();
        assert_eq!(bad_fields(&status), ["page_token"]);
    }
    assert_eq!(listed, made);
    let request = pb::ListWebhookEndpointsRequest { page_size: -1, page_token: String::new() };
    assert_eq!(bad_fields(&client.list_webhook_endpoints(request).await.unwrap_err()), ["page_size"]);
}

#[tokio::test]
async fn a_test_waits_for_its_first_attempt() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let (made, _) = create(&mut client, wanted()).await;
    let endpoint = stored(&world, &made.endpoint_id).await;
    let worker = eventually(|| async { (finish(&world, &endpoint, DeliveryStatus::Succeeded).await > 0).then_some(()) });
    let request = pb::TestWebhookEndpointRequest { endpoint_id: made.endpoint_id.clone() };
    let (answer, ()) = tokio::join!(client.test_webhook_endpoint(request), worker);
    let delivery = answer.unwrap().into_inner().delivery.unwrap();
    assert_eq!((delivery.event_type.as_str(), delivery.status.as_str()), ("webhook.test", "succeeded"));
    assert_eq!((delivery.attempts[0].status_code, delivery.conversation_id.as_str()), (Some(200), ""));
    assert!(delivery.message_id.starts_with("msg_"));
}

#[tokio::test]
async fn what_ended_is_tried_again_and_what_waits_is_tried_now() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let (made, _) = create(&mut client, wanted()).await;
    let endpoint = stored(&world, &made.endpoint_id).await;
    let delivery = add_ended(&world, &endpoint, DeliveryStatus::Exhausted).await;
    let retry =
        pb::RetryWebhookDeliveryRequest { endpoint_id: made.endpoint_id.clone(), delivery_id: delivery.delivery_id.to_string() };
    let again = client.retry_webhook_delivery(retry.clone()).await.unwrap().into_inner().delivery.unwrap();
    assert_eq!((again.status.as_str(), again.attempt_count), ("pending", 1));
    assert!(again.next_attempt_at.is_some());
    assert_eq!(world.looked.0.load(Ordering::SeqCst), 1, "whoever delivers is told at once");
    // What is due, and what is being attempted, is answered as it is.
    let same =
        async |client: &mut Client| client.retry_webhook_delivery(retry.clone()).await.unwrap().into_inner().delivery.unwrap();
    assert_eq!(same(&mut client).await, again);
    let now = world.clock.now();
    let claimed = world.store.claim(&endpoint, now, now.saturating_add_millis(60_000), 1).await.unwrap().remove(0).delivery;
    world.clock.advance_millis(1_000);
    assert_eq!(same(&mut client).await, again);
    let failed = Attempt { at: now, status_code: Some(500), duration_ms: 3, error: None, response: None };
    let failed = Finished {
        organization_id: endpoint.organization_id.clone(),
        delivery_id: claimed.delivery_id,
        endpoint_id: endpoint.endpoint_id,
        attempt_count: claimed.attempt_count,
        attempt: Some(failed),
        status: DeliveryStatus::Pending,
        next_attempt_at: Some(now.saturating_add_millis(900_000)),
    };
    world.store.finish(&[failed]).await.unwrap();
    let hurried = same(&mut client).await;
    let at = |timestamp: &Option<prost_types::Timestamp>| timestamp.unwrap().seconds;
    assert_eq!((hurried.status.as_str(), hurried.attempt_count), ("pending", 2));
    assert_eq!(at(&hurried.next_attempt_at), at(&again.next_attempt_at) + 1);
    let nobody = pb::RetryWebhookDeliveryRequest { delivery_id: Uuid::nil().to_string(), ..retry.clone() };
    assert_eq!(reason(&client.retry_webhook_delivery(nobody).await.unwrap_err()), "WEBHOOK_DELIVERY_NOT_FOUND");
    let neither = pb::RetryWebhookDeliveryRequest { endpoint_id: "x".to_owned(), delivery_id: "y".to_owned() };
    let status = client.retry_webhook_delivery(neither).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["endpoint_id", "delivery_id"]);
}

#[tokio::test]
async fn a_stretch_of_time_is_recovered() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let (made, _) = create(&mut client, wanted()).await;
    let endpoint = stored(&world, &made.endpoint_id).await;
    let began = world.clock.now();
    add_ended(&world, &endpoint, DeliveryStatus::Exhausted).await;
    add_ended(&world, &endpoint, DeliveryStatus::Succeeded).await;
    world.clock.advance_millis(10_000);
    add_ended(&world, &endpoint, DeliveryStatus::Exhausted).await;
    world.clock.advance_millis(10_000);
    let at = |seconds: i64| Some(prost_types::Timestamp { seconds: began.as_seconds() + seconds, nanos: 0 });
    let request = |since, until| pb::RecoverWebhookDeliveriesRequest { endpoint_id: made.endpoint_id.clone(), since, until };
    let mut recovered = async |since, until| client.recover_webhook_deliveries(request(since, until)).await;
    assert_eq!(recovered(at(0), at(10)).await.unwrap().into_inner().deliveries, 1);
    assert_eq!(recovered(at(5), None).await.unwrap().into_inner().deliveries, 1);
    assert_eq!(recovered(at(0), None).await.unwrap().into_inner().deliveries, 0);
    assert!(world.looked.0.load(Ordering::SeqCst) >= 2, "whoever delivers is told at once");
    assert_eq!(bad_fields(&recovered(None, at(1)).await.unwrap_err()), ["since"]);
    assert_eq!(bad_fields(&recovered(at(2), at(1)).await.unwrap_err()), ["since"]);
}

#[tokio::test]
async fn deliveries_are_listed_by_what_is_asked_for() {
    let world = World::start().await;
    let mut client = world.client("acme", SCOPE);
    let (made, _) = create(&mut client, wanted()).await;
    let endpoint = stored(&world, &made.endpoint_id).await;
    for status in [DeliveryStatus::Exhausted, DeliveryStatus::Succeeded, DeliveryStatus::Exhausted] {
        world.clock.advance_millis(1);
        add_ended(&world, &endpoint, status).await;
    }
    let all = pb::ListWebhookDeliveriesRequest { endpoint_id: made.endpoint_id.clone(), page_size: 2, ..Default::default() };
    let first = client.list_webhook_deliveries(all.clone()).await.unwrap().into_inner();
    assert_eq!(first.deliveries.len(), 2);
    let other = pb::ListWebhookDeliveriesRequest {
        page_token: first.next_page_token.clone(),
        status: "exhausted".to_owned(),
        ..all.clone()
    };
    assert_eq!(bad_fields(&client.list_webhook_deliveries(other).await.unwrap_err()), ["page_token"]);
    let rest = pb::ListWebhookDeliveriesRequest { page_token: first.next_page_token, ..all.clone() };
    let rest = client.list_webhook_deliveries(rest).await.unwrap().into_inner();
    assert_eq!((rest.deliveries.len(), rest.next_page_token.as_str()), (1, ""));
    let exhausted = pb::ListWebhookDeliveriesRequest { status: "exhausted".to_owned(), ..all.clone() };
    assert_eq!(client.list_webhook_deliveries(exhausted).await.unwrap().into_inner().deliveries.len(), 2);
    let bad = pb::ListWebhookDeliveriesRequest {
        status: "lost".to_owned(),
        conversation_id: "c".to_owned(),
        event_type: "nothing".to_owned(),
        page_size: -1,
        ..all
    };
    let status = client.list_webhook_deliveries(bad).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["status", "conversation_id", "event_type", "page_size"]);
}

#[tokio::test]
async fn nobody_reaches_what_is_anothers() {
    let world = World::start().await;
    let (made, _) = create(&mut world.client("acme", SCOPE), wanted()).await;
    let endpoint_id = made.endpoint_id;
    let answers = async |client: &mut Client| {
        let id = || endpoint_id.clone();
        let deliveries = pb::ListWebhookDeliveriesRequest { endpoint_id: id(), ..Default::default() };
        let change = pb::WebhookEndpoint { endpoint_id: id(), ..wanted() };
        let delivery_id = Uuid::nil().to_string();
        let since = Some(prost_types::Timestamp::default());
        [
            get(client, &endpoint_id).await.err(),
            update(client, change, &["url"]).await.err(),
            client.rotate_webhook_secret(pb::RotateWebhookSecretRequest { endpoint_id: id() }).await.err(),
            client.test_webhook_endpoint(pb::TestWebhookEndpointRequest { endpoint_id: id() }).await.err(),
            client.list_webhook_deliveries(deliveries).await.err(),
            client.retry_webhook_delivery(pb::RetryWebhookDeliveryRequest { endpoint_id: id(), delivery_id }).await.err(),
            client
                .recover_webhook_deliveries(pb::RecoverWebhookDeliveriesRequest { endpoint_id: id(), since, until: None })
                .await
                .err(),
            client
                .replay_webhook_deliveries(pb::ReplayWebhookDeliveriesRequest { endpoint_id: id(), ..Default::default() })
                .await
                .err(),
            client.delete_webhook_endpoint(pb::DeleteWebhookEndpointRequest { endpoint_id: id() }).await.err(),
        ]
    };
    for status in answers(&mut world.client("other", SCOPE)).await {
        assert_eq!(reason(&status.unwrap()), "WEBHOOK_ENDPOINT_NOT_FOUND");
    }
    for status in answers(&mut world.client("acme", "conversations:read,transcripts:read")).await {
        assert_eq!(reason(&status.unwrap()), "SCOPE_MISSING");
    }
    for status in answers(&mut world.client_of(Caller::Anonymous)).await {
        assert_eq!(status.unwrap().code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn the_catalogue_is_open_to_any_key() {
    let world = World::start().await;
    let request = pb::ListWebhookEventTypesRequest {};
    let answer = world.client("acme", "audio:read").list_webhook_event_types(request).await.unwrap().into_inner();
    let names: Vec<&str> = answer.event_types.iter().map(|event_type| event_type.name.as_str()).collect();
    assert!(names.is_sorted() && names.contains(&"conversation_agent_session.ended"));
    let status = world.client_of(Caller::Anonymous).list_webhook_event_types(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}
