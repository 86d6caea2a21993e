//! Reads the log: notes which conversations changed, and leaves it to the workers to find out how.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use colloquy_events::{Data, Record};
use colloquy_log_client::UnknownEvents;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId, Position, Timestamp};
use tokio::sync::Notify;

use crate::store::{Batch, Mark, READER, Store};

/// No reason is kept longer; enough to see what was wrong.
const LONGEST_REASON: usize = 1_000;
/// How long what a running conversation says is collected before it is analysed.
const LIVE_DELAY_MS: i64 = 1_000;
/// How many organizations are remembered as known to the store.
const MOST_KNOWN: usize = 10_000;

/// The reader of this service.
pub struct Reader {
    store: Arc<dyn Store>,
    unknown_events: UnknownEvents,
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
    known: Mutex<HashSet<OrganizationId>>,
}

impl Reader {
    /// Returns the reader; `wake` wakes the workers.
    pub fn new(store: Arc<dyn Store>, unknown_events: UnknownEvents, clock: Arc<dyn Clock>, wake: Arc<Notify>) -> Self {
        Self { store, unknown_events, clock, wake, known: Mutex::default() }
    }

    fn unseen(&self, records: &[Record]) -> Vec<OrganizationId> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let unseen: HashSet<_> =
            records.iter().map(|record| &record.organization_id).filter(|&organization| !known.contains(organization)).collect();
        unseen.into_iter().cloned().collect()
    }

    fn remember(&self, seen: Vec<OrganizationId>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + seen.len() > MOST_KNOWN {
            known.clear();
        }
        known.extend(seen);
    }
}

#[async_trait]
impl colloquy_log_client::Reader for Reader {
    fn name(&self) -> &'static str {
        READER
    }

    async fn position(&self) -> Result<Position, StoreError> {
        self.store.position().await
    }

    async fn apply(&self, records: &[Record], through: Position) -> Result<(), StoreError> {
        let now = self.clock.now();
        let marks = marks(records, now);
        let is_urgent = marks.iter().any(|mark| mark.is_urgent);
        let covered = records.iter().filter(|record| Position::end_of(record.sequence) <= through);
        let batch =
            Batch { marks, organizations: self.unseen(records), received_at: covered.map(|record| record.received_at).max() };
        self.store.apply(&batch, through, now).await?;
        self.remember(batch.organizations);
        if is_urgent {
            self.wake.notify_one();
        }
        Ok(())
    }

    async fn set_aside(&self, record: &Record, reason: &str) -> Result<(), StoreError> {
        let now = self.clock.now();
        let reason = presentable(reason);
        self.store.set_aside(&record.organization_id, record.record_id, record.sequence, &reason, now).await
    }

    fn unknown_events(&self) -> Option<&UnknownEvents> {
        Some(&self.unknown_events)
    }
}

/// What an event means for the figures of its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    /// They are as they were.
    Nothing,
    /// They change, as they will again in a moment.
    Running,
    /// They change, and are wanted at once.
    Urgent,
}

const fn news(data: &Data) -> News {
    match data {
        // What we say ourselves follows from the figures.
        Data::Analyzed(analysis) if analysis.authority.is_own() => News::Nothing,
        // What passes, what steers, and what others think of the conversation.
        Data::SpeechUpdated(_)
        | Data::ControlOffered(_)
        | Data::ControlAccepted(_)
        | Data::ControlApplied(_)
        | Data::ControlRejected(_)
        | Data::ControlLeaseChanged(_)
        | Data::AlertOpened(_)
        | Data::AlertAcknowledged(_)
        | Data::AlertResolved(_) => News::Nothing,
        Data::Ended(_) | Data::Analyzed(_) | Data::TranscriptCompleted { .. } | Data::FeedbackGiven(_) | Data::Patched(_) => {
            News::Urgent
        }
        Data::Started(_)
        | Data::Updated(_)
        | Data::TurnAdded(_)
        | Data::TurnUpdated(_)
        | Data::TranscriptUpdated { .. }
        | Data::SessionStarted(_)
        | Data::SessionEnded(_)
        | Data::TransferUpdated(_)
        | Data::RecordingAvailable(_)
        | Data::RecordingFailed(_)
        | Data::ErrorRaised(_) => News::Running,
    }
}

/// Returns one mark for each conversation of which something new is heard, by organization and conversation.
fn marks(records: &[Record], now: Timestamp) -> Vec<Mark> {
    let mut marks: BTreeMap<(&OrganizationId, ConversationId), Mark> = BTreeMap::new();
    for record in records {
        for event in &record.events {
            let news = news(&event.data);
            if news == News::Nothing {
                continue;
            }
            // Positions are of whole records: a record is read as a whole or not at all.
            let (first, last) = (Position::new(record.sequence, 0), Position::end_of(record.sequence));
            let is_urgent = news == News::Urgent;
            let due_at = if is_urgent { now } else { now.saturating_add_millis(LIVE_DELAY_MS) };
            let mark = marks.entry((&record.organization_id, event.conversation_id)).or_insert_with(|| Mark {
                organization_id: record.organization_id.clone(),
                conversation_id: event.conversation_id,
                first_position: first,
                position: last,
                received_at: record.received_at,
                heard_at: record.received_at,
                due_at,
                is_urgent,
            });
            mark.first_position = mark.first_position.min(first);
            mark.position = mark.position.max(last);
            mark.received_at = mark.received_at.min(record.received_at);
            mark.heard_at = mark.heard_at.max(record.received_at);
            mark.due_at = mark.due_at.min(due_at);
            mark.is_urgent |= is_urgent;
        }
    }
    marks.into_values().collect()
}

/// Returns a reason as it can be kept and shown: PostgreSQL takes no NUL, and a reason that is refused would be tried for ever.
fn presentable(reason: &str) -> String {
    reason.chars().filter(|letter| !letter.is_control()).take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use colloquy_events::{Analysis, Authority, EndStatus, Ended, Facts, Speech};
    use colloquy_events::{Role, SpeechState};

    use super::*;
    use crate::testing::{at, event, record};

    fn said(records: &[Record]) -> Vec<(u128, Position, Position, i64, bool)> {
        marks(records, at(1_000))
            .iter()
            .map(|mark| {
                let conversation = mark.conversation_id.0.as_u128();
                (conversation, mark.first_position, mark.position, mark.due_at.millis_since(at(0)), mark.is_urgent)
            })
            .collect()
    }

    #[test]
    fn a_conversation_is_marked_once_a_batch_and_an_end_cannot_wait() {
        let records = [
            record("acme", 1, vec![event(1, Data::Started(Facts::default())), event(2, Data::Started(Facts::default()))]),
            record("acme", 2, vec![event(1, Data::Ended(Ended::new(EndStatus::Completed)))]),
        ];
        assert_eq!(
            said(&records),
            [
                (1, Position::new(1, 0), Position::end_of(2), 1_000, true),
                (2, Position::new(1, 0), Position::end_of(1), 2_000, false)
            ]
        );
    }

    #[test]
    fn what_we_say_ourselves_and_what_passes_marks_nothing() {
        let events = vec![
            event(1, Data::Analyzed(Analysis::by(Authority::Own))),
            event(2, Data::Analyzed(Analysis::by(Authority::OwnLeading))),
            event(3, Data::SpeechUpdated(Speech { role: Role::User, state: SpeechState::Started })),
            event(4, Data::Analyzed(Analysis::by(Authority::Provider))),
        ];
        let marked: Vec<u128> = said(&[record("acme", 1, events)]).iter().map(|mark| mark.0).collect();
        assert_eq!(marked, [4]);
    }

    #[test]
    fn a_reason_can_always_be_kept() {
        assert_eq!(presentable("events[3]: a\0b\nc"), "events[3]: abc");
        assert_eq!(presentable(&"ä".repeat(5_000)).chars().count(), LONGEST_REASON);
    }
}
