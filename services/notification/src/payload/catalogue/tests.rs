//! Every body fits its schema, and every schema says what a body has.

use colloquy_types::{Provider, Timestamp};
use uuid::Uuid;

use super::*;
use crate::endpoint::{DisabledReason, Endpoint, Filter, SealedSecrets};
use crate::message::Body;
use crate::payload::{messages_of, samples};

/// Closes every object that does not say that its members are somebody else's, so that a member without a schema is found.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") && members.get("type") == Some(&json!("object")) {
                members.entry("additionalProperties").or_insert(json!(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn closed(event_type: &EventType) -> Value {
    let mut schema: Value = serde_json::from_str(&event_type.schema_json).unwrap();
    close(&mut schema);
    schema
}

pub(in crate::payload) fn assert_fits(name: &str, body: &Value) {
    let event_type = event_types().iter().find(|event_type| event_type.name == name).unwrap_or_else(|| panic!("no type {name}"));
    let options = jsonschema::options().should_validate_formats(true);
    let validator = options.build(&closed(event_type)).unwrap();
    let errors: Vec<String> = validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
}

#[test]
fn every_schema_is_one_and_every_example_fits_its_own() {
    for event_type in event_types() {
        let schema: Value = serde_json::from_str(&event_type.schema_json).unwrap();
        jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{}: {error}", event_type.name));
        assert_fits(event_type.name, &serde_json::from_str(&event_type.example_json).unwrap());
    }
}

#[test]
fn a_body_that_lacks_something_does_not_fit() {
    for event_type in event_types() {
        let validator = jsonschema::validator_for(&closed(event_type)).unwrap();
        let mut body: Value = serde_json::from_str(&event_type.example_json).unwrap();
        body.as_object_mut().unwrap().remove("data");
        assert!(!validator.is_valid(&body), "{}", event_type.name);
    }
}

#[test]
fn names_are_in_order_and_each_once() {
    assert!(event_types().windows(2).all(|pair| pair[0].name < pair[1].name));
    assert!(is_type("turn.added") && !is_type("turn.*") && !is_type("control.offered"));
    assert!(is_group("turn.*") && is_group("conversation_agent_session.*"));
    for not_a_group in ["*", ".*", "turn", "turn.added", "t.*", "conversation.ended.*"] {
        assert!(!is_group(not_a_group), "{not_a_group}");
    }
    let mut groups: Vec<&str> = groups().collect();
    let count = groups.len();
    groups.sort_unstable();
    groups.dedup();
    assert_eq!(groups.len(), count);
}

#[test]
fn what_a_history_has_not_cannot_be_told_again() {
    for group in groups() {
        let is_expected = !["alert", "speech", "transcript", "turn", "webhook", "webhook_endpoint"].contains(&group);
        assert_eq!(is_replayed(&format!("{group}.*")), is_expected, "{group}");
        for event_type in event_types().iter().filter(|event_type| is_in(&format!("{group}.*"), event_type.name)) {
            assert_eq!(is_replayed(event_type.name), is_expected, "{}", event_type.name);
        }
    }
}

#[test]
fn what_the_samples_of_every_provider_make_fits() {
    let mut seen = std::collections::BTreeSet::new();
    for provider in Provider::ALL {
        for events in samples::deliveries(provider) {
            assert!(events.iter().all(|event| covers(&event.data)));
            for message in messages_of(&samples::record(events)) {
                if let Body::Ready(body) = &message.body {
                    assert_fits(&message.event_type, &serde_json::from_slice(body).unwrap());
                    seen.insert(message.event_type);
                } else {
                    assert!(is_type(&message.event_type), "{}", message.event_type);
                }
            }
        }
    }
    for event_type in ["conversation.started", "conversation.ended", "conversation.analyzed", "transcript.completed"] {
        assert!(seen.contains(event_type), "no sample makes {event_type}");
    }
}

#[test]
fn what_the_service_itself_says_fits() {
    let endpoint = Endpoint {
        organization_id: "acme".parse().unwrap(),
        endpoint_id: Uuid::from_u128(1),
        kind: crate::endpoint::Kind::Webhook,
        url: "https://receiver.example/secret".to_owned(),
        description: "Ticket system".to_owned(),
        event_types: Vec::new(),
        filter: Filter::default(),
        ordered: false,
        enabled: true,
        rate_limit: None,
        sealed_headers: None,
        header_names: Vec::new(),
        secrets: SealedSecrets::default(),
        failing_since: Some(Timestamp::default()),
        disabled_reason: None,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        revision: 1,
    };
    let test = own::test(&endpoint, Timestamp::default());
    let disabled = own::endpoint_disabled(&endpoint, DisabledReason::Failing, Timestamp::default());
    assert_eq!(disabled, own::endpoint_disabled(&endpoint, DisabledReason::Failing, Timestamp::default()));
    let failing = own::endpoint_failing(&endpoint, Timestamp::default(), Timestamp::default());
    for message in [test, disabled, failing] {
        let Body::Ready(body) = &message.body else { panic!("{} has no body", message.event_type) };
        assert_fits(&message.event_type, &serde_json::from_slice(body).unwrap());
        assert!(!String::from_utf8_lossy(body).contains("receiver.example"));
    }
}
