//! Outbound webhooks: whoever dies, nothing that happened goes untold.

use std::collections::BTreeSet;
use std::time::Duration;

use colloquy_faults::{Log, Scene};
use colloquy_testkit::{Received, Receiver};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// A claim of a worker that was killed has to run out before another takes its work.
const TOLD_WITHIN: Duration = Duration::from_secs(120);

fn told(received: &[Received]) -> BTreeSet<String> {
    let ids = received.iter().filter_map(|one| one.json()["data"]["event_id"].as_str().map(str::to_owned));
    ids.collect()
}

/// Waits until every event was told, and returns everything that came.
async fn all_told(receiver: &Receiver, expected: &BTreeSet<String>) -> Vec<Received> {
    let began = std::time::Instant::now();
    loop {
        let told = told(&receiver.received());
        let missing: Vec<&String> = expected.difference(&told).take(5).collect();
        if missing.is_empty() {
            break;
        }
        assert!(began.elapsed() < TOLD_WITHIN, "{} of {} were told; never {missing:?}, …", told.len(), expected.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    receiver.received()
}

/// Says what is wrong with the order in which an ordered endpoint was told of each conversation.
fn disorder(received: &[Received]) -> Option<String> {
    let mut latest = std::collections::BTreeMap::new();
    let mut seen = BTreeSet::new();
    for body in received.iter().map(Received::json) {
        let data = &body["data"];
        let (Some(conversation), Some(position)) = (data["conversation_id"].as_str(), data["position"].as_u64()) else {
            continue;
        };
        // A repeat may come late; what is new may not come before what is older.
        if !seen.insert(data["event_id"].to_string()) {
            continue;
        }
        let before = latest.insert(conversation.to_owned(), position).unwrap_or(0);
        if before > position {
            return Some(format!("{conversation}: {position} after {before}"));
        }
    }
    None
}

async fn nothing_goes_untold(log: Log) {
    let mut scene = Scene::start("a notifier is killed while it delivers", log).await;
    let (all, ordered) = (Receiver::start().await, Receiver::start().await);
    for (receiver, in_order) in [(&all, false), (&ordered, true)] {
        // Long enough that some of what is killed has been answered, and not noted yet.
        receiver.answer(|_| (StatusCode::OK, Duration::from_millis(30)));
        let endpoint = json!({"url": receiver.url("/hook"), "ordered": in_order});
        scene.server.post("/v1/webhook-endpoints", &endpoint).await;
    }
    // Every replica hears of the endpoints within a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stream = scene.stream();
    for turn in 0..4 {
        stream.reaches(10 + turn * 22).await;
        tokio::time::sleep(scene.chance.moment(Duration::from_millis(400))).await;
        let replicas = scene.replicas("notification");
        let victim = scene.chance.one_of(&replicas).clone();
        eprintln!("killing {victim}");
        scene.kill_and_restart(&victim).await;
    }
    scene.finishes(stream).await;
    let expected = scene.events_of_histories().await;
    assert!(expected.len() > 200, "{} events", expected.len());
    for receiver in [&all, &ordered] {
        let received = all_told(receiver, &expected).await;
        eprintln!("{} webhooks for {} events", received.len(), expected.len());
    }
    assert_eq!(disorder(&ordered.received()), None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn a_notifier_can_be_killed_at_any_moment_with_the_embedded_log() {
    nothing_goes_untold(Log::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn a_notifier_can_be_killed_at_any_moment_with_jetstream() {
    nothing_goes_untold(Log::jetstream().await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn in_normal_running_several_notifiers_tell_nothing_twice() {
    let mut scene = Scene::start("several notifiers share the queue", Log::jetstream().await).await;
    let receiver = Receiver::start().await;
    scene.server.post("/v1/webhook-endpoints", &json!({"url": receiver.url("/hook"), "event_types": []})).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stream = scene.stream();
    scene.finishes(stream).await;
    let expected = scene.events_of_histories().await;
    let received = all_told(&receiver, &expected).await;
    let ids: Vec<&str> = received.iter().map(|one| one.header("webhook-id")).collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), distinct.len(), "something was told twice");
    let bodies: Vec<Value> = received.iter().map(Received::json).collect();
    assert!(bodies.iter().any(|body| body["event"] == "conversation_agent_session.ended"));
}
