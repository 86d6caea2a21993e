//! Connections that break, hang, or are slow.

use std::time::Duration;

use colloquy_faults::{Links, Log, Scene};
use colloquy_testkit::{Fault, until};

/// Every connection that a delivery, or a read, goes over.
const LINKS: Links = &[
    ("edge", "ingestion"),
    ("edge", "conversation-store"),
    ("edge", "transcript"),
    ("ingestion", "access"),
    ("conversation-store", "ingestion"),
    ("transcript", "ingestion"),
    ("ingestion", "postgres"),
    ("conversation-store", "postgres"),
    ("transcript", "postgres"),
];

async fn cut_and_delayed(log: Log) {
    let mut scene = Scene::with_proxies("connections are cut and delayed", log, LINKS).await;
    let stream = scene.stream();
    stream.reaches(5).await;
    // Every link has its turn, and each kind of fault comes twice or more.
    let mut links: Vec<_> = LINKS.to_vec();
    scene.chance.shuffle(&mut links);
    let faults = [None, Some(Fault::Delay(Duration::from_millis(300))), Some(Fault::Refuse), Some(Fault::Swallow)];
    for (turn, (from, to)) in links.into_iter().enumerate() {
        let fault = faults[turn % faults.len()];
        eprintln!("{from} to {to}: {fault:?}");
        match fault {
            None => {
                for _ in 0..5 {
                    scene.proxies(from, to).iter().for_each(colloquy_testkit::FaultProxy::cut);
                    tokio::time::sleep(scene.chance.moment(Duration::from_millis(300))).await;
                }
            }
            Some(fault) => {
                scene.proxies(from, to).iter().for_each(|proxy| proxy.set(fault));
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                scene.proxies(from, to).iter().for_each(|proxy| proxy.set(Fault::None));
            }
        }
    }
    scene.holds(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn connections_can_be_cut_and_delayed_with_the_embedded_log() {
    cut_and_delayed(Log::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn connections_can_be_cut_and_delayed_with_jetstream() {
    cut_and_delayed(Log::jetstream().await).await;
}

const STORES: Links = &[("conversation-store", "postgres"), ("transcript", "postgres")];

/// A reader that falls behind delays what is read, and nothing of what is written.
async fn slow_readers(log: Log) {
    let mut scene = Scene::with_proxies("readers are slow", log, STORES).await;
    let stream = scene.stream();
    stream.reaches(5).await;
    for (from, to) in STORES {
        scene.proxies(from, to).iter().for_each(|proxy| proxy.set(Fault::Delay(Duration::from_millis(100))));
    }
    let limit = Duration::from_secs(60);
    until(limit, "deliveries are acknowledged while readers are slow", || async { stream.acknowledged() >= 250 }).await;
    assert_eq!(stream.refusals(), 0, "slow readers must not keep anybody from writing");
    for (from, to) in STORES {
        scene.proxies(from, to).iter().for_each(|proxy| proxy.set(Fault::None));
    }
    scene.holds(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn readers_can_be_slow_with_jetstream() {
    slow_readers(Log::jetstream().await).await;
}
