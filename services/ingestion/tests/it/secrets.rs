//! Secrets are nowhere in the files.

use std::path::Path;
use std::sync::Arc;

use colloquy_ingestion::log::{self, LogSettings};
use colloquy_types::Position;
use tokio_util::sync::CancellationToken;

use crate::world::{ACME, Sample, World, sample};

/// In the sample's telephone number, as Vapi sends it.
const TWILIO_TOKEN: &str = "fake-token-that-must-be-redacted";

fn files_holding(folder: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_holding(&path, needle));
        } else if std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn no_file_holds_a_secret_in_the_clear() {
    let world = World::start().await;
    let secret = "vapi-test-shared-secret";
    let source = world.source("vapi", "shared_secret", Some(secret)).await;
    let Sample { headers, body, .. } = sample("vapi", "end-of-call-report");
    let text = String::from_utf8(body.clone()).unwrap();
    assert!(text.contains(TWILIO_TOKEN));
    let taken = world.deliver(&source, &headers, &body).await.unwrap();
    assert!(taken.accepted > 0);
    // The same once as JSON that cannot be mapped, and once as no JSON at all.
    let unknown = text.replacen("end-of-call-report", "invented-report", 1);
    for body in [unknown.as_str(), &text[..text.len() - 20]] {
        let kept = world.deliver(&source, &headers, body.as_bytes()).await.unwrap();
        assert_ne!(kept.quarantine_id, "");
    }
    let shown = format!("{:?}{:?}", world.events(ACME).await, world.quarantined(ACME).await);
    assert!(!shown.contains(TWILIO_TOKEN) && !shown.contains(secret));

    let folder = world.stop().await;
    assert_ne!(files_holding(folder.path(), "vapi line"), Vec::<String>::new(), "the search finds what is there");
    for needle in [secret, TWILIO_TOKEN] {
        assert_eq!(files_holding(folder.path(), needle), Vec::<String>::new(), "{needle}");
    }
}

#[tokio::test]
async fn the_body_kept_with_the_record_has_no_secret_but_everything_else() {
    let world = World::start().await;
    let source = world.source("vapi", "none", None).await;
    let Sample { headers, body, .. } = sample("vapi", "end-of-call-report");
    let taken = world.deliver(&source, &headers, &body).await.unwrap();
    let clock = Arc::new(world.clock.clone());
    let folder = world.stop().await;
    let (log, _) = log::open_embedded(folder.path(), LogSettings::default(), clock, CancellationToken::new()).await.unwrap();
    let sequence = Position(taken.position).sequence();
    let kept = log.raw_body(&"acme".parse().unwrap(), sequence).await.unwrap().expect("the body is kept");
    let expected: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    assert!(!kept.to_string().contains(TWILIO_TOKEN));
    assert_eq!(kept["message"]["artifact"], expected["message"]["artifact"]);
    assert_eq!(kept["message"]["phoneNumber"]["number"], expected["message"]["phoneNumber"]["number"]);
}
