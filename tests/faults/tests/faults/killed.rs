//! SIGKILL.

use std::time::Duration;

use colloquy_faults::{Log, Scene};

async fn each_service_in_turn(log: Log) {
    let mut scene = Scene::start("each service is killed", log).await;
    let stream = scene.stream();
    let mut services = ["access", "ingestion", "conversation-store", "transcript", "analytics", "notification", "edge"];
    scene.chance.shuffle(&mut services);
    for (turn, service) in services.into_iter().enumerate() {
        stream.reaches(5 + turn * 14).await;
        tokio::time::sleep(scene.chance.moment(Duration::from_millis(400))).await;
        let replicas = scene.replicas(service);
        let victim = scene.chance.one_of(&replicas).clone();
        eprintln!("killing {victim}");
        scene.kill_and_restart(&victim).await;
        scene.recovers().await;
    }
    // What a worker had in hand when it was killed is done by another, soon, also when nothing new comes in.
    stream.reaches(100).await;
    for worker in scene.replicas("analytics") {
        scene.kill_and_restart(&worker).await;
    }
    scene.holds(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn each_service_can_be_killed_at_any_moment_with_the_embedded_log() {
    each_service_in_turn(Log::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn each_service_can_be_killed_at_any_moment_with_jetstream() {
    each_service_in_turn(Log::jetstream().await).await;
}
