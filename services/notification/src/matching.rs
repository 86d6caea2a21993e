//! Who hears of what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use colloquy_types::{OrganizationId, Timestamp};

use crate::delivery::{Delivery, Status};
use crate::endpoint::Endpoint;
use crate::message::Message;
use crate::store::Known;

/// Every enabled endpoint, by organization.
#[derive(Debug, Default)]
pub struct Listeners(HashMap<OrganizationId, Audience>);

/// The enabled endpoints of one organization; there is at least one.
#[derive(Debug, Default)]
pub struct Audience {
    endpoints: Vec<Arc<Endpoint>>,
    has_filters: bool,
    /// Who hears of an event type, found out once. There are no more types than the catalogue has.
    by_type: Mutex<HashMap<String, Arc<[Arc<Endpoint>]>>>,
}

impl Listeners {
    /// Returns the listeners these endpoints are; those that are not enabled hear nothing.
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        let mut audiences: HashMap<OrganizationId, Audience> = HashMap::new();
        for endpoint in endpoints.into_iter().filter(|endpoint| endpoint.enabled) {
            let audience = audiences.entry(endpoint.organization_id.clone()).or_default();
            audience.has_filters |= !endpoint.filter.is_open();
            audience.endpoints.push(Arc::new(endpoint));
        }
        Self(audiences)
    }

    /// Returns the endpoints of an organization; `None` when it has none that is enabled.
    pub fn of(&self, organization: &OrganizationId) -> Option<&Audience> {
        self.0.get(organization)
    }
}

impl Audience {
    /// Returns whether somebody hears of a type, of whichever conversations.
    pub fn listens_to(&self, event_type: &str) -> bool {
        !self.to(event_type).is_empty()
    }

    /// Returns whether somebody hears of some conversations only.
    pub const fn has_filters(&self) -> bool {
        self.has_filters
    }

    /// Returns the deliveries a message makes at `now`, given what is known of its conversation. Filters are about conversations: what
    /// is about none is told to everybody who listens to its type, but those with a filter have to name it. One who asks for all there
    /// is of a customer does not ask for what is going on in the organization.
    pub fn deliveries_of(&self, message: &Message, known: &Known, now: Timestamp) -> Vec<Delivery> {
        (self.to(&message.event_type).iter())
            .filter(|endpoint| match message.is_about_none() {
                true => endpoint.filter.is_open() || !endpoint.event_types.is_empty(),
                false => endpoint.filter.admits(known),
            })
            .map(|endpoint| delivery(message, endpoint, now))
            .collect()
    }

    /// Returns whether somebody would hear of a message if more were known of its conversation.
    pub fn may_hear(&self, message: &Message, known: &Known) -> bool {
        !message.is_about_none() && self.to(&message.event_type).iter().any(|endpoint| endpoint.filter.may_admit(known))
    }

    fn to(&self, event_type: &str) -> Arc<[Arc<Endpoint>]> {
        let mut by_type = self.by_type.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoints) = by_type.get(event_type) {
            return Arc::clone(endpoints);
        }
        let endpoints: Arc<[_]> = self.endpoints.iter().filter(|endpoint| endpoint.listens_to(event_type)).cloned().collect();
        by_type.insert(event_type.to_owned(), Arc::clone(&endpoints));
        endpoints
    }
}

/// Returns a message's delivery to an endpoint, due at `now`.
pub fn delivery(message: &Message, endpoint: &Endpoint, now: Timestamp) -> Delivery {
    Delivery {
        organization_id: message.organization_id.clone(),
        delivery_id: Delivery::id_of(endpoint.endpoint_id, message.message_id),
        endpoint_id: endpoint.endpoint_id,
        message_id: message.message_id,
        event_type: message.event_type.clone(),
        conversation_id: message.conversation_id,
        position: message.position,
        status: Status::Pending,
        schedule_attempts: 0,
        attempt_count: 0,
        next_attempt_at: Some(now),
        created_at: now,
        attempts: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use colloquy_types::{ConversationId, Position};
    use uuid::Uuid;

    use super::*;
    use crate::endpoint::{Filter, Kind};
    use crate::message::{Body, place_of};
    use crate::store::samples;

    fn message(event_type: &str) -> Message {
        Message {
            organization_id: "acme".parse().unwrap(),
            message_id: Uuid::from_u128(1),
            event_type: event_type.to_owned(),
            conversation_id: ConversationId(Uuid::from_u128(2)),
            position: Position::new(3, 0),
            at: Timestamp::default(),
            body: Body::Ready(Bytes::from_static(b"{}")),
        }
    }

    fn endpoint(number: u128, event_types: &[&str]) -> Endpoint {
        let event_types = event_types.iter().map(|&event_type| event_type.to_owned()).collect();
        Endpoint { event_types, ..samples::endpoint("acme", number) }
    }

    fn told(endpoints: Vec<Endpoint>, event_type: &str, known: &Known) -> Vec<u128> {
        let listeners = Listeners::new(endpoints);
        let Some(audience) = listeners.of(&"acme".parse().unwrap()) else { return Vec::new() };
        let deliveries = audience.deliveries_of(&message(event_type), known, Timestamp::default());
        assert!(audience.listens_to(event_type) || deliveries.is_empty());
        deliveries.iter().map(|delivery| delivery.endpoint_id.as_u128()).collect()
    }

    #[test]
    fn types_groups_and_nothing_named_are_told_apart() {
        let endpoints = || {
            vec![
                endpoint(1, &[]),
                endpoint(2, &["turn.*"]),
                endpoint(3, &["turn.added", "conversation.ended"]),
                endpoint(4, &["conversation.*"]),
            ]
        };
        for (event_type, expected) in [
            ("turn.added", vec![2, 3]),
            ("turn.updated", vec![2]),
            ("speech.updated", vec![]),
            ("conversation.ended", vec![1, 3, 4]),
            ("conversation_agent_session.ended", vec![1]),
            ("alert.opened", vec![1]),
        ] {
            assert_eq!(told(endpoints(), event_type, &Known::default()), expected, "{event_type}");
        }
    }

    #[test]
    fn every_kind_of_endpoint_hears_alike_and_a_disabled_one_nothing() {
        let endpoints = Kind::ALL
            .into_iter()
            .zip(1..)
            .map(|(kind, number)| Endpoint { kind, ..endpoint(number, &["alert.*"]) })
            .chain([Endpoint { enabled: false, ..endpoint(9, &[]) }])
            .collect();
        assert_eq!(told(endpoints, "alert.opened", &Known::default()), [1, 2, 3]);
        let disabled = vec![Endpoint { enabled: false, ..endpoint(9, &[]) }];
        assert!(Listeners::new(disabled).of(&"acme".parse().unwrap()).is_none());
    }

    #[test]
    fn what_is_about_no_conversation_is_told_to_whoever_asks_for_it_by_name_or_filters_nothing() {
        let filter = Filter { client_id: Some("c".to_owned()), ..Filter::default() };
        let endpoints = [endpoint(1, &[]), endpoint(2, &["alert.*"]), endpoint(3, &["conversation.*"])];
        let mut endpoints = endpoints.map(|endpoint| Endpoint { filter: filter.clone(), ..endpoint }).to_vec();
        endpoints.push(endpoint(4, &[]));
        let listeners = Listeners::new(endpoints);
        let audience = listeners.of(&"acme".parse().unwrap()).unwrap();
        let of_window = Message { conversation_id: place_of(Uuid::from_u128(7)), ..message("alert.opened") };
        for (message, expected) in [(of_window, vec![2, 4]), (message("alert.opened"), vec![4])] {
            let told = audience.deliveries_of(&message, &Known::default(), Timestamp::default());
            let told: Vec<u128> = told.iter().map(|delivery| delivery.endpoint_id.as_u128()).collect();
            assert_eq!(told, expected);
            assert_eq!(audience.may_hear(&message, &Known::default()), !message.is_about_none());
        }
    }

    #[test]
    fn a_filter_lets_through_what_is_known_to_pass() {
        let filtered = |filter| vec![Endpoint { filter, ..endpoint(1, &[]) }];
        let filter = Filter { agent_id: Some("a".to_owned()), channel: Some("phone".to_owned()), client_id: None };
        let known = |agent: Option<&str>, channel: Option<&str>| Known {
            agent_id: agent.map(str::to_owned),
            channel: channel.map(str::to_owned),
            client_id: Some("c".to_owned()),
            ..Known::default()
        };
        for (known, expected) in [
            (known(Some("a"), Some("phone")), vec![1]),
            (known(Some("a"), None), vec![]),
            (known(Some("b"), Some("phone")), vec![]),
            (Known::default(), vec![]),
        ] {
            assert_eq!(told(filtered(filter.clone()), "conversation.ended", &known), expected, "{known:?}");
        }
    }
}
