//! The disk of the embedded log, full.

use std::time::Duration;

use colloquy_faults::{Log, Scene};
use colloquy_testkit::until;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn the_disk_of_the_embedded_log_can_be_full() {
    let mut scene = Scene::with_small_disk("the disk is full", Log::Embedded, "ingestion-1", 32).await;
    let stream = scene.stream();
    stream.reaches(20).await;
    scene.disk.as_ref().unwrap().fill();
    let refused = || async { stream.refusals() >= 4 };
    until(Duration::from_secs(30), "deliveries are refused because the disk is full", refused).await;
    scene.disk.as_ref().unwrap().empty();
    scene.holds(stream).await;
}
