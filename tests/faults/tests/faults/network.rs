//! Connections that break, hang, or are slow.

use std::time::Duration;

use colloquy_faults::{Link, Log, Scene};
use colloquy_testkit::{Fault, FaultProxy, until};

/// Every connection between services, and with PostgreSQL, that a delivery, or a read, goes over.
const LINKS: &[Link] = &[
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
/// Where records become durable, if not in a file.
const LOG: Link = ("ingestion", "nats");
/// What is done to a connection; without a fault, it is cut a few times.
const FAULTS: [Option<Fault>; 4] =
    [None, Some(Fault::Delay(Duration::from_millis(300))), Some(Fault::Refuse), Some(Fault::Swallow)];

async fn cut_and_delayed(log: Log) {
    let jetstream = matches!(log, Log::JetStream(_));
    let mut links = LINKS.to_vec();
    if jetstream {
        links.push(LOG);
    }
    let mut scene = Scene::with_proxies("connections are cut and delayed", log, &links).await;
    let stream = scene.stream();
    stream.reaches(5).await;
    // Every link has its turn, each kind of fault comes twice or more, and the log sees all of them.
    let mut links = LINKS.to_vec();
    scene.chance.shuffle(&mut links);
    let mut turns: Vec<(Link, Option<Fault>)> = links.into_iter().zip(FAULTS.into_iter().cycle()).collect();
    if jetstream {
        turns.extend(FAULTS.map(|fault| (LOG, fault)));
        scene.chance.shuffle(&mut turns);
    }
    for (link, fault) in turns {
        eprintln!("{} to {}: {fault:?}", link.0, link.1);
        match fault {
            None => {
                for _ in 0..5 {
                    scene.proxies(link).iter().for_each(FaultProxy::cut);
                    tokio::time::sleep(scene.chance.moment(Duration::from_millis(300))).await;
                }
            }
            Some(fault) => {
                scene.proxies(link).iter().for_each(|proxy| proxy.set(fault));
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                scene.proxies(link).iter().for_each(|proxy| proxy.set(Fault::None));
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

const STORES: &[Link] = &[("conversation-store", "postgres"), ("transcript", "postgres")];

/// A reader that falls behind delays what is read, and nothing of what is written.
async fn slow_readers(log: Log) {
    let mut scene = Scene::with_proxies("readers are slow", log, STORES).await;
    let stream = scene.stream();
    stream.reaches(5).await;
    for link in STORES {
        scene.proxies(*link).iter().for_each(|proxy| proxy.set(Fault::Delay(Duration::from_millis(100))));
    }
    let limit = Duration::from_secs(60);
    until(limit, "deliveries are acknowledged while readers are slow", || async { stream.acknowledged() >= 250 }).await;
    assert_eq!(stream.refusals(), 0, "slow readers must not keep anybody from writing");
    for link in STORES {
        scene.proxies(*link).iter().for_each(|proxy| proxy.set(Fault::None));
    }
    scene.holds(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn readers_can_be_slow_with_jetstream() {
    slow_readers(Log::jetstream().await).await;
}
