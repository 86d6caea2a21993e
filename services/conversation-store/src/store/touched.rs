//! What a batch of records says, by conversation.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use colloquy_events::{Event, Record};
use colloquy_types::{ConversationId, EventId, OrganizationId, Timestamp};

use crate::stored_event;
use crate::turn_events::Named;

/// How many locks conversations share on engines with several writers.
const LOCKS: i64 = 1024;
/// Tells these locks from others in the same database: "conv".
const LOCK_SPACE: i64 = 0x636f_6e76 << 32;

/// What a batch says of one conversation.
pub(super) struct Touched<'a> {
    pub(super) organization: &'a OrganizationId,
    pub(super) named: Named,
    /// Events of its course, each once, as it was told first.
    pub(super) course: BTreeMap<EventId, (&'a Event, Timestamp)>,
    /// Events about its turns.
    pub(super) turns: Vec<(&'a Event, Timestamp)>,
}

/// Returns what `records` say, ordered by organization and conversation.
pub(super) fn by_conversation(records: &[Record]) -> Vec<Touched<'_>> {
    let mut touched: BTreeMap<(&OrganizationId, ConversationId), Touched<'_>> = BTreeMap::new();
    for record in records {
        // What is not of the record does not even show that there is such a conversation.
        for event in record.events.iter().filter(|event| event.data.is_of_the_record()) {
            let conversation = touched.entry((&record.organization_id, event.conversation_id)).or_insert_with(|| Touched {
                organization: &record.organization_id,
                named: Named {
                    conversation_id: event.conversation_id,
                    provider: event.provider,
                    external_id: event.external_id.clone(),
                },
                course: BTreeMap::new(),
                turns: Vec::new(),
            });
            if event.data.is_about_turns() {
                conversation.turns.push((event, record.received_at));
                continue;
            }
            match conversation.course.entry(event.event_id) {
                Entry::Vacant(slot) => {
                    slot.insert((event, record.received_at));
                }
                Entry::Occupied(mut slot) => {
                    let told = (event, record.received_at);
                    if was_told_before(told, *slot.get()) {
                        slot.insert(told);
                    }
                }
            }
        }
    }
    touched.into_values().collect()
}

/// Returns whether, of two tellings of one event, `one` is the first, which counts. A sender that was not answered tells it again,
/// perhaps with another signed URL; which telling a replica happens to hear first must not matter.
pub(super) fn was_told_before(one: (&Event, Timestamp), other: (&Event, Timestamp)) -> bool {
    match one.1.cmp(&other.1) {
        Ordering::Equal => one.0 != other.0 && stored_event::encode(one.0) < stored_event::encode(other.0),
        order => order == Ordering::Less,
    }
}

impl<'a> Touched<'a> {
    /// Returns a conversation of which nothing new is said.
    pub(super) fn by_nothing(organization: &'a OrganizationId, named: Named) -> Self {
        Self { organization, named, course: BTreeMap::new(), turns: Vec::new() }
    }

    /// Returns the lock that keeps other writers from this conversation, one of a bounded number.
    pub(super) fn lock(&self) -> i64 {
        let bytes = self.named.conversation_id.as_bytes();
        LOCK_SPACE + i64::from(u16::from_be_bytes([bytes[14], bytes[15]])) % LOCKS
    }
}
