//! The dispatcher with a real store, real receivers and, where days pass, a clock of its own.

mod harness;

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::slice::from_ref;
use std::time::Duration;

use colloquy_types::Clock;
use standardwebhooks::Webhook;
use tokio::time::Instant;

use crate::delivery::Status;
use crate::endpoint::{DisabledReason, PreviousSecret};
use crate::kept::{Keeping, Kept};
use crate::message::{Body, Message};
use crate::payload::SnapshotError;
use crate::reader::Dispatch;
use crate::send::Secret;
use harness::{HANGS, Harness, SECRET, acme, eventually, secrets};

pub(super) use harness::{claimed, delivery, target};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn webhook_id(message: &Message) -> String {
    format!("msg_{}", message.message_id.simple())
}

#[tokio::test]
async fn what_was_just_made_is_delivered_and_written_down() {
    let mut harness = Harness::start().await;
    let endpoint = harness.endpoint("a", |_| {}).await;
    let running = harness.ready().await;
    let message = harness.messages(1, 1).remove(0);
    running.dispatcher.fresh(harness.keep(from_ref(&message), &[&endpoint]).await, Kept::already());
    let heard = harness.receiver.hears("a", 1).await.remove(0);
    Webhook::new(SECRET).unwrap().verify(&heard.body, &heard.headers).unwrap();
    assert_eq!(heard.id, webhook_id(&message));
    let delivery = harness.stands(&message, &endpoint, Status::Succeeded, 1).await;
    assert_eq!(delivery.attempts[0].status_code, Some(200));
    running.stop().await;
    assert_eq!(harness.receiver.heard("a").len(), 1);
}

#[tokio::test]
async fn what_an_early_attempt_came_to_waits_for_its_row_and_is_dropped_without_one() {
    let mut harness = Harness::start().await;
    let endpoint = harness.endpoint("a", |endpoint| endpoint.ordered = false).await;
    let running = harness.ready().await;
    let messages = harness.messages(1, 2);
    let mut claimed = harness.keep(&messages, &[&endpoint]).await;
    let (never, later) = (claimed.remove(0), claimed.remove(0));
    let (dropped, not_kept) = Keeping::begin();
    let (keeping, kept) = Keeping::begin();
    running.dispatcher.fresh(vec![never], not_kept);
    running.dispatcher.fresh(vec![later], kept);
    harness.receiver.hears("a", 2).await;
    harness.stands(&messages[0], &endpoint, Status::Pending, 0).await;
    harness.stands(&messages[1], &endpoint, Status::Pending, 0).await;
    drop(dropped);
    keeping.done();
    harness.stands(&messages[1], &endpoint, Status::Succeeded, 1).await;
    running.stop().await;
    harness.stands(&messages[0], &endpoint, Status::Pending, 0).await;
}

#[tokio::test]
async fn what_fails_is_tried_again_when_it_is_due_and_one_success_clears_the_endpoint() {
    let mut harness = Harness::start().await;
    let endpoint = harness.endpoint("a", |_| {}).await;
    harness.receiver.answer("a", 500);
    let running = harness.ready().await;
    let message = harness.messages(1, 1).remove(0);
    running.dispatcher.fresh(harness.keep(from_ref(&message), &[&endpoint]).await, Kept::already());
    let failed = harness.stands(&message, &endpoint, Status::Pending, 1).await;
    let wait = failed.next_attempt_at.unwrap().millis_since(harness.clock.now());
    assert!((4_000..=6_000).contains(&wait), "{wait}");
    assert!(harness.kept(&endpoint).await.failing_since.is_some());

    harness.clock.advance_millis(6_000);
    let failed = harness.stands(&message, &endpoint, Status::Pending, 2).await;
    let wait = failed.next_attempt_at.unwrap().millis_since(harness.clock.now());
    assert!((240_000..=360_000).contains(&wait), "{wait}");

    harness.receiver.answer("a", 204);
    harness.clock.advance_millis(360_000);
    harness.stands(&message, &endpoint, Status::Succeeded, 3).await;
    assert_eq!(harness.kept(&endpoint).await.failing_since, None);
    running.stop().await;
}

#[tokio::test]
async fn an_ordered_endpoint_gets_the_next_of_a_conversation_only_after_the_one_before() {
    let mut harness = Harness::start().await;
    let endpoint = harness.endpoint("a", |endpoint| endpoint.ordered = true).await;
    harness.receiver.answer("a", 500);
    let running = harness.ready().await;
    let held = harness.messages(1, 3);
    running.dispatcher.fresh(harness.keep(&held, &[&endpoint]).await, Kept::already());
    harness.stands(&held[0], &endpoint, Status::Pending, 1).await;

    harness.receiver.answer("a", 200);
    let other = harness.messages(2, 20);
    running.dispatcher.fresh(harness.keep(&other, &[&endpoint]).await, Kept::already());
    harness.stands(&other[19], &endpoint, Status::Succeeded, 1).await;
    let heard: Vec<_> = harness.receiver.heard("a").into_iter().map(|heard| heard.id).collect();
    let expected: Vec<_> = held[..1].iter().chain(&other).map(webhook_id).collect();
    assert_eq!(heard, expected);

    harness.clock.advance_millis(6_000);
    harness.stands(&held[2], &endpoint, Status::Succeeded, 1).await;
    let heard: Vec<_> = harness.receiver.heard("a")[21..].iter().map(|heard| heard.id.clone()).collect();
    assert_eq!(heard, held.iter().map(webhook_id).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_hangs_holds_nobody_else_up() {
    let mut harness = Harness::start().await;
    let hanging = harness.endpoint("hangs", |_| {}).await;
    let healthy = harness.endpoint("a", |_| {}).await;
    harness.receiver.answer("hangs", HANGS);
    let running = harness.ready().await;
    let messages = harness.messages(1, 500);
    let began = Instant::now();
    running.dispatcher.fresh(harness.keep(&messages, &[&hanging, &healthy]).await, Kept::already());
    harness.receiver.hears("a", 500).await;
    // The others' attempts time out after five seconds.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let in_flight = harness.receiver.heard("hangs").len();
    assert!((1..=8).contains(&in_flight), "{in_flight}");
    running.stop().await;
}

#[tokio::test]
async fn more_than_fits_into_memory_comes_back_and_is_delivered_once() {
    let mut harness = Harness::start().await;
    let endpoint = harness.endpoint("a", |_| {}).await;
    let running = harness.ready().await;
    // More than there is room for results, too.
    let messages = harness.messages(1, 5_000);
    running.dispatcher.fresh(harness.keep(&messages, &[&endpoint]).await, Kept::already());
    harness.receiver.hears("a", 5_000).await;
    running.stop().await;
    let mut ids: Vec<_> = harness.receiver.heard("a").into_iter().map(|heard| heard.id).collect();
    assert_eq!(ids.len(), 5_000);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5_000);
    assert_eq!(harness.store.backlog(harness.clock.now()).await.unwrap().0, 0);
}

#[tokio::test]
async fn a_burst_waits_for_no_claim_to_run_out() {
    let mut harness = Harness::start().await;
    let endpoints = [harness.endpoint("a", |_| {}).await, harness.endpoint("ordered", |endpoint| endpoint.ordered = true).await];
    let failing = harness.endpoint("failing", |_| {}).await;
    harness.receiver.answer("failing", 500);
    let running = harness.ready().await;
    // The clock stands still: what is claimed by mistake is never due again.
    for conversation in 0..10 {
        let messages = harness.messages(conversation, 100);
        harness.tell(&running, &messages, &[&endpoints[0], &endpoints[1]]).await;
    }
    let messages = harness.messages(20, 100);
    harness.tell(&running, &messages, &[&failing]).await;
    harness.receiver.hears("a", 1_000).await;
    harness.receiver.hears("ordered", 1_000).await;
    harness.receiver.hears("failing", 100).await;
    running.stop().await;
    for (path, count) in [("a", 1_000), ("ordered", 1_000), ("failing", 100)] {
        let ids: HashSet<_> = harness.receiver.heard(path).into_iter().map(|heard| heard.id).collect();
        assert_eq!((harness.receiver.heard(path).len(), ids.len()), (count, count));
    }
}

/// Whether two replicas deliver everything once: of one endpoint whatever the order, of the other in order.
async fn replicas_share(mut harness: Harness) {
    let endpoint = harness.endpoint("a", |_| {}).await;
    let ordered = harness.endpoint("ordered", |endpoint| endpoint.ordered = true).await;
    let messages: Vec<_> = (0..30).flat_map(|n| harness.messages(1 + n % 3, 10)).collect();
    harness.keep(&messages, &[&endpoint, &ordered]).await;
    // Whoever claimed them is no more.
    harness.clock.advance_millis(61_000);
    let (first, second) = (harness.run(), harness.run());
    harness.receiver.hears("a", 300).await;
    harness.receiver.hears("ordered", 300).await;
    first.stop().await;
    second.stop().await;
    assert_eq!(harness.store.backlog(harness.clock.now()).await.unwrap().0, 0);
    let mut ids: Vec<_> = harness.receiver.heard("a").into_iter().map(|heard| heard.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((harness.receiver.heard("a").len(), ids.len()), (300, 300));
    let heard: Vec<_> = harness.receiver.heard("ordered").into_iter().map(|heard| heard.id).collect();
    for conversation in 1..=3 {
        let of_it = messages.iter().filter(|message| message.conversation_id.0.as_u128() == conversation);
        let expected: Vec<_> = of_it.map(webhook_id).collect();
        let came: Vec<_> = heard.iter().filter(|id| expected.contains(id)).cloned().collect();
        assert_eq!(came, expected);
    }
}

#[tokio::test]
async fn replicas_share_what_is_due() {
    replicas_share(Harness::start().await).await;
}

#[tokio::test]
async fn replicas_share_what_is_due_on_postgres() {
    if let Some(harness) = Harness::start_on_postgres().await {
        replicas_share(harness).await;
    }
}

#[tokio::test]
async fn what_was_in_flight_in_a_process_that_died_is_attempted_again() {
    let mut harness = Harness::start().await;
    let endpoint = harness.endpoint("a", |_| {}).await;
    harness.receiver.answer("a", HANGS);
    let mut dying = harness.ready().await;
    let message = harness.messages(1, 1).remove(0);
    dying.dispatcher.fresh(harness.keep(from_ref(&message), &[&endpoint]).await, Kept::already());
    harness.receiver.hears("a", 1).await;
    dying.tasks.abort_all();

    harness.receiver.answer("a", 200);
    let running = harness.run();
    harness.clock.advance_millis(61_000);
    harness.stands(&message, &endpoint, Status::Succeeded, 1).await;
    running.stop().await;
}

#[tokio::test]
async fn what_waits_and_what_hangs_is_given_back_at_the_end() {
    let mut harness = Harness::start().await;
    let endpoint = harness.endpoint("a", |_| {}).await;
    harness.receiver.answer("a", HANGS);
    let running = harness.ready().await;
    let messages = harness.messages(1, 50);
    running.dispatcher.fresh(harness.keep(&messages, &[&endpoint]).await, Kept::already());
    harness.receiver.hears("a", 1).await;
    running.stop().await;

    harness.receiver.answer("a", 200);
    let running = harness.run();
    for message in &messages {
        harness.stands(message, &endpoint, Status::Succeeded, 1).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_and_the_others_are_told() {
    let mut harness = Harness::start().await;
    let gone = harness.endpoint("gone", |_| {}).await;
    let other = harness.endpoint("other", |endpoint| endpoint.event_types = vec!["webhook_endpoint.*".into()]).await;
    harness.receiver.answer("gone", 410);
    let running = harness.ready().await;
    let messages = harness.messages(1, 3);
    running.dispatcher.fresh(harness.keep(&messages, &[&gone]).await, Kept::already());
    let heard = harness.receiver.hears("other", 1).await.remove(0);
    let body: serde_json::Value = serde_json::from_slice(&heard.body).unwrap();
    assert_eq!((&body["type"], &body["data"]["reason"]), (&"webhook_endpoint.disabled".into(), &"gone".into()));
    assert_eq!(body["data"]["endpoint_id"], gone.endpoint_id.to_string());
    let disabled = async || Some(harness.kept(&gone).await).filter(|kept| !kept.enabled);
    assert_eq!(eventually("it is disabled", disabled).await.disabled_reason, Some(DisabledReason::Gone));
    running.stop().await;
    assert_eq!(harness.types(&other).await, ["webhook_endpoint.disabled"]);
}

#[tokio::test]
async fn an_endpoint_that_fails_for_a_day_is_told_of_and_after_five_days_disabled() {
    let mut harness = Harness::start().await;
    let since = harness.clock.now().saturating_add_millis(-DAY_MS);
    let failing = harness.endpoint("failing", |endpoint| endpoint.failing_since = Some(since)).await;
    let other = harness.endpoint("other", |_| {}).await;
    harness.receiver.answer("failing", 500);
    let running = harness.ready().await;
    let messages = harness.messages(1, 3);
    running.dispatcher.fresh(harness.keep(&messages[..2], &[&failing]).await, Kept::already());
    harness.receiver.hears("other", 1).await;
    harness.stands(&messages[1], &failing, Status::Pending, 1).await;
    assert!(harness.kept(&failing).await.enabled);
    running.stop().await;
    assert_eq!(harness.types(&other).await, ["webhook_endpoint.failing"]);

    // Another process, days later: told once is told.
    harness.clock.advance_millis(4 * DAY_MS);
    let running = harness.ready().await;
    running.dispatcher.fresh(harness.keep(&messages[2..], &[&failing]).await, Kept::already());
    let disabled = async || Some(harness.kept(&failing).await).filter(|kept| !kept.enabled);
    assert_eq!(eventually("it is disabled", disabled).await.disabled_reason, Some(DisabledReason::Failing));
    harness.receiver.hears("other", 2).await;
    running.stop().await;
    assert_eq!(harness.types(&other).await, ["webhook_endpoint.disabled", "webhook_endpoint.failing"]);
}

#[tokio::test]
async fn a_conversation_is_shown_once_for_all_and_waiting_for_it_uses_up_nothing() {
    let mut harness = Harness::start().await;
    let first = harness.endpoint("a", |_| {}).await;
    let second = harness.endpoint("b", |_| {}).await;
    harness.snapshots.answers.lock().unwrap().push(SnapshotError::Later(Duration::from_secs(1)));
    let running = harness.ready().await;
    let message = harness.message(1, Body::Snapshot);
    running.dispatcher.fresh(harness.keep(from_ref(&message), &[&first, &second]).await, Kept::already());
    let moving = harness.clock.clone();
    let advancing = tokio::spawn(async move {
        loop {
            moving.advance_millis(500);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    harness.stands(&message, &first, Status::Succeeded, 1).await;
    harness.stands(&message, &second, Status::Succeeded, 1).await;
    advancing.abort();
    assert_eq!(harness.receiver.heard("a")[0].body, "{\"made\":1}");
    assert_eq!(harness.receiver.heard("b")[0].body, "{\"made\":1}");

    harness.snapshots.answers.lock().unwrap().push(SnapshotError::Gone);
    let erased = harness.message(2, Body::Snapshot);
    running.dispatcher.fresh(harness.keep(from_ref(&erased), &[&first]).await, Kept::already());
    harness.stands(&erased, &first, Status::Failed, 0).await;
    running.stop().await;
}

#[tokio::test]
async fn a_rate_limit_is_kept() {
    let mut harness = Harness::start().await;
    let endpoint = harness.endpoint("a", |endpoint| endpoint.rate_limit = NonZeroU32::new(20)).await;
    let running = harness.ready().await;
    let messages = harness.messages(1, 40);
    running.dispatcher.fresh(harness.keep(&messages, &[&endpoint]).await, Kept::already());
    let heard = harness.receiver.hears("a", 40).await;
    let most = heard
        .iter()
        .map(|first| heard.iter().filter(|other| (first.at..first.at + Duration::from_millis(900)).contains(&other.at)).count());
    assert!(most.max().unwrap() <= 23);
    running.stop().await;
}

#[tokio::test]
async fn earlier_secrets_sign_until_they_end_and_afterwards_only_the_new_one() {
    let mut harness = Harness::start().await;
    let (old, oldest) = ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
    let began = harness.clock.now();
    let endpoint = harness
        .endpoint("a", |endpoint| {
            let previous = [(old, 60_000), (oldest, 30_000)].map(|(secret, millis)| PreviousSecret {
                sealed: secrets().seal_secret(&acme(), endpoint.endpoint_id, &Secret(secret.into())).unwrap(),
                expires_at: began.saturating_add_millis(millis),
            });
            endpoint.secrets.previous = previous.to_vec();
        })
        .await;
    let running = harness.ready().await;
    for (old_is_valid, oldest_is_valid, advance) in [(true, true, 30_000), (true, false, 30_000), (false, false, 0)] {
        let message = harness.messages(1, 1).remove(0);
        running.dispatcher.fresh(harness.keep(from_ref(&message), &[&endpoint]).await, Kept::already());
        harness.stands(&message, &endpoint, Status::Succeeded, 1).await;
        let heard = harness.receiver.heard("a").pop().unwrap();
        Webhook::new(SECRET).unwrap().verify(&heard.body, &heard.headers).unwrap();
        for (secret, is_valid) in [(old, old_is_valid), (oldest, oldest_is_valid)] {
            assert_eq!(Webhook::new(secret).unwrap().verify(&heard.body, &heard.headers).is_ok(), is_valid);
        }
        harness.clock.advance_millis(advance);
    }
    running.stop().await;
    drop(harness.folder);
}
