//! Every provider's own deliveries, in every order.

use std::collections::BTreeMap;
use std::path::Path;

use colloquy_events::Event;
use colloquy_providers::{Context, map};
use colloquy_types::{ConversationId, Provider, Timestamp};
use proptest::prelude::*;

use super::fold;
use crate::convert::record;

/// Returns the samples of a provider as the events of their deliveries.
fn deliveries(provider: Provider) -> Vec<Vec<Event>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/payloads").join(provider.as_str());
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "json") && !path.to_string_lossy().contains(".headers."));
    files.sort();
    let organization_id = "acme".parse().unwrap();
    let mapped = files.iter().enumerate().map(|(number, path)| {
        let received_at = Timestamp::from_millis(1_780_000_000_000 + number as i64 * 1_000).unwrap();
        let context = Context { organization_id: &organization_id, received_at };
        map(provider, &std::fs::read(path).unwrap(), &context)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .events
    });
    mapped.collect()
}

fn records(deliveries: &[Vec<Event>]) -> BTreeMap<ConversationId, Vec<u8>> {
    let mut events: BTreeMap<ConversationId, Vec<Event>> = BTreeMap::new();
    for event in deliveries.iter().flatten() {
        events.entry(event.conversation_id).or_default().push(event.clone());
    }
    events.into_iter().map(|(id, events)| (id, record::encode(&fold(&events).unwrap()))).collect()
}

fn any_provider() -> impl Strategy<Value = (Vec<Vec<Event>>, Vec<Vec<Event>>)> {
    prop::sample::select(vec![Provider::ElevenLabs, Provider::Retell, Provider::Vapi, Provider::AgentSession]).prop_flat_map(
        |provider| {
            let all = deliveries(provider);
            let repeated = prop::collection::vec(prop::sample::select(all.clone()), 0..4);
            let again = (Just(all.clone()), repeated).prop_map(|(all, repeated)| [all, repeated].concat()).prop_shuffle();
            (Just(all), again)
        },
    )
}

proptest! {
    #[test]
    fn a_providers_deliveries_give_one_record_in_any_order_and_however_often((all, again) in any_provider()) {
        prop_assert!(!all.is_empty());
        prop_assert_eq!(records(&all), records(&again));
    }
}
