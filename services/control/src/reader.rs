//! Reads the log into the view of running conversations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use colloquy_events::Record;
use colloquy_log_client::UnknownEvents;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, OrganizationId, Position};
use tokio::time::Instant;
use uuid::Uuid;

use crate::conversation::{Sign, signs};
use crate::store::{ControlStore, READER, SetAside};

/// No reason is kept longer; enough to see what was wrong.
const LONGEST_REASON: usize = 1_000;

/// For how long it need not be said again that a conversation runs. Another replica may have read that it ended.
const SAID_FOR: Duration = Duration::from_secs(30);
/// Of how many conversations that is remembered.
const MOST_SAID: usize = 50_000;

/// The reader of this service.
pub struct Reader {
    store: Arc<dyn ControlStore>,
    clock: Arc<dyn Clock>,
    unknown_events: UnknownEvents,
    said: Mutex<HashMap<(OrganizationId, Uuid), Said>>,
}

/// What was written of a conversation that runs, and when.
#[derive(Clone, Copy)]
struct Said {
    at: Instant,
    /// Whether it is known through which source it came; the first one counts.
    has_source: bool,
}

impl Reader {
    /// Returns the reader that keeps what it reads in `store`, and what it does not know in `unknown_events`.
    pub fn new(store: Arc<dyn ControlStore>, clock: Arc<dyn Clock>, unknown_events: UnknownEvents) -> Self {
        Self { store, clock, unknown_events, said: Mutex::default() }
    }

    /// Returns the signs that say anything new: nearly all only say again that a conversation runs.
    fn news(&self, signs: Vec<Sign>) -> Vec<Sign> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = |sign: &Sign| {
            let known = said.get(&key(sign)).filter(|said| said.at.elapsed() < SAID_FOR);
            let names_a_source = |said: &Said| !said.has_source && sign.conversation.source_id.is_some();
            !known.is_some_and(|said| sign.only_says_it_runs() && !names_a_source(said))
        };
        signs.into_iter().filter(is_news).collect()
    }

    /// Remembers what is written now.
    fn remember(&self, signs: &[Sign]) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() + signs.len() > MOST_SAID {
            said.clear();
        }
        for sign in signs {
            if sign.conversation.ended || sign.inferred_end > Position::START {
                said.remove(&key(sign));
            } else {
                let had_source = said.get(&key(sign)).is_some_and(|said| said.has_source);
                let has_source = had_source || sign.conversation.source_id.is_some();
                said.insert(key(sign), Said { at: Instant::now(), has_source });
            }
        }
    }
}

fn key(sign: &Sign) -> (OrganizationId, Uuid) {
    (sign.conversation.organization_id.clone(), sign.conversation.conversation_id.0)
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
        let news = self.news(signs(records));
        self.store.apply(&news, through).await?;
        self.remember(&news);
        Ok(())
    }

    async fn set_aside(&self, record: &Record, reason: &str) -> Result<(), StoreError> {
        // PostgreSQL takes no NUL, and a reason that is refused would be tried for ever.
        let reason = reason.chars().filter(|letter| !letter.is_control()).take(LONGEST_REASON).collect();
        let record = SetAside {
            organization_id: record.organization_id.clone(),
            record_id: record.record_id,
            sequence: record.sequence,
            reason,
            at: self.clock.now(),
        };
        self.store.set_aside(&record).await
    }

    fn unknown_events(&self) -> Option<&UnknownEvents> {
        Some(&self.unknown_events)
    }
}
