//! Reads the log into the store.

use std::sync::Arc;

use async_trait::async_trait;
use colloquy_events::Record;
use colloquy_log_client::UnknownEvents;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, Position, Timestamp};

use crate::kept;
use crate::search::reader::touched;
use crate::search::store::SearchStore;
use crate::store::{READER, SetAside, TranscriptStore};

/// No reason is kept longer; enough to see what was wrong.
const LONGEST_REASON: usize = 1_000;

/// The reader of this service.
pub struct Reader {
    store: Arc<dyn TranscriptStore>,
    index: Arc<dyn SearchStore>,
    clock: Arc<dyn Clock>,
    unknown_events: UnknownEvents,
}

impl Reader {
    /// Returns the reader that keeps what it reads in `store`, and what it does not know in `unknown_events`. What it learns to know
    /// later is not told again, so that the `index` gets it from here.
    pub fn new(
        store: Arc<dyn TranscriptStore>,
        index: Arc<dyn SearchStore>,
        clock: Arc<dyn Clock>,
        unknown_events: UnknownEvents,
    ) -> Self {
        Self { store, index, clock, unknown_events }
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
        self.store.apply(&kept::rows(records), through).await?;
        // No position of its own: events that an earlier release did not know, and passed.
        if through == Position::START {
            self.index.index(&touched(records), through).await?;
        }
        Ok(())
    }

    async fn set_aside(&self, record: &Record, reason: &str) -> Result<(), StoreError> {
        self.store.set_aside(&aside(record, reason, self.clock.now())).await
    }

    fn unknown_events(&self) -> Option<&UnknownEvents> {
        Some(&self.unknown_events)
    }
}

/// Returns a record as it is set aside.
pub(crate) fn aside(record: &Record, reason: &str, at: Timestamp) -> SetAside {
    SetAside {
        organization_id: record.organization_id.clone(),
        record_id: record.record_id,
        sequence: record.sequence,
        reason: presentable(reason),
        at,
    }
}

/// Returns a reason as it can be kept and shown: PostgreSQL takes no NUL, and a reason that is refused would be tried for ever.
fn presentable(reason: &str) -> String {
    reason.chars().filter(|letter| !letter.is_control()).take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_can_always_be_kept() {
        assert_eq!(presentable("events[3]: a\0b\nc"), "events[3]: abc");
        assert_eq!(presentable(&"ä".repeat(5_000)).chars().count(), LONGEST_REASON);
    }
}
