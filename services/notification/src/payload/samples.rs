//! What providers' own deliveries map to.

use std::path::PathBuf;

use colloquy_events::{Event, Record};
use colloquy_providers::{Context, map};
use colloquy_types::{Provider, RecordId, Timestamp};
use uuid::Uuid;

fn folder(provider: Provider) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/payloads").join(provider.as_str())
}

/// Returns the body of one sample.
pub(super) fn sample(provider: Provider, name: &str) -> Vec<u8> {
    let path = folder(provider).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the events of a delivery.
pub(super) fn events(provider: Provider, body: &[u8]) -> Vec<Event> {
    let organization_id = "acme".parse().unwrap();
    let received_at = Timestamp::from_millis(1_780_000_000_000).unwrap();
    map(provider, body, &Context { organization_id: &organization_id, received_at }).unwrap().events
}

/// Returns the samples of a provider as the events of their deliveries; native ones have no samples.
pub(super) fn deliveries(provider: Provider) -> Vec<Vec<Event>> {
    let Ok(entries) = std::fs::read_dir(folder(provider)) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "json") && !path.to_string_lossy().contains(".headers."));
    files.sort();
    files.iter().map(|path| events(provider, &std::fs::read(path).unwrap())).collect()
}

/// Returns a delivery as the log hands it out.
pub(super) fn record(events: Vec<Event>) -> Record {
    Record {
        record_id: RecordId(Uuid::from_u128(1)),
        organization_id: "acme".parse().unwrap(),
        source_id: None,
        received_at: Timestamp::from_millis(1_780_000_000_000).unwrap(),
        events,
        traceparent: String::new(),
        sequence: 1,
    }
}
