//! The event types there are: when each is sent, what its body looks like, and one for example.

mod example;
mod fields;
mod schema;
mod session;

use std::sync::LazyLock;

use colloquy_events::Data;
use serde_json::{Value, json};

use super::agent_session::Phase;
use super::{event, own};
use crate::endpoint::is_in;
use schema::{Object, time};

/// One event type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventType {
    /// For example `conversation_agent_session.ended`.
    pub name: &'static str,
    /// When it is sent, for people.
    pub description: &'static str,
    /// The JSON Schema (2020-12) of the body.
    pub schema_json: String,
    /// A body, for example.
    pub example_json: String,
    /// Whether it is made of what the history of a conversation has, so that it can be told again.
    pub is_replayed: bool,
}

static EVENT_TYPES: LazyLock<Vec<EventType>> = LazyLock::new(|| {
    let mut types: Vec<EventType> = EVENTS.iter().map(of_event).collect();
    types.extend(Phase::ALL.map(of_session));
    types.extend(OWN.iter().map(of_own));
    types.sort_unstable_by_key(|event_type| event_type.name);
    types
});

/// Returns every event type, in alphabetical order.
pub fn event_types() -> &'static [EventType] {
    &EVENT_TYPES
}

/// Returns whether there is an event type of this name.
pub fn is_type(name: &str) -> bool {
    event_types().iter().any(|event_type| event_type.name == name)
}

/// Returns whether this names a group of event types, such as `turn.*`.
pub fn is_group(name: &str) -> bool {
    name.strip_suffix(".*").is_some_and(|group| groups().any(|known| known == group))
}

/// Returns whether there is anything to tell again of this type, or of this group.
pub fn is_replayed(listed: &str) -> bool {
    event_types().iter().any(|event_type| event_type.is_replayed && is_in(listed, event_type.name))
}

/// Returns the names before the dot, each once.
pub fn groups() -> impl Iterator<Item = &'static str> {
    let mut before = "";
    event_types().iter().filter_map(move |event_type| {
        let group = event_type.name.split('.').next().unwrap_or(event_type.name);
        (std::mem::replace(&mut before, group) != group).then_some(group)
    })
}

/// An event type's name, when it is sent, and what its data has.
type Row = (&'static str, &'static str, fn(Object) -> Object);

/// The kinds of events that are told of; their data has this beside what every event's has.
const EVENTS: &[Row] = &[
    ("conversation.started", "A conversation began, or became known.", fields::facts),
    ("conversation.updated", "Something about a running conversation changed.", fields::update),
    ("conversation.ended", "A conversation is over.", fields::ended),
    ("conversation.analyzed", "Somebody or something judged a conversation.", fields::analysis),
    ("conversation.patched", "A person changed the record of a conversation.", fields::patch),
    (
        "turn.added",
        "A turn was spoken, written or made by a tool; a partial one gives way to the next of its role.",
        fields::turn,
    ),
    ("turn.updated", "What is known of a turn changed; what is absent stays.", fields::turn),
    ("transcript.updated", "The whole transcript of a running conversation so far.", fields::turns),
    ("transcript.completed", "The final transcript, which decides which turns there are.", fields::final_turns),
    ("session.started", "An agent began its part of a conversation.", fields::session),
    ("session.ended", "An agent ended its part of a conversation.", fields::session_end),
    ("transfer.updated", "A transfer to somebody else changed state.", fields::transfer),
    ("recording.available", "A recording is stored and can be fetched from this server.", fields::recording),
    (
        "recording.failed",
        "A recording could not be fetched from the provider and will not be tried again.",
        fields::recording_failed,
    ),
    ("feedback.given", "A person rated a conversation.", fields::feedback),
    ("error.raised", "Something went wrong inside a conversation.", fields::error),
    ("speech.updated", "Somebody began or ceased to speak.", fields::speech),
    ("control.accepted", "A command to a running conversation was taken and will be carried out.", fields::command),
    ("control.applied", "A command was carried out.", fields::command_done),
    ("control.rejected", "A command was not carried out, or nobody knows whether it was.", fields::command_refused),
    ("control.lease_changed", "Who holds a conversation changed.", fields::lease),
    (
        "alert.opened",
        "An alert was raised. One about no conversation is told to endpoints without a filter, and to those that list alerts by name.",
        fields::alert,
    ),
    ("alert.acknowledged", "Somebody looks into an alert.", fields::alert),
    ("alert.resolved", "An alert is dealt with.", fields::alert),
];

/// What the service itself has to say.
const OWN: &[Row] = &[
    (own::TEST, "Somebody tested the endpoint. Sent to that endpoint only, whatever it listens to.", fields::test),
    (
        own::ENDPOINT_FAILING,
        "Every attempt at another endpoint of the organization has failed for a day.",
        fields::endpoint_failing,
    ),
    (own::ENDPOINT_DISABLED, "The server disabled another endpoint of the organization.", fields::endpoint_disabled),
];

fn of_event((name, description, add): &Row) -> EventType {
    let example = example::event(name);
    let is_alert = matches!(example.data, Data::AlertOpened(_) | Data::AlertAcknowledged(_) | Data::AlertResolved(_));
    let every = if is_alert { fields::every_alert } else { fields::every_event };
    let data = add(every(Object::new()));
    // Turns are kept by another service, as they are now and not as they came to be so.
    let is_replayed = example.data.is_of_the_record() && !example.data.is_about_turns();
    let example = event::body(&example, Some(example::POSITION)).unwrap_or_default();
    let schema_json = enveloped(name, description, data).to_string();
    EventType { name, description, schema_json, example_json: String::from_utf8_lossy(&example).into_owned(), is_replayed }
}

fn of_session(phase: Phase) -> EventType {
    let (name, description) = (phase.event_type(), session::description(phase));
    let schema_json = session::schema(phase).to_string();
    EventType { name, description, schema_json, example_json: session::example(phase).to_string(), is_replayed: true }
}

fn of_own((name, description, add): &Row) -> EventType {
    let schema_json = enveloped(name, description, add(Object::new())).to_string();
    EventType { name, description, schema_json, example_json: example::of_own(name).to_string(), is_replayed: false }
}

fn enveloped(name: &str, description: &str, data: Object) -> Value {
    Object::new()
        .with("type", json!({"const": name}))
        .with("timestamp", time("When it happened."))
        .with("data", data.schema())
        .document(name, description)
}

/// Returns whether every kind of event that is told of has its row, and no other; for the tests of this module.
#[cfg(test)]
fn covers(data: &colloquy_events::Data) -> bool {
    EVENTS.iter().any(|(name, ..)| *name == data.kind()) == data.is_public()
}

#[cfg(test)]
pub(super) mod tests;
