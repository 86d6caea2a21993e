//! SIGSTOP: a reader that holds its connections and its batches, and does nothing.

use std::time::Duration;

use colloquy_faults::{Log, Scene};

/// Well past the time a reader has for a batch.
const PAUSE: Duration = Duration::from_secs(5);

async fn readers_paused(log: Log) {
    let mut scene = Scene::start("readers are paused", log).await;
    let stream = scene.stream();
    for (percent, service) in [(15, "transcript"), (50, "conversation-store")] {
        stream.reaches(percent).await;
        let replicas = scene.replicas(service);
        let victim = scene.chance.one_of(&replicas).clone();
        scene.server.installation().member(&victim).running().pause();
        tokio::time::sleep(PAUSE).await;
        scene.server.installation().member(&victim).running().resume();
        scene.recovers().await;
    }
    scene.holds(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn readers_can_be_paused_with_jetstream() {
    readers_paused(Log::jetstream().await).await;
}
