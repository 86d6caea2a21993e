//! Bodies nobody should send: whatever they hold, they are mapped or refused, never more.

use std::collections::HashSet;

use colloquy_events::Data;
use colloquy_providers::splice::Splicer;
use colloquy_providers::{redact, spliced_field};
use colloquy_types::Provider;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::live::invented;
use crate::{PROVIDERS, received_at, samples_of, try_map};

/// Returns the bodies that are changed: a provider's samples, and the live messages that there are no samples of.
fn corpus(provider: Provider) -> Vec<(String, Vec<u8>)> {
    let mut bodies = samples_of(provider);
    bodies.extend(invented(provider).into_iter().map(|body| ("invented".to_owned(), body.to_string().into_bytes())));
    bodies
}

/// Holds for every body there is.
fn check(provider: Provider, body: &[u8]) {
    let redacted = redact(provider, body);
    if provider != Provider::Native {
        serde_json::from_slice::<Value>(&redacted).expect("what is stored is JSON");
    }
    if let Some(path) = spliced_field(provider) {
        let mut splicer = Splicer::new(path, 1 << 22);
        let mut audio = Vec::new();
        if splicer.feed(body, &mut audio).is_ok()
            && let Ok((rest, decoded)) = splicer.finish()
        {
            assert_eq!(decoded, audio.len() as u64);
            let _ = try_map(provider, &rest, received_at());
        }
    }
    match try_map(provider, body, received_at()) {
        Ok(events) => {
            let mut ids = HashSet::new();
            for (index, event) in events.iter().enumerate() {
                assert_eq!(event.ordinal as usize, index);
                assert!(ids.insert(event.event_id), "two events with one id");
                let written = serde_json::to_string(&event.data).expect("every event can be written");
                assert!(!holds_nul(&serde_json::from_str(&written).unwrap()), "PostgreSQL cannot keep U+0000");
                let read: Data = serde_json::from_str(&written).expect("every event can be read");
                assert_eq!(read, event.data);
                check_turns(&event.data);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

fn check_turns(data: &Data) {
    let (Data::TranscriptCompleted { turns, .. } | Data::TranscriptUpdated { turns }) = data else { return };
    let ids: HashSet<_> = turns.iter().map(|turn| turn.turn_id).collect();
    assert_eq!(ids.len(), turns.len(), "two turns with one id");
    for turn in turns {
        assert!(turn.start_ms.is_none_or(|start| start >= 0));
        assert!(turn.start_ms.zip(turn.end_ms).is_none_or(|(start, end)| start <= end));
        assert!(turn.words.iter().all(|word| 0 <= word.start_ms && word.start_ms <= word.end_ms));
    }
}

/// Every place in a body, as a list of keys and indices.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                places(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(index, inner)| places(inner, &format!("{at}/{index}"), found)),
        _ => {}
    }
}

fn strange_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(1.5)),
        Just(json!(1e300)),
        Just(json!(i64::MIN)),
        Just(json!(u64::MAX)),
        Just(json!("")),
        Just(json!("NaN")),
        Just(json!("-1")),
        Just(json!("a\u{0}b")),
        Just(json!("{\"a\": \"\\u0000\"}")),
        Just(json!("0001-01-01T00:00:00Z")),
        Just(json!("مرحبا 👍")),
        Just(json!("x".repeat(4096))),
        Just(json!([])),
        Just(json!([null, 1, "a", {}, []])),
        Just(json!({})),
        Just(json!({"": {"a\u{0}": [{}]}})),
    ]
}

/// Deletes or replaces a few places of a body.
fn mutate(body: &[u8], changes: &[(Index, Option<Value>)]) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(body).unwrap();
    for (place, change) in changes {
        let mut found = Vec::new();
        places(&value, "", &mut found);
        let place = &found[place.index(found.len())];
        match change {
            Some(new) => *value.pointer_mut(place).unwrap() = new.clone(),
            None => {
                let Some((parent, key)) = place.rsplit_once('/') else { continue };
                match value.pointer_mut(parent).unwrap() {
                    Value::Object(map) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
                    Value::Array(items) => drop(items.remove(key.parse().unwrap())),
                    _ => {}
                }
            }
        }
    }
    value.to_string().into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_samples_are_mapped_or_refused(
        provider in any::<Index>(),
        which in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), proptest::option::of(strange_value())), 1..6),
    ) {
        let provider = PROVIDERS[provider.index(PROVIDERS.len())];
        let samples = corpus(provider);
        let (_, body) = &samples[which.index(samples.len())];
        check(provider, &mutate(body, &changes));
    }

    #[test]
    fn cut_and_overwritten_samples_are_mapped_or_refused(
        provider in any::<Index>(),
        which in any::<Index>(),
        cut in any::<Index>(),
        overwritten in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
    ) {
        let provider = PROVIDERS[provider.index(PROVIDERS.len())];
        let samples = corpus(provider);
        let mut body = samples[which.index(samples.len())].1.clone();
        for (place, byte) in overwritten {
            let at = place.index(body.len());
            body[at] = byte;
        }
        check(provider, &body);
        body.truncate(cut.index(body.len() + 1));
        check(provider, &body);
    }

    #[test]
    fn noise_is_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for provider in Provider::ALL {
            check(provider, &body);
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    for provider in Provider::ALL {
        for body in ["[".repeat(10_000), "{\"a\":".repeat(10_000)] {
            assert!(try_map(provider, body.as_bytes(), received_at()).is_err());
            check(provider, body.as_bytes());
        }
    }
}

#[test]
fn every_place_of_every_sample_may_be_null_or_missing() {
    for provider in PROVIDERS {
        for (_, body) in corpus(provider) {
            let value: Value = serde_json::from_slice(&body).unwrap();
            let mut found = Vec::new();
            places(&value, "", &mut found);
            // Every seventh place keeps this quick; the property test takes the rest.
            for place in found.iter().skip(1).step_by(7) {
                let mut changed = value.clone();
                *changed.pointer_mut(place).unwrap() = Value::Null;
                check(provider, changed.to_string().as_bytes());
            }
        }
    }
}
