//! Writes what happened here into the log, in the order of each conversation.
//!
//! A change and the events that tell of it are kept in one transaction, and the events go to the log after it: by whoever made the
//! change, or by the sweeper when that one died in between. Their ids are derived, so writing them twice is writing them once, and
//! nobody writes an event before the earlier ones of its conversation.

use std::sync::Arc;

use colloquy_events::{Event, Record};
use colloquy_log_client::{Appended, Appender};
use colloquy_service::{Describe, Problem, telemetry};
use colloquy_types::{Clock, ConversationId, OrganizationId, Position, RecordId};
use tokio::sync::Mutex;

use crate::bell::Bell;
use crate::conversation::Conversation;
use crate::scene::Note;
use crate::store::ControlStore;

/// How many events are written together.
const TOGETHER: u32 = 100;
/// How many conversations are told of at the same time, at most.
const TURNS: u128 = 64;

/// Writes events.
pub struct Announcer {
    store: Arc<dyn ControlStore>,
    log: Appender,
    clock: Arc<dyn Clock>,
    bell: Bell,
    /// Two of this process who tell of one conversation take turns: when both write the same, neither is told where it stands.
    turns: Vec<Mutex<()>>,
}

impl Announcer {
    /// Returns an announcer of what `store` has to say; `bell` is rung for every command that can be carried out by that.
    pub fn new(store: Arc<dyn ControlStore>, log: Appender, clock: Arc<dyn Clock>, bell: Bell) -> Self {
        Self { store, log, clock, bell, turns: (0..TURNS).map(|_| Mutex::default()).collect() }
    }

    /// Writes everything that is to be told of a conversation; returns once it is durable.
    ///
    /// # Errors
    /// When the store or the log is not available. The sweeper goes on with it.
    pub async fn announce(&self, organization_id: &OrganizationId, conversation_id: ConversationId) -> Result<(), Problem> {
        let turn = usize::try_from(conversation_id.0.as_u128() % TURNS).unwrap_or_default();
        let _turn = self.turns[turn].lock().await;
        loop {
            let found = self.store.notes(organization_id, conversation_id, TOGETHER).await;
            let Some((conversation, notes)) = found.map_err(|error| error.describe())? else { return Ok(()) };
            let events: Vec<Event> = notes.iter().map(|note| event(&conversation, note)).collect();
            let record = Record {
                record_id: RecordId::derive(organization_id, events.iter().map(|event| event.event_id)),
                organization_id: organization_id.clone(),
                source_id: None,
                received_at: self.clock.now(),
                events,
                traceparent: telemetry::traceparent(),
                sequence: 0,
            };
            let appended = self.log.append(vec![record]).await.map_err(|status| Problem::from_status(&status))?;
            let told: Vec<(Note, Position)> =
                notes.into_iter().enumerate().map(|(index, note)| (note, position(appended, index))).collect();
            let noted = self.store.announced(organization_id, conversation_id, &told).await;
            noted.map_err(|error| error.describe())?;
            self.bell.ring();
        }
    }
}

/// Returns where event `index` of the record is. Of what was there before only the end of all is known, which is no less: the least
/// that anybody says is right.
fn position(appended: Appended, index: usize) -> Position {
    let end = appended.position;
    match u16::try_from(index) {
        Ok(index) if appended.duplicates == 0 => Position::new(end.sequence(), index),
        _ => end,
    }
}

fn event(conversation: &Conversation, note: &Note) -> Event {
    Event {
        event_id: note.event_id,
        conversation_id: conversation.conversation_id,
        provider: conversation.provider,
        external_id: conversation.external_id.clone(),
        occurred_at: note.occurred_at,
        // Things of one instant stay in their order.
        ordinal: u32::try_from(note.number).unwrap_or(u32::MAX),
        data: note.data.clone(),
    }
}
