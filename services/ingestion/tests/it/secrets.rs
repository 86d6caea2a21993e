//! Secrets are nowhere in the files.

use std::path::Path;
use std::sync::Arc;

use colloquy_ingestion::log::{self, LogSettings};
use colloquy_proto::ingestion::v1 as pb;
use colloquy_types::Position;
use tokio_util::sync::CancellationToken;

use crate::world::{ACME, Sample, World, a_source, sample};

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
    let api_key = "vapi-test-private-api-key";
    let control = pb::ProviderAccess { api_key: Some(api_key.to_owned()), ..Default::default() };
    let source = pb::Source { control: Some(control), ..a_source("vapi", "shared_secret", Some(secret)) };
    let source = world.create(ACME, source).await.unwrap().source_id;
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
    for needle in [secret, api_key, TWILIO_TOKEN] {
        assert_eq!(files_holding(folder.path(), needle), Vec::<String>::new(), "{needle}");
    }
}

#[tokio::test]
async fn a_body_that_is_kept_says_neither_how_to_hear_nor_how_to_steer_the_call() {
    let world = World::start().await;
    let source = world.source("vapi", "none", None).await;
    let Sample { headers, body, .. } = sample("vapi", "transcript_partial");
    let url = "https://voice.example/8d5c2f4e-1b3a-4c6d-9e7f-0a1b2c3d4e5f/control";
    assert!(String::from_utf8(body.clone()).unwrap().contains(url));
    let partial = world.deliver(&source, &headers, &body).await.unwrap();
    assert_eq!(partial.accepted, 3, "facts, the turn, and where the call can be steered");
    let kinds: Vec<String> = world.events(ACME).await.into_iter().map(|event| format!("{event:?}")).collect();
    assert!(kinds.iter().all(|event| !event.contains(url)), "services alone are told");

    // Said again with the next message, and new to nobody.
    let mut speech: serde_json::Value = serde_json::from_slice(&body).unwrap();
    speech["message"]["type"] = "speech-update".into();
    speech["message"]["status"] = "started".into();
    let speech = world.deliver(&source, &headers, speech.to_string().as_bytes()).await.unwrap();
    assert_eq!((speech.accepted, speech.duplicates), (1, 2));

    let clock = Arc::new(world.clock.clone());
    let folder = world.stop().await;
    let (log, _) = log::open_embedded(folder.path(), LogSettings::default(), clock, CancellationToken::new()).await.unwrap();
    let raw_body = async |position| log.raw_body(&"acme".parse().unwrap(), Position(position).sequence()).await.unwrap();
    let kept = String::from_utf8(raw_body(partial.position).await.expect("the body is kept").to_vec()).unwrap();
    assert!(kept.contains("I want to move my") && !kept.contains("voice.example"), "{kept}");
    assert_eq!(raw_body(speech.position).await.unwrap_or_default(), "", "of what passes there is nothing to look up");
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
