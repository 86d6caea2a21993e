//! The view of the log that the store keeps.

use std::sync::Arc;

use async_trait::async_trait;
use colloquy_events::Record;
use colloquy_log_client::{Reader, UnknownEvents};
use colloquy_storage::StoreError;
use colloquy_types::{Clock, Position};

use crate::store::{ConversationStore, SetAside};

/// Reads the log into the store.
pub(crate) struct View {
    store: Arc<dyn ConversationStore>,
    clock: Arc<dyn Clock>,
    unknown_events: UnknownEvents,
}

impl View {
    /// Returns the view that `store` keeps.
    pub(crate) fn new(store: Arc<dyn ConversationStore>, clock: Arc<dyn Clock>, unknown_events: UnknownEvents) -> Self {
        Self { store, clock, unknown_events }
    }
}

#[async_trait]
impl Reader for View {
    fn name(&self) -> &'static str {
        crate::NAME
    }

    async fn position(&self) -> Result<Position, StoreError> {
        self.store.position().await
    }

    async fn apply(&self, records: &[Record], through: Position) -> Result<(), StoreError> {
        self.store.apply(records, through, self.clock.now()).await
    }

    async fn set_aside(&self, record: &Record, reason: &str) -> Result<(), StoreError> {
        let set_aside = SetAside { record: record.clone(), reason: reason.to_owned(), at: self.clock.now() };
        self.store.set_aside(&set_aside).await
    }

    fn unknown_events(&self) -> Option<&UnknownEvents> {
        Some(&self.unknown_events)
    }
}
