//! Bodies that are made when they are first needed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use colloquy_types::OrganizationId;
use moka::future::Cache;
use tokio::time::timeout;
use uuid::Uuid;

use crate::message::{Body, Message};
use crate::payload::{SnapshotError, Snapshots};
use crate::store::Store;

/// Made bodies wait in memory for the other endpoints they are for.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;
const KEPT_FOR: Duration = Duration::from_secs(60);
/// A body is not waited for longer; a claim would run out.
const MAKING_TIMEOUT: Duration = Duration::from_secs(10);
const AFTER_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Bodies {
    snapshots: Arc<dyn Snapshots>,
    store: Arc<dyn Store>,
    made: Cache<(OrganizationId, Uuid), Bytes>,
}

impl Bodies {
    pub(super) fn new(snapshots: Arc<dyn Snapshots>, store: Arc<dyn Store>) -> Self {
        let made = Cache::builder()
            .max_capacity(KEPT_BYTES)
            .weigher(|_, body: &Bytes| u32::try_from(body.len()).unwrap_or(u32::MAX))
            .time_to_live(KEPT_FOR)
            .build();
        Self { snapshots, store, made }
    }

    /// Returns a message's body; one that has to be made is made once, however many ask at a time.
    pub(super) async fn of(&self, message: &Message) -> Result<Bytes, SnapshotError> {
        if let Body::Ready(body) = &message.body {
            return Ok(body.clone());
        }
        let name = (message.organization_id.clone(), message.message_id);
        self.made.try_get_with(name, self.make(message)).await.map_err(|error| *error)
    }

    async fn make(&self, message: &Message) -> Result<Bytes, SnapshotError> {
        let making = timeout(MAKING_TIMEOUT, self.snapshots.body(message));
        let body = making.await.unwrap_or(Err(SnapshotError::Later(AFTER_TIMEOUT)))?;
        // Without it, a later attempt would show the conversation as it is then; that is no reason to hold this one back.
        if let Err(error) = self.store.keep_body(message, &body).await {
            tracing::warn!("a body that was made could not be kept: {error}");
        }
        Ok(body)
    }
}
