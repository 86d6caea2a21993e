//! NATS that stops, NATS that loses what it stored, and a cluster of it that loses its leader.

use std::time::Duration;

use colloquy_faults::{Log, Scene};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn nats_can_be_killed_and_started_again() {
    let mut scene = Scene::start("NATS is killed", Log::jetstream().await).await;
    let stream = scene.stream();
    for percent in [15, 45] {
        stream.reaches(percent + scene.chance.number(0..15)).await;
        scene.log.nats().kill();
        tokio::time::sleep(scene.chance.moment(Duration::from_secs(4))).await;
        scene.log.nats().restart().await;
        scene.recovers().await;
    }
    scene.holds(stream).await;
}

/// What the readers have is theirs: a log that begins anew must neither stop them nor be skipped.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn nats_can_lose_all_it_stored_once_the_readers_have_it() {
    let mut scene = Scene::start("NATS loses its store", Log::jetstream().await).await;
    let first = scene.stream_part(0..60);
    scene.finishes(first).await;
    scene.log.nats().kill();
    scene.log.nats().wipe();
    let second = scene.stream_part(60..100);
    tokio::time::sleep(scene.chance.moment(Duration::from_secs(2))).await;
    scene.log.nats().restart().await;
    scene.holds(second).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn a_cluster_can_lose_its_leader_in_the_middle_of_a_stream() {
    let mut scene = Scene::start("the cluster loses its leader", Log::cluster().await).await;
    let stream = scene.stream();
    for percent in [15, 50] {
        stream.reaches(percent + scene.chance.number(0..15)).await;
        let name = scene.stream_name.clone();
        let leader = scene.log.cluster_of_three().kill_leader_of(&name).await;
        // Two of three are enough: it recovers without the third.
        scene.recovers().await;
        scene.log.cluster_of_three().restart(&leader).await;
    }
    scene.holds(stream).await;
}
