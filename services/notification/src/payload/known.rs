//! What an event says of its conversation that endpoints' filters ask for.

use colloquy_events::{Change, Data, Event};

use crate::store::{Known, SetClientId};

/// Returns what an event says of its conversation that endpoints' filters ask for; `None` when it says nothing of it.
pub fn known_of(event: &Event) -> Option<Known> {
    let known = match &event.data {
        Data::Patched(patch) => match &patch.client_id {
            Change::To(client_id) => {
                let set = SetClientId { client_id: client_id.clone(), at: event.occurred_at };
                Known { set_client_id: Some(set), ..Known::default() }
            }
            Change::Keep => Known::default(),
        },
        data => {
            let facts = data.facts()?;
            Known {
                agent_id: facts.agent_id.clone(),
                client_id: facts.client_id.clone(),
                channel: facts.channel.clone(),
                set_client_id: None,
            }
        }
    };
    (known != Known::default()).then_some(known)
}

#[cfg(test)]
mod tests {
    use colloquy_events::{Facts, Feedback, Patch, Update};
    use colloquy_types::{ConversationId, EventId, Provider, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn event(data: Data) -> Event {
        Event {
            event_id: EventId(Uuid::nil()),
            conversation_id: ConversationId(Uuid::nil()),
            provider: Provider::Native,
            external_id: "c".to_owned(),
            occurred_at: Timestamp::default(),
            ordinal: 0,
            data,
        }
    }

    #[test]
    fn facts_and_patches_tell_what_filters_ask_for() {
        let facts = Facts { agent_id: Some("a".to_owned()), channel: Some("phone".to_owned()), ..Facts::default() };
        let known = Known { agent_id: Some("a".to_owned()), channel: Some("phone".to_owned()), ..Known::default() };
        assert_eq!(known_of(&event(Data::Started(facts))), Some(known));
    }

    #[test]
    fn what_a_person_takes_away_is_told_from_what_nobody_speaks_of() {
        for client_id in [Some("c".to_owned()), None] {
            let patch = Patch { client_id: Change::To(client_id.clone()), ..Patch::default() };
            let set = SetClientId { client_id, at: Timestamp::default() };
            let known = Known { set_client_id: Some(set), ..Known::default() };
            assert_eq!(known_of(&event(Data::Patched(patch))), Some(known));
        }
    }

    #[test]
    fn events_that_say_nothing_of_it_are_passed_over() {
        assert_eq!(known_of(&event(Data::Updated(Update::default()))), None);
        assert_eq!(known_of(&event(Data::Patched(Patch::default()))), None);
        assert_eq!(known_of(&event(Data::FeedbackGiven(Feedback::default()))), None);
    }
}
