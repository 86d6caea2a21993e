//! What a batch of records says, by conversation.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use colloquy_events::{Event, Record};
use colloquy_types::{ConversationId, EventId, OrganizationId, Timestamp};

use crate::turn_events::Named;

/// How many locks conversations share on engines with several writers.
const LOCKS: i64 = 1024;
/// Tells these locks from others in the same database: "conv".
const LOCK_SPACE: i64 = 0x636f_6e76 << 32;

/// What a batch says of one conversation.
pub(super) struct Touched<'a> {
    pub(super) organization: &'a OrganizationId,
    pub(super) named: Named,
    /// When the last of its deliveries was received.
    pub(super) last_received_at: Timestamp,
    /// Events of its course, each once.
    pub(super) course: BTreeMap<EventId, (&'a Event, Timestamp)>,
    /// Events about its turns.
    pub(super) turns: Vec<(&'a Event, Timestamp)>,
}

/// Returns what `records` say, ordered by organization and conversation.
pub(super) fn by_conversation(records: &[Record]) -> Vec<Touched<'_>> {
    let mut touched: BTreeMap<(&OrganizationId, ConversationId), Touched<'_>> = BTreeMap::new();
    for record in records {
        for event in &record.events {
            let conversation = touched.entry((&record.organization_id, event.conversation_id)).or_insert_with(|| Touched {
                organization: &record.organization_id,
                named: Named {
                    conversation_id: event.conversation_id,
                    provider: event.provider,
                    external_id: event.external_id.clone(),
                },
                last_received_at: record.received_at,
                course: BTreeMap::new(),
                turns: Vec::new(),
            });
            conversation.last_received_at = conversation.last_received_at.max(record.received_at);
            if event.data.is_about_turns() {
                conversation.turns.push((event, record.received_at));
            } else if let Entry::Vacant(slot) = conversation.course.entry(event.event_id) {
                slot.insert((event, record.received_at));
            }
        }
    }
    touched.into_values().collect()
}

impl Touched<'_> {
    /// Returns the lock that keeps other writers from this conversation, one of a bounded number.
    pub(super) fn lock(&self) -> i64 {
        let bytes = self.named.conversation_id.as_bytes();
        LOCK_SPACE + i64::from(u16::from_be_bytes([bytes[14], bytes[15]])) % LOCKS
    }
}
