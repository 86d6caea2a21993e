//! Mapping the stored samples of every provider, and whatever can be made of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod fuzz;
mod live;
mod samples;

use std::path::PathBuf;

use colloquy_events::Event;
use colloquy_providers::{Context, MapError, map};
use colloquy_types::{OrganizationId, Provider, Timestamp};

/// The providers that have samples.
const PROVIDERS: [Provider; 4] = [Provider::ElevenLabs, Provider::Retell, Provider::Vapi, Provider::AgentSession];

/// Returns the bodies of a provider's samples by name.
fn samples_of(provider: Provider) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/payloads")).join(provider.as_str());
    let mut samples: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned();
            (!name.ends_with(".headers")).then(|| (name, std::fs::read(&path).unwrap()))
        })
        .collect();
    samples.sort();
    samples
}

/// Returns one sample.
fn sample(provider: Provider, name: &str) -> Vec<u8> {
    let found = samples_of(provider).into_iter().find(|(sample, _)| sample == name);
    found.unwrap_or_else(|| panic!("there is no sample {provider}/{name}")).1
}

fn received_at() -> Timestamp {
    Timestamp::from_millis(1_772_463_800_000).unwrap()
}

fn try_map(provider: Provider, body: &[u8], received_at: Timestamp) -> Result<Vec<Event>, MapError> {
    let organization: OrganizationId = "acme".parse().unwrap();
    map(provider, body, &Context { organization_id: &organization, received_at }).map(|mapped| mapped.events)
}

/// Returns the events of one sample.
fn events_of(provider: Provider, name: &str) -> Vec<Event> {
    try_map(provider, &sample(provider, name), received_at()).unwrap_or_else(|error| panic!("{provider}/{name}: {error}"))
}
