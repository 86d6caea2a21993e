//! Keeps the index: a reader of the log of its own, so that transcripts never wait for it.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use colloquy_events::{Data, Event, Record, order};
use colloquy_service::Progress;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId, Position};

use super::store::{Agent, READER, SearchStore, Touched};
use crate::reader::aside;
use crate::store::TranscriptStore;

/// The reader that keeps the index.
pub struct Reader {
    index: Arc<dyn SearchStore>,
    transcripts: Arc<dyn TranscriptStore>,
    transcripts_progress: Progress,
    clock: Arc<dyn Clock>,
}

impl Reader {
    /// Returns the reader that indexes what `transcripts`, complete up to `transcripts_progress`, has.
    pub fn new(
        index: Arc<dyn SearchStore>,
        transcripts: Arc<dyn TranscriptStore>,
        transcripts_progress: Progress,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { index, transcripts, transcripts_progress, clock }
    }
}

#[async_trait]
impl colloquy_log_client::Reader for Reader {
    fn name(&self) -> &'static str {
        READER
    }

    async fn position(&self) -> Result<Position, StoreError> {
        self.index.position().await
    }

    async fn apply(&self, records: &[Record], through: Position) -> Result<(), StoreError> {
        let touched = touched(records);
        if !touched.is_empty() {
            let wanted = records.iter().map(|record| Position::end_of(record.sequence)).max().unwrap_or_default();
            // However long that takes: until then there is nothing to index, and whoever stops the reader ends this wait.
            while self.transcripts_progress.wait_for(wanted.0).await.is_err() {}
        }
        self.index.index(&touched, through).await?;
        Ok(())
    }

    /// One note a record, whichever reader fails at it: the transcripts' reader comes first, and what it fails at has nothing to index, so
    /// that its reason is the one to keep.
    async fn set_aside(&self, record: &Record, reason: &str) -> Result<(), StoreError> {
        let reason = &format!("it cannot be indexed for search: {reason}");
        self.transcripts.set_aside(&aside(record, reason, self.clock.now())).await
    }
}

/// Returns the conversations of which `records` tell something that may change what can be found in them.
pub fn touched(records: &[Record]) -> Vec<Touched> {
    let mut found: HashMap<(&OrganizationId, ConversationId), Option<Agent>> = HashMap::new();
    for record in records {
        for event in record.events.iter().filter(|event| may_change_the_index(&event.data)) {
            let agent = found.entry((&record.organization_id, event.conversation_id)).or_default();
            let told = event.data.facts().and_then(|facts| facts.agent_id.clone()).map(|id| Agent { rank: rank(event), id });
            if told > *agent {
                *agent = told;
            }
        }
    }
    let touched = found.into_iter().map(|((organization_id, conversation_id), agent)| Touched {
        organization_id: organization_id.clone(),
        conversation_id,
        agent,
    });
    touched.collect()
}

/// Returns whether an event may change which turns can be found, when they were said, or who led the conversation. Partial turns,
/// most of what is told of a running conversation, do not.
fn may_change_the_index(data: &Data) -> bool {
    match data {
        Data::TurnAdded(turn) | Data::TurnUpdated(turn) => turn.is_final,
        Data::TranscriptUpdated { .. } | Data::TranscriptCompleted { .. } => true,
        data => data.facts().is_some_and(|facts| facts.agent_id.is_some() || facts.started_at.is_some()),
    }
}

/// Returns [`order::rank`] as bytes that compare as the ranks do.
fn rank(event: &Event) -> Vec<u8> {
    let mut rank = vec![order::phase(&event.data)];
    // Flipping the sign bit makes the bytes of signed numbers compare as the numbers do.
    rank.extend((event.occurred_at.as_millis() as u64 ^ 1 << 63).to_be_bytes());
    rank.extend(event.ordinal.to_be_bytes());
    rank.extend(event.event_id.as_bytes());
    rank
}

#[cfg(test)]
mod tests {
    use colloquy_events::{EndStatus, Ended, Facts, Role, Turn, Update};
    use colloquy_types::{EventId, Provider, RecordId, Timestamp, TurnId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn event(conversation: u128, number: u128, at: i64, data: Data) -> Event {
        Event {
            event_id: EventId(Uuid::from_u128(number)),
            conversation_id: ConversationId(Uuid::from_u128(conversation)),
            provider: Provider::Native,
            external_id: "c".to_owned(),
            occurred_at: Timestamp::from_millis(at).unwrap(),
            ordinal: 0,
            data,
        }
    }

    fn record(events: Vec<Event>) -> Record {
        Record {
            record_id: RecordId::generate(),
            organization_id: "acme".parse().unwrap(),
            source_id: None,
            received_at: Timestamp::default(),
            events,
            traceparent: String::new(),
            sequence: 1,
        }
    }

    fn led_by(agent_id: &str) -> Facts {
        Facts { agent_id: Some(agent_id.to_owned()), ..Facts::default() }
    }

    #[test]
    fn only_what_may_change_the_index_touches_a_conversation() {
        let turn = |is_final| Turn { is_final, ..Turn::new(TurnId::generate(), Role::User) };
        let nothing = Data::Updated(Update::default());
        let events = vec![
            event(1, 1, 1, Data::TurnAdded(turn(false))),
            event(2, 2, 1, nothing),
            event(3, 3, 1, Data::TurnAdded(turn(true))),
            event(4, 4, 1, Data::Started(led_by("ana"))),
            event(3, 5, 1, Data::TurnUpdated(turn(true))),
        ];
        let mut ids: Vec<u128> = touched(&[record(events)]).iter().map(|touched| touched.conversation_id.0.as_u128()).collect();
        ids.sort_unstable();
        assert_eq!(ids, [3, 4]);
    }

    #[test]
    fn who_leads_is_what_was_told_last_in_the_order_of_events() {
        let started = event(1, 9, 500, Data::Started(led_by("first")));
        let ended = event(1, 1, 5, Data::Ended(Ended { facts: led_by("last"), ..Ended::new(EndStatus::Completed) }));
        for events in [vec![started.clone(), ended.clone()], vec![ended, started]] {
            let found = touched(&[record(events)]);
            assert_eq!(found[0].agent.as_ref().map(|agent| agent.id.as_str()), Some("last"));
        }
    }

    proptest! {
        #[test]
        fn bytes_of_ranks_compare_as_ranks_do(one in (any::<bool>(), -9..9_i64, any::<u128>()), other in (any::<bool>(), -9..9_i64, any::<u128>())) {
            let make = |(ends, at, number): (bool, i64, u128)| {
                let data = if ends { Data::Ended(Ended::new(EndStatus::Failed)) } else { Data::Started(Facts::default()) };
                event(1, number, at, data)
            };
            let (one, other) = (make(one), make(other));
            prop_assert_eq!(rank(&one).cmp(&rank(&other)), order::rank(&one).cmp(&order::rank(&other)));
        }
    }
}
